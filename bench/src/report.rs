//! What is told at the end: as JSON for later comparison, and as tables for reading.

use crate::{
    identity::Identity, load::LoadReport, memory::Snapshot, parts::PartsReport, stats::Distribution,
    verify::Verdict,
};
use serde::Serialize;
use std::{fmt::Write as _, fs, process::Command, thread};

/// Everything about one run of the tool.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) mode: &'static str,
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// What was measured: the commit that is checked out here, with `+` when files differ from it.
    pub(crate) commit: String,
    /// Settings beside the defaults.
    pub(crate) settings: Vec<String>,
    pub(crate) parts: Option<PartsReport>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) memory: Vec<Snapshot>,
    pub(crate) identity: Option<Identity>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// The machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
    /// Load of the last minute when the measurement began: what else was going on.
    pub(crate) load_before: String,
    /// And when it ended; the measurement itself is in it.
    pub(crate) load_after: String,
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

/// A scenario with the parts that were measured around it.
#[derive(Debug, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) isolation: &'static str,
    pub(crate) load: LoadReport,
    pub(crate) parts: PartsReport,
    /// Median of a run over the sum of the parts' medians.
    pub(crate) latency_to_parts: f64,
    /// Runs per second over commits per second on one connection.
    pub(crate) throughput_to_commits: f64,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processors: thread::available_parallelism().map_or(0, usize::from),
            model: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load_average(),
            load_after: String::new(),
        }
    }

    pub(crate) fn look_again(&mut self) {
        self.load_after = load_average();
    }
}

/// The commit that is checked out in the current folder.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short", "HEAD"]) {
        None => "unknown".to_owned(),
        Some(commit) => {
            let clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
            if clean { commit } else { format!("{commit}+") }
        }
    }
}

impl Scenario {
    pub(crate) fn new(
        name: &'static str,
        isolation: &'static str,
        load: LoadReport,
        parts: PartsReport,
    ) -> Self {
        let over = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        Self {
            latency_to_parts: over(load.latency.p50_ms, parts.sum_p50_ms),
            throughput_to_commits: over(load.runs_per_second, parts.commits_per_second),
            name,
            isolation,
            load,
            parts,
        }
    }
}

impl Report {
    /// Whether every accepted run ended well and is there once.
    pub(crate) fn is_well(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.problems.is_empty())
    }

    /// In Markdown, as docs/performance.md takes it.
    pub(crate) fn tables(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(
            out,
            "{} · {} · commit {} · {} processors ({}) · load {} before, {} after{}\n",
            self.date,
            self.mode,
            self.commit,
            machine.processors,
            machine.model,
            machine.load_before,
            machine.load_after,
            self.settings.iter().map(|setting| format!(" · {setting}")).collect::<String>(),
        )?;
        if let Some(parts) = &self.parts {
            heading(out, "part, one at a time")?;
            row(out, "commit of one row", &parts.commit)?;
            if let Some(publish) = &parts.publish {
                row(out, "confirmed publish", publish)?;
            }
            row(out, "fork to first byte", &parts.fork)?;
            row(out, "fork, end, wait", &parts.fork_whole)?;
            writeln!(
                out,
                "\nMedians of commit, publish and fork: {:.2} ms together. {:.0} commits/s on one connection.\n",
                parts.sum_p50_ms, parts.commits_per_second
            )?;
        }
        if !self.scenarios.is_empty() {
            heading(out, "synchronous no-op run")?;
            for scenario in &self.scenarios {
                row(out, &scenario.title(), &scenario.load.latency)?;
            }
            writeln!(
                out,
                "\n| scenario | runs/s | median : parts | runs/s : commits/s |\n|---|---:|---:|---:|"
            )?;
            for scenario in &self.scenarios {
                writeln!(
                    out,
                    "| {} | {:.0} | {:.2} | {:.2} |",
                    scenario.title(),
                    scenario.load.runs_per_second,
                    scenario.latency_to_parts,
                    scenario.throughput_to_commits
                )?;
            }
            writeln!(out)?;
        }
        if !self.memory.is_empty() {
            writeln!(
                out,
                "| idle memory, MB of PSS | programs and zygote | children | everything | RSS added up |"
            )?;
            writeln!(out, "|---|---:|---:|---:|---:|")?;
            for at in &self.memory {
                writeln!(
                    out,
                    "| {} | {:.1} | {:.1} | {:.1} | {:.1} |",
                    at.after, at.core_pss_mb, at.children_pss_mb, at.all_pss_mb, at.all_rss_mb
                )?;
            }
            writeln!(out)?;
            for at in &self.memory {
                let each = at
                    .processes
                    .iter()
                    .map(|process| format!("{} {:.1}", process.role, process.pss_kib as f64 * 1024.0 / 1e6));
                writeln!(out, "- {}: {}", at.after, each.collect::<Vec<_>>().join(", "))?;
            }
            writeln!(out)?;
        }
        if let Some(identity) = &self.identity {
            identity_tables(out, identity)?;
        }
        for verdict in &self.verdicts {
            writeln!(
                out,
                "Accepted so far {}: {} rows, {} with success; listed by the API {}, {} with success; failed {}.",
                verdict.accepted,
                verdict.rows,
                verdict.successes,
                verdict.listed,
                verdict.listed_successes,
                verdict.failed
            )?;
            for problem in &verdict.problems {
                writeln!(out, "PROBLEM: {problem}")?;
            }
        }
        Ok(())
    }
}

fn identity_tables(out: &mut String, it: &Identity) -> std::fmt::Result {
    writeln!(
        out,
        "Processor time of the API for a request: {:.1} µs without a token, {:.1} µs with one; the check: {:.1} µs.\n",
        it.plain_us, it.with_token_us, it.token_check_us
    )?;
    heading(out, "sign-in")?;
    row(out, "argon2id by itself", &it.argon2)?;
    row(out, "sign-in", &it.sign_in)?;
    row(out, "wrong password", &it.wrong_password)?;
    row(out, "unknown address", &it.unknown_user)?;
    row(out, "sign-in, 100 at once", &it.crowd)?;
    writeln!(
        out,
        "\nProcessor time of a sign-in: {:.1} ms, {:.2} of argon2id by itself. 100 at once: {:.2} of what argon2id alone allows.\n",
        it.sign_in_cpu_ms,
        it.sign_in_cpu_ms / it.argon2.p50_ms,
        it.crowd_to_argon2
    )
}

impl Scenario {
    fn title(&self) -> String {
        format!("{} ({}, {} in flight)", self.name, self.isolation, self.load.in_flight)
    }
}

fn heading(out: &mut String, first: &str) -> std::fmt::Result {
    writeln!(out, "| {first} | count | min ms | p50 | p90 | p99 | max |\n|---|---:|---:|---:|---:|---:|---:|")
}

fn row(out: &mut String, name: &str, it: &Distribution) -> std::fmt::Result {
    writeln!(
        out,
        "| {name} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        it.count, it.min_ms, it.p50_ms, it.p90_ms, it.p99_ms, it.max_ms
    )
}
