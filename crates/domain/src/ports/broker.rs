//! The queue between the API and the workers.
//!
//! Guarantees: a message whose [`Broker::publish`] returned `Ok` survives a restart of the broker (in process: of nothing
//! but the consumer) and is delivered at least once, in order of publishing to one consumer while nothing is returned; a delivery that is
//! neither acked nor rejected is delivered again when its subscription is dropped; [`Settle::reject`] puts the message on the queue's
//! dead-letter queue with the reason; an unacked delivery counts against the subscription's prefetch. Nobody relies on exactly-once: the
//! claim of the row decides.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// The largest body that may be published, in bytes. Messages carry ids; larger values belong to the object store.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// The longest reason of a dead letter, in bytes; a longer one is cut.
pub const MAX_REASON: usize = 4_096;

/// Why the broker did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is away; the adapter reconnects by itself, the caller tries again.
    #[error("the broker is away: {0}")]
    Away(String),
    /// It refused the message (full, too large, no such queue).
    #[error("the broker refused the message: {0}")]
    Refused(String),
}

/// A durable queue. Names are readable in the management UI: `{prefix}.workflows`, its dead letters in `{prefix}.workflows.dead`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Queue(pub &'static str);

/// A message as it is delivered.
#[derive(Debug)]
pub struct Delivery {
    /// The body, as published.
    pub body: Bytes,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Settles it; dropping it unsettled returns the message when the subscription ends.
    pub settle: Settle,
}

/// What happens to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Back to the queue.
    Requeue,
    /// To the dead-letter queue, with the reason.
    Reject(String),
}

/// The one-time right to settle a delivery. Settling is pipelined: it does not wait for the broker.
#[derive(Debug)]
pub struct Settle {
    tag: u64,
    verdicts: mpsc::UnboundedSender<(u64, Verdict)>,
}

impl Settle {
    /// For adapters: `verdicts` is read by the subscription's own task. It is bounded by the prefetch.
    #[must_use]
    pub const fn new(tag: u64, verdicts: mpsc::UnboundedSender<(u64, Verdict)>) -> Self {
        Self { tag, verdicts }
    }

    /// The message is done.
    pub fn ack(self) {
        self.send(Verdict::Ack);
    }

    /// The message goes back to its queue.
    pub fn requeue(self) {
        self.send(Verdict::Requeue);
    }

    /// The message goes to the dead-letter queue with `reason`.
    pub fn reject(self, reason: impl Into<String>) {
        self.send(Verdict::Reject(reason.into()));
    }

    fn send(self, verdict: Verdict) {
        // A closed subscription has returned the message already.
        let _ = self.verdicts.send((self.tag, verdict));
    }
}

/// A running subscription: deliveries arrive until it is dropped; reconnects are the adapter's business.
#[derive(Debug)]
pub struct Subscription {
    /// At most `prefetch` unsettled deliveries at a time. Closed when the broker port shuts down.
    pub deliveries: mpsc::Receiver<Delivery>,
}

/// A dead letter, for people to look at.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The body, as published.
    pub body: Bytes,
    /// Why it is dead.
    pub reason: String,
}

/// What a broker says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Usable. The number counts connections since the start: a change means that it was away in between and
    /// that stamps of unclaimed rows have to be cleared.
    Up(u64),
    /// Not usable; reconnecting.
    Down,
}

/// The broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes persistently and waits for the broker's confirm. Many calls may be in flight.
    async fn publish(&self, queue: &Queue, body: Bytes) -> Result<(), Error>;

    /// Subscribes with a prefetch of at least 1.
    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error>;

    /// Messages that wait in the queue (not delivered yet).
    async fn depth(&self, queue: &Queue) -> Result<u64, Error>;

    /// Takes at most `limit` dead letters out of the queue's dead-letter queue.
    async fn take_dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Follows the connection.
    fn connection(&self) -> tokio::sync::watch::Receiver<Connection>;

    /// A real round trip to the server over the connection that is open already.
    async fn probe(&self) -> Result<(), Error>;

    /// What an operator has to change before it can work (a wrong password, no vhost), in words that everybody may read: no address, no
    /// name. `None` while it works or is merely away.
    fn misconfigured(&self) -> Option<&'static str> {
        None
    }

    /// Returns what is held and closes.
    async fn close(&self);
}
