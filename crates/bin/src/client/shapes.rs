//! What a server answers, as far as commands look at it. Values that are only handed on stay the text that was sent: numbers of any
//! length survive.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

/// A JSON object whose values are not looked at.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// A parameter of a workflow.
#[derive(Debug, Clone, Deserialize)]
pub struct Parameter {
    /// Name of the argument.
    pub name: String,
    /// `string`, `int`, `float`, `bool`, `json`, `list`, `email` or `datetime`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// What a person reads.
    #[serde(default)]
    pub label: Option<String>,
    /// Used when it is absent.
    #[serde(default)]
    pub default_value: Option<Value>,
    /// The only values allowed.
    #[serde(default)]
    pub options: Option<Vec<Choice>>,
    /// Where its values come from.
    #[serde(default)]
    pub data_provider: Option<String>,
    /// Help.
    #[serde(default)]
    pub help_text: Option<String>,
    /// From the docstring.
    #[serde(default)]
    pub description: Option<String>,
}

/// One choice of a parameter.
#[derive(Debug, Clone, Deserialize)]
pub struct Choice {
    /// What is sent.
    pub value: Value,
}

/// A workflow.
#[derive(Debug, Clone, Deserialize)]
pub struct Workflow {
    /// Its id.
    pub id: String,
    /// Name by which it is run.
    pub name: String,
    /// The first line of its docstring.
    #[serde(default)]
    pub description: Option<String>,
    /// For grouping.
    #[serde(default)]
    pub category: String,
    /// For searching.
    #[serde(default)]
    pub tags: Vec<String>,
    /// In order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// `sync` or `async`.
    pub execution_mode: String,
}

/// A line of a log, from the API or from the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogLine {
    /// From 1.
    pub sequence: i64,
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL` or `TRACEBACK`.
    pub level: String,
    /// The text.
    pub message: String,
    /// Extra fields.
    #[serde(default)]
    pub metadata: Option<Box<RawValue>>,
    /// RFC 3339.
    pub timestamp: String,
}

/// An execution, as far as people read it.
#[derive(Debug, Clone, Deserialize)]
pub struct Execution {
    /// Its id.
    pub execution_id: String,
    /// What ran.
    pub workflow_name: String,
    /// Where it stands.
    pub status: String,
    /// Who started it.
    #[serde(default)]
    pub executed_by_name: String,
    /// Why it failed.
    #[serde(default)]
    pub error_message: Option<String>,
    /// Class of the error.
    #[serde(default)]
    pub error_type: Option<String>,
    /// From claim to end.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// When it was accepted, RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<String>,
    /// Which try it was.
    #[serde(default)]
    pub attempt: i32,
}

/// A result.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// As it was returned.
    pub result: Box<RawValue>,
    /// `json`, `html` or `text`.
    pub result_type: String,
}

/// What was accepted.
#[derive(Debug, Clone, Deserialize)]
pub struct Accepted {
    /// Its id.
    pub execution_id: String,
    /// `Pending` or `Scheduled`.
    pub status: String,
}

/// The one who is signed in.
#[derive(Debug, Clone, Deserialize)]
pub struct Me {
    /// E-mail.
    pub email: String,
    /// Name.
    pub name: String,
    /// Whether this person administers the platform.
    #[serde(default)]
    pub is_superuser: bool,
    /// The organization of a person who belongs to one.
    #[serde(default)]
    pub organization_id: Option<String>,
    /// Names of the roles.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// An error answer (RFC 9457), as much of it as there is.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// What to do about it.
    pub detail: String,
    /// The request, as the server's log knows it.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The bad fields.
    #[serde(default)]
    pub errors: Vec<Field>,
}

/// A bad field.
#[derive(Debug, Clone, Deserialize)]
pub struct Field {
    /// Where.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Every status of an execution, in the order of its life.
pub const STATUSES: [&str; 9] = [
    "Scheduled",
    "Pending",
    "Running",
    "Success",
    "CompletedWithErrors",
    "Failed",
    "Timeout",
    "Cancelling",
    "Cancelled",
];

/// Whether nothing changes a status any more.
#[must_use]
pub fn is_terminal(status: &str) -> bool {
    matches!(status, "Success" | "CompletedWithErrors" | "Failed" | "Timeout" | "Cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::execution::Status;

    #[test]
    fn statuses_are_those_of_the_server() {
        let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(STATUSES.as_slice(), known);
        for status in Status::ALL {
            assert_eq!(is_terminal(status.as_str()), status.is_terminal(), "{status:?}");
        }
    }
}
