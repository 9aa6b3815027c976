//! Who reads the numbers of a process, and where: at the API's port, or at a port of their own together with the health of the process,
//! which is also where a worker can be asked.

use crate::{http, probes};
use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use bifrost_api::{
    extract::bypass::{Head, is_from_here},
    health::{Brief, CachedProbes, Probes, Status},
};
use bifrost_boot::{
    Opened, SharedClock,
    metrics::{Exporter, Metric},
    settings::Settings,
};
use secrecy::{ExposeSecret, SecretString};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

const PATH: &str = "/metrics";
/// The text format of Prometheus.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric of the programs, by room.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    bifrost_api::metrics::METRICS
        .iter()
        .chain(bifrost_jobs::metrics::METRICS)
        .chain(bifrost_boot::metrics::inner())
}

/// The numbers, and what has to be shown to read them.
#[derive(Debug, Clone)]
pub struct Guard {
    exporter: Arc<Exporter>,
    token: Option<SecretString>,
}

impl Guard {
    /// The numbers of `exporter`, behind the token of the settings.
    #[must_use]
    pub fn new(exporter: Arc<Exporter>, settings: &Settings) -> Self {
        Self { exporter, token: settings.metrics.token.clone() }
    }

    fn is_shown(&self, token: &SecretString, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let shown = value.to_str().ok().and_then(|text| text.split_once(' '));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case("bearer") && is_same(shown.trim(), token.expose_secret())
        })
    }

    async fn answer(&self) -> Response {
        (
            [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")],
            self.exporter.render().await,
        )
            .into_response()
    }
}

/// Takes as long for a text that differs in its first letter as for one that differs in its last.
fn is_same(one: &str, other: &str) -> bool {
    let differs = one.bytes().zip(other.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    one.len() == other.len() && differs == 0
}

fn refused() -> Response {
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, "Bearer")],
        "show METRICS_TOKEN as a Bearer token\n",
    )
        .into_response()
}

/// The numbers at the API's own port: for whoever shows the token, or, when none is set, for this machine. For everybody else there is
/// nothing.
pub fn beside(router: Router, guard: Guard) -> Router {
    Router::new().fallback_service(router).layer(from_fn_with_state(guard, at_api))
}

async fn at_api(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if request.uri().path() != PATH || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let allowed = match &guard.token {
        Some(token) => guard.is_shown(token, request.headers()),
        None => is_from_here(Head {
            peer: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()),
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }),
    };
    match (allowed, &guard.token) {
        (true, _) => guard.answer().await,
        (false, Some(_)) => refused(),
        (false, None) => next.run(request).await,
    }
}

/// Numbers and health at a port of their own.
#[derive(Clone)]
struct Side {
    guard: Guard,
    probes: Arc<CachedProbes>,
    clock: SharedClock,
    environment: &'static str,
}

impl Side {
    fn brief(&self, status: Status) -> Brief {
        Brief {
            status,
            timestamp: self.clock.now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: self.environment,
            detail: None,
        }
    }
}

/// Binds the address of the settings, when they have one.
///
/// # Errors
/// When the port is taken or may not be used, with what to do.
pub async fn bind(settings: &Settings) -> Result<Option<TcpListener>> {
    let Some(address) = settings.metrics.address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "{address} cannot be listened on for metrics; if another process of this machine has it, give each its own METRICS_ADDRESS"
        )
    })?;
    Ok(Some(listener))
}

/// Serves numbers and health until `stop` says so.
pub async fn serve(
    listener: TcpListener,
    guard: Guard,
    settings: &Settings,
    opened: &Opened,
    stop: watch::Receiver<bool>,
) {
    let side = Side {
        guard,
        probes: Arc::new(CachedProbes::new(probes::of_process(settings, opened))),
        clock: opened.clock.clone(),
        environment: settings.environment.as_str(),
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(address = %address, "metrics and health");
    }
    let router = Router::new()
        .route(PATH, get(numbers))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(side);
    http::serve(listener, router, stop, &settings.server).await;
}

async fn numbers(State(side): State<Side>, headers: HeaderMap) -> Response {
    match &side.guard.token {
        Some(token) if !side.guard.is_shown(token, &headers) => refused(),
        _ => side.guard.answer().await,
    }
}

async fn live(State(side): State<Side>) -> Json<Brief> {
    Json(side.brief(Status::Healthy))
}

async fn ready(State(side): State<Side>) -> (StatusCode, Json<Brief>) {
    let report = side.probes.report().await;
    let mut brief = side.brief(report.status);
    brief.detail.clone_from(&report.reason);
    (report.status.code(), Json(brief))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn only_the_same_text_is_the_same() {
        assert!(is_same("a token", "a token") && is_same("", ""));
        for other in ["a toke", "a tokenn", "A token", "a tokeN", ""] {
            assert!(!is_same("a token", other) && !is_same(other, "a token"), "{other}");
        }
    }
}
