//! A clock that nobody steps: it goes on by the machine's monotonic clock, and is turned only by whoever compares it with another.

use super::{Clock, Ids};
use chrono::{DateTime, Duration, SubsecRound, Utc};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};
use uuid::{ContextV7, Timestamp, Uuid};

/// Smaller differences are the network's, and are left alone: times that are compared stay in their order.
const TOLERANCE: Duration = Duration::milliseconds(500);

/// See the module. Setting the machine's clock does nothing to it.
#[derive(Debug)]
pub struct SteadyClock {
    begun: Instant,
    /// Microseconds of the Unix time at `begun`.
    origin: AtomicI64,
}

impl SteadyClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn starting_at(now: DateTime<Utc>) -> Self {
        Self { begun: Instant::now(), origin: AtomicI64::new(now.timestamp_micros()) }
    }

    /// Turns the clock to `now` when it differs by more than half a second. Tells by how much it was turned, if it was.
    pub fn follow(&self, now: DateTime<Utc>) -> Option<Duration> {
        let difference = now - self.now();
        if difference.abs() <= TOLERANCE {
            return None;
        }
        self.origin.fetch_add(difference.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        Some(difference)
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        let micros = self.origin.load(Ordering::Relaxed).saturating_add(passed);
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
    }
}

/// UUIDv7 by a clock. They never go backwards, even when the clock is turned back: then they count on from the last one.
pub struct SteadyIds {
    clock: Arc<dyn Clock>,
    context: Mutex<ContextV7>,
}

impl SteadyIds {
    /// Ids by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, context: Mutex::new(ContextV7::new()) }
    }
}

impl std::fmt::Debug for SteadyIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyIds").finish_non_exhaustive()
    }
}

impl Ids for SteadyIds {
    fn next(&self) -> Uuid {
        let now = self.clock.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*context, seconds, now.timestamp_subsec_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, time_of};

    #[test]
    fn it_goes_on_and_is_turned_only_by_what_is_no_noise() {
        let start = SystemClock.now() - Duration::hours(1);
        let clock = SteadyClock::starting_at(start);
        let first = clock.now();
        assert!(first >= start && first < start + Duration::minutes(1), "{first}");
        assert_eq!(clock.follow(clock.now() + Duration::milliseconds(400)), None);
        assert_eq!(clock.follow(clock.now() - Duration::milliseconds(400)), None);
        assert!(clock.now() >= first, "times stay in their order");
        let turned = clock.follow(start + Duration::hours(1)).expect("an hour is no noise");
        assert!((turned - Duration::hours(1)).abs() < Duration::minutes(1), "{turned}");
        assert!(clock.now() >= start + Duration::hours(1));
        let back = clock.follow(start).expect("and back");
        assert!(back < Duration::zero() && clock.now() < start + Duration::minutes(1));
    }

    #[test]
    fn ids_never_go_backwards() {
        let clock = Arc::new(SteadyClock::starting_at(SystemClock.now()));
        let ids = SteadyIds::new(clock.clone());
        let mut last = ids.next();
        for turn in [Duration::zero(), Duration::hours(-1), Duration::hours(2), Duration::minutes(-90)] {
            clock.follow(clock.now() + turn);
            for _ in 0..1_000 {
                let next = ids.next();
                assert!(next > last, "{next} after {last}, turned by {turn}");
                last = next;
            }
        }
        let made = time_of(last).expect("version 7");
        assert!((made - SystemClock.now()).abs() < Duration::hours(2), "{made}");
    }
}
