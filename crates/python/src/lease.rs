//! The worker's lease as the runtime sees it: a deadline that only renewals move.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// When runs have to be dead, unless renewed. Not armed until the first renewal (embedded mode without leases).
#[derive(Debug)]
pub(crate) struct Lease {
    deadline: watch::Sender<Option<Instant>>,
    lapses: AtomicU64,
}

impl Lease {
    pub(crate) fn new() -> Self {
        Self { deadline: watch::Sender::new(None), lapses: AtomicU64::new(0) }
    }

    /// Valid for `valid` from now on.
    pub(crate) fn renew(&self, valid: Duration) {
        if self.is_over(Duration::ZERO) {
            self.lapses.fetch_add(1, Ordering::AcqRel);
        }
        self.deadline.send_replace(Some(Instant::now() + valid));
    }

    /// Counts how often it had run out when it was renewed. A child that was forked before is dead, or about to be: the
    /// zygote kills by its own clock.
    pub(crate) fn lapses(&self) -> u64 {
        self.lapses.load(Ordering::Acquire)
    }

    /// How long it is still valid; `None` when it was never armed.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline.borrow().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether it was armed and has run out, or will within `slack`.
    pub(crate) fn is_over(&self, slack: Duration) -> bool {
        self.remaining().is_some_and(|left| left <= slack)
    }

    /// Tells of each renewal.
    pub(crate) fn renewals(&self) -> watch::Receiver<Option<Instant>> {
        self.deadline.subscribe()
    }

    /// Ends when the lease has run out.
    pub(crate) async fn ran_out(&self) {
        let mut renewed = self.deadline.subscribe();
        loop {
            let deadline = *renewed.borrow_and_update();
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {
                    // A renewal may have come while this task was not running.
                    if *renewed.borrow() == deadline {
                        return;
                    }
                }
                _changed = renewed.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_renewal_moves_the_end() {
        let lease = Lease::new();
        assert!(!lease.is_over(Duration::ZERO));
        lease.renew(Duration::from_secs(8));
        let begun = Instant::now();
        let renewing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            lease.renew(Duration::from_secs(8));
        };
        tokio::join!(lease.ran_out(), renewing);
        assert_eq!(begun.elapsed().as_secs(), 13);
        assert!(lease.is_over(Duration::ZERO));
        assert_eq!(lease.lapses(), 0);
        lease.renew(Duration::from_secs(1));
        assert_eq!(lease.lapses(), 1);
    }
}
