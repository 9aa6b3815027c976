//! Workflows: what can be run, and whether source is sound.

use crate::{
    access::allowed,
    extract::{Json, Query, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    definition::{Definition, ExecutionMode, Issue, Parameter},
    error::Error,
    policy::actions::{ReadWorkflows, ValidateWorkflows},
};
use bifrost_storage::workflows::Workflow;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadWorkflows>(routes!(list)))
        .routes(allowed::<ValidateWorkflows>(routes!(validate)))
}

/// One choice of a parameter.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParameterOption)]
pub(crate) struct OptionOut {
    label: String,
    value: Value,
}

/// A parameter of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowParameter)]
pub(crate) struct ParameterOut {
    /// Name of the argument.
    name: String,
    /// `string`, `int`, `float`, `bool`, `json`, `list`, `email` or `datetime`.
    #[schema(example = "email")]
    r#type: Value,
    required: bool,
    /// What a person reads.
    label: Option<String>,
    data_provider: Option<String>,
    default_value: Option<Value>,
    options: Option<Vec<OptionOut>>,
    help_text: Option<String>,
    validation: Option<Value>,
    description: Option<String>,
}

impl From<Parameter> for ParameterOut {
    fn from(parameter: Parameter) -> Self {
        let options = |options: Vec<bifrost_domain::definition::ParameterOption>| {
            options.into_iter().map(|option| OptionOut { label: option.label, value: option.value }).collect()
        };
        Self {
            name: parameter.name,
            r#type: serde_json::to_value(parameter.parameter_type).unwrap_or_default(),
            required: parameter.required,
            label: parameter.label,
            data_provider: parameter.data_provider,
            default_value: parameter.default_value,
            options: parameter.options.map(options),
            help_text: parameter.help_text,
            validation: parameter.validation,
            description: parameter.description,
        }
    }
}

/// A workflow that can be run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workflow)]
pub(crate) struct WorkflowOut {
    id: Uuid,
    #[serde(flatten)]
    metadata: MetadataOut,
}

/// What a definition says of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowMetadata)]
pub(crate) struct MetadataOut {
    /// Name by which it is run.
    #[schema(example = "onboard_user")]
    name: String,
    description: Option<String>,
    category: String,
    tags: Vec<String>,
    parameters: Vec<ParameterOut>,
    /// `sync`: the reply carries the result; `async`: it carries the id.
    #[schema(value_type = String, example = "async")]
    execution_mode: ExecutionMode,
    timeout_seconds: i32,
    retry_policy: Option<Value>,
    schedule: Option<String>,
    endpoint_enabled: bool,
    allowed_methods: Vec<String>,
    disable_global_key: bool,
    public_endpoint: bool,
    /// File, relative to the workspace.
    source_file_path: String,
    /// The same, under the name that older clients read.
    relative_file_path: String,
}

impl From<Workflow> for WorkflowOut {
    fn from(workflow: Workflow) -> Self {
        Self { id: workflow.id.as_uuid(), metadata: MetadataOut::new(workflow.definition, workflow.path) }
    }
}

impl MetadataOut {
    fn new(definition: Definition, path: String) -> Self {
        let execution_mode = definition.effective_mode();
        Self {
            name: definition.name,
            description: definition.description,
            category: definition.category,
            tags: definition.tags,
            parameters: definition.parameters.into_iter().map(Into::into).collect(),
            execution_mode,
            timeout_seconds: definition.timeout_seconds,
            retry_policy: definition.retry_policy.and_then(|policy| serde_json::to_value(policy).ok()),
            schedule: definition.schedule,
            endpoint_enabled: definition.endpoint_enabled,
            allowed_methods: definition.allowed_methods,
            disable_global_key: definition.disable_global_key,
            public_endpoint: definition.public_endpoint,
            source_file_path: path.clone(),
            relative_file_path: path,
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// How many at most; all when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended, as its header `X-Continuation-Token` said.
    continuation_token: Option<String>,
}

/// Workflows that a list without `limit` shows at most.
const ALL: u32 = 1_000;
/// Longest name of a workflow, characters.
const MAX_NAME: usize = 200;

/// List the workflows
///
/// The organization's and the global ones, by name. A bare array, as it always was; with `limit` the next page's token is in
/// the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/workflows", tag = "workflows", params(ListQuery),
    responses(
        (status = 200, body = Vec<WorkflowOut>),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<(HeaderMap, Json<Vec<WorkflowOut>>)> {
    let limit = query.limit.unwrap_or(ALL);
    if !(1..=ALL).contains(&limit) {
        return Err(Error::invalid("limit", "range", format!("must be between 1 and {ALL}")).into());
    }
    let after =
        query.continuation_token.as_deref().filter(|token| !token.is_empty()).map(decode).transpose()?;
    let (workflows, more) = state.app.list_workflows(&signed_in.caller, after.as_deref(), limit).await?;
    let mut headers = HeaderMap::new();
    if let Some(last) = workflows.last().filter(|_| more)
        && let Ok(token) = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(&last.definition.name))
    {
        headers.insert("x-continuation-token", token);
    }
    Ok((headers, Json(workflows.into_iter().map(Into::into).collect())))
}

/// The name that a token stands for. A name has at most 200 characters and no control characters: PostgreSQL takes no NUL.
fn decode(token: &str) -> Result<String, Error> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.filter(|name| name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control))
        .ok_or_else(|| Error::invalid("continuation_token", "format", "is not a token that this list gave"))
}

