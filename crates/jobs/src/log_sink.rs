//! The log of one run: numbers lines on arrival, bounds them, and stores them in batches, one in flight.

use crate::metrics::{self, Lines};
use bifrost_app::{App, worker::Outcome};
use bifrost_domain::{
    error::Result,
    execution::{LogBatch, LogLevel, LogLine},
    ids::ExecutionId,
    ports::python::RawLine,
};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// Lines and bytes of one write at most.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;
/// Lines and bytes that wait at most, but for what came with the last frame; a run that writes faster than they are stored is slowed down.
const PENDING_LINES: usize = 2_000;
const PENDING_BYTES: usize = 4 * 1024 * 1024;
/// What a line is counted beside its text.
const LINE_OVERHEAD: usize = 64;
/// What stands in the log for a line that the store refused.
const REFUSED: &str = "a log line could not be stored";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Bounds of one log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Lines at most.
    pub(crate) lines: i64,
    /// Bytes of a line at most.
    pub(crate) line_bytes: usize,
}

/// Lines that wait to be written, and what they hold.
#[derive(Debug, Default)]
struct Pending {
    lines: Vec<LogLine>,
    bytes: usize,
}

impl Pending {
    const fn has_room(&self) -> bool {
        self.lines.len() < PENDING_LINES && self.bytes < PENDING_BYTES
    }

    fn push(&mut self, line: LogLine) {
        self.bytes += bytes_of(&line);
        self.lines.push(line);
    }

    /// The oldest lines, as many as one write takes.
    fn take_batch(&mut self) -> Vec<LogLine> {
        let mut bytes = 0;
        let mut count = 0;
        for line in self.lines.iter().take(BATCH_LINES) {
            bytes += bytes_of(line);
            count += 1;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.bytes -= bytes;
        let rest = self.lines.split_off(count);
        std::mem::replace(&mut self.lines, rest)
    }
}

/// The log of one attempt.
pub(crate) struct LogSink {
    app: Arc<App>,
    id: ExecutionId,
    attempt: i32,
    bounds: Bounds,
    sequence: i64,
    written: i64,
    dropped: i64,
    pending: Pending,
    in_flight: Option<BoxFuture<'static, Outcome>>,
    stale: bool,
}

impl LogSink {
    pub(crate) fn new(
        app: Arc<App>,
        id: ExecutionId,
        attempt: i32,
        last_sequence: i64,
        bounds: Bounds,
    ) -> Self {
        Self {
            app,
            id,
            attempt,
            bounds,
            sequence: last_sequence,
            written: 0,
            dropped: 0,
            pending: Pending::default(),
            in_flight: None,
            stale: false,
        }
    }

    /// Highest number given so far.
    pub(crate) const fn last_sequence(&self) -> i64 {
        self.sequence
    }

    /// Whether another attempt has taken over: nothing that this one writes is stored.
    pub(crate) const fn is_stale(&self) -> bool {
        self.stale
    }

    /// Whether more lines can be taken now.
    pub(crate) const fn has_room(&self) -> bool {
        self.pending.has_room()
    }

    /// Whether a write is in flight.
    pub(crate) const fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Takes lines as they came from the child. Lines past the bound take no number and are counted.
    pub(crate) fn take(&mut self, lines: Vec<RawLine>) {
        for line in lines {
            if self.written >= self.bounds.lines {
                self.dropped += 1;
                metrics::lines(Lines::Dropped, 1);
                continue;
            }
            self.written += 1;
            let timestamp = DateTime::<Utc>::from_timestamp_micros(line.timestamp_us)
                .unwrap_or_else(|| self.app.clock().now());
            self.push(line.level, cut(line.message, self.bounds.line_bytes), line.metadata, timestamp);
        }
        self.start_write();
    }

    /// Adds a line of the platform's own.
    pub(crate) fn say(&mut self, level: LogLevel, message: String) {
        let now = self.app.clock().now();
        self.push(level, message, None, now);
        self.start_write();
    }

