//! Between the row and the worker: a bad message, a broker that refuses, a backlog.

use crate::workspace::FILES;
use async_trait::async_trait;
use bifrost_domain::{
    execution::{Kind, Status},
    ids::ExecutionId,
    ports::broker::{Broker, Connection, DeadLetter, Error, Queue, Subscription},
};
use bifrost_storage::executions::Filter;
use bifrost_test_support::{
    World, in_both_worlds,
    world::{Mode, WrapBroker},
};
use bytes::Bytes;
use chrono::Duration;
use futures::FutureExt;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::watch;

in_both_worlds![crate::workspace::FILES;
    an_unknown_message_becomes_a_dead_letter,
    a_backlog_is_worked_off_over_a_shallow_broker,
    a_caller_that_goes_away_leaves_a_run_that_goes_on,
];

async fn an_unknown_message_becomes_a_dead_letter(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let queue = Queue(Kind::Workflow.queue());
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let bodies = ["not json".to_owned(), format!(r#"{{"v":99,"execution_id":"{id}"}}"#)];
    for body in &bodies {
        world.broker.publish(&queue, Bytes::from(body.clone())).await.expect("published");
    }
    // A message about a row that does not exist is harmless.
    let unknown = format!(r#"{{"v":1,"execution_id":"{id}"}}"#);
    world.broker.publish(&queue, unknown.into()).await.expect("published");
    assert_eq!(world.execute("noop", json!({})).await.status, Status::Success);
    let mut dead: Vec<DeadLetter> = Vec::new();
    world
        .until("both are dead letters", async || {
            dead.extend(world.broker.take_dead_letters(&queue, 10).await.expect("taken"));
            dead.len() >= 2
        })
        .await;
    dead.sort_by_key(|letter| letter.body.len());
    assert_eq!(dead.iter().map(|letter| letter.body.clone()).collect::<Vec<_>>(), bodies);
    assert!(dead[0].reason.contains("not a run message"), "{}", dead[0].reason);
    assert!(dead[1].reason.contains("version 99"), "{}", dead[1].reason);
}

/// Accepts `count` runs at once.
async fn submit_many(world: &World, workflow: &str, count: usize) -> Vec<ExecutionId> {
    let mut accepted = Vec::with_capacity(count);
    for _ in 0..count {
        accepted.push(world.submit(workflow, json!({})));
    }
    futures::future::join_all(accepted).await
}

async fn a_backlog_is_worked_off_over_a_shallow_broker(world: Arc<World>) {
    const RUNS: usize = 300;
    const SHALLOW: u32 = 64;
    let now = || world.app.clock().now();
    let first = world.start_worker(|_| {}).await;
    world.drain(&first).await;
    // All at once, while nobody takes any.
    let ids = submit_many(&world, "noop", RUNS).await;
    let (dispatched, waiting) = world.store.count_waiting(1_000, now()).await.expect("counted");
    assert_eq!(dispatched + waiting, 300);
    assert!((1..=SHALLOW).contains(&dispatched), "{dispatched} are dispatched");
    let worker = world.start_worker(|_| {}).await;
    let mut deepest = 0;
    world
        .until("all have ended", async || {
            let (dispatched, waiting) = world.store.count_waiting(1_000, now()).await.expect("counted");
            deepest = dispatched.max(deepest);
            assert!(worker.running() <= 4, "{} run in four slots", worker.running());
            dispatched == 0 && waiting == 0 && worker.running() == 0
        })
        .await;
    assert!(deepest <= SHALLOW, "{deepest} were dispatched at a time");
    for id in ids {
        let run = world.ended(id).await;
        assert_eq!((run.status, run.attempt), (Status::Success, 1), "{run:?}");
    }
}

async fn a_caller_that_goes_away_leaves_a_run_that_goes_on(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    assert_eq!(world.execute("noop", json!({})).await.status, Status::Success);
    let before =
        world.app.list_executions(&world.caller, None, &Filter::default(), 100).await.expect("read").0.len();
    // What is looked up for a submit is known for a moment from here on: the next ones wait for their row alone.
    world.submit("noop", json!({})).await;
    for _ in 0..5 {
        let gone = world.submit("noop", json!({})).now_or_never();
        assert_eq!(gone, None, "it was dropped in the middle");
    }
    let mut runs = Vec::new();
    world
        .until("all are accepted and have ended", async || {
            let filter = Filter::default();
            runs = world.app.list_executions(&world.caller, None, &filter, 100).await.expect("read").0;
            runs.len() == before + 6 && runs.iter().all(|run| run.status.is_terminal())
        })
        .await;
    for run in runs {
        assert_eq!((run.status, run.attempt), (Status::Success, 1));
        let took = run.completed_at.expect("an end") - run.created_at;
        assert!(took < Duration::seconds(10), "{took}: the sweep found it, nobody else");
    }
}

/// Refuses the first publishes.
struct Refusing {
    inner: Arc<dyn Broker>,
    left: AtomicUsize,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Broker for Refusing {
    async fn publish(&self, queue: &Queue, body: Bytes) -> Result<(), Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let refuse = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if refuse.is_ok() {
            return Err(Error::Away("not yet".to_owned()));
        }
        self.inner.publish(queue, body).await
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error> {
        self.inner.subscribe(queue, prefetch).await
    }

    async fn depth(&self, queue: &Queue) -> Result<u64, Error> {
        self.inner.depth(queue).await
    }

    async fn take_dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.inner.take_dead_letters(queue, limit).await
    }

    fn connection(&self) -> watch::Receiver<Connection> {
        self.inner.connection()
    }

    async fn probe(&self) -> Result<(), Error> {
        self.inner.probe().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

async fn refused_publishes_are_repeated(mode: Mode) {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let wrap: WrapBroker =
        Box::new(move |inner| Arc::new(Refusing { inner, left: AtomicUsize::new(15), asked: seen }));
    let world = World::with_broker(mode, FILES, wrap).await;
    world
        .run(|world| async move {
            world.start_worker(|_| {}).await;
            let ids = submit_many(&world, "greet", 10).await;
            for id in ids {
                let run = world.ended(id).await;
                assert_eq!((run.status, run.attempt), (Status::Success, 1));
            }
            assert!(asked.load(Ordering::Relaxed) >= 25, "ten direct ones, then the relay's");
        })
        .await;
}

mod refused_publishes {
    use super::{Mode, refused_publishes_are_repeated};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn embedded() {
        refused_publishes_are_repeated(Mode::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stack() {
        refused_publishes_are_repeated(Mode::Stack).await;
    }
}
