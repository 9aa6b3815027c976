//! The Python runtime: runs one function in a child process, and reads workspaces without importing them.
//!
//! Guarantees: a run's events arrive in order and end with exactly one [`Event::Ended`]; when `Ended` has been received no
//! process of that run is alive; log lines written before the end are delivered before it.

use crate::{
    definition::{Definition, Issue},
    execution::Isolation,
    ids::ExecutionId,
    scope::Scope,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// What to run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// A function of a workspace file.
    File {
        /// File path relative to the workspace, with `/`.
        path: String,
        /// Name of the Python function.
        function: String,
        /// Name of the workflow.
        workflow: String,
    },
    /// Posted source.
    Code {
        /// Python source text.
        source: String,
        /// Name shown in tracebacks and lists.
        name: String,
    },
}

/// The organization as user code sees it.
#[derive(Debug, Clone, Serialize)]
pub struct CallOrganization {
    /// Id as text.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Whether it is active.
    pub is_active: bool,
}

/// What `context` is built from (docs: python-sdk, `context`).
#[derive(Debug, Clone, Serialize)]
pub struct CallContext {
    /// Who runs it.
    pub user_id: String,
    /// The person's e-mail.
    pub email: String,
    /// The person's display name.
    pub name: String,
    /// `GLOBAL` or the organization's id.
    pub scope: Scope,
    /// The organization of an organization's run.
    pub organization: Option<CallOrganization>,
    /// Whether the caller is a platform admin.
    pub is_platform_admin: bool,
    /// Whether a key, not a person, started it.
    pub is_function_key: bool,
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// The workflow's name.
    pub workflow_name: String,
    /// What a form's launch workflow returned.
    pub startup: Option<Value>,
}

/// One call of user code.
#[derive(Debug, Clone)]
pub struct Call {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its attempt: the fencing number.
    pub attempt: i32,
    /// What to run.
    pub target: Target,
    /// Converted and checked parameters.
    pub parameters: Map<String, Value>,
    /// What `context` shows.
    pub context: CallContext,
    /// Wall-clock limit; `None` only for runs that end otherwise.
    pub timeout: Option<Duration>,
    /// One child for this run, or a kept one.
    pub isolation: Isolation,
}

/// A log line as it leaves the child; numbers are given on arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawLine {
    /// Microseconds since the Unix epoch, by the child's clock.
    pub timestamp_us: i64,
    /// Severity.
    pub level: crate::execution::LogLevel,
    /// Text without NUL.
    pub message: String,
    /// Extra fields.
    pub metadata: Option<Value>,
}

/// How user code asks for something of the platform.
#[derive(Debug, Clone)]
pub struct SdkRequest {
    /// e.g. `config.get`.
    pub method: String,
    /// Method parameters.
    pub params: Value,
}

/// Why the platform said no to an SDK request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdkError {
    /// `not_found`, `not_allowed`, `invalid` or `unavailable`.
    pub kind: SdkErrorKind,
    /// A sentence for the workflow's author.
    pub message: String,
}

/// The kinds of [`SdkError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SdkErrorKind {
    /// Raised as `ValueError`.
    NotFound,
    /// Raised as `PermissionError`.
    NotAllowed,
    /// Raised as `ValueError`.
    Invalid,
    /// Raised as `RuntimeError`.
    Unavailable,
}

/// The answer to an SDK request.
#[derive(Debug, Clone)]
pub struct SdkReply {
    /// The value, or why not.
    pub outcome: Result<Value, SdkError>,
    /// Values that the child has to mask from now on.
    pub mask: Vec<String>,
}

/// Answers SDK requests under the rights of the run that asks.
#[async_trait]
pub trait SdkService: Send + Sync + 'static {
    /// Handles one request of the run described by `context`.
    async fn handle(&self, context: &CallContext, request: SdkRequest) -> SdkReply;
}

/// How user code ended, by its own word.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// Terminal status claimed by the child.
    pub status: crate::execution::Status,
    /// The result as compact JSON text, or `None`. Shared: it may have megabytes.
    pub result: Option<Arc<str>>,
    /// `json`, `html` or `text`.
    pub result_type: crate::execution::ResultType,
    /// Name of the exception's class.
    pub error_type: Option<String>,
    /// Text for administrators.
    pub error_message: Option<String>,
    /// Text for everybody.
    pub user_message: Option<String>,
    /// The last variables.
    pub variables: Option<Map<String, Value>>,
    /// Return-on-investment numbers set by the workflow.
    pub time_saved: f64,
    /// Return-on-investment value set by the workflow.
    pub value: f64,
}

