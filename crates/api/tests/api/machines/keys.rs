//! What a key of an application opens, how it is sent, and what it never opens.

use super::{NOWHERE, application, ask, key, text};
use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_domain::rights::MembershipRole;
use serde_json::json;

const INVALID: (u16, &str) = (401, "key_invalid");

#[tokio::test]
async fn a_key_acts_in_its_organization_and_nowhere_else() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let scopes = json!({"scopes": ["applications.read", "workflows.read"]});
    let mine = application(&server, &admin, &home, scopes).await;
    let foreign = application(&server, &admin, &other, json!({})).await;
    let (_, secret) = key(&server, &admin, &mine).await;
    let bearer = format!("Bearer {secret}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("x-api-key", secret.as_str())],
        vec![("x-api-key", secret.as_str()), ("x-organization-id", home.as_str())],
        // No cookie is looked at, so that none can be sent along by another site.
        vec![("x-api-key", secret.as_str()), ("cookie", "access_token=nonsense")],
    ] {
        let reply = server.ask(Method::GET, "/api/applications", &headers, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{headers:?}: {}", reply.text);
        assert_eq!(reply.json().as_array().map(Vec::len), Some(1), "its own organization's");
    }
    let path = format!("/api/applications/{foreign}");
    assert_eq!(ask(&server, &secret, Method::GET, &path, None).await.problem().0, 404);
    assert_eq!(ask(&server, &secret, Method::GET, "/api/workflows", None).await.status, StatusCode::OK);
    for (method, path) in [
        (Method::POST, "/api/applications"),
        (Method::GET, "/api/executions"),
        (Method::GET, "/api/organizations"),
        (Method::GET, "/api/workflow-keys"),
        (Method::GET, "/auth/me"),
        (Method::GET, "/api/sdk/keys"),
        (Method::POST, "/api/sdk/keys"),
        (Method::POST, "/auth/device/authorize"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/api/live/ticket"),
        (Method::GET, "/api/executions/01890a5d-ac96-774b-bcce-b302099a8057/stream"),
    ] {
        let body = (method == Method::POST).then(|| json!({}));
        let reply = ask(&server, &secret, method.clone(), path, body).await;
        assert_eq!(reply.problem(), (403, "permission_missing".to_owned()), "{method} {path}");
    }
    for named in [other.as_str(), NOWHERE] {
        let headers = [("x-api-key", secret.as_str()), ("x-organization-id", named)];
        let reply = server.ask(Method::GET, "/api/applications", &headers, None).await;
        assert_eq!(reply.problem(), (403, "not_a_member".to_owned()));
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let app = application(&server, &admin, &home, json!({"scopes": ["applications.read"]})).await;
    let (id, secret) = key(&server, &admin, &app).await;
    let invalid = (INVALID.0, INVALID.1.to_owned());
    let last = if secret.ends_with('A') { 'B' } else { 'A' };
    for bad in [
        "x",
        "bfak_",
        &secret[..47],
        &format!("{secret}A"),
        &format!("{}{last}", &secret[..47]),
        &secret.to_lowercase(),
        &secret.replacen("bfak_", "bfsk_", 1),
        &secret.replacen("bfak_", "bfwk_", 1),
        &admin,
    ] {
        let reply = server.ask(Method::GET, "/api/applications", &[("x-api-key", bad)], None).await;
        assert_eq!(reply.problem(), invalid, "{bad}");
    }
    let bearer = format!("Bearer {admin}");
    let both = [("authorization", bearer.as_str()), ("x-api-key", secret.as_str())];
    assert_eq!(server.ask(Method::GET, "/api/applications", &both, None).await.problem().0, 401);
    let twice = [("x-api-key", secret.as_str()), ("x-api-key", secret.as_str())];
    assert_eq!(server.ask(Method::GET, "/api/applications", &twice, None).await.problem().0, 400);

    let path = format!("/api/applications/{app}/keys/{id}");
    assert_eq!(ask(&server, &secret, Method::GET, "/api/applications", None).await.status, StatusCode::OK);
    assert_eq!(ask(&server, &admin, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, &secret, Method::GET, "/api/applications", None).await.problem(), invalid);
}

#[tokio::test]
async fn an_application_has_its_limit() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let scopes = json!({"scopes": ["applications.read"], "rate_limit_per_minute": 3});
    let app = application(&server, &admin, &home, scopes).await;
    // One limit for all keys of an application.
    let keys = [key(&server, &admin, &app).await.1, key(&server, &admin, &app).await.1];
    for n in 0..3 {
        let reply = ask(&server, &keys[n % 2], Method::GET, "/api/applications", None).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    }
    let reply = ask(&server, &keys[0], Method::GET, "/api/applications", None).await;
    assert_eq!(reply.problem(), (429, "too_many_requests".to_owned()));
    let after: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=21).contains(&after), "{after}");
    let free = application(&server, &admin, &home, json!({"scopes": ["applications.read"]})).await;
    let (_, other) = key(&server, &admin, &free).await;
    for _ in 0..20 {
        assert_eq!(ask(&server, &other, Method::GET, "/api/applications", None).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_application_acts_for_a_member() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let member = server.person("ann@home.example", &home).await;
    let id = async |token: &str| text(&server.get("/auth/me", token).await.json(), "id");
    let (owner_id, member_id) = (id(&owner).await, id(&member).await);
    let body = json!({"scopes": ["roles.write"], "allow_user_assertion": true});
    let app = application(&server, &owner, &home, body).await;
    let (_, secret) = key(&server, &owner, &app).await;
    let make = async |headers: &[(&str, &str)]| {
        server.ask(Method::POST, "/api/roles", headers, Some(json!({"name": "x"}))).await
    };
    let made = make(&[("x-api-key", &secret), ("x-on-behalf-of", &owner_id)]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(text(&made.json(), "created_by"), owner_id);
    for (who, code) in [(member_id.as_str(), "permission_missing"), (NOWHERE, "assertion_user")] {
        let reply = make(&[("x-api-key", &secret), ("x-on-behalf-of", who)]).await;
        assert_eq!(reply.problem(), (403, code.to_owned()), "{who}");
    }
    let bad = make(&[("x-api-key", &secret), ("x-on-behalf-of", "ann")]).await;
    assert_eq!(bad.problem(), (400, "on_behalf_of_header".to_owned()));
    // A person who says so is not believed, and not taken for himself either.
    let bearer = format!("Bearer {owner}");
    let person = make(&[("authorization", &bearer), ("x-on-behalf-of", &member_id)]).await;
    assert_eq!(person.problem(), (403, "assertion_not_allowed".to_owned()));
    let plain = application(&server, &owner, &home, json!({"scopes": ["roles.write"]})).await;
    let (_, secret) = key(&server, &owner, &plain).await;
    let refused = make(&[("x-api-key", &secret), ("x-on-behalf-of", &owner_id)]).await;
    assert_eq!(refused.problem(), (403, "assertion_not_allowed".to_owned()));
}
