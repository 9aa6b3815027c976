//! What `run` and `logs` have in common: to follow an execution to its end, and to show what came of it.

use super::output;
use crate::{
    client::{
        Client, Event, Exit, Failure, Follower,
        shapes::{Execution, LogLine, Object, Outcome, is_terminal},
    },
    terminal::{self, Paint, json, progress::Progress, text},
};
use serde_json::value::RawValue;
use std::{io::IsTerminal, path::Path, time::Duration};

/// Where the lines of the log go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Nowhere.
    Nowhere,
    /// To standard error, beside the result.
    Beside,
    /// To standard output: they are what was asked for.
    Out {
        /// As JSON, one object a line.
        json: bool,
        /// Nothing less severe.
        level: Option<Level>,
    },
}

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Level {
    /// For the author.
    Debug,
    /// For everybody.
    Info,
    /// Something is odd.
    Warning,
    /// Something failed; tracebacks too.
    Error,
    /// Everything failed.
    Critical,
}

impl Level {
    fn of(text: &str) -> Self {
        match text {
            "DEBUG" => Self::Debug,
            "WARNING" => Self::Warning,
            "ERROR" | "TRACEBACK" => Self::Error,
            "CRITICAL" => Self::Critical,
            _ => Self::Info,
        }
    }
}

impl Lines {
    /// Whether this line is shown at all.
    pub(super) fn wants(self, line: &LogLine) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Beside => true,
            Self::Out { level, .. } => level.is_none_or(|level| Level::of(&line.level) >= level),
        }
    }

    /// Shows a line.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn show(self, line: &LogLine) -> Result<(), Failure> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Beside => {
                terminal::note(&readable(line, Paint::of_stderr()));
                Ok(())
            }
            Self::Out { json: true, .. } => {
                let raw = serde_json::to_string(line).map_err(|error| Failure::here(error.to_string()))?;
                terminal::print(&format!("{}\n", json::safe(&raw)))
            }
            Self::Out { json: false, .. } => {
                terminal::print(&format!("{}\n", readable(line, Paint::of_stdout())))
            }
        }
    }
}

/// `time level message key=value`.
fn readable(line: &LogLine, paint: Paint) -> String {
    let level = format!("{:<9}", text::line(&line.level));
    let level = match Level::of(&line.level) {
        Level::Debug => paint.dim(&level),
        Level::Info => paint.green(&level),
        Level::Warning => paint.yellow(&level),
        Level::Error | Level::Critical => paint.red(&level),
    };
    let message = text::block(&line.message, "    ");
    let mut out = format!("{} {level} {message}", paint.dim(&text::time(&line.timestamp, 3)));
    let fields = line.metadata.as_deref().map(fields).unwrap_or_default();
    if !fields.is_empty() {
        out.push(' ');
        out.push_str(&paint.dim(&fields));
    }
    out
}

/// `key=value` for each field; text without spaces stands bare.
fn fields(metadata: &RawValue) -> String {
    let Ok(object) = serde_json::from_str::<Object>(metadata.get()) else {
        return match metadata.get() {
            "null" => String::new(),
            other => json::safe(other),
        };
    };
    let shown = object.iter().map(|(name, value)| format!("{}={}", text::line(name), bare(value.get())));
    shown.collect::<Vec<_>>().join(" ")
}

/// A text without spaces as it is, everything else as JSON.
fn bare(value: &str) -> String {
    let splits = |letter: char| letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '=');
    match serde_json::from_str::<String>(value) {
        Ok(text) if !text.is_empty() && !text.contains(splits) => text::line(&text).into_owned(),
        _ => json::safe(value),
    }
}

/// Why nothing more is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It has ended.
    Ended,
    /// The time to wait is over.
    WaitedLongEnough,
    /// Ctrl-C.
    Interrupted,
}

