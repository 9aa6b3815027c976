//! How and how much is logged.

use super::reader::{Reader, quote};
use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, as filter directives that were parsed once already.
    pub filter: String,
}

const LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("off", "off"),
    ("warning", "warn"),
];

pub(super) fn read(reader: &mut Reader<'_>) -> Telemetry {
    let format = reader.choice("LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = reader.choice("LOG_LEVEL", LEVELS);
    let name = "RUST_LOG";
    let filter = reader.given(name).and_then(|text| match EnvFilter::try_new(&text) {
        Ok(_) if text.len() <= 4096 => Some(text),
        Ok(_) => {
            reader.problem(name, "is longer than 4096 characters");
            None
        }
        Err(error) => {
            reader.problem(name, format!("{} is not a log filter: {error}", quote(&text)));
            None
        }
    });
    Telemetry { format, filter: filter.unwrap_or_else(|| level.to_owned()) }
}
