//! A runtime over the real runner for one test, with its own data folder and workspace.

use bifrost_domain::{
    clock::{Ids, SystemClock, SystemIds},
    execution::Isolation,
    ids::ExecutionId,
    ports::python::{
        Call, CallContext, End, Event, PythonRuntime, RawLine, Returned, SdkReply, SdkRequest, SdkService,
        Stop, Target, Workspace,
    },
    scope::Scope,
};
use bifrost_python::{PythonAdapter, PythonSettings};
use serde_json::{Map, Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Knows one configuration value and remembers what was asked.
#[derive(Default)]
pub(crate) struct Sdk {
    pub(crate) asked: Mutex<Vec<(String, Value)>>,
}

#[async_trait::async_trait]
impl SdkService for Sdk {
    async fn handle(&self, _context: &CallContext, request: SdkRequest) -> SdkReply {
        self.asked.lock().expect("asked").push((request.method.clone(), request.params.clone()));
        let key = request.params["key"].as_str().unwrap_or_default();
        match key {
            "secret" => SdkReply {
                outcome: Ok(json!({"found": true, "value": "hunter2hunter2"})),
                mask: vec!["hunter2hunter2".to_owned()],
            },
            "panic" => panic!("the service has a bug"),
            "never" => std::future::pending().await,
            _ => SdkReply {
                outcome: Ok(json!({"found": true, "value": format!("value of {key}")})),
                mask: vec![],
            },
        }
    }
}

pub(crate) struct World {
    pub(crate) python: Arc<PythonAdapter>,
    pub(crate) sdk: Arc<Sdk>,
    pub(crate) workspace: PathBuf,
    pub(crate) data: PathBuf,
    _folder: tempfile::TempDir,
}

/// What one run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) started: bool,
    pub(crate) lines: Vec<RawLine>,
    pub(crate) variables: Vec<Map<String, Value>>,
    pub(crate) end: End,
    pub(crate) peak_memory_bytes: Option<i64>,
    pub(crate) cpu_seconds: Option<f64>,
}

impl Ran {
    pub(crate) fn returned(&self) -> &Returned {
        match &self.end {
            End::Returned(returned) => returned,
            other => panic!("did not return: {other:?}, lines {:?}", self.lines),
        }
    }

    pub(crate) fn result(&self) -> Value {
        let returned = self.returned();
        let result = returned.result.as_deref().unwrap_or_else(|| panic!("no result: {returned:?}"));
        serde_json::from_str(result).expect("json")
    }

    pub(crate) fn messages(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.message.as_str()).collect()
    }
}

/// One run under way.
pub(crate) struct Running {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) stop: watch::Sender<Stop>,
    ran: Ran,
}

impl Running {
    /// Reads on until `wanted` is true for the lines so far.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&[RawLine]) -> bool) {
        let waiting = async {
            while !wanted(&self.ran.lines) {
                let event = self.events.recv().await.expect("an event");
                assert!(!self.take(event), "ended early: {:?}", self.ran);
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the lines came in time");
    }

    /// The value that a line `name=value` carries.
    pub(crate) fn value(&self, name: &str) -> String {
        let line = self.ran.lines.iter().find_map(|line| line.message.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {:?}", self.ran.lines)).to_owned()
    }

    pub(crate) async fn ended(mut self) -> Ran {
        let waiting = async {
            while let Some(event) = self.events.recv().await {
                if self.take(event) {
                    assert!(self.events.recv().await.is_none(), "`Ended` is the last event");
                    return;
                }
            }
            panic!("no `Ended`: {:?}", self.ran);
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the run ended in time");
        self.ran
    }

    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Started => self.ran.started = true,
            Event::Log(lines) => self.ran.lines.extend(lines),
            Event::Variables { variables } => self.ran.variables.push(variables),
            Event::Progress { .. } => {}
            Event::Ended { end, peak_memory_bytes, cpu_seconds } => {
                self.ran.end = end;
                self.ran.peak_memory_bytes = peak_memory_bytes;
                self.ran.cpu_seconds = cpu_seconds;
                return true;
            }
        }
        false
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut PythonSettings)) -> Self {
        Self::with_files(&[("main.py", MAIN)], change).await
    }

