//! Measures Bifrost from outside, as a client sees it; README.md beside this crate says how to run and read it.
//!
//! - [`servers`] starts the programs with a [`place`] of their own; [`load`] runs a workflow that does nothing;
//! - [`identity`] measures what it costs to know who calls; [`parts`] measures what a run cannot do without, beside it; [`memory`] looks
//!   into `/proc`;
//! - [`verify`] holds what was accepted against what is stored; [`report`] tells.
//!
//! A new scenario: a value of [`What`], a line in [`phase`], a row in README.md.

mod http;
mod identity;
mod load;
mod memory;
mod parts;
mod place;
mod report;
mod servers;
mod stats;
mod verify;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use load::Ledger;
use parts::{Measured, Parts};
use place::Place;
use report::{Machine, Report, Scenario};
use servers::Servers;
use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

/// Between the last run (or the sign-in) and the look at memory.
const IDLE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
#[command(version, about = "Measures Bifrost from outside")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the programs, measure, stop them, print tables and write JSON
    Run(Options),
}

/// What is measured, with what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder with the built programs
    #[arg(long, default_value = "target/release")]
    pub(crate) bin_dir: PathBuf,
    /// stack: api and jobs on PostgreSQL, RabbitMQ and Redis; embedded: one process
    #[arg(long, value_enum, default_value_t = Mode::Stack)]
    pub(crate) mode: Mode,
    /// Only this isolation of runs; without it both, one after the other
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = What::ALL)]
    scenario: Vec<What>,
    /// Length of each timed scenario
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the JSON goes [default: bench/results/DATE.json]
    #[arg(long)]
    out: Option<PathBuf>,
    /// A setting of the programs, NAME=VALUE; may be given several times
    #[arg(long, value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
    /// A database on the PostgreSQL server where one of our own can be created
    #[arg(long, env = "DATABASE_URL", default_value = "postgres://root@127.0.0.1:5432/test")]
    pub(crate) database_url: String,
    /// RabbitMQ
    #[arg(long, env = "RABBITMQ_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    pub(crate) rabbitmq_url: String,
    /// Redis
    #[arg(long, env = "REDIS_URL", default_value = "redis://127.0.0.1:6379")]
    pub(crate) redis_url: String,
    /// The Python of the runs and of the fork that is measured by itself
    #[arg(long, env = "BIFROST_PYTHON", default_value = "python3")]
    pub(crate) python: String,
}

/// On which parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Stack,
    Embedded,
}

/// How runs are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolation {
    Fork,
    Reuse,
}

impl Isolation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Reuse => "reuse",
        }
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The parts by themselves (they are measured around each timed scenario anyway)
    Parts,
    /// One synchronous no-op run after the other, isolated by fork
    NoopSync,
    /// 16 in flight, isolated by fork
    ForkThroughput,
    /// 64 in flight, in kept children
    NoopThroughput,
    /// Memory after a fresh start with one sign-in, and after the runs
    IdleMemory,
    /// The check of a token, and sign-ins
    Identity,
}

impl What {
    const ALL: [Self; 6] = [
        Self::Parts,
        Self::NoopSync,
        Self::ForkThroughput,
        Self::NoopThroughput,
        Self::IdleMemory,
        Self::Identity,
    ];
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let Command::Run(options) = Arguments::parse().command;
    // One thread: the processors are for what is measured.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(&options)) {
        Ok(report) if report.is_well() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    say(&format!("bench: {error:#}"));
    ExitCode::FAILURE
}

/// Progress and errors; the tables alone go to stdout.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

async fn run(options: &Options) -> Result<Report> {
    let date = date();
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from(format!("bench/results/{date}.json")));
    let mut report = Report {
        date,
        mode: if options.mode == Mode::Stack { "stack" } else { "embedded" },
        machine: Machine::look(),
        commit: report::commit(),
        settings: options.set.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        parts: None,
        scenarios: Vec::new(),
        memory: Vec::new(),
        identity: None,
        verdicts: Vec::new(),
    };
    let place = Place::make(options).await?;
    let measured = tokio::select! {
        measured = measure(options, &place, &mut report) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    report.machine.look_again();
    // Whatever happened: nothing stays behind.
    let removed = place.remove().await.context("clean up");
    measured?;
    removed?;
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(&out, json + "\n").with_context(|| format!("write {}", out.display()))?;
    std::io::stdout().lock().write_all(report.tables().as_bytes())?;
    say(&format!("written to {}", out.display()));
    Ok(report)
}

