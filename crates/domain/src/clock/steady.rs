//! A clock that nobody steps: it goes on by the time that has passed since its start, and follows another only as far as clocks drift.

use super::{Clock, Ids};
use chrono::{DateTime, Duration, SubsecRound, Utc};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};
use uuid::{ContextV7, Timestamp, Uuid};

/// Smaller differences are the network's, and are left alone: times that are compared stay in their order.
const NOISE: Duration = Duration::milliseconds(500);
/// Larger ones are no drift: somebody set a clock.
const DRIFT: Duration = Duration::seconds(5);

/// See the module. Setting the machine's clock does nothing to it.
pub struct SteadyClock {
    /// The time that has passed since some moment; it counts the time that a machine sleeps, and is never set.
    passed: Box<dyn Fn() -> std::time::Duration + Send + Sync>,
    /// Microseconds of the Unix time at that moment.
    origin: AtomicI64,
}

impl std::fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SteadyClock").field(&self.now()).finish()
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// The two agree, as far as one can tell.
    Agrees,
    /// They had drifted apart by so much, and agree again.
    Turned(Duration),
    /// They are so far apart that one of them was set: nothing was done. Every process that compared its leases with others' before
    /// still does so by the same time.
    TooFar(Duration),
}

impl SteadyClock {
    /// A clock that shows `now`, and goes on as `passed` says.
    #[must_use]
    pub fn starting_at(
        now: DateTime<Utc>,
        passed: impl Fn() -> std::time::Duration + Send + Sync + 'static,
    ) -> Self {
        let origin = now.timestamp_micros() - micros(passed());
        Self { passed: Box::new(passed), origin: AtomicI64::new(origin) }
    }

    /// Compares the clock with another that shows `now`, and follows a drift.
    pub fn follow(&self, now: DateTime<Utc>) -> Followed {
        let difference = now - self.now();
        if difference.abs() <= NOISE {
            return Followed::Agrees;
        }
        if difference.abs() > DRIFT {
            return Followed::TooFar(difference);
        }
        self.origin.fetch_add(difference.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        Followed::Turned(difference)
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Clock for SteadyClock {
    fn now(&self) -> DateTime<Utc> {
        let now = self.origin.load(Ordering::Relaxed).saturating_add(micros((self.passed)()));
        DateTime::from_timestamp_micros(now).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
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
    use std::{sync::atomic::AtomicU64, time::Duration as Passed};

    /// A clock, and what makes time pass.
    fn clock(start: DateTime<Utc>) -> (SteadyClock, Arc<AtomicU64>) {
        let passed = Arc::new(AtomicU64::new(1_000_000));
        let read = Arc::clone(&passed);
        (SteadyClock::starting_at(start, move || Passed::from_micros(read.load(Ordering::Relaxed))), passed)
    }

    #[test]
    fn it_goes_on_by_itself_and_follows_a_drift_alone() {
        let start = SystemClock.now();
        let (clock, passed) = clock(start);
        assert_eq!(clock.now(), start);
        passed.fetch_add(2_000_000, Ordering::Relaxed);
        let later = start + Duration::seconds(2);
        assert_eq!(clock.now(), later);
        for noise in [400, -400] {
            assert_eq!(clock.follow(later + Duration::milliseconds(noise)), Followed::Agrees);
        }
        assert_eq!(clock.now(), later, "times stay in their order");
        for step in [Duration::hours(1), Duration::hours(-1), Duration::minutes(10), Duration::seconds(6)] {
            assert_eq!(clock.follow(later + step), Followed::TooFar(step), "somebody set a clock");
            assert_eq!(clock.now(), later);
        }
        for drift in [Duration::seconds(1), Duration::seconds(-2)] {
            let theirs = clock.now() + drift;
            assert_eq!(clock.follow(theirs), Followed::Turned(drift));
            assert_eq!(clock.now(), theirs);
        }
    }

    #[test]
    fn ids_never_go_backwards() {
        let (clock, passed) = clock(SystemClock.now());
        let clock = Arc::new(clock);
        let ids = SteadyIds::new(clock.clone());
        let mut last = ids.next();
        for turn in [Duration::zero(), Duration::seconds(-4), Duration::seconds(3), Duration::seconds(-5)] {
            clock.follow(clock.now() + turn);
            for _ in 0..1_000 {
                let next = ids.next();
                assert!(next > last, "{next} after {last}, turned by {turn}");
                last = next;
            }
            passed.fetch_add(10_000, Ordering::Relaxed);
        }
        let made = time_of(last).expect("version 7");
        assert!((made - SystemClock.now()).abs() < Duration::minutes(1), "{made}");
    }
}
