//! One life of the connections, from the log-in to the first failure. Nothing in here outlives it.

use super::{
    address::{Address, is_refusal},
    topology::{self, Names},
};
use crate::{lock::lock, trouble::Trouble};
use bifrost_domain::ports::broker::{DeadLetter, Error, Queue};
use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Event,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::{MutexGuard, OnceCell, broadcast, watch},
    time::timeout,
};

/// How long connecting and logging in, or a command that the server answers, may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a confirm may take. A late one is no harm: the caller publishes again, and double delivery is allowed.
const CONFIRM_WITHIN: Duration = Duration::from_secs(15);
/// Dead letters taken at once.
const TAKEN: usize = 10_000;
/// The header that carries why a message is dead.
const REASON: &str = "x-bifrost-reason";

/// What became of a publish that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Published {
    Confirmed,
    /// No queue took it: somebody deleted the queue.
    Unroutable,
    /// The queue is full, or went away with the message in it.
    NotTaken,
}

/// The open connections: one for publishing and commands and, once somebody subscribes, one for consuming, because the server
/// stops reading a connection that publishes while its memory or disk runs low, and acks must get through then.
pub(super) struct Live {
    address: Arc<Address>,
    names: Names,
    publishing: Connection,
    consuming: OnceCell<Connection>,
    publisher: Channel,
    /// Held while a publish is handed to lapin, which numbers confirms and queues frames in two steps: two threads
    /// in between would get each other's confirm.
    handing_over: Mutex<()>,
    commands: tokio::sync::Mutex<Channel>,
    declared: Mutex<HashSet<Queue>>,
    /// Queues that had been deleted and were made again. The server does not always tell their consumers.
    remade: broadcast::Sender<Queue>,
    /// Why this life is over.
    over: watch::Sender<Option<String>>,
}

impl Live {
    /// Connects, logs in and opens the channels.
    pub(super) async fn open(
        address: Arc<Address>,
        names: Names,
        queues: Vec<Queue>,
    ) -> Result<Arc<Self>, Trouble> {
        let connect = async {
            let publishing = connect(&address, "bifrost").await?;
            let publisher = publishing.create_channel().await?;
            publisher.confirm_select(ConfirmSelectOptions::default()).await?;
            let commands = publishing.create_channel().await?;
            topology::declare_exchange(&commands, &names).await?;
            for queue in &queues {
                topology::declare(&commands, &names, queue).await?;
            }
            Ok((publishing, publisher, commands))
        };
        let (publishing, publisher, commands) = match timeout(WITHIN, connect).await {
            Ok(Ok(open)) => open,
            Ok(Err(error)) => return Err(address.explain(&error)),
            Err(_) => {
                return Err(Trouble::away(format!("no answer from rabbitmq at {address} within {WITHIN:?}")));
            }
        };
        Ok(Arc::new(Self {
            address,
            names,
            publishing,
            consuming: OnceCell::new(),
            publisher,
            handing_over: Mutex::default(),
            commands: tokio::sync::Mutex::new(commands),
            declared: Mutex::new(queues.into_iter().collect()),
            remade: broadcast::Sender::new(16),
            over: watch::Sender::default(),
        }))
    }

    /// Returns when this life is over, with the reason.
    pub(super) async fn ended(&self) -> String {
        let mut events = pin!(self.publishing.events_listener());
        let mut over = self.over.subscribe();
        let watched = async {
            while let Some(event) = events.next().await {
                match event {
                    // Of a channel only: whoever used it was told.
                    Event::Error(error) if is_refusal(&error) => {}
                    Event::Error(error) => return self.address.explain(&error).reason,
                    Event::ConnectionBlocked(reason) => {
                        tracing::warn!(address = %self.address, reason, "rabbitmq takes no messages for now");
                    }
                    Event::ConnectionUnblocked => {
                        tracing::info!(address = %self.address, "rabbitmq takes messages again");
                    }
                    _ => {}
                }
            }
            format!("the connection to rabbitmq at {} was closed", self.address)
        };
        // An error between the log-in and the listener would not be an event.
        if !self.publishing.status().connected() {
            return format!("the connection to rabbitmq at {} was closed", self.address);
        }
        let reason = tokio::select! {
            reason = watched => reason,
            reason = wait(&mut over) => reason,
        };
        self.end(reason.clone());
        reason
    }

