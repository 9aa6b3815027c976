//! Servers of a test's own, which it may kill, stop and start again: those that all tests share must stay up.
//!
//! `scripts/private.sh` knows how. A guard process waits for the end of the test, however it comes, and removes the server.

use std::{
    ffi::OsStr,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/private.sh");

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// PostgreSQL; the user may create databases.
    Postgres,
    /// RabbitMQ; takes some seconds to start.
    RabbitMq,
    /// Redis, which keeps what it has on disk.
    Redis,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::RabbitMq => "rabbitmq",
            Self::Redis => "redis",
        }
    }
}

/// A server, its data and its port; removed when this is dropped.
#[derive(Debug)]
pub struct PrivateServer {
    service: Service,
    folder: PathBuf,
    url: String,
    guard: Child,
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test whose server does not obey has failed")]
impl PrivateServer {
    /// Makes a server on a free port of this machine and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be made: neither its program nor Docker is here, or it does not start.
    pub async fn start(service: Service) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        // PostgreSQL runs as another user when this is root.
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o711)).expect("permissions");
        // A group of its own: whoever ends the test's group leaves it to its work.
        let guard = Command::new(SCRIPT)
            .args([folder.as_os_str(), OsStr::new("guard")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the guard starts");
        let mut server = Self { service, folder, url: String::new(), guard };
        let said = server.script(&["start", service.name()]).await;
        server.url = said.lines().last().expect("its URL").to_owned();
        server
    }

    /// Where it is, with user and password. Stays the same for its whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it lives on.
    pub async fn kill(&self) {
        self.script(&["kill", self.service.name()]).await;
    }

    /// Asks it to end and waits for that.
    ///
    /// # Panics
    /// When it does not.
    pub async fn stop(&self) {
        self.script(&["stop", self.service.name()]).await;
    }

    /// Starts it at the same address with the same data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start_again(&self) {
        self.script(&["start", self.service.name()]).await;
    }

    /// RabbitMQ's own tool.
    ///
    /// # Panics
    /// When it fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) {
        self.script(&[&["rabbitmqctl"], arguments].concat()).await;
    }

    async fn script(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(SCRIPT);
        command.arg(&self.folder).args(arguments).stdin(Stdio::null());
        let output = command.output().await.expect("the script runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            panic!("scripts/private.sh {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        said
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
