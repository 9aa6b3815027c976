//! The elected reaper, and what is due once in a while.

use crate::{Worker, chrono_duration, duty::Duty};
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;

const PERIOD: Duration = Duration::from_secs(1);
/// The reaper acts so long after a lease ended: children of that worker are dead since 2 s before its end.
const GRACE: Duration = Duration::from_secs(2);
/// Periods between two rounds of upkeep: an hour.
const UPKEEP_EVERY: u32 = 3_600;

pub(crate) async fn run(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut duty = Duty::new("upkeep");
    let mut round: u32 = 0;
    loop {
        tokio::select! {
            () = worker.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !duty.is_mine(&worker).await {
            continue;
        }
        if let Err(error) = worker.app.reap(chrono_duration(GRACE)).await {
            tracing::warn!(error = %error, "lost runs were not taken; trying again");
        }
        if round.is_multiple_of(UPKEEP_EVERY)
            && let Err(error) = worker.app.upkeep().await
        {
            tracing::warn!(error = %error, "upkeep failed; trying again in an hour");
        }
        round = round.wrapping_add(1);
    }
}
