//! A second factor that an organization begins to require: what its people may do until they have shown one.

use super::{ask, code, enrol};
use crate::support::{Reply, Server, tokens};
use axum::http::{Method, StatusCode};
use chrono::Duration;
use serde_json::{Value, json};

async fn require(server: &Server, admin: &str, organization: &str, required: bool) {
    let body = json!({"settings": {"security": {"mfa_required": required}}});
    let path = format!("/api/organizations/{organization}");
    let changed = ask(server, Method::PATCH, &path, admin, Some(body)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    server.clock.advance(Duration::seconds(1));
}

fn is_owed(reply: &Reply) -> bool {
    match reply.status {
        StatusCode::FORBIDDEN => {
            assert_eq!(reply.problem(), (403, "mfa_required".to_owned()));
            true
        }
        _ => false,
    }
}

#[tokio::test]
async fn sessions_that_exist_owe_it_within_a_second_and_do_nothing_else_until_it_is_shown() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let first = server.person("ann@acme.example", &acme).await;
    let (second, refresh) = tokens(&server.login("ann@acme.example", "a long password").await);
    let (third, _) = tokens(&server.login("ann@acme.example", "a long password").await);
    assert_eq!(server.get("/auth/me", &first).await.status, StatusCode::OK);

    require(&server, &admin, &acme, true).await;
    for (method, path, body) in [
        (Method::GET, "/auth/me", Value::Null),
        (Method::GET, "/api/profile", Value::Null),
        (Method::PATCH, "/api/profile", json!({"name": "Ann"})),
        (Method::GET, "/auth/sessions", Value::Null),
        (Method::DELETE, "/auth/mfa/trusted-devices", Value::Null),
        (Method::POST, "/auth/switch-organization", json!({"organization_id": acme})),
        (Method::GET, "/api/executions", Value::Null),
        (Method::GET, "/api/workflows", Value::Null),
        (Method::POST, "/api/live/ticket", Value::Null),
        (Method::POST, "/api/sdk/keys", json!({"name": "laptop"})),
    ] {
        let reply =
            ask(&server, method.clone(), path, &first, Some(body).filter(|body| !body.is_null())).await;
        assert!(is_owed(&reply), "{method} {path}: {}", reply.text);
    }
    assert_eq!(server.get("/auth/me", &admin).await.status, StatusCode::OK, "others are not asked");
    let status = server.get("/auth/mfa/status", &first).await.json();
    assert_eq!((&status["mfa_enabled"], &status["mfa_required"]), (&json!(false), &json!(true)));
    let body = json!({"refresh_token": refresh});
    let refreshed = server.ask(Method::POST, "/auth/refresh", &[], Some(body)).await;
    assert!(is_owed(&server.get("/auth/me", &tokens(&refreshed).0).await), "a refresh shows none");

    let none = ask(&server, Method::POST, "/auth/mfa/prove", &first, Some(json!({"code": "123456"}))).await;
    assert_eq!(none.problem(), (400, "mfa_not_enrolled".to_owned()));
    let (secret, verified) = enrol(&server, &first).await;
    let (enrolled, _) = tokens(&verified);
    for token in [&first, &enrolled] {
        assert_eq!(server.get("/auth/me", token).await.status, StatusCode::OK, "the session goes on");
    }

    let prove = async |code: &str| {
        ask(&server, Method::POST, "/auth/mfa/prove", &second, Some(json!({"code": code}))).await
    };
    assert!(is_owed(&server.get("/auth/me", &second).await), "the other session has shown none");
    assert_eq!(prove(&"1".repeat(65)).await.fields(), [("code".to_owned(), "too_long".to_owned())]);
    assert_eq!(prove("nonsense").await.problem(), (400, "mfa_code_invalid".to_owned()));
    server.clock.advance(Duration::seconds(30));
    assert_eq!(prove(&code(&server, &secret)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/auth/me", &second).await.status, StatusCode::OK);

    let out = ask(&server, Method::POST, "/auth/logout", &third, None).await;
    assert_eq!(out.status, StatusCode::OK, "whoever cannot show one may leave: {}", out.text);
    server.until_audited("mfa.prove", 2).await;
    server.until_audited("access.denied", 10).await;
}

#[tokio::test]
async fn what_is_required_no_longer_is_owed_no_longer() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    require(&server, &admin, &acme, true).await;
    assert!(is_owed(&server.get("/auth/me", &ann).await));
    require(&server, &admin, &acme, false).await;
    assert_eq!(server.get("/auth/me", &ann).await.status, StatusCode::OK);
    require(&server, &admin, &acme, true).await;
    assert!(is_owed(&server.get("/auth/me", &ann).await));
    let body = json!({"is_active": false});
    ask(&server, Method::PATCH, &format!("/api/organizations/{acme}"), &admin, Some(body)).await;
    server.clock.advance(Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &ann).await.problem().0, 401, "the organization is not active");
}
