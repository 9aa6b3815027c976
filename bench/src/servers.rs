//! Starts and stops the programs under measurement as a user would, and signs in.

use crate::{
    Isolation, Mode, Options,
    http::{Client, request},
    place::Place,
};
use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// The workflow in `python/noop.py`.
pub(crate) const WORKFLOW: &str = "bench_noop";
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at something that is being waited for.
const LOOK: Duration = Duration::from_millis(50);

/// The running programs. Dropping kills them.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    processes: Vec<(String, Child)>,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
}

impl Servers {
    /// Starts them and returns when they are ready, the workflow is listed and somebody is signed in. Nothing has run yet.
    pub(crate) async fn start(options: &Options, place: &Place, isolation: Isolation) -> Result<Self> {
        // A free port by asking for one; whoever takes it in between makes the start fail, which is said.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let programs: &[(&str, &str, &[&str])] = match place.mode {
            Mode::Stack => &[("api", "bifrost-api", &[]), ("jobs", "bifrost-jobs", &[])],
            Mode::Embedded => &[("bifrost", "bifrost", &["dev"])],
        };
        let mut servers = Self { address, token: String::new(), processes: Vec::new() };
        for (role, program, arguments) in programs {
            let path = options.bin_dir.join(program);
            let log = File::create(place.log(role))?;
            let child = Command::new(&path)
                .args(*arguments)
                // Only what is said here decides: two measurements on one machine are of the same thing.
                .env_clear()
                .envs(kept_environment())
                .envs(environment(options, place, isolation, port))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("start {}", path.display()))?;
            servers.processes.push(((*role).to_owned(), child));
        }
        servers.token = servers.wait_until_ready(place).await?;
        Ok(servers)
    }

    /// Their roles and process ids.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        self.processes.iter().filter_map(|(role, child)| Some((role.clone(), child.id()?))).collect()
    }

    async fn wait_until_ready(&mut self, place: &Place) -> Result<String> {
        let begin = Instant::now();
        let mut token = None;
        loop {
            match self.step(token.as_deref()).await {
                Ok(Step::SignedIn(fresh)) => token = Some(fresh),
                Ok(Step::Listed) => return token.context("nobody is signed in"),
                Ok(Step::NotYet) | Err(_) if begin.elapsed() < START_PATIENCE => {
                    tokio::time::sleep(LOOK).await;
                }
                Ok(Step::NotYet) => bail!("not ready after {START_PATIENCE:?}{}", self.logs(place)),
                Err(error) => return Err(error.context(format!("not ready{}", self.logs(place)))),
            }
            for (role, child) in &mut self.processes {
                if let Some(status) = child.try_wait()? {
                    let role = role.clone();
                    bail!("{role} ended ({status}){}", self.logs(place));
                }
            }
        }
    }

    async fn step(&self, token: Option<&str>) -> Result<Step> {
        let mut client = Client::connect(self.address).await?;
        let Some(token) = token else {
            if client.send(&request("GET", "/health/ready", None, None)).await?.status != 200 {
                return Ok(Step::NotYet);
            }
            let form = ("application/x-www-form-urlencoded", "username=admin%40localhost&password=admin");
            let tokens: Tokens =
                client.send(&request("POST", "/auth/login", None, Some(form))).await?.ok()?;
            return Ok(Step::SignedIn(tokens.access_token));
        };
        let listed: Vec<Listed> =
            client.send(&request("GET", "/api/workflows", Some(token), None)).await?.ok()?;
        Ok(if listed.iter().any(|workflow| workflow.name == WORKFLOW) { Step::Listed } else { Step::NotYet })
    }

    /// The end of each program's log.
    pub(crate) fn logs(&self, place: &Place) -> String {
        let mut text = String::new();
        for (role, _) in &self.processes {
            let log = fs::read_to_string(place.log(role)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(15)..] {
                text.push_str(&format!("\n  {role:<7} | {line}"));
            }
        }
        text
    }

    /// Asks them to end and waits.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for (_, child) in &self.processes {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            }
        }
        for (role, child) in &mut self.processes {
            let status = tokio::time::timeout(STOP_PATIENCE, child.wait())
                .await
                .with_context(|| format!("{role} did not end within {STOP_PATIENCE:?}"))??;
            if !status.success() {
                bail!("{role} ended with {status}");
            }
        }
        Ok(())
    }
}

enum Step {
    NotYet,
    SignedIn(String),
    Listed,
}

/// What programs need to be found at all.
fn kept_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "TMPDIR" | "LANG"))
}

fn environment(options: &Options, place: &Place, isolation: Isolation, port: u16) -> Vec<(String, String)> {
    let mut all: Vec<(&str, String)> = vec![
        // Testing has the development user but no limit on sign-ins; nothing else differs.
        ("ENVIRONMENT", "testing".to_owned()),
        ("PORT", port.to_string()),
        ("DATA_DIR", place.data().display().to_string()),
        ("WORKSPACE_DIR", place.workspace().display().to_string()),
        ("BIFROST_ISOLATION", isolation.as_str().to_owned()),
        ("BIFROST_PYTHON", options.python.clone()),
    ];
    if place.mode == Mode::Stack {
        all.extend([
            ("DATABASE_URL", place.database_url.clone()),
            ("RABBITMQ_URL", options.rabbitmq_url.clone()),
            ("REDIS_URL", options.redis_url.clone()),
            ("BROKER_PREFIX", place.name.clone()),
            ("BUS_PREFIX", place.name.clone()),
        ]);
    }
    let given = options.set.iter().map(|(name, value)| (name.clone(), value.clone()));
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(given).collect()
}
