//! A clock that stands until a test moves it.

use bifrost_domain::clock::Clock;
use chrono::{DateTime, Duration, TimeZone, Utc};
use std::sync::atomic::{AtomicI64, Ordering};

/// Begins at noon of 20 November 2026, UTC.
#[derive(Debug)]
pub struct MovableClock {
    micros: AtomicI64,
}

impl Default for MovableClock {
    fn default() -> Self {
        /// 2026-11-20T12:00:00Z
        const START: i64 = 1_795_176_000_000_000;
        Self { micros: AtomicI64::new(START) }
    }
}

impl MovableClock {
    /// Moves it.
    ///
    /// # Panics
    /// When the duration is longer than the calendar.
    #[expect(clippy::expect_used, reason = "only a wrong test asks for so much")]
    pub fn advance(&self, by: Duration) {
        self.micros.fetch_add(by.num_microseconds().expect("a duration of this calendar"), Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    #[expect(clippy::expect_used, reason = "only a wrong test moves it out of the calendar")]
    fn now(&self) -> DateTime<Utc> {
        Utc.timestamp_micros(self.micros.load(Ordering::SeqCst)).single().expect("a time of this calendar")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_and_moves() {
        let clock = MovableClock::default();
        assert_eq!(clock.now().to_rfc3339(), "2026-11-20T12:00:00+00:00");
        clock.advance(Duration::milliseconds(1500));
        assert_eq!(clock.now().to_rfc3339(), "2026-11-20T12:00:01.500+00:00");
    }
}
