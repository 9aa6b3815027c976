//! Executions: run, list, read, cancel. One file per operation with a rule of its own; `shapes` holds what they answer.

mod execute;
mod list;
mod range;
mod read;
mod result;
mod shapes;

pub(crate) use shapes::result_url;

use crate::{access::allowed, state::ApiState};
use bifrost_domain::policy::actions::{CancelExecutions, ReadExecutions, RunWorkflows};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes that answer within the request timeout.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadExecutions>(routes!(list::list)))
        .routes(allowed::<ReadExecutions>(routes!(read::get)))
        .routes(allowed::<ReadExecutions>(routes!(result::result)))
        .routes(allowed::<ReadExecutions>(routes!(read::logs)))
        .routes(allowed::<ReadExecutions>(routes!(read::variables)))
        .routes(allowed::<ReadExecutions>(routes!(read::timeline)))
        .routes(allowed::<CancelExecutions>(routes!(read::cancel)))
}

/// The routes that wait for a run.
pub(crate) fn waiting_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(allowed::<RunWorkflows>(routes!(execute::execute)))
}
