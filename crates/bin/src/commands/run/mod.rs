//! `run`: runs a workflow.

mod input;

use super::{
    follow::{self, End, Lines},
    output,
    workflows::{self, Listed},
};
use crate::{
    client::{
        Client, Exit, Failure, Follower, ServerArguments,
        shapes::{Accepted, Workflow},
    },
    suggest,
    terminal::{self, text},
};
use input::Input;
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{path::PathBuf, time::Duration};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Parameters are written as
  key=value        converted to the declared type (a list: JSON, or values with commas between)
  key:=json        taken as JSON, e.g. ids:='[1, 2]' or flag:=true
  key=@file        the text of a file
  key:=@file       the JSON of a file

Examples:
  bifrost run greet name=Ada
  bifrost run onboard_user email=ada@contoso.example full_name='Ada Byron' department=it --follow
  bifrost run customer_report customer=contoso --output report.html
  bifrost run import_users --input users.json --json | jq .result
  ID=$(bifrost run inventory_sweep devices=500)

A synchronous workflow is waited for. Of an asynchronous one the id is printed at once, unless --wait, --follow, --output or
--timeout is given.
Exit codes: 0 success, 7 completed with errors, 1 failed, timed out or cancelled, 6 refused input; see docs/command-line.md.")]
pub struct Run {
    /// Name of the workflow (or its id)
    name: String,
    /// Its parameters
    #[arg(value_name = "key=value")]
    parameters: Vec<String>,
    /// Take the parameters from a JSON object in this file (- for standard input); key=value goes before it
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show the log while it runs (on standard error) and wait for the result
    #[arg(long, short)]
    follow: bool,
    /// Wait for the result
    #[arg(long, short)]
    wait: bool,
    /// Wait for the result, so many seconds at most; the run goes on (exit code 124)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Begin so many seconds later, seven days at most
    #[arg(long, value_name = "SECONDS")]
    delay: Option<u32>,
    /// Wait for the result and write it into this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON: the finished execution, or what was accepted
    #[arg(long)]
    json: bool,
    /// Send keys that the workflow does not declare (it finds them in `context.parameters`, or takes **kwargs)
    #[arg(long)]
    allow_unknown: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Serialize)]
struct Body<'a> {
    workflow_name: &'a str,
    input_data: &'a Input,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<u32>,
}

/// Runs it.
///
/// # Errors
/// When the server says no, the parameters make no sense, or the result cannot be written.
pub async fn run(arguments: Run) -> Result<Exit, Failure> {
    // What can be seen without the server first.
    arguments.output.as_deref().map_or(Ok(()), output::check)?;
    let client = Client::open(&arguments.server)?;
    let given = input::Given::read(&arguments.parameters, arguments.input.as_deref())?;
    let workflow = find(workflows::all(&client).await?, &arguments.name)?;
    let input = given.convert(&workflow, arguments.allow_unknown)?;
    let body = Body { workflow_name: &workflow.name, input_data: &input, delay_seconds: arguments.delay };
    // Always answered at once, with the id: whoever presses Ctrl-C knows what goes on, and a connection that breaks costs nothing.
    let request = client
        .request(Method::POST, &["api", "workflows", "execute"])
        .header("prefer", "respond-async")
        .json(&body)?;
    let answer = client.send(&request).await.map_err(|failure| match failure.exit {
        Exit::Unreachable => {
            let look = client.command("executions --limit 3");
            failure.with(vec![format!("  whether it was accepted before, `{look}` shows")])
        }
        _ => failure,
    })?;
    let accepted: Accepted = answer.read()?;
    let id = accepted.execution_id.as_str();
    let is_sync = workflow.execution_mode == "sync" && arguments.delay.is_none_or(|seconds| seconds == 0);
    let waits =
        arguments.wait || arguments.follow || arguments.output.is_some() || arguments.timeout.is_some();
    if !(is_sync || waits) {
        if arguments.json {
            let whole: Box<RawValue> = answer.read()?;
            terminal::print(&format!("{}\n", terminal::json::pretty(whole.get())))?;
        } else {
            terminal::print(&format!("{}\n", text::line(id)))?;
            let state = text::line(&accepted.status).into_owned();
            let follow = client.command(&format!("logs {} --follow", text::line(id)));
            terminal::note(&format!("{state}; follow it with `{follow}`"));
        }
        return Ok(Exit::Ok);
    }
    let lines = if arguments.follow { Lines::Beside } else { Lines::Nowhere };
    let timeout = arguments.timeout.map(Duration::from_secs);
    let end = follow::follow(Follower::accepted(&client, id), &workflow.name, lines, timeout).await?;
    match end {
        End::Ended => {}
        End::WaitedLongEnough => {
            terminal::note(&format!("{id} has not ended within {} s", arguments.timeout.unwrap_or_default()));
            follow::how_to_go_on(&client, id);
            return Ok(Exit::WaitedLongEnough);
        }
        End::Interrupted => {
            follow::how_to_go_on(&client, id);
            return Ok(Exit::Interrupted);
        }
    }
    let finished = follow::read(&client, id).await?;
    if !arguments.json {
        finished.tell();
        if finished.exit() == Exit::Failed && !arguments.follow {
            terminal::note(&format!("  its log: {}", client.command(&format!("logs {}", text::line(id)))));
        }
    }
    match finished.write(arguments.output.as_deref(), arguments.json) {
        // Nobody reads it any more; how the run ended is still told by the code.
        Err(failure) if failure.is_silent() => Ok(finished.exit()),
        written => written.map(|()| finished.exit()),
    }
}

/// The workflow of this name or id.
fn find(all: Vec<Listed>, name: &str) -> Result<Workflow, Failure> {
    let known: Vec<String> = all.iter().map(|listed| listed.workflow.name.clone()).collect();
    let mut workflows = all.into_iter().map(|listed| listed.workflow);
    if let Some(found) = workflows.find(|workflow| workflow.name == name || workflow.id == name) {
        return Ok(found);
    }
    let hint = match suggest::nearest(name, &known.iter().map(String::as_str).collect::<Vec<_>>()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => {
            "the server has none yet; put a Python file with an @workflow function into its workspace folder"
                .to_owned()
        }
        None => "`bifrost workflows` lists them".to_owned(),
    };
    Err(Failure::new(Exit::NotFound, format!("there is no workflow `{name}`: {hint}")))
}
