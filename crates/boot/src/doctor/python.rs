//! Python: is it there, does the runner work on it, which walls stand around a run, and what does the workspace hold. Not asked but tried:
//! a run goes all the way through the real runtime.

use super::{Finding, files::Scratch};
use crate::{connect::python_settings, settings::Settings, walls};
use async_trait::async_trait;
use bifrost_domain::{
    clock::{Ids, SharedClock, SystemClock, SystemIds},
    definition::Severity,
    execution::{Isolation, Status},
    ids::ExecutionId,
    ports::python::{
        Call, CallContext, End, Event, PythonRuntime, SdkError, SdkErrorKind, SdkReply, SdkRequest,
        SdkService, Stop, Target, Workspace, WorkspaceReport,
    },
    scope::Scope,
};
use bifrost_python::PythonAdapter;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// The newest Python that everything was tried with.
const NEWEST: (u32, u32) = (3, 13);
/// Wall-clock limit of the run.
const RUN_WITHIN: Duration = Duration::from_secs(10);
/// Files of the workspace that are named when they have errors.
const NAMED: usize = 5;

/// Starts the runtime in a folder for a moment, runs something, and takes it down again.
pub(super) async fn look(settings: &Settings, scratch: &Scratch) -> Vec<Finding> {
    let mut python = python_settings(settings);
    python.data_dir = scratch.path().to_owned();
    python.max_concurrency = 1;
    python.stock = Some(1);
    let clock: SharedClock = Arc::new(SystemClock);
    let runtime = match PythonAdapter::start(python, clock).await {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::explained("python", error.to_string())],
    };
    let mut findings = Vec::new();
    let name = settings.worker.python.display();
    match runtime.ready().await {
        Err(why) => findings.push(Finding::fail(
            "python",
            format!("the runner does not start on `{name}`: {why}"),
            "install a complete Python 3.10 to 3.13 (Debian: apt install python3), or set BIFROST_PYTHON",
        )),
        Ok(()) => {
            let info = runtime.info().unwrap_or_default();
            let begun = Instant::now();
            let ran = run(runtime.as_ref()).await;
            findings.push(version(&info.python, &name.to_string(), ran.map(|()| begun.elapsed())));
            findings.extend(isolation(&info.walls));
            let report = runtime.reports().borrow().clone();
            findings.extend(report.as_deref().and_then(workspace));
        }
    }
    runtime.shutdown().await;
    findings
}

fn version(version: &str, name: &str, ran: Result<Duration, String>) -> Finding {
    let took = match ran {
        Ok(took) => took,
        Err(why) => {
            return Finding::fail(
                "python",
                format!("{version} (`{name}`), but a run that only returns did not: {why}"),
                "look at the memory, processes and security rules of this machine",
            );
        }
    };
    let detail = format!("{version} (`{name}`); a run took {} ms", took.as_millis());
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) > NEWEST => {
            Finding::warn("python", detail, "newer than what was tried; 3.10 to 3.13 are supported")
        }
        _ => Finding::ok("python", detail),
    }
}

fn isolation(found: &[bifrost_domain::ports::python::Wall]) -> Vec<Finding> {
    let stand: Vec<&str> =
        found.iter().filter(|wall| wall.missing.is_none()).map(|wall| wall.name.as_str()).collect();
    let mut findings = vec![match stand.is_empty() {
        false => Finding::ok("isolation", format!("{} around each run", stand.join(", "))),
        true => Finding::warn(
            "isolation",
            "nothing around runs",
            "run only code that you trust as you trust the worker",
        ),
    }];
    findings.extend(found.iter().filter_map(|wall| {
        let why = wall.missing.as_deref()?;
        Some(Finding::warn("isolation", format!("without {}: {why}", wall.name), walls::advice(&wall.name)))
    }));
    findings
}

/// What is wrong with files of the workspace.
fn workspace(report: &WorkspaceReport) -> Option<Finding> {
    let errors: Vec<String> = report
        .files
        .iter()
        .flat_map(|file| {
            let errors = file.issues.iter().filter(|issue| issue.severity == Severity::Error);
            errors.map(|issue| format!("{} line {}: {}", file.path, issue.line, issue.message))
        })
        .collect();
    if errors.is_empty() {
        return None;
    }
    let more = errors.len().saturating_sub(NAMED);
    let mut advice = errors.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 {
        advice.push_str(&format!("; and {more} more"));
    }
    Some(Finding::warn("workspace", "files that cannot be used as they are", advice))
}