/// Why and how a run's processes ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The function returned or raised.
    Returned(Box<Returned>),
    /// The process ended without a word (`os._exit`, a signal, memory).
    Died {
        /// Exit code, when it exited.
        code: Option<i32>,
        /// Signal number, when one killed it.
        signal: Option<i32>,
        /// What the platform knows of the reason: a limit that was reached.
        why: Option<String>,
    },
    /// The wall-clock limit was reached.
    TimedOut,
    /// It was cancelled and has ended.
    Cancelled,
    /// The worker is shutting down, or its lease ran out: the run may start again elsewhere.
    Interrupted,
    /// It could not be started; nothing of it ran.
    NotStarted(String),
    /// The child broke the protocol.
    Protocol(String),
}

/// What a run sends.
#[derive(Debug, Clone)]
pub enum Event {
    /// The call was handed to a child.
    Started,
    /// Log lines, in order.
    Log(Vec<RawLine>),
    /// All variables as they are now.
    Variables {
        /// Name to value.
        variables: Map<String, Value>,
    },
    /// How far it is.
    Progress {
        /// 0 to 1.
        fraction: f64,
        /// What it is doing.
        message: Option<String>,
    },
    /// The last event.
    Ended {
        /// How it ended.
        end: End,
        /// Highest memory of the child, when known (fork isolation only).
        peak_memory_bytes: Option<i64>,
        /// CPU time of the child, when known.
        cpu_seconds: Option<f64>,
    },
}

/// Why a run should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// A person asked.
    Cancel,
    /// The worker is going away.
    Shutdown,
}

/// A wall between runs, or between a run and the platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wall {
    /// Name as in docs/worker-protocol.md.
    pub name: String,
    /// `None` when it stands, else why it does not.
    pub missing: Option<String>,
}

/// What the runtime tells about itself.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct RuntimeInfo {
    /// Python's version.
    pub python: String,
    /// The walls.
    pub walls: Vec<Wall>,
    /// Packages that are not imported ahead, with the reason.
    pub left_out: Vec<String>,
}

/// Runs user code.
#[async_trait]
pub trait PythonRuntime: Send + Sync + 'static {
    /// Starts `call` and returns its events (the channel is bounded: a reader that stops reading stops the child).
    /// Changing `stop` asks the run to end: cooperative first, then SIGTERM, then SIGKILL.
    fn run(&self, call: Call, stop: watch::Receiver<Stop>, sdk: Arc<dyn SdkService>)
    -> mpsc::Receiver<Event>;

    /// Tells the runtime that the worker's lease is valid for `valid` from now on; without renewal all runs are killed.
    fn renew_lease(&self, valid: Duration);

    /// Version, walls and what was left out; `None` before it is ready.
    fn info(&self) -> Option<RuntimeInfo>;

    /// Waits until it can run code, or says why it cannot.
    async fn ready(&self) -> Result<(), String>;

    /// Kills what is left and ends the helper processes.
    async fn shutdown(&self);
}

/// What was found in one workspace file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// Path relative to the workspace, with `/`.
    pub path: String,
    /// SHA-256 of the file, hex.
    pub hash: String,
    /// Workflows, data providers and tools.
    pub definitions: Vec<Definition>,
    /// Errors and warnings with their lines.
    pub issues: Vec<Issue>,
}

/// What was found in the workspace, and the version of it that runs from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct WorkspaceReport {
    /// Hash over code and manifests.
    pub version: String,
    /// Every Python file.
    pub files: Vec<FileReport>,
}

/// What was found in one piece of source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct SourceReport {
    /// Workflows, data providers and tools.
    pub definitions: Vec<Definition>,
    /// Errors and warnings with their lines.
    pub issues: Vec<Issue>,
}

/// Reads Python source without running it.
#[async_trait]
pub trait Inspector: Send + Sync + 'static {
    /// Inspects one file's text. Errors only when no Python is available.
    async fn inspect(&self, path: &str, source: &str) -> Result<SourceReport, String>;

    /// Checks posted code (which may be a bare function body): its syntax errors, none when it parses.
    async fn check_code(&self, source: &str) -> Result<Vec<Issue>, String>;
}

/// The workspace on disk, followed while it changes.
pub trait Workspace: Send + Sync + 'static {
    /// The newest report; it changes within a second after the files did. `None` until the first scan ended.
    fn reports(&self) -> watch::Receiver<Option<Arc<WorkspaceReport>>>;
}
