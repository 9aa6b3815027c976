//! The development bypass over the router; its table of conditions is tested beside the function.

use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_api::DevBypass;
use bifrost_app::auth::Environment;
use serde_json::json;

async fn development(bypass: DevBypass) -> Server {
    Server::start_with(|setup| {
        setup.api.environment = Environment::Development;
        setup.auth.environment = Environment::Development;
        setup.api.dev_bypass = bypass;
        setup.api.listens_on_loopback = true;
    })
    .await
}

const HOST: (&str, &str) = ("host", "localhost:8000");

#[tokio::test]
async fn a_request_without_a_token_acts_as_the_development_user() {
    let server = development(DevBypass::Loopback).await;
    let me = server.ask(Method::GET, "/auth/me", &[HOST], None).await;
    assert_eq!((me.status, &me.json()["email"]), (StatusCode::OK, &json!("admin@localhost")));
    let made = server.ask(Method::POST, "/api/organizations", &[HOST], Some(json!({"name": "Acme"}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let out = server.ask(Method::POST, "/auth/logout", &[HOST], Some(json!({}))).await;
    assert_eq!(out.status, StatusCode::OK, "there is no session to end");
}

#[tokio::test]
async fn whoever_shows_a_token_is_judged_by_it() {
    let server = development(DevBypass::Loopback).await;
    for shown in [("authorization", "Bearer wrong"), ("cookie", "access_token=wrong")] {
        assert_eq!(server.ask(Method::GET, "/auth/me", &[HOST, shown], None).await.problem().0, 401);
    }
}

#[tokio::test]
async fn it_is_off_elsewhere() {
    for (server, headers) in [
        (development(DevBypass::Off).await, vec![HOST]),
        (development(DevBypass::Loopback).await, vec![("host", "bifrost.example")]),
        (development(DevBypass::Loopback).await, vec![HOST, ("x-forwarded-for", "192.0.2.1")]),
        (development(DevBypass::Loopback).await, vec![HOST, ("x-forwarded-port", "443")]),
        (development(DevBypass::Loopback).await, vec![HOST, ("forwarded", "proto=https")]),
        (development(DevBypass::Loopback).await, vec![HOST, ("x-real-ip", "127.0.0.1")]),
        (development(DevBypass::Loopback).await, vec![HOST, ("via", "1.1 proxy")]),
        (development(DevBypass::Always).await, vec![HOST, ("sec-fetch-site", "cross-site")]),
        (Server::start_with(|setup| setup.api.dev_bypass = DevBypass::Always).await, vec![HOST]),
    ] {
        assert_eq!(server.ask(Method::GET, "/auth/me", &headers, None).await.problem().0, 401, "{headers:?}");
    }
}
