//! Accepts an execution: policy, parameters, one row, dispatch; and waits for synchronous callers.

use crate::{App, metrics};
use bifrost_domain::{
    definition::{ExecutionMode, Severity},
    error::{Error, Field, Kind as ErrorKind, Result},
    execution::{Kind, NewExecution, Status},
    ids::{ExecutionId, FormId, WorkflowId},
    parameters,
    policy::{self, Caller, actions},
};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Longest posted code, bytes.
pub(super) const MAX_CODE_BYTES: usize = 1024 * 1024;
/// How far ahead an execution may be scheduled; later times are schedules.
pub(super) const MAX_AHEAD: Duration = Duration::days(7);
/// Wall-clock limit of posted code, seconds (the default of `@workflow`).
const CODE_TIMEOUT_SECONDS: i32 = 1_800;

/// What to run.
#[derive(Debug, Clone)]
pub enum What {
    /// A workflow by id.
    Id(WorkflowId),
    /// A workflow by name.
    Name(String),
    /// Posted Python source.
    Code {
        /// The source.
        source: String,
        /// Its name in lists and tracebacks.
        name: Option<String>,
    },
}

/// A request to run something.
#[derive(Debug, Clone)]
pub struct Submit {
    /// What to run.
    pub what: What,
    /// Its input.
    pub input: Map<String, Value>,
    /// The form it came through.
    pub form_id: Option<FormId>,
    /// Not before this time, at most seven days ahead.
    pub not_before: Option<DateTime<Utc>>,
}

/// An accepted execution.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The execution.
    pub id: ExecutionId,
    /// The workflow, unless it is a script.
    pub workflow_id: Option<WorkflowId>,
    /// Name of the workflow or script.
    pub workflow_name: String,
    /// Where it stands now.
    pub status: Status,
    /// How the caller of this workflow waits.
    pub mode: ExecutionMode,
}

impl App {
    /// Accepts an execution and, when the workflow is synchronous and `may_wait`, waits for its end.
    ///
    /// When this returns `Ok`, the execution is durable, can be read, and will end in exactly one terminal state.
    ///
    /// # Errors
    /// Forbidden, not found, invalid input (each bad field named), code that does not parse (each issue with its line), or the
    /// database is away.
    pub async fn submit(
        self: &Arc<Self>,
        caller: &Caller,
        request: Submit,
        may_wait: bool,
    ) -> Result<Submission> {
        let now = self.doors.clock.now();
        let not_before = check_time(request.not_before, now)?;
        let id = ExecutionId::from_uuid(self.doors.ids.next());
        let mut execution = NewExecution {
            id,
            kind: Kind::Workflow,
            scope: caller.scope,
            workflow_id: None,
            workflow_name: String::new(),
            form_id: request.form_id,
            executed_by: caller.user_id,
            executed_by_name: caller.name.clone(),
            executed_by_email: caller.email.clone(),
            is_platform_admin: caller.is_platform_admin,
            input: Value::Null,
            code: None,
            timeout_seconds: CODE_TIMEOUT_SECONDS,
            retry_policy: None,
            status: if not_before.is_some() { Status::Scheduled } else { Status::Pending },
            not_before,
            dispatched_at: None,
            created_at: now,
        };
        let mode;
        let mut input = request.input;
        match request.what {
            What::Code { source, name } => {
                policy::authorize::<actions::RunCode>(caller)?;
                parameters::check_keys(&input)?;
                self.check_code(&source).await?;
                execution.kind = Kind::Script;
                execution.workflow_name = script_name(name);
                execution.code = Some(source.replace('\0', "\u{fffd}"));
                mode = ExecutionMode::Sync;
            }
            What::Id(_) | What::Name(_) => {
                policy::authorize::<actions::RunWorkflows>(caller)?;
                let visibility = policy::visible_workflows(caller);
                let found = match &request.what {
                    What::Id(id) => self.reader.find_workflow(*id, &visibility).await?,
                    What::Name(name) => self.cached_workflow(name, &visibility).await?,
                    What::Code { .. } => None,
                };
                let workflow = found.ok_or_else(|| Error::not_found("workflow"))?;
                input = parameters::convert(&workflow.definition, input)?;
                execution.workflow_id = Some(workflow.id);
                execution.timeout_seconds = workflow.definition.timeout_seconds;
                execution.retry_policy = workflow.definition.retry_policy.clone();
                mode = workflow.definition.effective_mode();
                execution.workflow_name = workflow.definition.name;
            }
        }
        if let Some(form) = execution.form_id
            && !self.reader.has_form(form, &policy::visible_forms(caller)).await?
        {
            return Err(Error::invalid("form_id", "unknown", "names no form that you may use"));
        }
        execution.input = Value::Object(input);
        clean(&mut execution.input);
        let submission = Submission {
            id,
            workflow_id: execution.workflow_id,
            workflow_name: execution.workflow_name.clone(),
            status: execution.status,
            mode,
        };
        self.accept(execution, submission, may_wait && not_before.is_none()).await
    }

