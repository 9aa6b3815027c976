//! The time of this process: it goes on by the monotonic clock, and follows the database's, which all replicas see; on SQLite the
//! machine's own. A clock that is stepped (by hand, by NTP, by a virtual machine that wakes up) shifts no lease and no id.

use anyhow::{Context, Result, bail};
use bifrost_domain::clock::{Clock, SteadyClock, SystemClock};
use bifrost_storage::{Error, Store};
use chrono::{DateTime, Duration, Utc};
use std::{sync::Weak, time::Instant};

/// A machine whose clock is further off the database's does not start: something is wrong with one of them.
pub(crate) const TOLERANCE: Duration = Duration::seconds(5);
/// How often the two are compared.
const EVERY: std::time::Duration = std::time::Duration::from_secs(2);
/// An answer that took longer tells too little about the time.
const PROMPT: std::time::Duration = std::time::Duration::from_millis(500);

/// Compares once, at the start, and turns `clock` to the database's time.
///
/// # Errors
/// When the database does not answer, or the two are more than 5 s apart.
pub(crate) async fn begin(store: &Store, clock: &SteadyClock) -> Result<()> {
    let Some(theirs) = store.database_time().await.context("the database's clock cannot be read")? else {
        return Ok(());
    };
    let off = (clock.now() - theirs).abs();
    if off > TOLERANCE {
        bail!(
            "this machine's clock is {} s off the database's; set both by NTP (leases and ids stand on them)",
            off.num_seconds()
        );
    }
    clock.follow(theirs);
    Ok(())
}

/// Compares again and again, as long as anybody has the clock.
pub(crate) async fn follow(store: Store, clock: Weak<SteadyClock>) {
    let mut was_off = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(clock) = clock.upgrade() else { return };
        match compare(&store, &clock).await {
            Ok(compared) => {
                if let Some(turned) = compared.turned {
                    tracing::error!(
                        seconds = turned.num_milliseconds() as f64 / 1000.0,
                        "the time of the database was stepped; this process follows it. Set clocks by NTP, slewing"
                    );
                }
                let is_off = compared.machine_off.abs() > TOLERANCE;
                if is_off && !was_off {
                    tracing::error!(
                        seconds = compared.machine_off.num_seconds(),
                        "this machine's clock is off the database's: times follow the database's. Set this machine's clock by NTP"
                    );
                } else if was_off && !is_off {
                    tracing::info!("this machine's clock agrees with the database's again");
                }
                was_off = is_off;
            }
            Err(error) => tracing::debug!(error = %error, "the clocks were not compared"),
        }
    }
}

/// What a comparison found.
struct Compared {
    /// By how much the process's time was turned, if it was.
    turned: Option<Duration>,
    /// How far the machine's own clock is off the time that counts.
    machine_off: Duration,
}

async fn compare(store: &Store, clock: &SteadyClock) -> Result<Compared, Error> {
    let asked = Instant::now();
    let theirs = store.database_time().await?;
    let took = asked.elapsed();
    let counts: DateTime<Utc> = match theirs {
        Some(_) if took > PROMPT => return Ok(Compared { turned: None, machine_off: Duration::zero() }),
        Some(theirs) => theirs + Duration::from_std(took / 2).unwrap_or_default(),
        None => SystemClock.now(),
    };
    let turned = clock.follow(counts);
    Ok(Compared { turned, machine_off: SystemClock.now() - counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_test_support::{TestDatabase, on_both_databases};
    use std::sync::Arc;

    on_both_databases![a_step_is_followed, a_machine_that_is_far_off_does_not_start];

    async fn a_step_is_followed(db: TestDatabase) {
        for step in [Duration::hours(1), Duration::hours(-1), Duration::minutes(10)] {
            let clock = SteadyClock::starting_at(SystemClock.now() + step);
            let compared = compare(&db.store(), &clock).await.expect("compared");
            let turned = compared.turned.expect("turned");
            assert!((turned + step).abs() < Duration::seconds(5), "{step}: {turned}");
            assert!((clock.now() - SystemClock.now()).abs() < Duration::seconds(5));
            let again = compare(&db.store(), &clock).await.expect("compared");
            assert!(again.turned.is_none_or(|turned| turned.abs() < Duration::seconds(5)));
            assert!(again.machine_off.abs() < Duration::seconds(5), "the machine's own clock is right");
        }
    }

    async fn a_machine_that_is_far_off_does_not_start(db: TestDatabase) {
        let clock = Arc::new(SteadyClock::starting_at(SystemClock.now() + Duration::seconds(30)));
        let begun = begin(&db.store(), &clock).await;
        if db.db().is_postgres() {
            let said = begun.expect_err("refused").to_string();
            assert!(said.contains("s off the database's; set both by NTP"), "{said}");
        } else {
            begun.expect("SQLite has no clock of its own");
        }
        let clock = SteadyClock::starting_at(SystemClock.now() + Duration::seconds(2));
        begin(&db.store(), &clock).await.expect("near enough");
    }
}
