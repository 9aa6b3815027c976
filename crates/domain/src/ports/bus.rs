//! Live events between processes: best effort, at most once, in order per topic and publisher. The store is the truth; an
//! event says "look again". A subscriber that was cut off, or that was too slow, gets [`Signal::Missed`] and reads the store.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// The largest event, in bytes. A larger one is not sent: its subscribers get [`Signal::Missed`] instead.
pub const MAX_EVENT: usize = 1024 * 1024;

/// A topic, e.g. `execution:{id}`.
pub type Topic = String;

/// What a subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// An event.
    Event(Bytes),
    /// Events may have been lost (reconnect, overflow): read the store again.
    Missed,
}

/// Why the bus did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the bus is away: {0}")]
pub struct Error(pub String);

/// A running subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    /// Bounded: a subscriber that does not read gets one [`Signal::Missed`] in place of what it lost.
    pub signals: mpsc::Receiver<Signal>,
    /// Held for its `Drop`, which ends the subscription at the adapter.
    pub guard: Box<dyn std::any::Any + Send + Sync>,
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends without waiting for anybody; events are pipelined and, while the bus is away, dropped (subscribers see `Missed` afterwards).
    fn publish(&self, topic: &str, event: Bytes);

    /// When this returns, every event published afterwards is received, or `Missed` is.
    async fn subscribe(&self, topic: &str) -> Result<Subscription, Error>;

    /// A real round trip to the server over the connection that is open already.
    async fn probe(&self) -> Result<(), Error>;

    /// What an operator has to change before it can work (a password, a permission), in words that everybody may read: no address, no
    /// name. `None` while it works or is merely away.
    fn misconfigured(&self) -> Option<&'static str> {
        None
    }
}
