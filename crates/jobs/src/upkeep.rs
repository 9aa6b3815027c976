//! The elected reaper, and what is due once in a while.

use crate::{Worker, chrono_duration, duty::Duty};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

const PERIOD: Duration = Duration::from_secs(1);
/// The reaper acts so long after a lease ended: children of that worker are dead since 2 s before its end.
const GRACE: Duration = Duration::from_secs(2);
/// Between two rounds of upkeep; a round that failed is repeated sooner: tomorrow's partitions must be there tomorrow.
const UPKEEP_EVERY: Duration = Duration::from_secs(3_600);
const UPKEEP_AGAIN: Duration = Duration::from_secs(30);

pub(crate) async fn run(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut duty = Duty::new("upkeep");
    let mut upkeep_at = Instant::now();
    loop {
        tokio::select! {
            () = worker.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !duty.is_mine(&worker).await {
            continue;
        }
        // What this process itself lost with its lease is about to be ended by it, with every line that the run still wrote.
        let in_hand = |id| worker.running.contains_key(&id);
        if duty.is_settled()
            && let Err(error) = worker.app.reap(chrono_duration(GRACE), in_hand).await
        {
            tracing::warn!(error = %error, "lost runs were not taken; trying again");
        }
        if Instant::now() >= upkeep_at {
            let pause = match worker.app.upkeep().await {
                Ok(()) => UPKEEP_EVERY,
                Err(error) => {
                    tracing::warn!(error = %error, retry_seconds = UPKEEP_AGAIN.as_secs(), "upkeep failed; trying again");
                    UPKEEP_AGAIN
                }
            };
            upkeep_at = Instant::now() + pause;
        }
    }
}
