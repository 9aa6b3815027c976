//! Live events within one process.

use super::fanout::Fanout;
use crate::metrics;
use async_trait::async_trait;
use bifrost_domain::ports::bus::{Bus, Error, MAX_EVENT, Signal, Subscription};
use bytes::Bytes;
use std::sync::Arc;

/// The bus of one process: never away.
#[derive(Debug, Default)]
pub struct InProcess {
    fanout: Arc<Fanout>,
}

impl InProcess {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        metrics::bus_connected(true);
        Self::default()
    }
}

#[async_trait]
impl Bus for InProcess {
    fn publish(&self, topic: &str, event: Bytes) {
        metrics::bus_sent(1);
        let signal = if event.len() > MAX_EVENT { Signal::Missed } else { Signal::Event(event) };
        self.fanout.send(topic, &signal);
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription, Error> {
        let (signals, guard) = self.fanout.add(topic, None);
        Ok(Subscription { signals, guard: Box::new(guard) })
    }

    async fn probe(&self) -> Result<(), Error> {
        Ok(())
    }
}
