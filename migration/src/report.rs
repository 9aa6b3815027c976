//! How a command tells what it found and did.

use crate::{
    runner::Step,
    schema::Difference,
    state::{Entry, Standing, State},
};
use serde_json::{Value, json};
use std::{fmt::Write as _, time::Duration};

/// One line about a step.
pub(crate) fn step(step: Step<'_>) -> String {
    match step {
        Step::Waiting => "another process changes the schema; waiting for it".to_owned(),
        Step::Applied { name, late, took } => {
            let late = if late { ", after a later one" } else { "" };
            format!("  applied     {name} ({}{late})", time(took))
        }
        Step::TakenBack { name, took } => format!("  taken back  {name} ({})", time(took)),
        Step::Recorded(name) => format!("  recorded    {name} (not run)"),
        Step::Forgotten(name) => format!("  forgotten   {name} (not taken back)"),
        Step::Dropped { kind, count } => format!("  dropped     {}", counted(count, kind)),
    }
}

/// A duration as people read it.
pub(crate) fn time(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

/// `1 table`, `2 tables`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The table of migrations and what it comes to.
pub(crate) fn status(place: &str, state: &State) -> String {
    let mut text = format!("{place}\n");
    let width = width(state.entries.iter());
    for entry in &state.entries {
        let note = match (entry.standing, entry.late) {
            (Standing::Unknown, _) => format!("{}  unknown to this program", at(entry)),
            (Standing::Pending, true) => "a later one is applied".to_owned(),
            _ => at(entry),
        };
        let line = format!("  {}  {:width$}  {note}", entry.standing.as_str(), entry.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let [applied, pending, unknown] =
        [Standing::Applied, Standing::Pending, Standing::Unknown].map(|standing| state.count(standing));
    let _ = write!(text, "{applied} applied, {pending} pending");
    if unknown > 0 {
        let _ = write!(text, ", {unknown} unknown to this program: the database is newer");
    }
    text
}

pub(crate) fn status_json(place: &str, state: &State) -> String {
    let migrations: Vec<Value> = state.entries.iter().map(entry).collect();
    json!({
        "database": place,
        "applied": state.count(Standing::Applied),
        "pending": state.count(Standing::Pending),
        "unknown": state.count(Standing::Unknown),
        "migrations": migrations,
    })
    .to_string()
}

/// What was applied when.
pub(crate) fn history(state: &State, verbose: bool) -> String {
    let entries = state.in_order_of_time();
    let mut lines: Vec<String> = Vec::new();
    for entry in &entries {
        let unknown = if entry.standing == Standing::Unknown { "  unknown to this program" } else { "" };
        lines.push(format!("{}  {}{unknown}", at(entry), entry.name));
        if let Some(subject) = crate::subject(&entry.name).filter(|_| verbose) {
            lines.push(format!("    {subject}"));
        }
    }
    if lines.is_empty() { "nothing is applied".to_owned() } else { lines.join("\n") }
}

pub(crate) fn history_json(state: &State) -> String {
    let with_subject = |one: &&Entry| {
        let mut value = entry(one);
        value["subject"] = json!(crate::subject(&one.name));
        value
    };
    Value::from(state.in_order_of_time().iter().map(with_subject).collect::<Vec<_>>()).to_string()
}

/// What differs.
pub(crate) fn check(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "the schema is what the migrations make".to_owned();
    }
    let mut text = String::new();
    for difference in differences {
        let _ = writeln!(text, "  {difference}");
    }
    let _ = write!(text, "{}", counted(differences.len(), "difference"));
    text
}

pub(crate) fn check_json(differences: &[Difference]) -> String {
    let all = differences.iter().map(|difference| match difference {
        Difference::Missing { owner, part } => json!({"kind": "missing", "owner": owner, "part": part}),
        Difference::Extra { owner, part, how } => {
            json!({"kind": "extra", "owner": owner, "part": part, "found": how})
        }
        Difference::Other { owner, part, wanted, found } => {
            json!({"kind": "other", "owner": owner, "part": part, "wanted": wanted, "found": found})
        }
    });
    json!({"differences": all.collect::<Vec<_>>()}).to_string()
}

fn entry(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "state": entry.standing.as_str(),
        "applied_at": entry.applied_at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
    })
}

fn at(entry: &Entry) -> String {
    entry.applied_at.map(|at| at.format("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}

fn width<'e>(entries: impl Iterator<Item = &'e Entry>) -> usize {
    entries.map(|entry| entry.name.len()).max().unwrap_or(0)
}
