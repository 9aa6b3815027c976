//! The broker over RabbitMQ, 3.10 and newer.
//!
//! A supervisor task keeps the connections: it connects, declares the topology, waits for the first failure and begins
//! again, for ever. Everything that belongs to one connection is in [`live::Live`] and ends with it: publishes in flight fail
//! with `Away`, so that their callers clear their stamps; subscriptions wait for the next life and consume again.

mod address;
mod examine;
mod live;
mod subscription;
mod supervisor;
mod topology;

use crate::{lock::lock, metrics};
use address::Address;
use async_trait::async_trait;
use bifrost_domain::ports::broker::{Broker, Connection, DeadLetter, Error, Queue, Subscription};
use bytes::Bytes;
pub use examine::examine;
use live::{Live, Published};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use subscription::Session;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use topology::Names;

/// How long a call waits for a broker that is away.
const AWAY_WITHIN: Duration = Duration::from_secs(5);
/// How long [`RabbitMq::connect`] tries.
const CONNECT_WITHIN: Duration = Duration::from_secs(12);
/// How long a probe waits for its answer.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// How long closing waits for subscriptions to return what they hold.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// The broker over RabbitMQ.
pub struct RabbitMq {
    shared: Arc<Shared>,
    /// Each subscription's task holds a clone of the sender: when the receiver ends, all have returned what they held.
    subscriptions: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq").field("address", &self.shared.address.to_string()).finish_non_exhaustive()
    }
}

/// What the supervisor, the subscriptions and the port share.
struct Shared {
    address: Arc<Address>,
    names: Names,
    /// Queues that were ever used: declared again in each life.
    queues: Mutex<HashSet<Queue>>,
    live: watch::Sender<Link>,
    connection: watch::Sender<Connection>,
    /// What an operator has to change, when the last attempt failed by it.
    misconfigured: Mutex<Option<&'static str>>,
    phase: watch::Sender<Phase>,
}

/// How far the end is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// Subscriptions carry out their last verdicts and end; nothing new begins.
    Ending,
    /// The connection closes.
    Ended,
}

/// The connection now.
#[derive(Clone, Default)]
enum Link {
    /// Nothing was tried yet.
    #[default]
    Starting,
    Up(Arc<Live>),
    Down(String),
}

