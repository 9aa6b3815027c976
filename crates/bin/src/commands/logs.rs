//! `logs`: what a run said.

use super::follow::{self, End, Level, Lines};
use crate::{
    client::{Client, Exit, Failure, Follower, ServerArguments, shapes::LogLine},
    terminal,
};
use reqwest::Method;
use serde::Deserialize;
use std::collections::VecDeque;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bifrost logs 01a1fba3-508e-75a0-b5bd-016bec462397 --follow
  bifrost logs 01a1fba3-508e-75a0-b5bd-016bec462397 --level warning --tail 20
  bifrost logs 01a1fba3-508e-75a0-b5bd-016bec462397 --json | jq -r .message

With --follow the exit code is the run's: 0 success, 7 completed with errors, 1 anything else.")]
pub struct Logs {
    /// Id of the execution
    id: String,
    /// Go on until the run has ended, also when the server is started again meanwhile
    #[arg(long, short)]
    follow: bool,
    /// Only lines of this severity and above
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    level: Option<Level>,
    /// Only the last N lines of what is there
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Deserialize)]
struct Page {
    logs: Vec<LogLine>,
    next_after: i64,
    has_more: bool,
}

/// Shows the log.
///
/// # Errors
/// When the server says no, or standard output cannot be written.
pub async fn logs(arguments: Logs) -> Result<Exit, Failure> {
    let client = Client::open(&arguments.server)?;
    let lines = Lines::Out { json: arguments.json, level: arguments.level };
    // The stream begins with the first line by itself; the last ones of what is there are found by reading it.
    let after = match (arguments.follow, arguments.tail) {
        (true, None) => 0,
        (_, tail) => stored(&client, &arguments.id, lines, tail).await?,
    };
    if !arguments.follow {
        return Ok(Exit::Ok);
    }
    let follower = Follower::new(&client, &arguments.id, after);
    match follow::follow(follower, "following", lines, None).await? {
        End::Ended => {
            let finished = follow::read(&client, &arguments.id).await?;
            if !arguments.json {
                finished.tell();
            }
            Ok(finished.exit())
        }
        End::WaitedLongEnough | End::Interrupted => {
            follow::how_to_go_on(&client, &arguments.id);
            Ok(Exit::Interrupted)
        }
    }
}

/// Shows the lines that are stored, or the last of them, and says where to go on.
async fn stored(client: &Client, id: &str, lines: Lines, tail: Option<u32>) -> Result<i64, Failure> {
    let tail = tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let mut last = VecDeque::new();
    let mut after = 0;
    loop {
        let request = client
            .request(Method::GET, &["api", "executions", id, "logs"])
            .query("after", &after.to_string())
            .query("limit", "1000");
        let page: Page = client.send(&request).await?.read()?;
        for line in page.logs.into_iter().filter(|line| lines.wants(line)) {
            match tail {
                None => lines.show(&line)?,
                Some(tail) => {
                    last.push_back(line);
                    if last.len() > tail {
                        last.pop_front();
                    }
                }
            }
        }
        // A server that says there is more and gives none would be asked for ever.
        if !page.has_more || page.next_after <= after {
            after = after.max(page.next_after);
            break;
        }
        after = page.next_after;
    }
    for line in &last {
        lines.show(line)?;
    }
    if after == 0 {
        terminal::note("it has said nothing yet");
    }
    Ok(after)
}