/// What to check.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ValidateWorkflow)]
pub(crate) struct ValidateIn {
    /// File, relative to the workspace; read from there when `content` is absent.
    #[schema(example = "workflows/onboarding.py", max_length = 1024)]
    path: String,
    /// The text to check, at most 1 MiB.
    content: Option<String>,
}

/// Something wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationIssue)]
pub(crate) struct IssueOut {
    /// From 1.
    line: u32,
    message: String,
    /// `error` or `warning`.
    #[schema(example = "error")]
    severity: Value,
}

impl From<Issue> for IssueOut {
    fn from(issue: Issue) -> Self {
        Self {
            line: issue.line,
            message: issue.message,
            severity: serde_json::to_value(issue.severity).unwrap_or_default(),
        }
    }
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationReport)]
pub(crate) struct ReportOut {
    /// Whether there is no error.
    valid: bool,
    issues: Vec<IssueOut>,
    /// The first definition, as lists would show it (without an id); null when there is none.
    metadata: Option<MetadataOut>,
}

/// Check a workflow file without running it
///
/// The source is parsed, never imported.
#[utoipa::path(
    post, path = "/api/workflows/validate", tag = "workflows", request_body = ValidateIn,
    responses(
        (status = 200, body = ReportOut),
        (status = 400, body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json", description = "no such file in the workspace"),
        (status = 413, body = ProblemOut, content_type = "application/problem+json"),
        (status = 415, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, body = ProblemOut, content_type = "application/problem+json", description = "no Python on this server"),
    ),
)]
pub(crate) async fn validate(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    ValidJson(body): ValidJson<ValidateIn>,
) -> Result<Json<ReportOut>> {
    if body.path.is_empty() || body.path.len() > 1_024 {
        return Err(Error::invalid("path", "length", "must have 1 to 1024 characters").into());
    }
    let source = match body.content {
        Some(content) => content,
        None => state.app.read_workspace_source(&signed_in.caller, &body.path).await?,
    };
    let report = state.app.validate_source(&signed_in.caller, &body.path, &source).await?;
    let valid =
        report.issues.iter().all(|issue| issue.severity != bifrost_domain::definition::Severity::Error);
    let metadata = report.definitions.into_iter().next();
    let metadata = metadata.map(|definition| MetadataOut::new(definition, body.path));
    Ok(Json(ReportOut { valid, issues: report.issues.into_iter().map(Into::into).collect(), metadata }))
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, URL_SAFE_NO_PAD, decode};
    use base64::Engine;

    #[test]
    fn a_token_is_a_name() {
        let longest = "é".repeat(MAX_NAME);
        for name in ["a", "onboard user", "été", longest.as_str()] {
            assert_eq!(decode(&URL_SAFE_NO_PAD.encode(name)).expect("ours"), name);
        }
        let longer = URL_SAFE_NO_PAD.encode("n".repeat(MAX_NAME + 1));
        for token in ["AA", "YQBi", "Cg", "fw", "_w", "!", "a", longer.as_str()] {
            let error = decode(token).expect_err("not ours");
            assert_eq!(error.fields[0].path, "continuation_token", "{token}");
        }
    }
}