/// Runs code that only returns.
async fn run(runtime: &PythonAdapter) -> Result<(), String> {
    let execution_id = ExecutionId::from_uuid(SystemIds.next());
    let call = Call {
        execution_id,
        attempt: 1,
        target: Target::Code { source: "return 1".to_owned(), name: "doctor".to_owned() },
        parameters: serde_json::Map::new(),
        context: CallContext {
            user_id: String::new(),
            email: String::new(),
            name: "doctor".to_owned(),
            scope: Scope::Global,
            organization: None,
            is_platform_admin: false,
            is_function_key: false,
            execution_id,
            workflow_name: "doctor".to_owned(),
            startup: None,
        },
        timeout: Some(RUN_WITHIN),
        isolation: Isolation::Fork,
    };
    let (_stop, stopped) = watch::channel(Stop::No);
    let mut events = runtime.run(call, stopped, Arc::new(Nothing));
    while let Some(event) = events.recv().await {
        if let Event::Ended { end, .. } = event {
            return match end {
                End::Returned(returned) if returned.status == Status::Success => Ok(()),
                End::Returned(returned) => {
                    Err(returned.error_message.unwrap_or_else(|| returned.status.to_string()))
                }
                End::NotStarted(why) | End::Protocol(why) => Err(why),
                End::Died { code, signal, why } => {
                    Err(why
                        .unwrap_or_else(|| format!("its process ended (code {code:?}, signal {signal:?})")))
                }
                End::TimedOut => Err(format!("it did not end within {} s", RUN_WITHIN.as_secs())),
                End::Cancelled | End::Interrupted => Err("it was ended".to_owned()),
            };
        }
    }
    Err("it ended without a word".to_owned())
}

/// The platform for a run that asks for nothing.
struct Nothing;

#[async_trait]
impl SdkService for Nothing {
    async fn handle(&self, _context: &CallContext, _request: SdkRequest) -> SdkReply {
        let message = "there is nothing to ask for".to_owned();
        SdkReply { outcome: Err(SdkError { kind: SdkErrorKind::NotAllowed, message }), mask: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::State, settings::Mode};
    use std::{collections::HashMap, path::Path};

    fn settings(folder: &Path, python: Option<&str>) -> Settings {
        let mut map = HashMap::from([
            ("DATA_DIR".to_owned(), folder.join("data").display().to_string()),
            ("WORKSPACE_DIR".to_owned(), folder.join("workspace").display().to_string()),
        ]);
        map.extend(python.map(|python| ("BIFROST_PYTHON".to_owned(), python.to_owned())));
        Settings::from_map(&map, Mode::Dev).expect("settings")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_goes_through_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("workspace")).expect("made");
        std::fs::write(dir.path().join("workspace/broken.py"), "from bifrost import workflow\n\ndef f(:\n")
            .expect("written");
        let settings = settings(dir.path(), None);
        let scratch = Scratch::of(&settings.data_dir);
        let findings = look(&settings, &scratch).await;
        let of = |check: &str| findings.iter().find(|finding| finding.check == check).expect("looked at");
        assert_ne!(of("python").state, State::Fail, "{findings:?}");
        assert!(of("python").detail.contains("a run took"), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.check == "isolation"), "{findings:?}");
        let broken = of("workspace");
        assert!(broken.advice.as_deref().is_some_and(|text| text.contains("broken.py line 3")), "{broken:?}");
        drop(scratch);
        assert!(!settings.data_dir.exists(), "nothing is left");
    }

    #[tokio::test]
    async fn a_missing_python_is_one_finding_that_says_what_to_install() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = settings(dir.path(), Some("/nowhere/python3"));
        let scratch = Scratch::of(&settings.data_dir);
        let findings = look(&settings, &scratch).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].state, State::Fail);
        assert!(findings[0].detail.contains("install Python 3.10"), "{findings:?}");
    }

    #[test]
    fn a_newer_python_is_told() {
        let state = |text: &str| version(text, "python3", Ok(Duration::from_millis(3))).state;
        assert_eq!((state("3.10.0"), state("3.13.9"), state("3.14.0")), (State::Ok, State::Ok, State::Warn));
        assert_eq!(version("3.11.2", "python3", Err("no".to_owned())).state, State::Fail);
    }
}
