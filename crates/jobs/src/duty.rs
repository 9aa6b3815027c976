//! A duty that one of several workers has: a lease in the store, renewed well before it ends and asked for no more often.

use crate::{Worker, chrono_duration, metrics};
use ::metrics::Gauge;
use std::time::Duration;
use tokio::time::Instant;

/// How long a duty is held without renewal.
const LEASE: Duration = Duration::from_secs(6);
/// It is renewed when less than this is left, and asked for again so long after it was refused.
const RENEW: Duration = Duration::from_secs(3);
/// What had to wait for the database is done so long after it answered again: whoever kept an end tries again every 5 s, and waits
/// 5 s for a connection.
const SETTLING: Duration = Duration::from_secs(10);
/// A process that has just started does not know whether the database was away a moment ago; one round of those tries has passed then.
const STARTING: Duration = Duration::from_secs(5);

/// One duty of this worker.
pub(crate) struct Duty {
    name: &'static str,
    held_until: Option<Instant>,
    ask_at: Instant,
    settled_at: Instant,
    shown: Gauge,
}

impl Duty {
    pub(crate) fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self { name, held_until: None, ask_at: now, settled_at: now + STARTING, shown: metrics::duty(name) }
    }

    /// Whether this worker has the duty now.
    pub(crate) async fn is_mine(&mut self, worker: &Worker) -> bool {
        let now = Instant::now();
        if now >= self.ask_at {
            match worker.app.hold_duty(self.name, worker.id(), chrono_duration(LEASE)).await {
                Ok(true) => {
                    // Counted from before the question, so that it never ends later here than in the store.
                    self.held_until = Some(now + LEASE);
                    self.ask_at = now + RENEW;
                }
                Ok(false) => {
                    self.held_until = None;
                    self.ask_at = now + RENEW;
                }
                Err(error) => {
                    tracing::debug!(duty = self.name, error = %error, "a duty was not renewed");
                    self.settled_at = Instant::now() + SETTLING;
                }
            }
        }
        let is_mine = self.held_until.is_some_and(|until| now < until);
        self.shown.set(u8::from(is_mine));
        is_mine
    }

    /// Whether the store has answered for long enough, as far as this duty knows: leases that ended while it was away say nothing of
    /// their workers, who may still store the ends that they kept meanwhile.
    pub(crate) fn is_settled(&self) -> bool {
        Instant::now() >= self.settled_at
    }
}
