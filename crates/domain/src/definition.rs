//! What a workspace file declares: workflows, data providers and tools, with their parameters. The inspector's JSON is
//! exactly this (docs/worker-protocol.md).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// `@workflow`
    Workflow,
    /// `@data_provider`
    DataProvider,
    /// `@tool`
    Tool,
}

/// How the caller of a workflow waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// The reply carries the result.
    Sync,
    /// The reply carries the id.
    Async,
}

/// A declared type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Text.
    String,
    /// A 64-bit integer.
    Int,
    /// A finite number.
    Float,
    /// true or false.
    Bool,
    /// Any JSON.
    Json,
    /// A JSON array.
    List,
    /// An e-mail address.
    Email,
    /// An RFC 3339 time.
    Datetime,
}

/// What a value has to look like besides its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterFormat {
    /// A JSON object.
    Object,
    /// A time of day.
    Time,
    /// A UUID.
    Uuid,
    /// A decimal number, as text.
    Decimal,
}

/// What each item of a list has to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemType {
    /// Declared type.
    #[serde(rename = "type")]
    pub parameter_type: ParameterType,
    /// Whether an item may be null.
    #[serde(default)]
    pub optional: bool,
    /// The only values allowed.
    #[serde(default)]
    pub options: Option<Vec<ParameterOption>>,
    /// What it looks like besides.
    #[serde(default)]
    pub format: Option<ParameterFormat>,
    /// Of an item that is a list: its items.
    #[serde(default)]
    pub items: Option<Box<ItemType>>,
}

/// One choice of a parameter with options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterOption {
    /// What a person reads.
    pub label: String,
    /// What the workflow gets.
    pub value: Value,
}

/// One parameter of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name of the Python argument.
    pub name: String,
    /// Declared type.
    #[serde(rename = "type")]
    pub parameter_type: ParameterType,
    /// Whether it must be given.
    pub required: bool,
    /// What a person reads.
    #[serde(default)]
    pub label: Option<String>,
    /// Data provider that lists its values.
    #[serde(default)]
    pub data_provider: Option<String>,
    /// Used when it is absent.
    #[serde(default)]
    pub default_value: Option<Value>,
    /// The only values allowed.
    #[serde(default)]
    pub options: Option<Vec<ParameterOption>>,
    /// What it looks like besides its type.
    #[serde(default)]
    pub format: Option<ParameterFormat>,
    /// Of a list: its items.
    #[serde(default)]
    pub items: Option<ItemType>,
    /// Help for the person who fills it in.
    #[serde(default)]
    pub help_text: Option<String>,
    /// `pattern`, `min`, `max`, `message` ([`crate::validation`]).
    #[serde(default)]
    pub validation: Option<Value>,
    /// From the docstring.
    #[serde(default)]
    pub description: Option<String>,
}

/// When and how often a failed run is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    #[serde(default = "one")]
    pub max_attempts: i32,
    /// `fixed` or `exponential`.
    #[serde(default)]
    pub backoff: Backoff,
    /// Wait before the second attempt.
    #[serde(default = "one_second")]
    pub initial_delay_seconds: f64,
    /// Longest wait.
    #[serde(default = "five_minutes")]
    pub max_delay_seconds: f64,
    /// Only these exception classes; all when absent.
    #[serde(default)]
    pub retry_on: Option<Vec<String>>,
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always the initial delay.
    #[default]
    Fixed,
    /// Doubles each time.
    Exponential,
}

const fn one() -> i32 {
    1
}

const fn one_second() -> f64 {
    1.0
}

const fn five_minutes() -> f64 {
    300.0
}

impl RetryPolicy {
    /// The wait before the attempt after `attempt` (counted from 1), or `None` when there is no further one for
    /// `error_type`.
    #[must_use]
    pub fn delay_after(&self, attempt: i32, error_type: Option<&str>) -> Option<std::time::Duration> {
        if attempt >= self.max_attempts.clamp(1, 100) {
            return None;
        }
        if let (Some(only), Some(error)) = (&self.retry_on, error_type)
            && !only.iter().any(|name| name == error)
        {
            return None;
        }
        let factor = match self.backoff {
            Backoff::Fixed => 1.0,
            Backoff::Exponential => 2_f64.powi(attempt.saturating_sub(1).clamp(0, 30)),
        };
        let most = self.max_delay_seconds.clamp(0.0, 86_400.0);
        let seconds = (self.initial_delay_seconds * factor).clamp(0.0, most);
        std::time::Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A workflow, data provider or tool as its file declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What it is.
    pub kind: DefinitionKind,
    /// Stable id given by the author.
    #[serde(default)]
    pub id: Option<String>,
    /// Name by which it is run.
    pub name: String,
    /// Python function.
    pub function: String,
    /// Line of the decorator, from 1.
    pub line: u32,
    /// First line of the docstring unless given.
    #[serde(default)]
    pub description: Option<String>,
    /// For grouping in lists.
    pub category: String,
    /// For searching.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How the caller waits; `None` = sync when an endpoint is enabled, else async.
    #[serde(default)]
    pub execution_mode: Option<ExecutionMode>,
    /// Wall-clock limit.
    pub timeout_seconds: i32,
    /// Whether and how it is tried again.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// Cron expression.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Whether it has an HTTP endpoint.
    #[serde(default)]
    pub endpoint_enabled: bool,
    /// HTTP methods of the endpoint.
    #[serde(default)]
    pub allowed_methods: Vec<String>,
    /// Whether global keys are refused at the endpoint.
    #[serde(default)]
    pub disable_global_key: bool,
    /// Whether the endpoint needs no key.
    #[serde(default)]
    pub public_endpoint: bool,
    /// Whether agents may call it.
    #[serde(default)]
    pub is_tool: bool,
    /// What agents read.
    #[serde(default)]
    pub tool_description: Option<String>,
    /// Minutes saved per run.
    #[serde(default)]
    pub time_saved: f64,
    /// Value per run.
    #[serde(default)]
    pub value: f64,
    /// How long a data provider's answer is kept.
    #[serde(default)]
    pub cache_ttl_seconds: Option<i32>,
    /// `reuse` when the author asks for it.
    #[serde(default)]
    pub isolation: Option<crate::execution::Isolation>,
    /// Whether it is an `async def`.
    #[serde(default)]
    pub is_async: bool,
    /// The whole docstring.
    #[serde(default)]
    pub docstring: Option<String>,
    /// The parameters in order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Whether it takes `**kwargs`.
    #[serde(default)]
    pub accepts_extra: bool,
}

impl Definition {
    /// How the caller waits after the default has been applied.
    #[must_use]
    pub fn effective_mode(&self) -> ExecutionMode {
        self.execution_mode.unwrap_or(if self.endpoint_enabled {
            ExecutionMode::Sync
        } else {
            ExecutionMode::Async
        })
    }
}

/// How bad an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file, or one definition, is not used.
    Error,
    /// It works, but not as written.
    Warning,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong and what to do.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stop_and_grow_as_declared() {
        let policy = RetryPolicy {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            initial_delay_seconds: 2.0,
            max_delay_seconds: 3.0,
            retry_on: Some(vec!["ConnectionError".into()]),
        };
        assert_eq!(policy.delay_after(1, Some("ConnectionError")).map(|d| d.as_secs()), Some(2));
        assert_eq!(policy.delay_after(2, Some("ConnectionError")).map(|d| d.as_secs()), Some(3));
        assert_eq!(policy.delay_after(3, Some("ConnectionError")), None);
        assert_eq!(policy.delay_after(1, Some("ValueError")), None);
    }
}
