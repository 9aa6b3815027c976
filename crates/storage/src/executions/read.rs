//! Executions as they are read back: one, lists by key, log lines, variables, timeline. Lists never read inputs and results:
//! each may have megabytes.

use crate::{
    Error, Reader,
    dialect::{all, get, like_contains, limit_of, one, parse},
};
use bifrost_domain::{
    execution::{Execution, LogLevel, LogLine, Status, TimelineEntry},
    ids::{ExecutionId, FormId, OrganizationId, UserId, WorkerId, WorkflowId},
    policy::Visibility,
    scope::Scope,
};
use chrono::{DateTime, Utc};
use sea_orm::{QueryResult, Value as Bind};
use serde_json::Value;
use uuid::Uuid;

/// What a list is narrowed to. Everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Exact name of the workflow.
    pub workflow_name: Option<String>,
    /// Status.
    pub status: Option<Status>,
    /// Accepted at or after.
    pub from: Option<DateTime<Utc>>,
    /// Accepted before.
    pub to: Option<DateTime<Utc>>,
    /// Through this form.
    pub form_id: Option<FormId>,
    /// By this person.
    pub executed_by: Option<UserId>,
    /// Part of the workflow's or the person's name, in any case as far as the database knows cases (SQLite: of ASCII letters).
    pub text: Option<String>,
    /// Older than this execution (the continuation).
    pub before: Option<ExecutionId>,
}

/// Which log lines.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Only lines with a higher sequence.
    pub after: i64,
    /// Only this level.
    pub level: Option<LogLevel>,
    /// Only lines that contain this text, in any case as far as the database knows cases (SQLite: of ASCII letters).
    pub text: Option<String>,
    /// Whether DEBUG and TRACEBACK lines are wanted.
    pub internal: bool,
    /// At most so many.
    pub limit: u64,
}

const LIST_COLUMNS: &str = "id, kind, organization_id, workflow_id, workflow_name, form_id, executed_by, executed_by_name, \
     status, result_object, result_bytes, result_type, error_type, error_message, user_message, attempt, worker_id, created_at, \
     started_at, completed_at, duration_ms, not_before, peak_memory_bytes, cpu_seconds";

impl Reader {
    /// One execution with its input and inline result, whoever's it is: the caller of this function asks
    /// [`Visibility::reaches`] first thing (app does).
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_execution(
        &self,
        id: ExecutionId,
        visibility: &Visibility,
    ) -> Result<Option<Execution>, Error> {
        let sql = format!("SELECT {LIST_COLUMNS}, input, result FROM executions WHERE id = $1");
        let Some(row) = one(&self.db, &sql, [id.as_uuid().into()]).await? else { return Ok(None) };
        let mut execution = execution_of(&row)?;
        execution.input = get(&row, "executions", "input")?;
        execution.result = get(&row, "executions", "result")?;
        Ok(visibility.reaches(execution.scope).then_some(execution))
    }

