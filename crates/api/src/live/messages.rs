//! What goes over a live connection, as JSON text.

use bifrost_domain::{execution::LogLine, ids::ExecutionId, messages::HistoryEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// What a client may send.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientMessage {
    /// Follow channels; `after` says from which sequence lines are sent again.
    Subscribe {
        #[serde(default)]
        channels: Vec<String>,
        #[serde(default)]
        after: HashMap<String, i64>,
    },
    /// Follow them no more.
    Unsubscribe {
        #[serde(default)]
        channels: Vec<String>,
    },
    /// Answered with `pong`.
    Ping,
}

/// What the server sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage {
    Connected {
        channels: Vec<String>,
        #[serde(rename = "userId")]
        user_id: String,
    },
    Subscribed {
        channels: Vec<String>,
        /// Where each execution's lines go on from.
        next_after: HashMap<String, i64>,
    },
    Unsubscribed {
        channels: Vec<String>,
    },
    Pong,
    Error {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    ExecutionUpdate {
        #[serde(rename = "executionId")]
        execution_id: ExecutionId,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        /// Where a result over 2 MiB is read.
        #[serde(rename = "resultUrl", skip_serializing_if = "Option::is_none")]
        result_url: Option<String>,
        #[serde(rename = "durationMs", skip_serializing_if = "Option::is_none")]
        duration_ms: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    ExecutionLog {
        #[serde(rename = "executionId")]
        execution_id: ExecutionId,
        sequence: i64,
        level: &'static str,
        message: String,
        metadata: Option<Value>,
        timestamp: chrono::DateTime<chrono::Utc>,
    },
    ExecutionVariables {
        #[serde(rename = "executionId")]
        execution_id: ExecutionId,
        version: i32,
        variables: Value,
    },
    ExecutionProgress {
        #[serde(rename = "executionId")]
        execution_id: ExecutionId,
        fraction: f64,
        message: Option<String>,
    },
    HistoryUpdate {
        #[serde(rename = "executionId")]
        execution_id: ExecutionId,
        status: &'static str,
        #[serde(rename = "workflowName")]
        workflow_name: String,
    },
}

impl ServerMessage {
    /// The value of `type`.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Pong => "pong",
            Self::Error { .. } => "error",
            Self::ExecutionUpdate { .. } => "execution_update",
            Self::ExecutionLog { .. } => "execution_log",
            Self::ExecutionVariables { .. } => "execution_variables",
            Self::ExecutionProgress { .. } => "execution_progress",
            Self::HistoryUpdate { .. } => "history_update",
        }
    }

    pub(super) fn log(execution_id: ExecutionId, line: LogLine) -> Self {
        Self::ExecutionLog {
            execution_id,
            sequence: line.sequence,
            level: line.level.as_str(),
            message: line.message,
            metadata: line.metadata,
            timestamp: line.timestamp,
        }
    }

    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::Error { message: message.into(), channel: None }
    }
}

impl From<HistoryEvent> for ServerMessage {
    fn from(event: HistoryEvent) -> Self {
        Self::HistoryUpdate {
            execution_id: event.execution_id,
            status: event.status.as_str(),
            workflow_name: event.workflow_name,
        }
    }
}
