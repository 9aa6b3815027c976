//! Keeps a zygote running: starts it, starts it again with back-off when it dies, and replaces it when the workspace
//! imports something new. A replaced zygote ends when its last child has.

use crate::{
    files::closed_to_others,
    lease::Lease,
    metrics, sys,
    zygote::{Start, Zygote, ZygoteLink},
};
use bifrost_domain::ports::python::RuntimeInfo;
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A zygote that lived this long was well: its end is not counted against the next one.
const WELL: Duration = Duration::from_secs(60);

/// Where the zygote stands.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Starting,
    Ready(Arc<Ready>),
    /// It did not start, and will be tried again.
    Failed(String),
    Stopped,
}

/// A zygote that can fork.
#[derive(Debug)]
pub(crate) struct Ready {
    pub link: ZygoteLink,
    pub info: RuntimeInfo,
    /// Whether children get a uid of their own.
    pub own_uid: bool,
}

/// What the supervisor works with.
pub(crate) struct Supervisor {
    pub start: Start,
    /// Folders that a child under a foreign uid has to reach, beside the interpreter's.
    pub folders: Vec<PathBuf>,
    /// Third-party modules that the workspace imports.
    pub preload: watch::Receiver<BTreeSet<String>>,
    pub lease: Arc<Lease>,
    pub state: watch::Sender<State>,
    pub stop: CancellationToken,
}

impl Supervisor {
    /// Runs until `stop`; then every zygote has ended.
    pub(crate) async fn run(mut self) {
        let zygotes = TaskTracker::new();
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_running(&zygotes) => {}
        }
        zygotes.close();
        zygotes.wait().await;
        self.state.send_replace(State::Stopped);
    }

    async fn keep_running(&mut self, zygotes: &TaskTracker) {
        let (mut delay, mut generation) = (FIRST_DELAY, 0);
        loop {
            generation += 1;
            self.start.preload = self.preload.borrow_and_update().iter().cloned().collect();
            match Zygote::start(&self.start, generation).await {
                Ok(zygote) => {
                    metrics::zygote_started(true);
                    let begun = Instant::now();
                    self.announce(&zygote);
                    let mut serving = zygotes.spawn(zygote.serve(Arc::clone(&self.lease), self.stop.clone()));
                    tokio::select! {
                        reason = &mut serving => {
                            let reason = reason.unwrap_or_else(|error| error.to_string());
                            tracing::error!(%reason, "the zygote is gone, another one is started");
                            self.state.send_replace(State::Starting);
                        }
                        () = self.something_new_is_imported() => {
                            tracing::info!("the workspace imports new packages, the zygote is replaced");
                            continue;
                        }
                    }
                    if begun.elapsed() > WELL {
                        delay = FIRST_DELAY;
                    }
                }
                Err(error) => {
                    metrics::zygote_started(false);
                    let reason = error.chain();
                    tracing::error!(%reason, "the zygote did not start, it is tried again");
                    self.state.send_replace(State::Failed(reason));
                }
            }
            sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    fn announce(&self, zygote: &Zygote) {
        let mut info = zygote.info.clone();
        let own_uid = self.check_own_uid(&mut info);
        for wall in &info.walls {
            if let Some(reason) = &wall.missing {
                // Said to people once, when the worker is ready.
                tracing::debug!(wall = %wall.name, %reason, "user code runs without this wall");
            }
        }
        for package in &info.left_out {
            tracing::warn!(%package, "not imported ahead");
        }
        tracing::info!(python = %info.python, generation = zygote.link.generation, "the zygote is ready");
        self.state.send_replace(State::Ready(Arc::new(Ready { link: zygote.link.clone(), info, own_uid })));
    }

    /// The zygote knows whether it may change the uid. Whether that uid could read anything, and whether this process may give it a
    /// folder and end its processes, is known here.
    fn check_own_uid(&self, info: &mut RuntimeInfo) -> bool {
        let Some(wall) = info.walls.iter_mut().find(|wall| wall.name == "own_uid") else { return false };
        if wall.missing.is_some() {
            return false;
        }
        let lacking = sys::lacking_capabilities();
        if !lacking.is_empty() {
            wall.missing = Some(format!("the worker has no {}", lacking.join(", ")));
            return false;
        }
        let needed = self.start.interpreter.prefixes.iter().chain(&self.folders);
        if let Some(closed) = needed.filter_map(|folder| closed_to_others(folder)).next() {
            wall.missing = Some(format!(
                "other users cannot pass `{}`: use a python and a data folder that they can read",
                closed.display()
            ));
        }
        let own_uid = wall.missing.is_none();
        if own_uid {
            // Signals do not cross from one user to another.
            info.walls.iter_mut().filter(|wall| wall.name == "signals").for_each(|wall| wall.missing = None);
        }
        own_uid
    }

    async fn something_new_is_imported(&mut self) {
        loop {
            if self.preload.changed().await.is_err() {
                return std::future::pending().await;
            }
            let wanted = self.preload.borrow_and_update();
            if wanted.iter().any(|name| !self.start.preload.contains(name)) {
                return;
            }
        }
    }
}
