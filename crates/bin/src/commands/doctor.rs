//! `doctor`: looks at what a server on this machine would stand on.

use crate::{
    client::{Exit, Failure},
    terminal::{self, Paint, text},
};
use bifrost_boot::doctor::{self, Finding, Report, State};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads the settings that a server would read (the environment), opens everything once, and changes nothing.
Exit codes: 0 when nothing failed (warnings do not count), 1 otherwise.

Examples:
  bifrost doctor
  DATABASE_URL=… RABBITMQ_URL=… REDIS_URL=… bifrost doctor --stack
  bifrost doctor --json | jq '.checks[] | select(.state != \"ok\")'")]
pub struct Doctor {
    /// Look for what bifrost-api and bifrost-jobs need (all three servers), not for `bifrost dev`
    #[arg(long)]
    stack: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and says what to do.
///
/// # Errors
/// When standard output cannot be written.
pub async fn doctor(arguments: Doctor) -> Result<Exit, Failure> {
    // Servers may want TLS; a second choice of the provider is an error that changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let report = doctor::examine_process(arguments.stack).await;
    let text = if arguments.json {
        let raw = serde_json::to_string(&report).map_err(|error| Failure::here(error.to_string()))?;
        terminal::json::pretty(&raw) + "\n"
    } else {
        readable(&report, Paint::of_stdout())
    };
    terminal::print(&text)?;
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

fn readable(report: &Report, paint: Paint) -> String {
    let what = match report.mode {
        "embedded" => "embedded: everything in process",
        "stack" => "stack: PostgreSQL, RabbitMQ and Redis",
        "mixed" => "mixed: some servers, the rest in process (for `bifrost dev` alone)",
        _ => "the settings cannot be used",
    };
    let mut out = format!("{} {what}\n\n", paint.bold(&format!("Bifrost {}", report.version)));
    for Finding { check, state, detail, advice } in &report.checks {
        let mark = format!("{state:<4}");
        let mark = match state {
            State::Ok => paint.green(&mark),
            State::Warn => paint.yellow(&mark),
            State::Fail => paint.red(&mark),
        };
        out.push_str(&format!("  {mark}  {check:<12} {}\n", text::line(detail)));
        if let Some(advice) = advice {
            out.push_str(&format!("                      → {}\n", text::line(advice)));
        }
    }
    let count = |wanted| report.checks.iter().filter(|finding| finding.state == wanted).count();
    let (warnings, failures) = (count(State::Warn), count(State::Fail));
    let number = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    out.push_str(&match (failures, warnings) {
        (0, 0) => "\nAll is well.\n".to_owned(),
        (0, _) => format!("\nNothing failed; {}.\n", number(warnings, "warning")),
        _ => format!("\n{}, {}.\n", number(failures, "failure"), number(warnings, "warning")),
    });
    out
}