    /// Ends this life: what is under way fails.
    pub(super) fn end(&self, reason: String) {
        self.over.send_if_modified(|over| {
            let first = over.is_none();
            over.get_or_insert(reason);
            first
        });
    }

    /// Whether this life is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Says goodbye, so that the server logs no lost connection.
    pub(super) async fn close(&self) {
        let goodbye = async {
            if let Some(consuming) = self.consuming.get() {
                let _ = consuming.close(200, "closed".into()).await;
            }
            let _ = self.publishing.close(200, "closed".into()).await;
        };
        let _ = timeout(Duration::from_secs(2), goodbye).await;
        self.end("it is closed".to_owned());
    }

    /// Makes a port error; one that the connection does not survive ends this life.
    fn trouble(&self, error: &lapin::Error) -> Error {
        let reason = self.address.explain(error).reason;
        if is_refusal(error) {
            return Error::Refused(reason);
        }
        self.end(reason.clone());
        Error::Away(reason)
    }

    /// The channel for commands; a refused command closes it, the next opens another.
    async fn commands(&self) -> lapin::Result<MutexGuard<'_, Channel>> {
        let mut channel = self.commands.lock().await;
        if !channel.status().connected() {
            *channel = self.publishing.create_channel().await?;
        }
        Ok(channel)
    }

    /// Bounds a command.
    async fn within<T>(&self, command: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
        let mut over = self.over.subscribe();
        let answered = async {
            match timeout(WITHIN, command).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(self.trouble(&error)),
                Err(_) => {
                    Err(Error::Away(format!("no answer from rabbitmq at {} within {WITHIN:?}", self.address)))
                }
            }
        };
        tokio::select! {
            answer = answered => answer,
            reason = wait(&mut over) => Err(Error::Away(reason)),
        }
    }

    /// Declares the queue unless that was done in this life.
    pub(super) async fn ensure(&self, queue: &Queue) -> Result<(), Error> {
        if lock(&self.declared).contains(queue) {
            return Ok(());
        }
        let declare = async { topology::declare(&*self.commands().await?, &self.names, queue).await };
        self.within(declare).await?;
        lock(&self.declared).insert(queue.clone());
        Ok(())
    }

    /// Somebody may have deleted the queue: it is declared again before its next use.
    pub(super) fn doubt(&self, queue: &Queue) {
        lock(&self.declared).remove(queue);
    }

    /// The queue turned out to be gone: declares it again and tells its consumers in this process.
    pub(super) async fn remake(&self, queue: &Queue) -> Result<(), Error> {
        self.doubt(queue);
        self.ensure(queue).await?;
        let _ = self.remade.send(queue.clone());
        Ok(())
    }

    /// Follows which queues are made again.
    pub(super) fn remade(&self) -> broadcast::Receiver<Queue> {
        self.remade.subscribe()
    }

    /// Publishes to the queue and waits for the confirm.
    pub(super) async fn publish(&self, queue: &Queue, body: &[u8]) -> Result<Published, Error> {
        self.send(ShortString::default(), self.names.main(queue), body, BasicProperties::default()).await
    }

    /// Publishes to the queue's dead letters, with the reason, and waits for the confirm.
    pub(super) async fn bury(&self, queue: &Queue, body: &[u8], reason: &str) -> Result<Published, Error> {
        let mut headers = FieldTable::default();
        let reason = crate::broker::bound_reason(reason);
        headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
        let properties = BasicProperties::default().with_headers(headers);
        self.send(self.names.exchange(), self.names.main(queue), body, properties).await
    }

    async fn send(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<Published, Error> {
        const PERSISTENT: u8 = 2;
        let mut over = self.over.subscribe();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_delivery_mode(PERSISTENT);
        let mut publish = pin!(self.publisher.basic_publish(exchange, key, options, body, properties));
        // The first poll numbers the confirm and queues the frames.
        let handed_over = std::future::poll_fn(|context| {
            let _alone = lock(&self.handing_over);
            Poll::Ready(publish.as_mut().poll(context))
        })
        .await;
        let confirmed = async {
            match handed_over {
                Poll::Ready(confirm) => confirm?.await,
                Poll::Pending => publish.await?.await,
            }
        };
        let answer = tokio::select! {
            answer = timeout(CONFIRM_WITHIN, confirmed) => answer,
            reason = wait(&mut over) => return Err(Error::Away(reason)),
        };
        match answer {
            Ok(Ok(Confirmation::Ack(None))) => Ok(Published::Confirmed),
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => Ok(Published::Unroutable),
            Ok(Ok(Confirmation::Nack(None) | Confirmation::NotRequested)) => Ok(Published::NotTaken),
            // Whatever ended the publisher's channel ends all that is in flight on it: begin anew.
            Ok(Err(error)) => {
                let reason = self.address.explain(&error).reason;
                self.end(reason.clone());
                Err(Error::Away(reason))
            }
            Err(_) => Err(Error::Away(format!(
                "no confirm from rabbitmq at {} within {CONFIRM_WITHIN:?}",
                self.address
            ))),
        }
    }

    /// Opens a consumer on a channel of its own, with its prefetch.
    pub(super) async fn consume(&self, queue: &Queue, prefetch: u16) -> Result<(Channel, Consumer), Error> {
        self.ensure(queue).await?;
        let open = async {
            let connection =
                self.consuming.get_or_try_init(|| connect(&self.address, "bifrost consumer")).await?;
            let channel = connection.create_channel().await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let consumer = channel
                .basic_consume(
                    self.names.main(queue),
                    ShortString::default(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            Ok((channel, consumer))
        };
        let opened = self.within(open).await;
        if matches!(opened, Err(Error::Refused(_))) {
            self.doubt(queue);
        }
        opened
    }

    /// Messages that wait.
    pub(super) async fn depth(&self, queue: &Queue) -> Result<u64, Error> {
        self.ensure(queue).await?;
        // Declaring again answers with the count, and mends a queue that was deleted.
        let count = async { topology::declare_main(&*self.commands().await?, &self.names, queue).await };
        self.within(count).await
    }

    /// A round trip.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let declare = async { topology::declare_exchange(&*self.commands().await?, &self.names).await };
        self.within(declare).await
    }

    /// Takes dead letters out of their queue.
    pub(super) async fn take_dead_letters(
        &self,
        queue: &Queue,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.ensure(queue).await?;
        let take = async {
            // A channel of its own: if this is cut short, closing it returns what was not acked.
            let channel = self.publishing.create_channel().await?;
            let (mut letters, mut last) = (Vec::new(), None);
            while letters.len() < limit.min(TAKEN) {
                let Some(got) = channel.basic_get(self.names.dead(queue), BasicGetOptions::default()).await?
                else {
                    break;
                };
                last = Some(got.delivery.delivery_tag);
                letters.push(DeadLetter {
                    reason: reason(&got.delivery.properties),
                    body: got.delivery.data.into(),
                });
            }
            if let Some(last) = last {
                channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
            }
            channel.close(200, "done".into()).await?;
            Ok(letters)
        };
        self.within(take).await
    }

    /// Deletes queues and the exchange, with all that is in them.
    pub(super) async fn delete(&self, queues: &[Queue]) -> Result<(), Error> {
        self.within(async { topology::delete(&*self.commands().await?, &self.names, queues).await }).await?;
        queues.iter().for_each(|queue| self.doubt(queue));
        Ok(())
    }
}

async fn connect(address: &Address, name: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(address.uri(), properties).await
}

/// Waits for the end of a life.
async fn wait(over: &mut watch::Receiver<Option<String>>) -> String {
    match over.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "it is closed".to_owned(),
    }
}

/// Why a message is dead: our header, else what the server says about it.
fn reason(properties: &BasicProperties) -> String {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let own = headers.and_then(|headers| headers.get(REASON));
    let servers = headers.and_then(|headers| headers.get("x-first-death-reason"));
    match own.or(servers) {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        _ => "unknown".to_owned(),
    }
}
