//! Executions: run, list, read, cancel. One file per operation with a rule of its own; `shapes` holds what they answer.

mod execute;
mod list;
mod range;
mod read;
mod result;
mod shapes;

pub(crate) use shapes::result_url;

use crate::state::ApiState;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes that answer within the request timeout.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(read::get))
        .routes(routes!(result::result))
        .routes(routes!(read::logs))
        .routes(routes!(read::variables))
        .routes(routes!(read::timeline))
        .routes(routes!(read::cancel))
}

/// The routes that wait for a run.
pub(crate) fn waiting_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(execute::execute))
}