    fn push(&mut self, level: LogLevel, message: String, metadata: Option<Value>, timestamp: DateTime<Utc>) {
        self.sequence += 1;
        self.pending.push(LogLine { sequence: self.sequence, level, message, metadata, timestamp });
    }

    fn start_write(&mut self) {
        if self.in_flight.is_some() || self.stale {
            return;
        }
        let lines = self.pending.take_batch();
        if lines.is_empty() {
            return;
        }
        let batch = LogBatch { id: self.id, attempt: self.attempt, lines };
        let app = self.app.clone();
        let store = move |batch| {
            let app = app.clone();
            async move { app.write_logs(batch).await }
        };
        self.in_flight = Some(Box::pin(write(store, batch)));
    }

    /// Waits for the write in flight and starts the next. Never ends while nothing is in flight. Cancel safe.
    pub(crate) async fn written(&mut self) {
        let Some(write) = &mut self.in_flight else { return std::future::pending().await };
        let outcome = write.await;
        self.in_flight = None;
        if outcome == Outcome::Stale {
            self.stale = true;
            self.pending = Pending::default();
        }
        self.start_write();
    }

    /// Says how many lines were dropped, and waits until everything is stored.
    pub(crate) async fn finish(&mut self) {
        if self.dropped > 0 {
            let message = format!(
                "{} log lines were dropped: a run keeps at most {} lines",
                self.dropped, self.bounds.lines
            );
            self.dropped = 0;
            self.say(LogLevel::Warning, message);
        }
        while self.is_writing() {
            self.written().await;
        }
    }
}

/// Writes until it is stored or its attempt is over: while the database is away the lines are kept, and of lines that are refused for what
/// they hold only the culprit is replaced, so that no number is missing.
async fn write<F: Future<Output = Result<Outcome>> + Send>(
    store: impl Fn(LogBatch) -> F + Send + Sync,
    LogBatch { id, attempt, lines }: LogBatch,
) -> Outcome {
    // What is left to be written; the next part is the last.
    let mut parts = vec![lines];
    let mut replaced = false;
    while let Some(mut lines) = parts.pop() {
        match write_patiently(&store, LogBatch { id, attempt, lines: lines.clone() }).await {
            Ok(Outcome::Written) => {
                let outcome = if replaced { Lines::Refused } else { Lines::Stored };
                metrics::lines(outcome, lines.len());
                replaced = false;
            }
            Ok(Outcome::Stale) => {
                tracing::warn!(execution.id = %id, attempt, "log lines of an older attempt were dropped");
                return Outcome::Stale;
            }
            Err(error) if replaced => {
                // Not even the platform's own words: it is not what the lines hold.
                tracing::error!(execution.id = %id, error = ?error, "log lines could not be stored");
                return Outcome::Written;
            }
            Err(error) => {
                if let [line] = lines.as_mut_slice() {
                    tracing::error!(execution.id = %id, sequence = line.sequence, error = ?error, "a log line was refused");
                    (line.level, line.message, line.metadata) = (LogLevel::Warning, REFUSED.to_owned(), None);
                    replaced = true;
                    parts.push(lines);
                } else {
                    let rest = lines.split_off(lines.len() / 2);
                    parts.extend([rest, lines]);
                }
            }
        }
    }
    Outcome::Written
}

/// Tries again while the database is away.
async fn write_patiently<F: Future<Output = Result<Outcome>> + Send>(
    store: &(impl Fn(LogBatch) -> F + Send + Sync),
    batch: LogBatch,
) -> Result<Outcome> {
    let mut pause = FIRST_PAUSE;
    loop {
        match store(batch.clone()).await {
            Err(error) if error.kind == bifrost_domain::error::Kind::Unavailable => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// What a line holds, roughly.
fn bytes_of(line: &LogLine) -> usize {
    LINE_OVERHEAD + line.message.len() + line.metadata.as_ref().map_or(0, bytes_of_value)
}

fn bytes_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 8 + bytes_of_value(item)).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| 8 + key.len() + bytes_of_value(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Cuts a line at a character boundary. The child does it first; this holds for children that do not.
fn cut(mut message: String, bytes: usize) -> String {
    // Room for the note that the child puts behind a line it cut.
    let most = bytes + 64;
    if message.len() > most {
        let whole = message.len();
        let mut at = bytes;
        while !message.is_char_boundary(at) {
            at -= 1;
        }
        message.truncate(at);
        message.push_str(&format!("… [line cut: {whole} bytes]"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::{
        clock::{Clock, Ids, SystemClock, SystemIds},
        error::Error,
    };
    use std::sync::Mutex;

    fn batch(messages: &[&str]) -> LogBatch {
        let lines = (1..).zip(messages).map(|(sequence, message)| LogLine {
            sequence,
            level: LogLevel::Info,
            message: (*message).to_owned(),
            metadata: None,
            timestamp: SystemClock.now(),
        });
        LogBatch { id: ExecutionId::from_uuid(SystemIds.next()), attempt: 1, lines: lines.collect() }
    }

    /// Stores what `accepts`, whole batches or nothing; how it ended, and what was stored.
    async fn stored(
        messages: &[&str],
        accepts: impl Fn(&LogLine) -> Result<()> + Send + Sync,
    ) -> (Outcome, Vec<(i64, LogLevel, String)>) {
        let kept = Mutex::new(Vec::new());
        let store = |batch: LogBatch| {
            let answer = batch.lines.iter().try_for_each(&accepts);
            if answer.is_ok() {
                let lines = batch.lines.into_iter().map(|line| (line.sequence, line.level, line.message));
                kept.lock().expect("a lock").extend(lines);
            }
            std::future::ready(answer.map(|()| Outcome::Written))
        };
        let outcome = write(store, batch(messages)).await;
        (outcome, kept.into_inner().expect("a lock"))
    }

    #[tokio::test]
    async fn a_refused_line_alone_is_replaced() {
        let messages = ["a", "bad", "b", "c", "bad", "d", "e"];
        let (outcome, lines) =
            stored(
                &messages,
                |line| {
                    if line.message == "bad" { Err(Error::internal("refused")) } else { Ok(()) }
                },
            )
            .await;
        assert_eq!(outcome, Outcome::Written);
        let expected: Vec<_> = (1..)
            .zip(["a", REFUSED, "b", "c", REFUSED, "d", "e"])
            .map(|(sequence, text)| {
                let level = if text == REFUSED { LogLevel::Warning } else { LogLevel::Info };
                (sequence, level, text.to_owned())
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn a_store_that_refuses_everything_is_given_up() {
        let asked = Mutex::new(0);
        let (outcome, lines) = stored(&["a"; 500], |_| {
            *asked.lock().expect("a lock") += 1;
            Err(Error::internal("no such table"))
        })
        .await;
        assert_eq!((outcome, lines), (Outcome::Written, Vec::new()));
        assert!(*asked.lock().expect("a lock") <= 12);
    }

    #[test]
    fn what_waits_is_bounded_by_lines_and_by_bytes() {
        let short = batch(&["short"]).lines.remove(0);
        let mut pending = Pending::default();
        while pending.has_room() {
            pending.push(short.clone());
        }
        assert_eq!(pending.lines.len(), PENDING_LINES);
        assert_eq!(pending.take_batch().len(), BATCH_LINES);
        assert!(pending.has_room());

        let mut long = short;
        long.message = "x".repeat(20 * 1024);
        long.metadata = Some(serde_json::json!({"key": ["y".repeat(12 * 1024), 1]}));
        let mut pending = Pending::default();
        while pending.has_room() {
            pending.push(long.clone());
        }
        assert!(
            (100..=PENDING_BYTES / (32 * 1024)).contains(&pending.lines.len()),
            "{}",
            pending.lines.len()
        );
        let mut batches = 0;
        while !pending.take_batch().is_empty() {
            batches += 1;
        }
        assert_eq!((batches, pending.bytes), (4, 0));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = "ü".repeat(1_000);
        let cut_line = cut(line, 101);
        assert!(cut_line.starts_with(&"ü".repeat(50)) && cut_line.ends_with("[line cut: 2000 bytes]"));
        assert_eq!(cut("short".into(), 101), "short");
    }
}
