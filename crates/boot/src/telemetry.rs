//! Logging of a process: where lines go and how they look. Called once, by each `main`, right after the settings.
//!
//! Secrets never get here: they are `SecretString`s, which print nothing, and the crates that would write addresses or
//! statements with their values are kept at warnings unless a filter names them.

use crate::settings::{LogFormat, Telemetry};
use std::io::IsTerminal as _;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter};

/// Crates whose trouble the adapters tell in words of their own, once per outage and not with each attempt.
const SILENT: &[&str] = &["lapin"];

/// Crates that say much below a warning and little that helps.
const QUIET: &[&str] = &[
    "amq_protocol",
    "redis",
    "sqlx",
    "sea_orm",
    "sea_orm_migration",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "tokio_rustls",
    "tungstenite",
    "notify",
    "mio",
    "object_store",
];

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("the log filter is not valid")]
    Filter(#[from] ParseError),
    /// Somebody was first.
    #[error("logging was started twice")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends this process's log to stderr: text (coloured on a terminal only) or one JSON object per line.
///
/// # Errors
/// When the filter is not valid or logging was started before.
pub fn init(telemetry: &Telemetry) -> Result<(), Error> {
    let colours = std::io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(telemetry, colours, std::io::stderr)?)?;
    Ok(())
}

fn subscriber<W>(
    telemetry: &Telemetry,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives(&telemetry.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match telemetry.format {
        LogFormat::Text => Box::new(builder.with_ansi(colours).finish()),
        LogFormat::Json => Box::new(builder.with_ansi(false).json().flatten_event(true).finish()),
    })
}

/// The silent and the quiet crates first: what the settings say about one of them replaces it.
fn directives(filter: &str) -> String {
    let silent = SILENT.iter().map(|name| format!("{name}=off,"));
    let mut text: String = silent.chain(QUIET.iter().map(|name| format!("{name}=warn,"))).collect();
    text.push_str(filter);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let telemetry = Telemetry { format, filter: filter.to_owned() };
        let subscriber = subscriber(&telemetry, false, move || writer.clone()).expect("filter");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "bifrost_test", run = 7, "ours");
            tracing::debug!(target: "bifrost_test", "ours in detail");
            tracing::info!(target: "sqlx", "noise");
            tracing::warn!(target: "sqlx", "trouble");
            tracing::error!(target: "lapin", "told by the adapter");
        });
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn noise_is_quiet_and_trouble_is_not() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("ours run=7"), "{text}");
        assert!(!text.contains("in detail"), "{text}");
        assert!(!text.contains("noise"), "{text}");
        assert!(text.contains("trouble"), "{text}");
        assert!(!text.contains("told by the adapter"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_filter_that_names_a_quiet_crate_wins() {
        assert!(logged(LogFormat::Text, "info,sqlx=info").contains("noise"));
        assert!(!logged(LogFormat::Text, "debug").contains("noise"));
        assert!(logged(LogFormat::Text, "info,lapin=error").contains("told by the adapter"));
        assert_eq!(logged(LogFormat::Text, "off,sqlx=off"), "");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = logged(LogFormat::Json, "info");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with('{') && lines[0].contains(r#""message":"ours","run":7"#), "{text}");
    }

    #[test]
    fn a_bad_filter_is_an_error() {
        let telemetry = Telemetry { format: LogFormat::Text, filter: "bifrost=loud".to_owned() };
        assert!(matches!(subscriber(&telemetry, false, std::io::stderr), Err(Error::Filter(_))));
    }
}