impl Shared {
    /// The open connection, when it opens.
    async fn next_live(&self) -> Arc<Live> {
        let mut live = self.live.subscribe();
        loop {
            if let Link::Up(live) = &*live.borrow_and_update() {
                return Arc::clone(live);
            }
            if live.changed().await.is_err() {
                // Cannot be while `self` exists.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The open connection, within `limit`.
    async fn live(&self, limit: Duration) -> Result<Arc<Live>, Error> {
        tokio::select! {
            biased;
            () = self.reached(Phase::Ending) => Err(Error::Away("it is closed".to_owned())),
            live = timeout(limit, self.next_live()) => live.map_err(|_| Error::Away(self.reason())),
        }
    }

    /// Waits until the end has come this far.
    async fn reached(&self, phase: Phase) {
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn reason(&self) -> String {
        match &*self.live.borrow() {
            Link::Down(reason) => reason.clone(),
            Link::Starting | Link::Up(_) => format!("not connected to rabbitmq at {} yet", self.address),
        }
    }
}

impl RabbitMq {
    /// Connects to `url` and declares names under `prefix`. Needs a running tokio runtime.
    ///
    /// # Errors
    /// `Refused`: the URL or the prefix is malformed. `Away`: the first attempt failed; says why and what to do.
    pub async fn connect(url: &str, prefix: &str) -> Result<Arc<Self>, Error> {
        let broker = Self::connect_lazily(url, prefix)?;
        let mut live = broker.shared.live.subscribe();
        let tried = timeout(CONNECT_WITHIN, live.wait_for(|link| !matches!(link, Link::Starting))).await;
        match tried {
            Ok(Ok(link)) if matches!(*link, Link::Up(_)) => {}
            _ => return Err(Error::Away(broker.shared.reason())),
        }
        Ok(broker)
    }

    /// Begins to connect and returns at once: a server that is away is connected to when it comes. Needs a running tokio
    /// runtime.
    ///
    /// # Errors
    /// `Refused`: the URL or the prefix is malformed.
    pub fn connect_lazily(url: &str, prefix: &str) -> Result<Arc<Self>, Error> {
        let shared = Arc::new(Shared {
            address: Arc::new(Address::parse(url)?),
            names: Names::new(prefix)?,
            queues: Mutex::default(),
            live: watch::Sender::default(),
            connection: watch::Sender::new(Connection::Down),
            misconfigured: Mutex::default(),
            phase: watch::Sender::default(),
        });
        metrics::broker_connected(false);
        let supervised = Arc::clone(&shared);
        let supervisor = tokio::spawn(async move { supervisor::run(&supervised).await });
        Ok(Arc::new(Self {
            shared,
            subscriptions: Mutex::new(Some(mpsc::channel(1))),
            supervisor: Mutex::new(Some(supervisor)),
        }))
    }

    /// Deletes these queues with their dead letters, and the dead-letter exchange. For operators and tests.
    ///
    /// # Errors
    /// `Away`: the server is away. `Refused`: it does not allow it.
    pub async fn delete_topology(&self, queues: &[Queue]) -> Result<(), Error> {
        lock(&self.shared.queues).retain(|queue| !queues.contains(queue));
        self.shared.live(AWAY_WITHIN).await?.delete(queues).await
    }

    async fn publish_confirmed(&self, queue: &Queue, body: &Bytes) -> Result<(), Error> {
        super::check_body(body)?;
        let live = self.live(queue).await?;
        match live.publish(queue, body).await? {
            Published::Confirmed => return Ok(()),
            Published::Unroutable => live.remake(queue).await?,
            Published::NotTaken => {
                live.doubt(queue);
                live.ensure(queue).await?;
            }
        }
        match live.publish(queue, body).await? {
            Published::Confirmed => Ok(()),
            Published::Unroutable => {
                Err(Error::Refused(format!("queue `{}` is deleted again and again", queue.0)))
            }
            Published::NotTaken => Err(Error::Refused(format!("queue `{}` is full", queue.0))),
        }
    }

    async fn live(&self, queue: &Queue) -> Result<Arc<Live>, Error> {
        self.shared.names.check(queue)?;
        let live = self.shared.live(AWAY_WITHIN).await?;
        live.ensure(queue).await?;
        let mut queues = lock(&self.shared.queues);
        if !queues.contains(queue) {
            queues.insert(queue.clone());
        }
        Ok(live)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Ended);
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish(&self, queue: &Queue, body: Bytes) -> Result<(), Error> {
        let outcome = self.publish_confirmed(queue, &body).await;
        metrics::published(&outcome);
        outcome
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error> {
        let alive = lock(&self.subscriptions).as_ref().map(|(alive, _)| alive.clone());
        let alive = alive.ok_or_else(|| Error::Away("it is closed".to_owned()))?;
        let prefetch = prefetch.max(1);
        let live = self.live(queue).await?;
        let (deliveries, receiver) = mpsc::channel(usize::from(prefetch));
        let (opened, opening) = oneshot::channel();
        let (shared, queue) = (Arc::clone(&self.shared), queue.clone());
        // A task of its own: of a caller that gives up in the middle a consumer would stay at the server, which takes messages and hands
        // them to nobody. Here it is opened to the end, found to be unwanted, and closed.
        tokio::spawn(async move {
            match Session::open(live, &queue, prefetch).await {
                Ok(session) => {
                    let _ = opened.send(Ok(()));
                    subscription::run(shared, queue, prefetch, deliveries, session).await;
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
            drop(alive);
        });
        opening.await.unwrap_or_else(|_| Err(Error::Away("it is closed".to_owned())))?;
        Ok(Subscription { deliveries: receiver })
    }

    async fn depth(&self, queue: &Queue) -> Result<u64, Error> {
        self.live(queue).await?.depth(queue).await
    }

    async fn take_dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.live(queue).await?.take_dead_letters(queue, limit).await
    }

    fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    async fn probe(&self) -> Result<(), Error> {
        let live = self.shared.live(Duration::ZERO).await?;
        match timeout(PROBE_WITHIN, live.probe()).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Away(format!("no answer from rabbitmq within {PROBE_WITHIN:?}"))),
        }
    }

    fn misconfigured(&self) -> Option<&'static str> {
        *lock(&self.shared.misconfigured)
    }

    async fn close(&self) {
        self.shared
            .phase
            .send_if_modified(|phase| std::mem::replace(phase, Phase::Ending.max(*phase)) < Phase::Ending);
        let subscriptions = lock(&self.subscriptions).take();
        if let Some((alive, mut ended)) = subscriptions {
            drop(alive);
            let _ = timeout(CLOSE_WITHIN, ended.recv()).await;
        }
        self.shared.phase.send_replace(Phase::Ended);
        let supervisor = lock(&self.supervisor).take();
        if let Some(supervisor) = supervisor {
            let _ = timeout(CLOSE_WITHIN, supervisor).await;
        }
    }
}
