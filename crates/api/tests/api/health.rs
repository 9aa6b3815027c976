//! Health routes.

use crate::support::Server;
use axum::http::Method;
use bifrost_api::health::{CachedProbes, Probe};
use futures::future::FutureExt;
use serde_json::json;
use std::sync::Arc;

fn probe(name: &'static str, required: bool, answer: Result<Option<&'static str>, &'static str>) -> Probe {
    let check =
        move || async move { answer.map(|detail| detail.map(str::to_owned)).map_err(str::to_owned) }.boxed();
    Probe { name, required, check: Box::new(check) }
}

async fn server(database: Result<Option<&'static str>, &'static str>) -> Server {
    Server::start_with(|setup| {
        setup.health = Arc::new(CachedProbes::new(vec![
            probe("database", true, database),
            probe("redis", false, Err("away")),
        ]));
    })
    .await
}

#[tokio::test]
async fn something_else_away_is_degraded() {
    let server = server(Ok(Some("sqlite"))).await;
    for (path, status) in [
        ("/health", "healthy"),
        ("/health/live", "healthy"),
        ("/health/ready", "degraded"),
        ("/health/detailed", "degraded"),
        ("/api/health", "degraded"),
    ] {
        let reply = server.ask(Method::GET, path, &[], None).await;
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["status"]), (200, &json!(status)), "{path}");
        assert_eq!(body["timestamp"], "2026-11-20T12:00:00Z", "{path}");
        assert_eq!(
            (&body["environment"], &body["version"]),
            (&json!("testing"), &json!(env!("CARGO_PKG_VERSION")))
        );
        if let Some(components) = body.get("components") {
            assert_eq!(components["database"]["status"], "healthy");
            assert_eq!(components["database"]["detail"], "sqlite");
            assert!(components["database"]["latency_ms"].is_number());
            assert_eq!(
                (&components["redis"]["status"], &components["redis"]["detail"]),
                (&json!("unhealthy"), &json!("away"))
            );
        }
    }
}

#[tokio::test]
async fn without_the_database_it_is_not_ready() {
    let server = server(Err("migrations are missing")).await;
    for (path, status) in [
        ("/health", 200),
        ("/health/live", 200),
        ("/health/ready", 503),
        ("/health/detailed", 503),
        ("/api/health", 503),
    ] {
        let reply = server.ask(Method::GET, path, &[], None).await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        assert!(reply.json()["status"].is_string(), "{path}: its own body, no problem");
        if path == "/health/ready" {
            assert_eq!(reply.json()["detail"], "migrations are missing", "it says why");
        }
    }
}