async fn measure(options: &Options, place: &Place, report: &mut Report) -> Result<()> {
    let isolations = match options.isolation {
        Some(one) => vec![one],
        None => vec![Isolation::Fork, Isolation::Reuse],
    };
    // All runs of all phases are in one database and in these books.
    let mut ledger = Ledger::default();
    let mut parts: Option<Parts> = None;
    let mut all = Measured::default();
    for isolation in isolations {
        say(&format!("starting in isolation {}", isolation.as_str()));
        let servers = Servers::start(options, place, isolation).await?;
        let outcome =
            phase(options, place, &servers, isolation, &mut ledger, &mut parts, &mut all, report).await;
        if let Err(error) = outcome {
            bail!("{error:#}{}", servers.logs(place));
        }
        servers.stop().await?;
    }
    if let Some(parts) = parts {
        parts.close().await?;
        report.parts = Some(all.report());
    }
    Ok(())
}

/// Everything that is measured on one start of the programs.
#[expect(clippy::too_many_arguments, reason = "what lasts through the phases is handed on, and called once")]
async fn phase(
    options: &Options,
    place: &Place,
    servers: &Servers,
    isolation: Isolation,
    ledger: &mut Ledger,
    parts: &mut Option<Parts>,
    all: &mut Measured,
    report: &mut Report,
) -> Result<()> {
    let wants = |what| options.scenario.contains(&what);
    let name = isolation.as_str();
    if wants(What::IdleMemory) {
        say("idle after one sign-in");
        tokio::time::sleep(IDLE).await;
        report.memory.push(memory::snapshot(&format!("one sign-in ({name})"), &servers.pids())?);
    }
    let timed: Vec<(&'static str, usize)> = match isolation {
        Isolation::Fork => {
            vec![(What::NoopSync, "noop-sync", 1), (What::ForkThroughput, "fork-throughput", 16)]
        }
        Isolation::Reuse => {
            vec![(What::NoopSync, "noop-sync", 1), (What::NoopThroughput, "noop-throughput", 64)]
        }
    }
    .into_iter()
    .filter(|(what, _, _)| wants(*what))
    .map(|(_, name, in_flight)| (name, in_flight))
    .collect();
    // Once: it has nothing to do with how runs are kept apart.
    if wants(What::Identity) && report.identity.is_none() {
        say("tokens and sign-ins");
        report.identity = Some(identity::measure(servers).await?);
    }
    let parts = match parts {
        Some(parts) => parts,
        None => parts.insert(Parts::open(options, place).await?),
    };
    if wants(What::Parts) {
        parts.measure(all).await?;
    }
    for (scenario, in_flight) in timed {
        say(&format!("{scenario} ({name}, {in_flight} in flight)"));
        // Children, connections, caches and the branch of every lazily made thing are there before the clock runs.
        let warm =
            load::load(servers, in_flight, Duration::from_secs(options.seconds.min(3)), ledger).await?;
        if warm.runs == 0 {
            bail!("no run succeeded: {}", ledger.quotes.join("; "));
        }
        let mut around = Measured::default();
        parts.measure(&mut around).await?;
        let load = load::load(servers, in_flight, Duration::from_secs(options.seconds), ledger).await?;
        parts.measure(&mut around).await?;
        report.scenarios.push(Scenario::new(scenario, name, load, around.report()));
        all.extend(around);
    }
    if ledger.accepted.is_empty() {
        return Ok(());
    }
    if wants(What::IdleMemory) {
        say("idle after the runs");
        tokio::time::sleep(IDLE).await;
        report.memory.push(memory::snapshot(&format!("the runs ({name})"), &servers.pids())?);
    }
    say("counting");
    report.verdicts.push(verify::verify(servers, place, ledger).await?);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement is dated by the machine's own clock")]
fn date() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}