/// Follows an execution until it ends, `timeout` is over or Ctrl-C comes.
///
/// # Errors
/// When the server says no or is away for long, or standard output cannot be written.
pub(super) async fn follow(
    mut follower: Follower<'_>,
    what: &str,
    lines: Lines,
    timeout: Option<Duration>,
) -> Result<End, Failure> {
    let mut progress = Progress::start(what);
    let paint = Paint::of_stderr();
    let over = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        let event = tokio::select! {
            event = follower.next() => event?,
            () = &mut over => return Ok(End::WaitedLongEnough),
            _ = tokio::signal::ctrl_c() => return Ok(End::Interrupted),
        };
        match event {
            None => return Ok(End::Ended),
            Some(Event::Line(line)) if lines.wants(&line) => progress.aside(|| lines.show(&line))?,
            Some(Event::Line(_)) => {}
            Some(Event::Progress { fraction, message }) => progress.at(fraction, message.as_deref()),
            Some(Event::Status(status)) => progress.says(&format!("{what}: {status}")),
            Some(Event::Away(reason)) => {
                let text = format!("{}; trying again, the run goes on", text::line(&reason));
                progress.aside(|| terminal::note(&paint.yellow(&text)));
            }
            Some(Event::Back) => progress.aside(|| terminal::note(&paint.dim("connected again"))),
        }
    }
}

/// Tells how to go on with a run that nobody follows any more.
pub(super) fn how_to_go_on(client: &Client, id: &str) {
    let id = text::line(id);
    let commands = [
        (client.command(&format!("logs {id} --follow")), "to follow it again"),
        (client.command(&format!("executions {id}")), "for its state and result"),
        (client.command(&format!("cancel {id}")), "to end it"),
    ];
    let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let lines = commands.map(|(command, what)| format!("\n  {command:<width$}    {what}"));
    terminal::note(&format!("the run goes on:{}", lines.concat()));
}

/// An execution with its result, both as they were sent.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) execution: Execution,
    whole: Object,
    outcome: Option<Outcome>,
}

/// Reads an execution, and its result when it has ended.
///
/// # Errors
/// When the server says no.
pub(super) async fn read(client: &Client, id: &str) -> Result<Finished, Failure> {
    let mut whole: Object = client.get(&["api", "executions", id]).await?;
    let text = serde_json::to_string(&whole).map_err(|error| Failure::here(error.to_string()))?;
    let execution: Execution = serde_json::from_str(&text)
        .map_err(|error| Failure::unreachable(format!("the execution cannot be read: {error}")))?;
    let mut outcome = None;
    if is_terminal(&execution.status) {
        // The result by itself is what the run wrote, however long its numbers and however large it is.
        let result: Outcome = client.get(&["api", "executions", id, "result"]).await?;
        whole.insert("result".to_owned(), result.result.clone());
        outcome = Some(result);
    }
    Ok(Finished { execution, whole, outcome })
}

impl Finished {
    /// The exit code that its status means.
    pub(super) fn exit(&self) -> Exit {
        match self.execution.status.as_str() {
            "Success" => Exit::Ok,
            "CompletedWithErrors" => Exit::WithErrors,
            _ => Exit::Failed,
        }
    }

    /// Class and text of its error.
    pub(super) fn error(&self) -> Option<String> {
        let message = self.execution.error_message.as_deref()?;
        Some(match self.execution.error_type.as_deref() {
            Some(kind) => format!("{kind}: {message}"),
            None => message.to_owned(),
        })
    }

    /// One line on standard error: how it ended.
    pub(super) fn tell(&self) {
        let paint = Paint::of_stderr();
        let Execution { workflow_name, status, execution_id, duration_ms, .. } = &self.execution;
        let took = duration_ms.map(|ms| format!(" after {}", text::duration(ms))).unwrap_or_default();
        let error = self.error().map(|error| format!(": {}", text::block(&error, "  "))).unwrap_or_default();
        terminal::note(&format!(
            "{} {}{took}{error} {}",
            text::line(workflow_name),
            paint.status(status),
            paint.dim(&format!("({})", text::line(execution_id)))
        ));
    }

