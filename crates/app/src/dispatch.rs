//! From the pending row to the broker. The row is the outbox; this publishes it.
//!
//! The submitting process publishes its own row at once while nothing waits and the broker is shallow. Otherwise the relay
//! ([`App::relay`], run by one elected worker) takes rows in turn. A stamp whose publish was not confirmed is taken back, and the relay's
//! sweep finds whatever was forgotten.

use crate::{
    App,
    metrics::{self, By},
};
use bifrost_domain::{
    error::Result,
    execution::Kind,
    ids::ExecutionId,
    messages::{RunMessage, topics},
    ports::broker::{Broker, Error as BrokerError, Queue},
};
use bytes::Bytes;
use chrono::Duration;
use futures::{StreamExt, stream};
use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration as StdDuration,
};
use tokio::{sync::Mutex, time::Instant};

/// Publishes of one round of the relay that wait for their confirm at a time.
const IN_FLIGHT: usize = 256;
/// Dispatched and unclaimed rows at most, unless there are many slots.
const SHALLOW: u32 = 64;

/// How long a count that left nothing to publish is believed: meanwhile rows go to the relay without another count.
const BACKLOG_FOR: StdDuration = StdDuration::from_millis(100);

/// Knows how many rows this process may still publish by itself.
#[derive(Debug, Default)]
pub struct Dispatcher {
    budget: AtomicI64,
    /// Rows that may be published and are not committed yet: no count in the store finds them.
    granted: AtomicI64,
    refill: Mutex<()>,
    /// Until when the relay has everything.
    backlog_until: std::sync::Mutex<Option<Instant>>,
}

/// The right to publish one row; held until the row is committed, when the store counts it.
#[derive(Debug)]
pub(crate) struct Grant<'a>(&'a AtomicI64);

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Dispatcher {
    /// Takes one from the budget. Counted as granted before it is taken, so that whoever finds the budget empty sees all
    /// that was taken from it.
    fn take(&self) -> Option<Grant<'_>> {
        self.granted.fetch_add(1, Ordering::AcqRel);
        let grant = Grant(&self.granted);
        (self.budget.fetch_sub(1, Ordering::AcqRel) > 0).then_some(grant)
    }

    /// Whether a count said lately that rows wait or the broker is full.
    fn knows_backlog(&self) -> bool {
        let until = *self.backlog_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn remember_backlog(&self, backlog: bool) {
        *self.backlog_until.lock().unwrap_or_else(PoisonError::into_inner) =
            backlog.then(|| Instant::now() + BACKLOG_FOR);
    }
}

