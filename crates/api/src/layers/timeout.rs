//! A bound on the time of a request. Routes that wait for a run or stream stand outside of it.

use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Answers 503 when the handler takes longer than the settings allow; its work is dropped.
pub(crate) async fn bound(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let limit = state.settings.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(limit_ms = limit.as_millis(), "request took too long");
            Problem::of_status(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not done within {} s; try again later", limit.as_secs_f32()),
            )
            .with_code("timeout")
            .into_response()
        }
    }
}
