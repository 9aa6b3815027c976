//! Says in the log what stands between runs on this machine, once, when Python is ready.

use crate::Opened;
use bifrost_domain::ports::python::PythonRuntime;

impl Opened {
    /// Waits in the background until Python is ready and logs its version, the walls that stand, and those that are missing.
    pub fn say_walls_when_ready(&self) {
        let Some(python) = self.python.clone() else { return };
        tokio::spawn(async move {
            match python.ready().await {
                Ok(()) => say_walls(python.as_ref()),
                Err(error) => tracing::error!(error = %error, "Python is not ready; runs wait"),
            }
        });
    }
}

fn say_walls(python: &dyn PythonRuntime) {
    let Some(info) = python.info() else { return };
    let stand: Vec<&str> =
        info.walls.iter().filter(|wall| wall.missing.is_none()).map(|wall| wall.name.as_str()).collect();
    tracing::info!(python = %info.python, walls = %stand.join(", "), "ready to run workflows");
    for wall in &info.walls {
        if let Some(why) = &wall.missing {
            tracing::warn!(wall = %wall.name, why = %why, "a wall around runs is missing on this machine");
        }
    }
    for package in &info.left_out {
        tracing::warn!(package = %package, "not imported ahead");
    }
}