impl App {
    /// Whether a row that is accepted now may be published by this process: nothing waits, and the broker is shallow.
    /// The answer costs nothing most of the time; once in a while it counts, under a backlog ten times a second at most.
    pub(crate) async fn may_dispatch(&self) -> Option<Grant<'_>> {
        if let Some(grant) = self.dispatcher.take() {
            return Some(grant);
        }
        if self.dispatcher.knows_backlog() {
            return None;
        }
        let _one_counts = self.dispatcher.refill.lock().await;
        // Whoever counted meanwhile counted for all that wait here.
        if let Some(grant) = self.dispatcher.take() {
            return Some(grant);
        }
        if self.dispatcher.knows_backlog() {
            return None;
        }
        let budget = match self.shallow_budget().await {
            Ok(budget) => i64::from(budget),
            // The insert will tell the caller that the database is away.
            Err(_) => 0,
        };
        self.dispatcher.budget.store(budget, Ordering::Release);
        self.dispatcher.remember_backlog(budget == 0);
        self.dispatcher.take()
    }

    /// How many rows may be dispatched now: 0 when others wait already.
    async fn shallow_budget(&self) -> Result<u32> {
        // Read before the store counts: a row that is committed in between counts twice, never not at all.
        let granted = self.granted();
        let (most, dispatched, waiting) = self.depth().await?;
        Ok(if waiting > 0 { 0 } else { most.saturating_sub(dispatched).saturating_sub(granted) })
    }

    fn granted(&self) -> u32 {
        u32::try_from(self.dispatcher.granted.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// How deep the broker may be, how deep it is, and how many rows wait (counted up to one more than the first).
    async fn depth(&self) -> Result<(u32, u32, u32)> {
        let now = self.doors.clock.now();
        let slots: i32 = self.reader.list_live_workers(now).await?.iter().map(|worker| worker.slots).sum();
        let most = SHALLOW.max(2 * u32::try_from(slots).unwrap_or(0));
        let (dispatched, waiting) = self.doors.store.count_waiting(most + 1, now).await?;
        Ok((most, dispatched, waiting))
    }

    /// Publishes a stamped row in the background; takes the stamp back when the broker did not confirm.
    pub(crate) fn publish_soon(self: &Arc<Self>, kind: Kind, id: ExecutionId) {
        let app = self.clone();
        tokio::spawn(async move {
            if let Err(error) = publish(app.doors.broker.as_ref(), kind, id, By::Submit).await {
                tracing::warn!(execution.id = %id, error = %error, "not dispatched; the relay tries again");
                app.take_back(&[id]).await;
            }
        });
    }

    /// Tells the relay that rows wait.
    pub(crate) fn wake_relay(&self) {
        self.doors.bus.publish(topics::WAITING, Bytes::new());
    }

    async fn take_back(&self, ids: &[ExecutionId]) {
        if let Err(error) = self.doors.store.clear_stamps(ids).await {
            // The sweep over unclaimed rows finds them.
            tracing::warn!(error = %error, "stamps of undispatched rows stay until the sweep");
        }
    }

    /// One round of the relay: fills the broker up to its shallow limit with waiting rows, organizations in turn.
    /// Returns how many were dispatched and whether more wait.
    ///
    /// # Errors
    /// The database is away, or the broker is: nothing is lost, the next round tries again.
    pub async fn relay(&self) -> Result<(usize, bool)> {
        if self.depth().await?.2 == 0 {
            self.dispatcher.remember_backlog(false);
            return Ok((0, false));
        }
        // From here on this process publishes nothing on its own, but for what it has granted already.
        self.dispatcher.budget.store(0, Ordering::Release);
        let granted = self.granted();
        let (most, unclaimed, waiting) = self.depth().await?;
        let room = most.saturating_sub(unclaimed).saturating_sub(granted);
        if waiting == 0 || room == 0 {
            return Ok((0, waiting > 0));
        }
        let reserved = self.doors.store.reserve_due(room, self.doors.clock.now()).await?;
        let dispatched = reserved.len();
        let publishes = reserved.into_iter().map(|row| {
            let broker = self.doors.broker.clone();
            async move {
                let published = publish(broker.as_ref(), row.kind, row.id, By::Relay).await;
                published.err().map(|error| (row.id, error))
            }
        });
        let outcomes: Vec<_> = stream::iter(publishes).buffered(IN_FLIGHT).collect().await;
        let failed: Vec<ExecutionId> = outcomes
            .into_iter()
            .flatten()
            .map(|(id, error)| {
                tracing::debug!(execution.id = %id, error = %error, "not dispatched");
                id
            })
            .collect();
        if !failed.is_empty() {
            self.take_back(&failed).await;
            return Err(bifrost_domain::error::Error::unavailable("the broker is away"));
        }
        Ok((dispatched, waiting > room))
    }

    /// Finds rows that were dispatched long ago and never claimed, and lets the relay dispatch them again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sweep_unclaimed(&self) -> Result<u64> {
        Ok(self.doors.store.clear_overdue_stamps(self.doors.clock.now()).await?)
    }

    /// After the broker came back: its messages may be gone, so stamps of unclaimed rows are taken back, at most `limit`
    /// of them (the caller repeats at a bounded rate until none is left).
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_dispatches(&self, age: Duration, limit: u32) -> Result<u64> {
        Ok(self.doors.store.clear_stamps_before(self.doors.clock.now() - age, limit).await?)
    }

    /// When the next delayed row is due.
    ///
    /// # Errors
    /// The database is away.
    pub async fn next_due(&self) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
        Ok(self.doors.store.next_due().await?)
    }
}

async fn publish(broker: &dyn Broker, kind: Kind, id: ExecutionId, by: By) -> Result<(), BrokerError> {
    let body =
        serde_json::to_vec(&RunMessage::new(id)).map_err(|error| BrokerError::Refused(error.to_string()))?;
    broker.publish(&Queue(kind.queue()), body.into()).await?;
    metrics::dispatched(by);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_believed_for_a_moment() {
        let dispatcher = Dispatcher::default();
        assert!(!dispatcher.knows_backlog());
        dispatcher.remember_backlog(true);
        assert!(dispatcher.knows_backlog());
        dispatcher.remember_backlog(false);
        assert!(!dispatcher.knows_backlog());
        let past = Instant::now();
        *dispatcher.backlog_until.lock().expect("a lock") = Some(past);
        assert!(!dispatcher.knows_backlog());
    }
}
