//! An execution: its states, what moves it, and what it leaves behind (docs/architecture.md, "The end of a run").

use crate::{
    definition::RetryPolicy,
    ids::{ExecutionId, FormId, UserId, WorkerId, WorkflowId},
    scope::Scope,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr, sync::Arc};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling on the wire and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownValue;

            fn from_str(text: &str) -> Result<Self, UnknownValue> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownValue { text: text.to_owned(), known: &[$($text),+] }),
                }
            }
        }
    };
}
pub(crate) use text_enum;

/// A text that names no value of an enumeration.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not one of {known:?}")]
pub struct UnknownValue {
    /// What was given.
    pub text: String,
    /// What is known.
    pub known: &'static [&'static str],
}

text_enum! {
    /// Where an execution stands.
    Status {
        /// Waits for its time.
        Scheduled = "Scheduled",
        /// Accepted, waits for a worker.
        Pending = "Pending",
        /// A worker has it.
        Running = "Running",
        /// Ended well.
        Success = "Success",
        /// Ended, and returned `success: False`.
        CompletedWithErrors = "CompletedWithErrors",
        /// Ended by an error.
        Failed = "Failed",
        /// Ended by its time limit.
        Timeout = "Timeout",
        /// Was asked to end.
        Cancelling = "Cancelling",
        /// Ended by request.
        Cancelled = "Cancelled",
    }
}

impl Status {
    /// Whether nothing can change it any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Success | Self::CompletedWithErrors | Self::Failed | Self::Timeout | Self::Cancelled
        )
    }
}

text_enum! {
    /// What an execution does.
    Kind {
        /// A workflow of the workspace.
        Workflow = "workflow",
        /// Posted code.
        Script = "script",
        /// A data provider.
        DataProvider = "data_provider",
    }
}

impl Kind {
    /// The queue (without prefix) that carries this kind: one durable queue per kind.
    #[must_use]
    pub const fn queue(self) -> &'static str {
        match self {
            Self::Workflow => "workflows",
            Self::Script => "scripts",
            Self::DataProvider => "data-providers",
        }
    }
}

text_enum! {
    /// Severity of a log line.
    LogLevel {
        /// For the author.
        Debug = "DEBUG",
        /// For everybody.
        Info = "INFO",
        /// Something is odd.
        Warning = "WARNING",
        /// Something failed.
        Error = "ERROR",
        /// Everything failed.
        Critical = "CRITICAL",
        /// A Python traceback, for administrators.
        Traceback = "TRACEBACK",
    }
}

impl LogLevel {
    /// Whether only administrators and authors read it.
    #[must_use]
    pub const fn is_internal(self) -> bool {
        matches!(self, Self::Debug | Self::Traceback)
    }
}

text_enum! {
    /// How a result is shown.
    ResultType {
        /// Any JSON.
        Json = "json",
        /// HTML text.
        Html = "html",
        /// Plain text.
        Text = "text",
    }
}

text_enum! {
    /// Whether a run has a child process of its own.
    Isolation {
        /// One forked child per run.
        Fork = "fork",
        /// A kept child serves many runs of one organization and workspace version.
        Reuse = "reuse",
    }
}

text_enum! {
    /// The timeline of an execution; `detail` of each is in `execution_events`.
    EventKind {
        /// The row was committed.
        Accepted = "accepted",
        /// Handed to the broker.
        Dispatched = "dispatched",
        /// A worker has it.
        Claimed = "claimed",
        /// Cancel was asked.
        CancelRequested = "cancel_requested",
        /// Will be tried again.
        Retrying = "retrying",
        /// Its worker is gone.
        WorkerLost = "worker_lost",
        /// It ended.
        Finished = "finished",
    }
}

/// A new execution, complete: written by one insert.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// UUIDv7, made at acceptance.
    pub id: ExecutionId,
    /// What it does.
    pub kind: Kind,
    /// Whose it is.
    pub scope: Scope,
    /// The workflow, unless it is a script.
    pub workflow_id: Option<WorkflowId>,
    /// Name shown in lists.
    pub workflow_name: String,
    /// The form it came through.
    pub form_id: Option<FormId>,
    /// Who started it.
    pub executed_by: UserId,
    /// That person's name at the time.
    pub executed_by_name: String,
    /// That person's e-mail at the time.
    pub executed_by_email: String,
    /// Whether that person is a platform admin.
    pub is_platform_admin: bool,
    /// Converted parameters as JSON.
    pub input: Value,
    /// Posted source of a script.
    pub code: Option<String>,
    /// Wall-clock limit.
    pub timeout_seconds: i32,
    /// When it is tried again.
    pub retry_policy: Option<RetryPolicy>,
    /// `Pending`, or `Scheduled` with `not_before`.
    pub status: Status,
    /// Not to be dispatched before.
    pub not_before: Option<DateTime<Utc>>,
    /// Set when the submitting process publishes it itself: the reservation is part of the insert.
    pub dispatched_at: Option<DateTime<Utc>>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