    async fn accept(
        self: &Arc<Self>,
        execution: NewExecution,
        mut submission: Submission,
        may_wait: bool,
    ) -> Result<Submission> {
        let id = execution.id;
        let waiter = (may_wait && submission.mode == ExecutionMode::Sync).then(|| self.waiters.register(id));
        // A task of its own: a caller that goes away in the middle must not leave an accepted row that nobody publishes.
        let app = self.clone();
        tokio::spawn(async move { app.insert_and_dispatch(execution).await })
            .await
            .map_err(Error::internal)??;
        if let Some(waiter) = waiter {
            submission.status = match waiter.wait(self.limits.sync_wait_max).await {
                Some(status) => status,
                None => self.known_status(id, submission.status).await,
            };
        }
        Ok(submission)
    }

    /// Makes it durable, tells that it is there, and sees to its dispatch.
    async fn insert_and_dispatch(self: &Arc<Self>, mut execution: NewExecution) -> Result<()> {
        let (id, kind, status) = (execution.id, execution.kind, execution.status);
        let (scope, executed_by) = (execution.scope, execution.executed_by);
        let workflow_name = execution.workflow_name.clone();
        let grant = if execution.not_before.is_none() { self.may_dispatch().await } else { None };
        let direct = grant.is_some();
        execution.dispatched_at = direct.then_some(execution.created_at);
        self.hot.submit(execution).await?;
        drop(grant);
        metrics::submitted(kind);
        self.announce_history(scope, id, status, &workflow_name, executed_by);
        if direct {
            self.publish_soon(kind, id);
        } else {
            self.wake_relay();
        }
        Ok(())
    }

    /// Where an accepted execution stands; what was known before when it cannot be read: its id is owed in any case.
    async fn known_status(&self, id: ExecutionId, before: Status) -> Status {
        match self.reader.find_status(id).await {
            Ok(status) => status.unwrap_or(before),
            Err(error) => {
                tracing::warn!(execution.id = %id, error = %error, "an accepted execution could not be read");
                before
            }
        }
    }

    async fn check_code(&self, source: &str) -> Result<()> {
        if source.len() > MAX_CODE_BYTES {
            return Err(Error::invalid("code", "too_long", format!("is longer than {MAX_CODE_BYTES} bytes")));
        }
        let inspector = self.doors.inspector.as_ref().ok_or_else(no_python)?;
        let issues = inspector.check_code(source).await.map_err(Error::unavailable)?;
        let bad: Vec<Field> = issues
            .into_iter()
            .filter(|issue| issue.severity == Severity::Error)
            .map(|issue| Field {
                path: "code".to_owned(),
                code: "syntax".into(),
                message: format!("line {}: {}", issue.line, issue.message),
            })
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(Error::invalid_fields(bad)) }
    }
}

/// What is said where no Python was found.
pub(crate) fn no_python() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "no Python 3.10 or newer was found on this server; install it or set `BIFROST_PYTHON`",
    )
}

fn check_time(not_before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    match not_before {
        Some(time) if time > now + MAX_AHEAD => Err(Error::invalid(
            "scheduled_at",
            "too_late",
            "is more than 7 days ahead; make a schedule for later times",
        )),
        // A time in the past means now.
        Some(time) if time <= now => Ok(None),
        other => Ok(other),
    }
}

fn script_name(name: Option<String>) -> String {
    let name = name.unwrap_or_default().replace('\0', "");
    let name = name.trim();
    if name.is_empty() { "script".to_owned() } else { name.chars().take(200).collect() }
}

/// PostgreSQL keeps no NUL in JSON: it is replaced where input comes in (keys included).
fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (key.replace('\0', "\u{fffd}"), value))
                    .collect();
            }
            fields.values_mut().for_each(clean);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};
    use serde_json::json;

    #[test]
    fn nul_is_replaced_everywhere() {
        let mut value = json!({"a\0": ["x\0y", {"b": "\0"}], "n": 1});
        clean(&mut value);
        assert_eq!(value, json!({"a\u{fffd}": ["x\u{fffd}y", {"b": "\u{fffd}"}], "n": 1}));
    }

    #[test]
    fn times_are_bounded() {
        let now = SystemClock.now();
        assert_eq!(check_time(Some(now - Duration::hours(1)), now).expect("past"), None);
        let later = now + Duration::hours(1);
        assert_eq!(check_time(Some(later), now).expect("later"), Some(later));
        assert!(check_time(Some(now + Duration::days(8)), now).is_err());
    }
}
