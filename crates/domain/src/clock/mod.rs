//! Time and ids from outside, so that tests decide both.

mod steady;

pub use steady::{Followed, SteadyClock, SteadyIds};

use chrono::{DateTime, SubsecRound, Utc};
use std::sync::Arc;
use uuid::Uuid;

/// Tells the time. Every stored time is cut to microseconds, the precision of PostgreSQL, so that a value written
/// and read again is equal.
pub trait Clock: Send + Sync + 'static {
    /// The time now, UTC, cut to microseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// Makes ids.
pub trait Ids: Send + Sync + 'static {
    /// A new UUIDv7 (RFC 9562): ordered by time of making.
    fn next(&self) -> Uuid;
}

/// A clock shared by the rooms of one process.
pub type SharedClock = Arc<dyn Clock>;
/// An id generator shared by the rooms of one process.
pub type SharedIds = Arc<dyn Ids>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

/// UUIDv7 from the machine's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The smallest UUIDv7 that a generator could make at `time`: the lower bound of a partition or of a time window over ids.
#[must_use]
pub fn floor_id(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

/// The time that a UUIDv7 carries (milliseconds), or `None` for ids of another version.
#[must_use]
pub fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let mut millis = [0_u8; 8];
    millis[2..].copy_from_slice(&id.as_bytes()[..6]);
    DateTime::from_timestamp_millis(i64::try_from(u64::from_be_bytes(millis)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_lies_between_the_floors_around_its_time() {
        let id = SystemIds.next();
        let made = time_of(id).expect("version 7");
        assert!(floor_id(made) <= id);
        assert!(id < floor_id(made + chrono::Duration::milliseconds(1)));
        assert_eq!(time_of(Uuid::nil()), None);
    }

    #[test]
    fn times_have_no_nanoseconds() {
        assert_eq!(SystemClock.now().timestamp_subsec_nanos() % 1_000, 0);
    }
}
