//! Reads executions as a caller may see them.

use crate::{
    App,
    pages::{cut, one_more},
};
use bifrost_domain::{
    error::{Error, Result},
    execution::{Execution, LogLevel, LogLine},
    ids::ExecutionId,
    policy::{self, Caller, Visibility, actions},
    scope::Scope,
};
use bifrost_storage::executions::{Filter, LogFilter};
use serde_json::Value;

/// Lines of one page of a log at most.
pub(super) const MAX_LOG_PAGE: u32 = 1_000;
/// The details of a timeline's entries that are for everybody.
const PUBLIC_DETAILS: [&str; 3] = ["by", "not_before", "status"];
/// Larger results are not shown inside an execution, only at its result.
const MAX_EMBEDDED_RESULT: usize = 2 * 1024 * 1024;

/// An execution as the caller sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// The execution; texts that are not for the caller are gone.
    pub execution: Execution,
    /// Its result as JSON, unless it is large.
    pub result: Option<Value>,
    /// Its first lines.
    pub logs: Vec<LogLine>,
    /// Its variables, for administrators.
    pub variables: Option<Value>,
}

/// A page of a log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The lines in order.
    pub lines: Vec<LogLine>,
    /// Where to go on: the highest sequence that was looked at. Never infer a loss from a missing number: lines may be
    /// filtered.
    pub next_after: i64,
    /// Whether there are more now.
    pub has_more: bool,
}

impl App {
    /// Finds an execution for `caller` and says how much of it may be shown.
    ///
    /// # Errors
    /// Not found when it is another organization's, forbidden when it is somebody else's.
    pub async fn find_execution(&self, caller: &Caller, id: ExecutionId) -> Result<(Execution, Visibility)> {
        policy::authorize::<actions::ReadExecutions>(caller)?;
        let visibility = policy::visible_executions(caller);
        let found = self.reader.find_execution(id, &visibility).await?;
        let mut execution = found.ok_or_else(|| Error::not_found("execution"))?;
        if !visibility.may_read_of(execution.executed_by) {
            return Err(Error::forbidden("you may see your own executions only"));
        }
        for_caller(&mut execution, &visibility);
        Ok((execution, visibility))
    }

    /// An execution with result, first log lines and variables.
    ///
    /// # Errors
    /// As [`App::find_execution`].
    pub async fn view_execution(&self, caller: &Caller, id: ExecutionId) -> Result<View> {
        let (execution, visibility) = self.find_execution(caller, id).await?;
        let filter =
            LogFilter { internal: visibility.internal(), limit: MAX_LOG_PAGE.into(), ..LogFilter::default() };
        let logs = self.reader.list_logs(id, &filter).await?;
        let variables = if visibility.internal() {
            self.reader.find_variables(id).await?.map(|(_, variables)| variables)
        } else {
            None
        };
        let result = parse_result(&execution)?;
        Ok(View { execution, result, logs, variables })
    }

    /// An execution with its result and nothing else: what a synchronous caller needs.
    ///
    /// # Errors
    /// As [`App::find_execution`].
    pub async fn view_result(&self, caller: &Caller, id: ExecutionId) -> Result<View> {
        let (execution, _) = self.find_execution(caller, id).await?;
        let result = parse_result(&execution)?;
        Ok(View { execution, result, logs: Vec::new(), variables: None })
    }

    /// A page of executions, newest first, without inputs and results: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// Forbidden when a scope is asked that is not the caller's.
    pub async fn list_executions(
        &self,
        caller: &Caller,
        scope: Option<Scope>,
        filter: &Filter,
        limit: u32,
    ) -> Result<(Vec<Execution>, bool)> {
        policy::authorize::<actions::ReadExecutions>(caller)?;
        let mut visibility = policy::visible_executions(caller);
        if let Some(scope) = scope {
            if !visibility.reaches(scope) {
                return Err(Error::forbidden("you are not a member of this organization"));
            }
            visibility = visibility.narrowed(scope);
        }
        let mut found = self.reader.list_executions(&visibility, filter, one_more(limit)).await?;
        for execution in &mut found {
            for_caller(execution, &visibility);
        }
        Ok(cut(found, limit))
    }

    /// A page of the log.
    ///
    /// # Errors
    /// As [`App::find_execution`].
    pub async fn execution_logs(
        &self,
        caller: &Caller,
        id: ExecutionId,
        after: i64,
        level: Option<LogLevel>,
        text: Option<String>,
        limit: u32,
    ) -> Result<LogPage> {
        let (_, visibility) = self.find_execution(caller, id).await?;
        self.log_page(id, &visibility, after, level, text, limit).await
    }

    /// A page of the log of an execution that `visibility` was made for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn log_page(
        &self,
        id: ExecutionId,
        visibility: &Visibility,
        after: i64,
        level: Option<LogLevel>,
        text: Option<String>,
        limit: u32,
    ) -> Result<LogPage> {
        let limit = limit.clamp(1, MAX_LOG_PAGE);
        // Lines that are not for the caller are read and left out here, so that `next_after` moves past them; but never when
        // something is asked of them: whether a hidden line has a text or a level shows in no number.
        let is_asked = level.is_some() || text.is_some();
        let internal = visibility.internal() || !is_asked;
        let filter = LogFilter { after, level, text, internal, limit: one_more(limit) };
        let (mut lines, has_more) = cut(self.reader.list_logs(id, &filter).await?, limit);
        let next_after = lines.last().map_or(after, |line| line.sequence);
        if !visibility.internal() {
            lines.retain(|line| !line.level.is_internal());
        }
        Ok(LogPage { lines, next_after, has_more })
    }

    /// The newest variables; `None` before there are any.
    ///
    /// # Errors
    /// As [`App::find_execution`]; forbidden for everybody but administrators.
    pub async fn execution_variables(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<Option<(i32, Value)>> {
        let (_, visibility) = self.find_execution(caller, id).await?;
        if !visibility.internal() {
            return Err(Error::forbidden(policy::SUPERUSER_REQUIRED));
        }
        Ok(self.reader.find_variables(id).await?)
    }

    /// The timeline, oldest first.
    ///
    /// # Errors
    /// As [`App::find_execution`].
    pub async fn execution_timeline(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<Vec<bifrost_domain::execution::TimelineEntry>> {
        let (_, visibility) = self.find_execution(caller, id).await?;
        let mut timeline = self.reader.list_timeline(id).await?;
        if !visibility.internal() {
            timeline.iter_mut().for_each(|entry| entry.detail = public_detail(entry.detail.take()));
        }
        Ok(timeline)
    }
}

/// Takes away what is for administrators: `error_message` becomes the text for everybody.
fn for_caller(execution: &mut Execution, visibility: &Visibility) {
    if !visibility.internal() {
        execution.error_message = execution.user_message.clone();
        execution.error_type = None;
    }
}

/// What everybody may read of a timeline's details: which worker it was and which error is for administrators.
fn public_detail(detail: Option<Value>) -> Option<Value> {
    let Some(Value::Object(mut fields)) = detail else { return None };
    fields.retain(|name, _| PUBLIC_DETAILS.contains(&name.as_str()));
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn parse_result(execution: &Execution) -> Result<Option<Value>> {
    match &execution.result {
        Some(text) if text.len() <= MAX_EMBEDDED_RESULT => {
            serde_json::from_str(text).map(Some).map_err(Error::internal)
        }
        _ => Ok(None),
    }
}
