//! What travels over the broker and the bus. Small, versioned, ids only: the receiver reads the store.

use crate::{execution::Status, ids::ExecutionId};
use serde::{Deserialize, Serialize};

/// A message on a run queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMessage {
    /// Version of this shape.
    pub v: u32,
    /// The execution to claim.
    pub execution_id: ExecutionId,
}

impl RunMessage {
    /// The shape written today.
    pub const VERSION: u32 = 1;

    /// The message for `execution_id`.
    #[must_use]
    pub const fn new(execution_id: ExecutionId) -> Self {
        Self { v: Self::VERSION, execution_id }
    }
}

/// Topics of the bus.
pub mod topics {
    use crate::ids::ExecutionId;

    /// Every end of an execution ([`super::Finished`]): wakes synchronous callers.
    pub const FINISHED: &str = "finished";
    /// Rows wait for the relay.
    pub const WAITING: &str = "waiting";
    /// The workflows in the database changed.
    pub const WORKFLOWS: &str = "workflows";
    /// An execution's cancel was asked ([`super::CancelAsked`]).
    pub const CANCEL: &str = "cancel";

    /// Executions of a scope come, start and end ([`super::HistoryEvent`]).
    #[must_use]
    pub fn history(scope: crate::scope::Scope) -> String {
        format!("history:{scope}")
    }

    /// Everything about one execution ([`super::ExecutionEvent`]).
    #[must_use]
    pub fn execution(id: ExecutionId) -> String {
        format!("execution:{id}")
    }
}

/// An execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which.
    pub execution_id: ExecutionId,
    /// How.
    pub status: Status,
}

/// Cancel was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAsked {
    /// Which.
    pub execution_id: ExecutionId,
}

/// An execution of a scope came, started or ended: lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Which.
    pub execution_id: ExecutionId,
    /// Where it stands.
    pub status: Status,
    /// What it runs.
    pub workflow_name: String,
    /// Whose it is: others need the right to see all.
    pub executed_by: crate::ids::UserId,
}

/// Something about one execution changed and is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecutionEvent {
    /// The status is another one.
    Status {
        /// The new status.
        status: Status,
    },
    /// Lines up to this sequence are stored.
    Log {
        /// Highest stored sequence.
        sequence: i64,
    },
    /// Variables of this version are stored.
    Variables {
        /// Their version.
        version: i32,
    },
    /// How far it is; not stored.
    Progress {
        /// 0 to 1.
        fraction: f64,
        /// What it is doing.
        message: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shape ever sent stays readable: a rolling update has old messages in the queue.
    #[test]
    fn old_messages_are_read() {
        let first = r#"{"v":1,"execution_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let message: RunMessage = serde_json::from_str(first).expect("version 1");
        assert_eq!(message.v, 1);
        assert_eq!(serde_json::to_string(&message).expect("json"), first);
    }
}
