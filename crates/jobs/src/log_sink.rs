//! The log of one run: numbers lines on arrival, bounds them, and stores them in batches, one in flight.

use bifrost_app::{App, worker::Outcome};
use bifrost_domain::{
    execution::{LogBatch, LogLevel, LogLine},
    ids::ExecutionId,
    ports::python::RawLine,
};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// Lines and bytes of one write at most.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;
/// Lines that wait at most; a run that writes faster than they are stored is slowed down.
const PENDING_LINES: usize = 2_000;
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

/// The log of one attempt.
pub(crate) struct LogSink {
    app: Arc<App>,
    id: ExecutionId,
    attempt: i32,
    bounds: Bounds,
    sequence: i64,
    written: i64,
    dropped: i64,
    pending: Vec<LogLine>,
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
            pending: Vec::new(),
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
        self.pending.len() < PENDING_LINES
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

    fn push(
        &mut self,
        level: LogLevel,
        message: String,
        metadata: Option<serde_json::Value>,
        timestamp: DateTime<Utc>,
    ) {
        self.sequence += 1;
        self.pending.push(LogLine { sequence: self.sequence, level, message, metadata, timestamp });
    }

    fn start_write(&mut self) {
        if self.in_flight.is_some() || self.pending.is_empty() || self.stale {
            return;
        }
        let mut bytes = 0;
        let mut count = 0;
        for line in self.pending.iter().take(BATCH_LINES) {
            bytes += line.message.len() + 64;
            count += 1;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        let rest = self.pending.split_off(count);
        let lines = std::mem::replace(&mut self.pending, rest);
        let batch = LogBatch { id: self.id, attempt: self.attempt, lines };
        self.in_flight = Some(Box::pin(write(self.app.clone(), batch)));
    }

    /// Waits for the write in flight and starts the next. Never ends while nothing is in flight. Cancel safe.
    pub(crate) async fn written(&mut self) {
        let Some(write) = &mut self.in_flight else { return std::future::pending().await };
        let outcome = write.await;
        self.in_flight = None;
        if outcome == Outcome::Stale {
            self.stale = true;
            self.pending.clear();
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

/// Writes until it is stored or refused: while the database is away the lines are kept.
async fn write(app: Arc<App>, batch: LogBatch) -> Outcome {
    let mut pause = FIRST_PAUSE;
    loop {
        match app.write_logs(batch.clone()).await {
            Ok(outcome) => {
                if outcome == Outcome::Stale {
                    tracing::warn!(execution.id = %batch.id, attempt = batch.attempt, "log lines of an older attempt were dropped");
                }
                return outcome;
            }
            Err(error) if error.kind == bifrost_domain::error::Kind::Unavailable => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                // The data itself was refused; the run goes on and the log has a hole that is said in the process log.
                tracing::error!(execution.id = %batch.id, error = ?error, "log lines could not be stored");
                return Outcome::Written;
            }
        }
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
    use super::cut;

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = "ü".repeat(1_000);
        let cut_line = cut(line, 101);
        assert!(cut_line.starts_with(&"ü".repeat(50)) && cut_line.ends_with("[line cut: 2000 bytes]"));
        assert_eq!(cut("short".into(), 101), "short");
    }
}
