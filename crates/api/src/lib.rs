//! The HTTP API: router, extractors, problems, OpenAPI.
//!
//! A handler extracts, asks policy for a permit, makes one call, converts. Routes and their document are one: a route is
//! added with `routes!`, which takes both from the handler. Every error is a [`problem::Problem`].

pub mod access;
mod answers;
mod cookies;
pub mod extract;
pub mod health;
mod idempotency;
mod layers;
pub mod live;
pub mod metrics;
mod page;
pub mod problem;
mod rate_limit;
pub mod routes;
pub mod state;

pub use layers::request::RequestId;
pub use live::Hangup;
pub use state::{AllowedOrigins, ApiParts, ApiSettings, ApiState, DevBypass};

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use problem::Problem;
use std::sync::Arc;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Routes whose requests end within the time of the settings.
fn bounded_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(routes::docs::base())
        .merge(routes::auth::routes())
        .merge(routes::account::routes())
        .merge(routes::branding::routes())
        .merge(routes::oauth::routes())
        .merge(routes::callback::routes())
        .merge(routes::identity_providers::routes())
        .merge(routes::organizations::routes())
        .merge(routes::members::routes())
        .merge(routes::users::routes())
        .merge(routes::roles::routes())
        .merge(routes::machines::routes())
        .merge(routes::device::routes())
        .merge(routes::audit::routes())
        .merge(routes::health::routes())
        .merge(routes::workflows::routes())
        .merge(routes::executions::routes())
        .merge(live::ticket_routes())
}

/// Routes that wait for a run or stream: they bound their time themselves.
fn waiting_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().merge(routes::executions::waiting_routes()).merge(live::routes())
}

/// The OpenAPI document of every route.
#[must_use]
pub fn openapi() -> OpenApi {
    bounded_routes().merge(waiting_routes()).into_openapi()
}

/// The whole API. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: limits, the audit log and the
/// development bypass look at the peer's address.
pub fn router(state: ApiState) -> Router {
    metrics::register();
    let (bounded, mut document) = bounded_routes().split_for_parts();
    let (waiting, more) = waiting_routes().split_for_parts();
    document.merge(more);
    let router = bounded
        .merge(routes::docs::pages(document))
        .layer(from_fn_with_state(state.clone(), layers::timeout::bound))
        .merge(waiting)
        .fallback(|| async {
            Problem::of_status(http::StatusCode::NOT_FOUND, "there is nothing here; see /docs")
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(layers::bounds::head))
        .layer(Extension(state.clone()))
        .layer(from_fn_with_state(state.clone(), layers::request::handle))
        .layer(from_fn_with_state(Arc::<metrics::Requests>::default(), layers::measure::requests))
        .layer(CompressionLayer::new())
        .layer(from_fn(layers::headers::weaken_compressed))
        .layer(from_fn(layers::unread::bodies));
    // Around all of these, so that a browser's question before the request needs no token and reads refusals too.
    let router = match layers::headers::cors(&state.settings) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // And this around everything: the answer to that question has these headers as well.
    router.layer(from_fn_with_state(state.clone(), layers::headers::security)).with_state(state)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %text, "a handler panicked");
    Problem::internal().into_response()
}