    pub(crate) async fn with_files(files: &[(&str, &str)], change: impl FnOnce(&mut PythonSettings)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let workspace = folder.path().join("workspace");
        fs::create_dir(&workspace).expect("workspace");
        for (path, text) in files {
            write(&workspace.join(path), text);
        }
        let data = folder.path().join("data");
        let mut settings = PythonSettings::new(&data);
        settings.python = python();
        settings.workspace_dir = Some(workspace.clone());
        settings.grace = Duration::from_millis(900);
        change(&mut settings);
        let python = PythonAdapter::start(settings, Arc::new(SystemClock)).await.expect("started");
        python.ready().await.expect("ready");
        Self { python, sdk: Arc::default(), workspace, data, _folder: folder }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        write(&self.workspace.join(path), text);
    }

    pub(crate) fn start(&self, call: Call) -> Running {
        let (stop, stopped) = watch::channel(Stop::No);
        let events = self.python.run(call, stopped, Arc::clone(&self.sdk) as Arc<dyn SdkService>);
        let end = End::NotStarted("no end yet".to_owned());
        let (lines, variables) = (Vec::new(), Vec::new());
        let ran = Ran { started: false, lines, variables, end, peak_memory_bytes: None, cpu_seconds: None };
        Running { events, stop, ran }
    }

    pub(crate) async fn run(&self, call: Call) -> Ran {
        self.start(call).ended().await
    }

    /// Waits until the report fulfils `wanted`.
    pub(crate) async fn report(
        &self,
        wanted: impl Fn(&bifrost_domain::ports::python::WorkspaceReport) -> bool,
    ) -> Arc<bifrost_domain::ports::python::WorkspaceReport> {
        let mut reports = self.python.reports();
        let waiting = reports.wait_for(|report| report.as_deref().is_some_and(&wanted));
        let report = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("alive");
        Arc::clone(report.as_ref().expect("a report"))
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::write(path, text).expect("written");
}

/// Debian's interpreter when it is there: other users can read it, so that the walls stand.
pub(crate) fn python() -> PathBuf {
    let debian = PathBuf::from("/usr/bin/python3");
    if debian.exists() { debian } else { PathBuf::from("python3") }
}

/// A call of `function` in `main.py`.
pub(crate) fn file(function: &str, parameters: Value) -> Call {
    let target =
        Target::File { path: "main.py".into(), function: function.into(), workflow: function.into() };
    call(target, parameters)
}

/// A call of posted code.
pub(crate) fn code(source: &str) -> Call {
    call(Target::Code { source: source.into(), name: "test".into() }, json!({}))
}

pub(crate) fn call(target: Target, parameters: Value) -> Call {
    let execution_id = ExecutionId::from_uuid(SystemIds.next());
    let Value::Object(parameters) = parameters else { panic!("parameters are an object") };
    Call {
        execution_id,
        attempt: 1,
        context: CallContext {
            user_id: "u1".into(),
            email: "dev@gobifrost.com".into(),
            name: "Dev".into(),
            scope: Scope::Global,
            organization: None,
            is_platform_admin: true,
            is_function_key: false,
            execution_id,
            workflow_name: "test".into(),
            startup: None,
        },
        target,
        parameters,
        timeout: Some(Duration::from_secs(60)),
        isolation: Isolation::Fork,
    }
}

/// Whether a process with this command line argument is alive.
pub(crate) fn marked_processes(mark: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
        })
        .collect()
}

/// The processes that run `script` from the runner's files below `data`, and were started by this process.
pub(crate) fn helpers(data: &Path, script: &str) -> Vec<i32> {
    let runtime = data.join("runtime");
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            line.contains(runtime.to_str().expect("utf-8"))
                && line.contains(script)
                && parent == Some(std::process::id().to_string().as_str())
        })
        .collect()
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const MAIN: &str = r#"
from bifrost import workflow, context, config
import logging, os, sys, time

logger = logging.getLogger(__name__)

@workflow
async def noop():
    return {"ok": True}

@workflow
async def echo(text: str = "", number: int = 0):
    return {"text": text, "number": number}

@workflow
async def lines(count: int = 3):
    for index in range(count):
        print(f"line {index}")
    return count

@workflow
async def fails():
    raise RuntimeError("inside")
"#;
