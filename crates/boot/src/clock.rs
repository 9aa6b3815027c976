//! The time of this process: the database's at the start (on SQLite the machine's), and from then on the time that has passed. It follows a
//! drift; a clock that is stepped (by hand, by NTP) shifts no lease and no id of what runs.

use anyhow::{Context, Result, bail};
use bifrost_domain::clock::{Clock, Followed, SteadyClock, SystemClock};
use bifrost_storage::{Error, Store};
use chrono::{DateTime, Duration, Utc};
use nix::time::{ClockId, clock_gettime};
use std::{sync::Weak, time::Instant};

/// A machine whose clock is further off the database's does not start: something is wrong with one of them.
pub(crate) const TOLERANCE: Duration = Duration::seconds(5);
/// How often the two are compared.
const EVERY: std::time::Duration = std::time::Duration::from_secs(2);
/// An answer that took longer tells too little about the time.
const PROMPT: std::time::Duration = std::time::Duration::from_millis(500);

/// A clock that shows the machine's time and goes on by itself, also while the machine sleeps.
pub(crate) fn steady() -> SteadyClock {
    let begun = Instant::now();
    SteadyClock::starting_at(SystemClock.now(), move || {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| begun.elapsed(), std::time::Duration::from)
    })
}

/// Compares once, at the start, and turns `clock` to the database's time.
///
/// # Errors
/// When the database does not answer, or the two are more than 5 s apart.
pub(crate) async fn begin(store: &Store, clock: &SteadyClock) -> Result<()> {
    let Some(theirs) = store.database_time().await.context("the database's clock cannot be read")? else {
        return Ok(());
    };
    if let Followed::TooFar(off) = clock.follow(theirs) {
        bail!(
            "this machine's clock is {} s off the database's; set both by NTP (leases and ids stand on them)",
            off.abs().num_seconds()
        );
    }
    Ok(())
}

/// Compares again and again, as long as anybody has the clock. What is too far off is said once, and again when it is over.
pub(crate) async fn follow(store: Store, clock: Weak<SteadyClock>) {
    let (mut database_was_off, mut machine_was_off) = (false, false);
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(clock) = clock.upgrade() else { return };
        let machine_off = SystemClock.now() - clock.now();
        match compare(&store, &clock).await {
            Ok(Some(Followed::TooFar(off))) => {
                if !std::mem::replace(&mut database_was_off, true) {
                    tracing::error!(
                        seconds = off.num_seconds(),
                        "the clock that this process started by was set; the process keeps its time until it is started again"
                    );
                }
            }
            Ok(Some(_)) => database_was_off = false,
            Ok(None) => {}
            Err(error) => tracing::debug!(error = %error, "the clocks were not compared"),
        }
        let is_off = machine_off.abs() > TOLERANCE;
        if is_off && !machine_was_off && !database_was_off {
            tracing::error!(
                seconds = machine_off.num_seconds(),
                "this machine's clock was set; this process keeps the database's time. Set the clock by NTP"
            );
        }
        machine_was_off = is_off;
    }
}

/// `None` when the answer took too long to tell anything.
async fn compare(store: &Store, clock: &SteadyClock) -> Result<Option<Followed>, Error> {
    let asked = Instant::now();
    let theirs = store.database_time().await?;
    let took = asked.elapsed();
    let counts: DateTime<Utc> = match theirs {
        Some(_) if took > PROMPT => return Ok(None),
        Some(theirs) => theirs + Duration::from_std(took / 2).unwrap_or_default(),
        None => SystemClock.now(),
    };
    Ok(Some(clock.follow(counts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_test_support::{TestDatabase, on_both_databases};

    on_both_databases![a_drift_is_followed_and_a_step_is_not, a_machine_that_is_far_off_does_not_start];

    fn off_by(step: Duration) -> SteadyClock {
        let begun = Instant::now();
        SteadyClock::starting_at(SystemClock.now() + step, move || begun.elapsed())
    }

    async fn a_drift_is_followed_and_a_step_is_not(db: TestDatabase) {
        for step in [Duration::hours(1), Duration::hours(-1), Duration::minutes(10)] {
            let clock = off_by(step);
            let compared = compare(&db.store(), &clock).await.expect("compared");
            assert!(matches!(compared, None | Some(Followed::TooFar(_))), "{step}: {compared:?}");
            let left = clock.now() - SystemClock.now() - step;
            assert!(left.abs() < Duration::seconds(2), "it keeps its time: {left}");
        }
        let clock = off_by(Duration::seconds(-3));
        while !matches!(compare(&db.store(), &clock).await.expect("compared"), Some(Followed::Turned(_))) {}
        assert!((clock.now() - SystemClock.now()).abs() < Duration::seconds(2));
    }

    async fn a_machine_that_is_far_off_does_not_start(db: TestDatabase) {
        let begun = begin(&db.store(), &off_by(Duration::seconds(30))).await;
        if db.db().is_postgres() {
            let said = begun.expect_err("refused").to_string();
            assert!(said.contains("s off the database's; set both by NTP"), "{said}");
        } else {
            begun.expect("SQLite has no clock of its own");
        }
        begin(&db.store(), &off_by(Duration::seconds(2))).await.expect("near enough");
    }

    #[test]
    fn the_steady_clock_shows_the_machines_time_and_goes_on() {
        let clock = steady();
        let first = clock.now();
        assert!((first - SystemClock.now()).abs() < Duration::seconds(1), "{first}");
        assert!(clock.now() >= first);
    }
}
