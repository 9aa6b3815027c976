//! Health: for people, load balancers and orchestrators. None of it needs a token.

use crate::{
    access::public,
    extract::Json,
    health::{Brief, Component, Status},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "health";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(public(routes!(health)))
        .routes(public(routes!(live)))
        .routes(public(routes!(ready)))
        .routes(public(routes!(detailed)))
        .routes(public(routes!(api_health)))
}

/// How the program and what it stands on are.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthDetailed)]
struct DetailedOut {
    status: Status,
    timestamp: DateTime<Utc>,
    version: String,
    environment: &'static str,
    /// Each part, really asked, at most a second ago.
    components: BTreeMap<&'static str, Component>,
}

fn out(state: &ApiState, status: Status) -> Json<Brief> {
    Json(Brief {
        status,
        timestamp: state.clock.now(),
        version: state.settings.version.clone(),
        environment: state.settings.environment.as_str(),
        detail: None,
    })
}

/// Is the program there
#[utoipa::path(get, path = "/health", tag = TAG, security(()), responses((status = 200, body = Brief)))]
async fn health(State(state): State<ApiState>) -> Json<Brief> {
    out(&state, Status::Healthy)
}

/// Should it be left alive
///
/// Says nothing of what it stands on: to start it again would not bring a database back.
#[utoipa::path(get, path = "/health/live", tag = TAG, security(()), responses((status = 200, body = Brief)))]
async fn live(State(state): State<ApiState>) -> Json<Brief> {
    out(&state, Status::Healthy)
}

/// Should it get requests
///
/// No when the database is away, its schema is not up to date, or its partitions do not reach two days ahead (`detail` says
/// which); with anything else away it is `degraded` and goes on.
#[utoipa::path(
    get, path = "/health/ready", tag = TAG, security(()),
    responses((status = 200, body = Brief), (status = 503, body = Brief))
)]
async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<Brief>) {
    let report = state.health.report().await;
    let Json(mut body) = out(&state, report.status);
    body.detail.clone_from(&report.reason);
    (report.status.code(), Json(body))
}

/// How is everything
#[utoipa::path(
    get, path = "/health/detailed", tag = TAG, security(()),
    responses((status = 200, body = DetailedOut), (status = 503, body = DetailedOut))
)]
async fn detailed(State(state): State<ApiState>) -> (StatusCode, Json<DetailedOut>) {
    let report = state.health.report().await;
    let body = DetailedOut {
        status: report.status,
        timestamp: state.clock.now(),
        version: state.settings.version.clone(),
        environment: state.settings.environment.as_str(),
        components: report.components.clone(),
    };
    (report.status.code(), Json(body))
}

/// How is everything (older path)
#[utoipa::path(
    get, path = "/api/health", tag = TAG, security(()),
    responses((status = 200, body = DetailedOut), (status = 503, body = DetailedOut))
)]
async fn api_health(state: State<ApiState>) -> (StatusCode, Json<DetailedOut>) {
    detailed(state).await
}
