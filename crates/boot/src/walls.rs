//! Says in the log what stands between runs on this machine, once, when Python is ready.

use crate::Opened;
use bifrost_domain::ports::python::PythonRuntime;
use tokio::sync::watch;

impl Opened {
    /// Waits in the background until Python is ready and logs its version, the walls that stand, and those that are missing.
    /// Once `stop` says that the process is to end, nobody waits for Python any more.
    pub fn say_walls_when_ready(&self, stop: watch::Receiver<bool>) {
        let Some(python) = self.python.clone() else { return };
        tokio::spawn(async move {
            match unless_stopped(python.ready(), stop).await {
                Some(Ok(())) => say_walls(python.as_ref()),
                Some(Err(error)) => tracing::error!(error = %error, "Python is not ready; runs wait"),
                None => {}
            }
        });
    }
}

/// What `ready` gives, or nothing when `stop` came first: a runtime that is taken down while it starts says that it failed.
async fn unless_stopped<T>(ready: impl Future<Output = T>, mut stop: watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => None,
        outcome = ready => Some(outcome),
    }
}

/// What to do about a missing wall; names as in docs/worker-protocol.md.
pub(crate) fn advice(wall: &str) -> &'static str {
    match wall {
        "pid_namespace" | "mount_namespace" => {
            "needs a worker that runs as root or with CAP_SYS_ADMIN (in a container: cap_add SYS_ADMIN); runs see each other's processes without it"
        }
        "own_uid" => {
            "needs a worker that runs as root (or with CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL), and a Python and a data folder that other users may read (BIFROST_PYTHON, DATA_DIR); RUN_PROCESSES holds only with it"
        }
        "landlock" => {
            "needs Linux 5.13 or newer with landlock among its security modules (/sys/kernel/security/lsm), and a container that lets its system calls through"
        }
        "no_new_privs" => "needs Linux 3.5 or newer, and a container that lets prctl through",
        "memory_limit" => "needs a kernel that counts private memory (RLIMIT_DATA, Linux 4.7 or newer)",
        "memory_sum" => {
            "needs a worker that runs as root or with CAP_SYS_PTRACE (in a container: cap_add SYS_PTRACE); without it each process of a run has the limit for itself"
        }
        "signals" => "needs a PID namespace, or Linux 6.12 with landlock",
        _ => "see docs/worker-protocol.md",
    }
}

fn say_walls(python: &dyn PythonRuntime) {
    let Some(info) = python.info() else { return };
    let stand: Vec<&str> =
        info.walls.iter().filter(|wall| wall.missing.is_none()).map(|wall| wall.name.as_str()).collect();
    tracing::info!(python = %info.python, walls = %stand.join(", "), "ready to run workflows");
    for wall in &info.walls {
        if let Some(why) = &wall.missing {
            tracing::warn!(wall = %wall.name, why = %why, advice = advice(&wall.name), "a wall around runs is missing on this machine");
        }
    }
    for package in &info.left_out {
        tracing::warn!(package = %package, "not imported ahead");
    }
}

#[cfg(test)]
mod tests {
    use super::unless_stopped;
    use std::future::{pending, ready};
    use tokio::sync::watch;

    #[tokio::test]
    async fn a_failure_counts_only_while_nobody_asked_to_stop() {
        let (sender, receiver) = watch::channel(false);
        assert_eq!(
            unless_stopped(ready(Err::<(), _>("no Python")), receiver.clone()).await,
            Some(Err("no Python"))
        );
        let waiting = tokio::spawn(unless_stopped(pending::<()>(), receiver.clone()));
        sender.send(true).expect("somebody listens");
        assert_eq!(waiting.await.expect("it ends"), None);
        assert_eq!(unless_stopped(ready(Err::<(), _>("the runtime is shut down")), receiver).await, None);
    }
}