/// What a worker gets by claiming an execution.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The execution.
    pub id: ExecutionId,
    /// The fencing number: every later write carries it.
    pub attempt: i32,
    /// What it does.
    pub kind: Kind,
    /// Whose it is.
    pub scope: Scope,
    /// The workflow, unless it is a script.
    pub workflow_id: Option<WorkflowId>,
    /// Name of the workflow or script.
    pub workflow_name: String,
    /// Who started it.
    pub executed_by: UserId,
    /// That person's name.
    pub executed_by_name: String,
    /// That person's e-mail.
    pub executed_by_email: String,
    /// Whether that person is a platform admin.
    pub is_platform_admin: bool,
    /// Converted parameters.
    pub input: Value,
    /// Posted source.
    pub code: Option<String>,
    /// Wall-clock limit.
    pub timeout_seconds: i32,
    /// When it is tried again.
    pub retry_policy: Option<RetryPolicy>,
    /// Since when it could have been claimed: its acceptance, or the time before which it was not to begin.
    pub due_at: DateTime<Utc>,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// Highest log sequence stored by an earlier attempt.
    pub last_sequence: i64,
}

/// How an attempt ends; written by one guarded statement.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The execution.
    pub id: ExecutionId,
    /// The attempt that ends.
    pub attempt: i32,
    /// The terminal status; a run in `Cancelling` keeps the end that came first.
    pub status: Status,
    /// Result as JSON text, up to the inline limit.
    pub result: Option<Arc<str>>,
    /// Object-store key of a larger result.
    pub result_object: Option<String>,
    /// Size of the result in bytes.
    pub result_bytes: i64,
    /// How the result is shown.
    pub result_type: ResultType,
    /// Class of the error.
    pub error_type: Option<String>,
    /// Text for administrators.
    pub error_message: Option<String>,
    /// Text for everybody.
    pub user_message: Option<String>,
    /// Last variables with their version.
    pub variables: Option<Value>,
    /// Highest log sequence of this execution.
    pub last_sequence: i64,
    /// When it ended.
    pub completed_at: DateTime<Utc>,
    /// From claim to end.
    pub duration_ms: i64,
    /// Highest memory of the child.
    pub peak_memory_bytes: Option<i64>,
    /// CPU time of the child.
    pub cpu_seconds: Option<f64>,
    /// Whose it is (for the daily numbers).
    pub scope: Scope,
    /// Name of the workflow (for the daily numbers).
    pub workflow_name: String,
}

/// A log line with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// From 1 without gaps per execution.
    pub sequence: i64,
    /// Severity.
    pub level: LogLevel,
    /// Text.
    pub message: String,
    /// Extra fields.
    pub metadata: Option<Value>,
    /// When it was written, by the child's clock.
    pub timestamp: DateTime<Utc>,
}

/// Log lines of one attempt on their way to the store.
#[derive(Debug, Clone)]
pub struct LogBatch {
    /// The execution.
    pub id: ExecutionId,
    /// The attempt that wrote them.
    pub attempt: i32,
    /// The lines, numbered.
    pub lines: Vec<LogLine>,
}

/// An execution as it is read back.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The execution.
    pub id: ExecutionId,
    /// What it does.
    pub kind: Kind,
    /// Whose it is.
    pub scope: Scope,
    /// The workflow, unless it is a script.
    pub workflow_id: Option<WorkflowId>,
    /// Name of the workflow or script.
    pub workflow_name: String,
    /// The form it came through.
    pub form_id: Option<FormId>,
    /// Who started it.
    pub executed_by: UserId,
    /// That person's name at the time.
    pub executed_by_name: String,
    /// Where it stands.
    pub status: Status,
    /// Converted parameters; null in lists.
    pub input: Value,
    /// Result as JSON text, when it is inline and was asked for.
    pub result: Option<String>,
    /// Object-store key of a large result.
    pub result_object: Option<String>,
    /// Size of the result in bytes; 0 before the end and without one.
    pub result_bytes: i64,
    /// How the result is shown.
    pub result_type: ResultType,
    /// Class of the error.
    pub error_type: Option<String>,
    /// Text for administrators.
    pub error_message: Option<String>,
    /// Text for everybody.
    pub user_message: Option<String>,
    /// The fencing number.
    pub attempt: i32,
    /// The worker of the current attempt.
    pub worker_id: Option<WorkerId>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// From claim to end.
    pub duration_ms: Option<i64>,
    /// Not to be dispatched before.
    pub not_before: Option<DateTime<Utc>>,
    /// Highest memory of the child.
    pub peak_memory_bytes: Option<i64>,
    /// CPU time of the child.
    pub cpu_seconds: Option<f64>,
}

/// One line of an execution's timeline.
#[derive(Debug, Clone)]
pub struct TimelineEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub event: EventKind,
    /// More about it.
    pub detail: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse::<Status>().expect("known"), *status);
        }
        assert!("Done".parse::<Status>().is_err());
        let mut queues: Vec<_> = Kind::ALL.iter().map(|kind| kind.queue()).collect();
        queues.sort_unstable();
        queues.dedup();
        assert_eq!(queues.len(), Kind::ALL.len());
    }
}
