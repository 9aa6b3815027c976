//! The relay: of all workers one is elected and dispatches what waits. Woken by new rows, by ends (they make room), and by
//! the next due time; a sweep every second finds the rest.

use crate::{Worker, duty::Duty};
use bifrost_domain::{
    messages::topics,
    ports::{
        broker::Connection,
        bus::{Signal, Subscription},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const SWEEP: Duration = Duration::from_secs(1);
/// So often rows are looked for that were dispatched and never claimed.
const SWEEP_UNCLAIMED: Duration = Duration::from_secs(10);
/// Stamps that are taken back per round after the broker came back, and the pause between rounds: a flood of old rows must
/// not drown new ones.
const FORGET_ROWS: u32 = 500;
const FORGET_PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn run(worker: Arc<Worker>) {
    let mut waiting: Option<Subscription> = None;
    let mut ended: Option<Subscription> = None;
    let mut duty = Duty::new("relay");
    let mut backlog = false;
    let mut swept = None;
    loop {
        if waiting.is_none() {
            waiting = worker.app.bus().subscribe(topics::WAITING).await.ok();
        }
        // Ends are only of interest while rows wait for room.
        if backlog && ended.is_none() {
            ended = worker.app.bus().subscribe(topics::FINISHED).await.ok();
        } else if !backlog {
            ended = None;
        }
        let elected = duty.is_mine(&worker).await;
        let mut pause = SWEEP;
        if elected {
            backlog = round(&worker).await;
            if swept.is_none_or(|at: Instant| at.elapsed() >= SWEEP_UNCLAIMED) {
                swept = Some(Instant::now());
                if let Err(error) = worker.app.sweep_unclaimed().await {
                    tracing::debug!(error = %error, "unclaimed rows were not swept");
                }
            }
            if !backlog && let Ok(Some(due)) = worker.app.next_due().await {
                let wait = (due - worker.app.clock().now()).to_std().unwrap_or(Duration::ZERO);
                pause = pause.min(wait.max(Duration::from_millis(1)));
            }
        } else {
            backlog = false;
        }
        tokio::select! {
            () = worker.closed.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = heard(&mut waiting), if elected => {}
            () = heard(&mut ended), if elected && backlog => {}
        }
    }
}

/// Waits for a signal and takes all that queued behind it; a subscription that ended is made again by the caller.
async fn heard(subscription: &mut Option<Subscription>) {
    let Some(open) = subscription else { return std::future::pending().await };
    match open.signals.recv().await {
        Some(Signal::Event(_) | Signal::Missed) => while open.signals.try_recv().is_ok() {},
        None => *subscription = None,
    }
}

/// Dispatches until nothing waits or the broker is full; true when rows still wait.
async fn round(worker: &Worker) -> bool {
    loop {
        match worker.app.relay().await {
            Ok((0, more)) => return more,
            Ok((_, false)) => return false,
            Ok((_, true)) => {}
            Err(error) => {
                tracing::debug!(error = %error, "the relay tries again");
                return true;
            }
        }
    }
}

/// After a broker came back its messages may be gone: stamps of unclaimed rows are taken back at a bounded rate. The first
/// connection counts as well: an in-process queue begins empty.
pub(crate) async fn watch_broker(worker: Arc<Worker>) {
    let mut connection = worker.app.broker().connection();
    let mut seen = 0;
    loop {
        let now = *connection.borrow_and_update();
        if let Connection::Up(count) = now
            && count != seen
        {
            seen = count;
            forget(&worker).await;
        }
        tokio::select! {
            () = worker.closed.cancelled() => return,
            changed = connection.changed() => if changed.is_err() { return },
        }
    }
}

async fn forget(worker: &Worker) {
    // Rows dispatched within the last seconds are most likely on their way.
    let age = chrono::Duration::seconds(5);
    loop {
        match worker.app.forget_dispatches(age, FORGET_ROWS).await {
            Ok(0) => return,
            Ok(rows) => tracing::info!(rows, "rows without a claim are dispatched again"),
            Err(error) => tracing::debug!(error = %error, "stamps were not taken back"),
        }
        tokio::select! {
            () = worker.closed.cancelled() => return,
            () = tokio::time::sleep(FORGET_PAUSE) => {}
        }
    }
}
