//! `bifrost doctor`: looks at everything that a start stands on, changes nothing, and says what to do.
//!
//! Each part is bounded and all of them run side by side, so that the whole is over in less than twenty seconds whatever hangs. What a
//! server says is explained by the same words as at a start: `bifrost_storage::Error::explain`, and the adapters' own.
//!
//! To add a check: a function in the file of its kind that gives [`Finding`]s, and its name in [`examine`].

mod files;
mod machine;
mod python;
mod servers;

use crate::settings::{BrokerChoice, BusChoice, Database, Mode, Problems, Settings};
use serde::Serialize;
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// How long one part may take.
const WITHIN: Duration = Duration::from_secs(15);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// A start would fail, or runs would.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `python`, `database`, `disk` …
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen; no credentials.
    pub detail: String,
    /// What to do about it, unless `detail` says it.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, state: State::Ok, detail: detail.into(), advice: None }
    }

    fn warn(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warn, detail: detail.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Fail, detail: detail.into(), advice: Some(advice.into()) }
    }

    /// One line that says what is wrong and what to do, as a start would say it.
    fn explained(check: &'static str, explanation: impl Into<String>) -> Self {
        Self { check, state: State::Fail, detail: explanation.into(), advice: None }
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub ok: bool,
    /// The program's version.
    pub version: &'static str,
    /// `embedded` (`bifrost dev`), `stack` (`bifrost-api` and `bifrost-jobs`), or `mixed`: some servers, the rest in process.
    pub mode: &'static str,
    /// In the order of reading.
    pub checks: Vec<Finding>,
}

/// Looks at what the environment of this process sets up. With `stack` it has to be enough for `bifrost-api` and `bifrost-jobs`;
/// otherwise for `bifrost dev`.
pub async fn examine_process(stack: bool) -> Report {
    let mode = if stack { Mode::Jobs } else { Mode::Dev };
    examine(Settings::from_process(mode)).await
}

/// Looks at what these settings set up.
pub async fn examine(settings: Result<Settings, Problems>) -> Report {
    let version = env!("CARGO_PKG_VERSION");
    let settings = match settings {
        Ok(settings) => settings,
        Err(Problems(problems)) => {
            let mut checks: Vec<Finding> =
                problems.iter().map(|problem| Finding::explained("settings", problem.to_string())).collect();
            if let Some(last) = checks.last_mut() {
                last.advice = Some("correct these first; nothing else was looked at".to_owned());
            }
            return Report { ok: false, version, mode: "unknown", checks };
        }
    };
    let scratch = files::Scratch::of(&settings.data_dir);
    let (files, python, database, broker, bus, machine) = tokio::join!(
        bounded("files", WITHIN, files::look(&settings, &scratch)),
        bounded("python", WITHIN, python::look(&settings, &scratch)),
        bounded("database", WITHIN, servers::database(&settings)),
        bounded("broker", WITHIN, servers::broker(&settings)),
        bounded("redis", WITHIN, servers::bus(&settings)),
        bounded("machine", WITHIN, machine::look(&settings)),
    );
    drop(scratch);
    let mut checks = vec![settings_finding(&settings)];
    checks.extend([python, database, broker, bus, files, machine].into_iter().flatten());
    Report {
        ok: checks.iter().all(|finding| finding.state != State::Fail),
        version,
        mode: mode(&settings),
        checks,
    }
}

async fn bounded(
    check: &'static str,
    within: Duration,
    look: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    match timeout(within, look).await {
        Ok(findings) => findings,
        Err(_) => vec![Finding::fail(
            check,
            format!("no answer within {within:?}"),
            "look at what it stands on: something hangs",
        )],
    }
}

fn settings_finding(settings: &Settings) -> Finding {
    let environment = settings.environment.as_str();
    if settings.warnings.is_empty() {
        Finding::ok("settings", format!("complete; ENVIRONMENT={environment}"))
    } else {
        Finding {
            check: "settings",
            state: State::Warn,
            detail: format!("complete; ENVIRONMENT={environment}"),
            advice: Some(settings.warnings.join("; ")),
        }
    }
}

fn mode(settings: &Settings) -> &'static str {
    let database = matches!(settings.database, Database::Postgres { .. });
    let broker = matches!(settings.broker, BrokerChoice::RabbitMq { .. });
    let bus = matches!(settings.bus, BusChoice::Redis { .. });
    match (database, broker, bus) {
        (true, true, true) => "stack",
        (false, false, false) => "embedded",
        _ => "mixed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[tokio::test]
    async fn wrong_settings_are_all_told_and_nothing_is_opened() {
        let map = HashMap::from(
            [("PORT", "x"), ("MAX_CONCURRENCY", "0")].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        let report = examine(Settings::from_map(&map, Mode::Dev)).await;
        assert!(!report.ok);
        let told: Vec<&str> = report.checks.iter().map(|finding| finding.detail.as_str()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("PORT: ") && told[1].starts_with("MAX_CONCURRENCY: "), "{told:?}");
    }

    #[tokio::test]
    async fn a_part_that_hangs_has_failed() {
        let findings = bounded("database", Duration::from_millis(20), std::future::pending()).await;
        assert_eq!(findings[0].state, State::Fail);
        assert_eq!(findings[0].detail, "no answer within 20ms");
    }
}
