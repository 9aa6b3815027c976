//! A key speaks for a client or for a person's programs; nothing that asks for the person himself takes one.

use super::scene::Scene;
use axum::http::StatusCode;
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;

on_both_databases![no_key_becomes_a_session,];

async fn no_key_becomes_a_session(db: TestDatabase) {
    let scene = Scene::new(db).await;
    for key in [&scene.acme.application_key, &scene.acme.sdk_key, &scene.acme.workflow_key] {
        for path in [
            "/auth/mfa/setup",
            "/auth/mfa/totp/setup",
            "/auth/mfa/verify",
            "/auth/mfa/totp/verify",
            "/api/live/ticket",
            "/auth/switch-organization",
            "/auth/device/authorize",
            "/api/sdk/keys",
        ] {
            let reply = scene.server.post(path, key, json!({"code": "123456"})).await;
            let is_refused = matches!(reply.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
            assert!(is_refused, "{path}: {} {}", reply.status, reply.text);
        }
    }
}