    /// The status alone.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_status(&self, id: ExecutionId) -> Result<Option<Status>, Error> {
        let row = one(&self.db, "SELECT status FROM executions WHERE id = $1", [id.as_uuid().into()]).await?;
        row.map(|row| parse(&row, "executions", "status")).transpose()
    }

    /// Executions without input and result, newest first, at most `limit`.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_executions(
        &self,
        visibility: &Visibility,
        filter: &Filter,
        limit: u64,
    ) -> Result<Vec<Execution>, Error> {
        let mut conditions: Vec<String> = Vec::new();
        let mut values: Vec<Bind> = Vec::new();
        if visibility.scope() == Some(Scope::Global) {
            conditions.push("organization_id IS NULL".to_owned());
        }
        let mut add = |template: &str, value: Bind| {
            values.push(value);
            conditions.push(template.replace('?', &format!("${}", values.len())));
        };
        if let Some(Scope::Organization(id)) = visibility.scope() {
            add("organization_id = ?", id.as_uuid().into());
        }
        if let Some(me) = visibility.only_of() {
            add("executed_by = ?", me.as_uuid().into());
        }
        if let Some(name) = &filter.workflow_name {
            add("workflow_name = ?", name.as_str().into());
        }
        if let Some(status) = filter.status {
            add("status = ?", status.as_str().into());
        }
        if let Some(from) = filter.from {
            add("id >= ?", bifrost_domain::clock::floor_id(from).into());
        }
        if let Some(to) = filter.to {
            add("id < ?", bifrost_domain::clock::floor_id(to).into());
        }
        if let Some(form) = filter.form_id {
            add("form_id = ?", form.as_uuid().into());
        }
        if let Some(user) = filter.executed_by {
            add("executed_by = ?", user.as_uuid().into());
        }
        if let Some(before) = filter.before {
            add("id < ?", before.as_uuid().into());
        }
        if let Some(text) = &filter.text {
            add(
                "(lower(workflow_name) LIKE lower(?) ESCAPE '\\' OR lower(executed_by_name) LIKE lower(?) ESCAPE '\\')",
                like_contains(text).into(),
            );
        }
        values.push(limit_of(limit));
        let condition =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        let sql = format!(
            "SELECT {LIST_COLUMNS} FROM executions {condition} ORDER BY id DESC LIMIT ${}",
            values.len()
        );
        all(&self.db, &sql, values).await?.iter().map(execution_of).collect()
    }

    /// Log lines in order.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_logs(&self, id: ExecutionId, filter: &LogFilter) -> Result<Vec<LogLine>, Error> {
        let mut sql =
            "SELECT sequence, level, message, metadata, logged_at FROM execution_logs WHERE execution_id = $1 AND sequence > $2"
                .to_owned();
        let mut values: Vec<Bind> = vec![id.as_uuid().into(), filter.after.into()];
        if !filter.internal {
            sql.push_str(" AND level NOT IN ('DEBUG', 'TRACEBACK')");
        }
        if let Some(level) = filter.level {
            values.push(level.as_str().into());
            sql.push_str(&format!(" AND level = ${}", values.len()));
        }
        if let Some(text) = &filter.text {
            values.push(like_contains(text).into());
            sql.push_str(&format!(" AND lower(message) LIKE lower(${}) ESCAPE '\\'", values.len()));
        }
        values.push(limit_of(filter.limit));
        sql.push_str(&format!(" ORDER BY sequence LIMIT ${}", values.len()));
        let rows = all(&self.db, &sql, values).await?;
        rows.iter()
            .map(|row| {
                Ok(LogLine {
                    sequence: get(row, "execution_logs", "sequence")?,
                    level: parse(row, "execution_logs", "level")?,
                    message: get(row, "execution_logs", "message")?,
                    metadata: get(row, "execution_logs", "metadata")?,
                    timestamp: get(row, "execution_logs", "logged_at")?,
                })
            })
            .collect()
    }

    /// The highest stored sequence, 0 before the first line.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn last_sequence(&self, id: ExecutionId) -> Result<i64, Error> {
        let row = one(
            &self.db,
            "SELECT coalesce(max(sequence), 0) AS sequence FROM execution_logs WHERE execution_id = $1",
            [id.as_uuid().into()],
        )
        .await?;
        row.map_or(Ok(0), |row| get(&row, "execution_logs", "sequence"))
    }

    /// The newest variables with their version.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_variables(&self, id: ExecutionId) -> Result<Option<(i32, Value)>, Error> {
        let row = one(
            &self.db,
            "SELECT version, variables FROM execution_variables WHERE execution_id = $1",
            [id.as_uuid().into()],
        )
        .await?;
        row.map(|row| {
            Ok((get(&row, "execution_variables", "version")?, get(&row, "execution_variables", "variables")?))
        })
        .transpose()
    }

    /// The timeline, oldest first.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_timeline(&self, id: ExecutionId) -> Result<Vec<TimelineEntry>, Error> {
        // What is accepted and dispatched at once has one time.
        let rows = all(
            &self.db,
            "SELECT at, event, detail FROM execution_events WHERE execution_id = $1 ORDER BY at, attempt, \
             CASE event WHEN 'accepted' THEN 0 WHEN 'dispatched' THEN 1 WHEN 'claimed' THEN 2 WHEN 'finished' THEN 4 ELSE 3 END \
             LIMIT 1000",
            [id.as_uuid().into()],
        )
        .await?;
        rows.iter()
            .map(|row| {
                Ok(TimelineEntry {
                    at: get(row, "execution_events", "at")?,
                    event: parse(row, "execution_events", "event")?,
                    detail: get(row, "execution_events", "detail")?,
                })
            })
            .collect()
    }
}

fn execution_of(row: &QueryResult) -> Result<Execution, Error> {
    const TABLE: &str = "executions";
    let organization: Option<Uuid> = get(row, TABLE, "organization_id")?;
    Ok(Execution {
        id: ExecutionId::from_uuid(get(row, TABLE, "id")?),
        kind: parse(row, TABLE, "kind")?,
        scope: Scope::from(organization.map(OrganizationId::from_uuid)),
        workflow_id: get::<Option<Uuid>>(row, TABLE, "workflow_id")?.map(WorkflowId::from_uuid),
        workflow_name: get(row, TABLE, "workflow_name")?,
        form_id: get::<Option<Uuid>>(row, TABLE, "form_id")?.map(FormId::from_uuid),
        executed_by: UserId::from_uuid(get(row, TABLE, "executed_by")?),
        executed_by_name: get(row, TABLE, "executed_by_name")?,
        status: parse(row, TABLE, "status")?,
        input: Value::Null,
        result: None,
        result_object: get(row, TABLE, "result_object")?,
        result_bytes: get::<Option<i64>>(row, TABLE, "result_bytes")?.unwrap_or(0),
        result_type: parse(row, TABLE, "result_type")?,
        error_type: get(row, TABLE, "error_type")?,
        error_message: get(row, TABLE, "error_message")?,
        user_message: get(row, TABLE, "user_message")?,
        attempt: get(row, TABLE, "attempt")?,
        worker_id: get::<Option<Uuid>>(row, TABLE, "worker_id")?.map(WorkerId::from_uuid),
        created_at: get(row, TABLE, "created_at")?,
        started_at: get(row, TABLE, "started_at")?,
        completed_at: get(row, TABLE, "completed_at")?,
        duration_ms: get(row, TABLE, "duration_ms")?,
        not_before: get(row, TABLE, "not_before")?,
        peak_memory_bytes: get(row, TABLE, "peak_memory_bytes")?,
        cpu_seconds: get(row, TABLE, "cpu_seconds")?,
    })
}
