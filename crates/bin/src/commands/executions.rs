//! `executions`: what ran, and one of them whole.

use super::{follow, output};
use crate::{
    client::{
        Client, Exit, Failure, ServerArguments,
        shapes::{Execution, STATUSES},
    },
    terminal::{self, Paint, table::Table, text},
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Arguments of `executions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bifrost executions --status Failed --limit 10
  bifrost executions --workflow onboard_user --json | jq -r '.[].execution_id'
  bifrost executions 01a1fba3-508e-75a0-b5bd-016bec462397 --output report.html")]
pub struct Executions {
    /// Show this one with its result, instead of the list
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Only those of this status
    #[arg(long, ignore_case = true, value_parser = statuses(), conflicts_with = "id")]
    status: Option<&'static str>,
    /// Only those of this workflow (its exact name)
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    workflow: Option<String>,
    /// How many at most, newest first
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with = "id")]
    limit: u32,
    /// Write the result of the one execution into this file
    #[arg(long, short, value_name = "FILE", requires = "id")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Any of them, as the API spells it.
fn statuses() -> impl TypedValueParser<Value = &'static str> {
    PossibleValuesParser::new(STATUSES).try_map(|given| {
        STATUSES.into_iter().find(|known| known.eq_ignore_ascii_case(&given)).ok_or("is not a status")
    })
}

#[derive(Deserialize)]
struct Page {
    executions: Vec<Box<RawValue>>,
}

/// Lists executions, or shows one.
///
/// # Errors
/// When the server says no, or the result cannot be written.
pub async fn executions(arguments: Executions) -> Result<Exit, Failure> {
    arguments.output.as_deref().map_or(Ok(()), output::check)?;
    let client = Client::open(&arguments.server)?;
    match &arguments.id {
        Some(id) => one(&client, id, &arguments).await,
        None => list(&client, &arguments).await,
    }
}

async fn list(client: &Client, arguments: &Executions) -> Result<Exit, Failure> {
    let mut request =
        client.request(Method::GET, &["api", "executions"]).query("limit", &arguments.limit.to_string());
    for (name, value) in [("status", arguments.status), ("workflowName", arguments.workflow.as_deref())] {
        if let Some(value) = value {
            request = request.query(name, value);
        }
    }
    let page: Page = client.send(&request).await?.read()?;
    if arguments.json {
        let items: Vec<&str> = page.executions.iter().map(|raw| raw.get()).collect();
        terminal::print(&format!("{}\n", terminal::json::pretty(&format!("[{}]", items.join(",")))))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["ID", "WORKFLOW", "STATUS", "ACCEPTED", "TOOK", "BY"]);
    for raw in &page.executions {
        let execution: Execution = serde_json::from_str(raw.get()).map_err(|error| {
            Failure::unreachable(format!("an execution in the list cannot be read: {error}"))
        })?;
        table.row([
            &execution.execution_id,
            &execution.workflow_name,
            &execution.status,
            &text::time(&execution.created_at, 0),
            &execution.duration_ms.map(text::duration).unwrap_or_default(),
            &execution.executed_by_name,
        ]);
    }
    if page.executions.is_empty() {
        terminal::note("nothing ran yet that fits");
    } else {
        terminal::print(&table.render(Paint::of_stdout(), terminal::width()))?;
    }
    Ok(Exit::Ok)
}

async fn one(client: &Client, id: &str, arguments: &Executions) -> Result<Exit, Failure> {
    let finished = follow::read(client, id).await?;
    if arguments.json {
        finished.write(arguments.output.as_deref(), true)?;
        return Ok(Exit::Ok);
    }
    let execution = &finished.execution;
    let paint = Paint::of_stderr();
    let mut facts = vec![
        ("workflow", text::line(&execution.workflow_name).into_owned()),
        ("status", paint.status(&execution.status)),
        (
            "accepted",
            format!(
                "{} by {}",
                text::time(&execution.created_at, 3),
                text::line(&execution.executed_by_name)
            ),
        ),
    ];
    facts.extend(execution.started_at.as_deref().map(|at| ("started", text::time(at, 3))));
    if let Some(at) = execution.completed_at.as_deref() {
        let took =
            execution.duration_ms.map(|ms| format!(", after {}", text::duration(ms))).unwrap_or_default();
        facts.push(("ended", format!("{}{took}", text::time(at, 3))));
    }
    if execution.attempt > 1 {
        facts.push(("attempt", execution.attempt.to_string()));
    }
    facts.extend(finished.error().map(|error| ("error", text::block(&error, "            "))));
    for (name, value) in facts {
        terminal::note(&format!("{} {value}", paint.dim(&format!("{name:<10} "))));
    }
    finished.write(arguments.output.as_deref(), false)?;
    Ok(Exit::Ok)
}