    /// Writes the result to `file`, else to standard output; with `json` the whole execution goes to standard output. Of a run that
    /// did not return there is no result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, file: Option<&Path>, json: bool) -> Result<(), Failure> {
        let has_result = matches!(self.execution.status.as_str(), "Success" | "CompletedWithErrors");
        if let (Some(path), Some(outcome), true) = (file, &self.outcome, has_result) {
            output::write(path, &outcome.text())?;
        }
        if json {
            let whole =
                serde_json::to_string(&self.whole).map_err(|error| Failure::here(error.to_string()))?;
            return terminal::print(&format!("{}\n", json::pretty(&whole)));
        }
        match &self.outcome {
            Some(outcome) if has_result && file.is_none() => {
                let mut text = outcome.text();
                if outcome.result_type != "json" && std::io::stdout().is_terminal() {
                    text = text::document(&text);
                }
                terminal::print(&text)
            }
            _ => Ok(()),
        }
    }
}

impl Outcome {
    /// The result as a file holds it: text and HTML as they are, anything else as indented JSON; with a line's end.
    fn text(&self) -> String {
        let plain = if self.result_type == "json" {
            None
        } else {
            serde_json::from_str::<String>(self.result.get()).ok()
        };
        let mut text = plain.unwrap_or_else(|| json::pretty(self.result.get()));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> LogLine {
        serde_json::from_str(json).expect("a line")
    }

    #[test]
    fn a_line_is_readable_and_harmless() {
        let text = readable(
            &line(
                r#"{"sequence":1,"level":"INFO","message":"made\u001b[2J\nsecond","timestamp":"2026-11-21T01:05:46.659106Z",
                   "metadata":{"mailbox":"a@b.example","n":12345678901234567890123,"text":"with space","deep":{"a":[1]},"x\u001b":"\u009b"}}"#,
            ),
            Paint::none(),
        );
        assert_eq!(
            text,
            "2026-11-21T01:05:46.659Z INFO      made\\u{1b}[2J\n    second deep={\"a\":[1]} mailbox=a@b.example n=12345678901234567890123 text=\"with space\" x\\u{1b}=\"\\u009b\""
        );
        let text = readable(
            &line(r#"{"sequence":2,"level":"ERROR","message":"x","timestamp":"now","metadata":null}"#),
            Paint::none(),
        );
        assert_eq!(text, "now ERROR     x");
    }

    #[test]
    fn a_level_shows_itself_and_what_is_worse() {
        let lines = Lines::Out { json: false, level: Some(Level::Warning) };
        for (level, wanted) in [
            ("DEBUG", false),
            ("INFO", false),
            ("WARNING", true),
            ("ERROR", true),
            ("TRACEBACK", true),
            ("CRITICAL", true),
        ] {
            let line = line(&format!(r#"{{"sequence":1,"level":"{level}","message":"m","timestamp":"t"}}"#));
            assert_eq!(lines.wants(&line), wanted, "{level}");
        }
    }

    #[test]
    fn results_are_written_as_what_they_are() {
        let outcome = |json: &str| serde_json::from_str::<Outcome>(json).expect("a result").text();
        assert_eq!(
            outcome(r#"{"result":{"n":99999999999999999999999999,"t":"ü"},"result_type":"json"}"#),
            "{\n  \"n\": 99999999999999999999999999,\n  \"t\": \"ü\"\n}\n"
        );
        assert_eq!(outcome(r#"{"result":"a\nb","result_type":"text"}"#), "a\nb\n");
        assert_eq!(outcome(r#"{"result":"<p>x</p>\n","result_type":"html"}"#), "<p>x</p>\n");
        assert_eq!(outcome(r#"{"result":"text","result_type":"json"}"#), "\"text\"\n");
        assert_eq!(outcome(r#"{"result":null,"result_type":"json"}"#), "null\n");
    }
}
