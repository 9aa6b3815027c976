//! A program of ours as a child process: what it says, signals to it, its end.

use super::{PATIENCE, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

/// What every program needs of the environment around the tests; nothing else of it is passed on.
#[expect(clippy::disallowed_methods, reason = "tests have no settings: Python is found on the PATH")]
fn bare_environment() -> Vec<(String, String)> {
    // The last one says where a program under --coverage writes what it reached.
    ["PATH", "HOME", "LANG", "BIFROST_PYTHON", "LLVM_PROFILE_FILE"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// The program that runs everything in one process.
pub(crate) const BIFROST: &str = env!("CARGO_BIN_EXE_bifrost");

/// A program with these arguments and variables, and nothing else; its output is piped.
pub(crate) fn command(path: &str, arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments);
    prepared(command, variables)
}

/// The same for a command that is made up already.
fn prepared(mut command: Command, variables: &[(String, String)]) -> Command {
    command
        .env_clear()
        .envs(bare_environment())
        .envs(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A started program. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    name: String,
    said: Arc<Mutex<Vec<String>>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `program` (a name from Cargo: `bifrost`, `bifrost-api`, `bifrost-jobs`) with these settings.
    pub(crate) fn start(program: &str, settings: &[(String, String)]) -> Self {
        Self::start_by(&[], program, settings)
    }

    /// Starts `program` by the command line `by`, which it is the end of; empty: by itself.
    pub(crate) fn start_by(by: &[String], program: &str, settings: &[(String, String)]) -> Self {
        let (path, arguments): (&str, &[&str]) = match program {
            "bifrost" => (BIFROST, &["dev"]),
            "bifrost-api" => (env!("CARGO_BIN_EXE_bifrost-api"), &[]),
            "bifrost-jobs" => (env!("CARGO_BIN_EXE_bifrost-jobs"), &[]),
            other => panic!("there is no program {other}"),
        };
        let mut words = by.iter().map(String::as_str).chain([path]).chain(arguments.iter().copied());
        let first = words.next().expect("a program");
        Self::spawn(program, first, &words.collect::<Vec<_>>(), settings)
    }

    /// Starts any program with these arguments and variables.
    pub(crate) fn spawn(name: &str, path: &str, arguments: &[&str], variables: &[(String, String)]) -> Self {
        Self::watch(name, command(path, arguments, variables))
    }

    /// Starts `command`, in which `program` is run, with these settings.
    pub(crate) fn launch(program: &str, command: Command, settings: &[(String, String)]) -> Self {
        Self::watch(program, prepared(command, settings))
    }

    fn watch(name: &str, mut command: Command) -> Self {
        let mut child = command.kill_on_drop(true).spawn().expect("the program starts");
        let pid = Pid::from_raw(i32::try_from(child.id().expect("a pid")).expect("a pid"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let listeners = vec![
            listen(child.stderr.take().expect("piped"), said.clone()),
            listen(child.stdout.take().expect("piped"), said.clone()),
        ];
        Self { child, pid, name: format!("{name} {pid}"), said, listeners }
    }

    /// Waits until all that an ended program said was read; what it left running may hold the pipes for longer.
    async fn listened(&mut self) {
        for listener in &mut self.listeners {
            if !listener.is_finished() {
                let _ = timeout(Duration::from_secs(2), listener).await;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// The address that a line with `text address=` tells.
    pub(crate) async fn address_of(&mut self, text: &str) -> SocketAddr {
        let line = self.says(&format!("{text} address=")).await;
        let (_, rest) = line.split_once("address=").expect("found by it");
        rest.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address")
    }

    /// Every line so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Waits for a line that contains `text`.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        let what = format!("{} says `{text}`", self.name);
        until(&what, PATIENCE, async || {
            let line = self.said().into_iter().find(|line| line.contains(text));
            if line.is_none()
                && let Some(status) = self.child.try_wait().expect("its state")
            {
                // Its last words may still be under way.
                self.listened().await;
                let last = self.said().into_iter().find(|line| line.contains(text));
                assert!(last.is_some(), "{what}: it ended ({status}):\n{}", self.said().join("\n"));
                return last;
            }
            line
        })
        .await
        .0
    }

    /// How often it has said `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.said().iter().filter(|line| line.contains(text)).count()
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits until it serves, and says where.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        self.address_of("serving").await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.expect("its state"),
            Err(_) => panic!("{} does not end:\n{}", self.name, self.said().join("\n")),
        }
    }

    /// Waits for an end by itself: its code, and what it said.
    pub(crate) async fn fails(mut self) -> (i32, String) {
        let code = self.ended().await.code().expect("not ended by a signal");
        // Both pipes are at their end only after what it said last was read.
        until("its last words", PATIENCE, async || (Arc::strong_count(&self.said) == 1).then_some(())).await;
        (code, self.said().join("\n"))
    }

    /// Asks it to stop, and makes it when it does not; the error says what it said.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        if self.child.try_wait().expect("its state").is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM);
        if timeout(PATIENCE, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        self.child.kill().await.expect("killed");
        Err(format!("{} did not stop at SIGTERM:\n{}", self.name, self.said().join("\n")))
    }

    /// Ends it without asking.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

fn listen(pipe: impl AsyncRead + Send + Unpin + 'static, said: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().expect("not poisoned").push(line);
        }
    })
}
