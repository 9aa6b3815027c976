//! A program without a browser is signed in.

use super::{ask, text};
use crate::support::{Reply, Server, tokens};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_domain::rights::MembershipRole;
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn form(server: &Server, path: &str, fields: &[(&str, &str)]) -> Reply {
    let form = serde_urlencoded::to_string(fields).expect("a form");
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", "test/1.0")
        .body(Body::from(form))
        .expect("a request");
    server.send(request).await
}

pub(super) async fn begin(server: &Server) -> (String, String) {
    let reply = form(server, "/auth/device/code", &[("client_id", "cli"), ("scope", "all")]).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, "no-store"), "{}", reply.text);
    (text(&reply.json(), "device_code"), text(&reply.json(), "user_code"))
}

pub(super) async fn poll(server: &Server, device_code: &str) -> Reply {
    form(server, "/auth/device/token", &[("grant_type", GRANT), ("device_code", device_code)]).await
}

/// The word of an OAuth2 error.
#[track_caller]
fn error(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
    assert_eq!(
        (reply.header("content-type"), reply.header("cache-control")),
        ("application/json", "no-store")
    );
    assert!(reply.json()["error_description"].is_string(), "{}", reply.text);
    text(&reply.json(), "error")
}

#[tokio::test]
async fn a_program_is_signed_in_once() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let begun = form(&server, "/auth/device/code", &[("client_id", "cli")]).await.json();
    let (device, letters) = (text(&begun, "device_code"), text(&begun, "user_code"));
    assert_eq!(
        begun,
        json!({
            "device_code": device, "user_code": letters, "verification_uri": "http://localhost:8000/auth/device",
            "verification_uri_complete": format!("http://localhost:8000/auth/device?user_code={letters}"),
            "expires_in": 600, "interval": 5,
        })
    );
    assert!(letters.len() == 9 && letters.as_bytes()[4] == b'-' && device.len() == 43, "{begun}");

    assert_eq!(error(&poll(&server, &device).await), "authorization_pending");
    assert_eq!(error(&poll(&server, &device).await), "slow_down");
    server.clock.advance(chrono::Duration::seconds(5));
    assert_eq!(error(&poll(&server, &device).await), "slow_down", "it is ten seconds now");
    server.clock.advance(chrono::Duration::seconds(15));
    assert_eq!(error(&poll(&server, &device).await), "authorization_pending");

    let typed = letters.replace('-', " ").to_lowercase();
    let shown = server.post("/auth/device/lookup", &ann, json!({"user_code": typed})).await.json();
    assert_eq!(
        shown,
        json!({
            "client_id": "cli", "ip_address": "127.0.0.1", "user_agent": "test/1.0",
            "created_at": "2026-11-20T12:00:00Z", "expires_at": "2026-11-20T12:10:00Z",
        })
    );
    let yes = json!({"user_code": typed, "approve": true});
    assert_eq!(
        server.post("/auth/device/authorize", &ann, yes.clone()).await.json(),
        json!({"approved": true})
    );
    assert_eq!(server.post("/auth/device/authorize", &ann, yes).await.problem().0, 404, "decided already");
    let tokens = poll(&server, &device).await;
    assert_eq!((tokens.status, tokens.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(tokens.headers.get("set-cookie").is_none(), "it is no browser");
    let tokens = tokens.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("bearer"), &json!(1800)));
    let me = server.get("/auth/me", &text(&tokens, "access_token")).await.json();
    assert_eq!(me["email"], "ann@home.example");
    let again = json!({"refresh_token": text(&tokens, "refresh_token")});
    assert_eq!(server.ask(Method::POST, "/auth/refresh", &[], Some(again)).await.status, StatusCode::OK);
    assert_eq!(error(&poll(&server, &device).await), "invalid_grant");
    server.until_audited("device.approve", 1).await;
}

#[tokio::test]
async fn what_ends_otherwise() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (device, letters) = begin(&server).await;
    let no = json!({"user_code": letters, "approve": false});
    assert_eq!(server.post("/auth/device/authorize", &admin, no).await.json(), json!({"approved": false}));
    assert_eq!(error(&poll(&server, &device).await), "access_denied");
    server.until_audited("device.deny", 1).await;

    let (device, letters) = begin(&server).await;
    server.clock.advance(chrono::Duration::seconds(600));
    assert_eq!(error(&poll(&server, &device).await), "expired_token");
    let (admin, _) = server.admin().await;
    let late = server.post("/auth/device/lookup", &admin, json!({"user_code": letters})).await;
    assert_eq!(late.problem().0, 404);

    let code = "A".repeat(43);
    for (fields, word) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", GRANT)], "invalid_request"),
        (vec![("device_code", code.as_str())], "invalid_request"),
        (vec![("grant_type", "password"), ("device_code", &code)], "unsupported_grant_type"),
        (vec![("grant_type", GRANT), ("device_code", "x")], "invalid_grant"),
        (vec![("grant_type", GRANT), ("device_code", &code)], "invalid_grant"),
    ] {
        assert_eq!(error(&form(&server, "/auth/device/token", &fields).await), word, "{fields:?}");
    }
    let body = Some(json!({"grant_type": GRANT, "device_code": code}));
    let json = server.ask(Method::POST, "/auth/device/token", &[], body).await;
    assert_eq!(error(&json), "invalid_grant", "JSON is read as well");
    let json = server.ask(Method::POST, "/auth/device/token", &[], Some(json!({"device_code": 1}))).await;
    assert_eq!(error(&json), "invalid_request");
    let long = form(&server, "/auth/device/code", &[("client_id", &"c".repeat(101))]).await;
    assert_eq!((long.problem().0, long.fields()[0].0.as_str()), (422, "client_id"));
    let empty = server.ask(Method::POST, "/auth/device/code", &[], None).await;
    assert_eq!(empty.status, StatusCode::OK, "{}", empty.text);
}

/// Somebody who was tricked into a yes gives no more than a program's session: not the account.
#[tokio::test]
async fn a_program_that_was_let_in_takes_no_account_and_lets_nobody_in() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let me = text(&server.get("/auth/me", &owner).await.json(), "id");
    let (device, letters) = begin(&server).await;
    let yes = json!({"user_code": letters, "approve": true});
    assert_eq!(server.post("/auth/device/authorize", &owner, yes).await.status, StatusCode::OK);
    let program = text(&poll(&server, &device).await.json(), "access_token");
    assert_eq!(server.get("/auth/me", &program).await.status, StatusCode::OK);

    let bearer = format!("Bearer {program}");
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/api/users/{me}");
    let body = Some(json!({"email": "mine@home.example"}));
    let moved = server.ask(Method::PATCH, &path, &headers, body).await;
    assert_eq!(moved.problem(), (403, "sign_in_again".to_owned()));
    let factor = server.post("/auth/mfa/setup", &program, json!({})).await;
    assert_eq!(factor.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", factor.text);
    let (_, letters) = begin(&server).await;
    let yes = json!({"user_code": letters, "approve": true});
    let refused = server.post("/auth/device/authorize", &program, yes.clone()).await;
    assert_eq!(refused.problem(), (403, "sign_in_again".to_owned()));
    assert_eq!(server.post("/auth/device/authorize", &owner, yes).await.status, StatusCode::OK);
}

/// When all sessions of somebody end, so do his keys, and what he let in but has not come yet.
#[tokio::test]
async fn what_ends_all_sessions_ends_keys_and_approvals() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    for how in ["himself", "an administrator"] {
        let email = format!("{}@home.example", how.replace(' ', "."));
        let ann = server.person(&email, &home).await;
        let key = text(&server.post("/api/sdk/keys", &ann, json!({})).await.json(), "key");
        let (device, letters) = begin(&server).await;
        let yes = json!({"user_code": letters, "approve": true});
        assert_eq!(server.post("/auth/device/authorize", &ann, yes).await.status, StatusCode::OK);
        assert_eq!(server.get("/auth/me", &key).await.status, StatusCode::OK);
        let me = text(&server.get("/auth/me", &ann).await.json(), "id");
        let ended = match how {
            "himself" => server.post("/auth/revoke-all", &ann, json!({})).await,
            _ => server.post("/auth/admin/revoke-user", &admin, json!({"user_id": me})).await,
        };
        assert_eq!(ended.status, StatusCode::OK, "{how}: {}", ended.text);
        server.clock.advance(chrono::Duration::seconds(1));
        assert_eq!(error(&poll(&server, &device).await), "access_denied", "{how}");
        assert_eq!(server.get("/auth/me", &key).await.problem(), (401, "key_invalid".to_owned()), "{how}");
        assert_eq!(server.get("/auth/me", &ann).await.problem().0, 401, "{how}");
        // The account is as before.
        tokens(&server.login(&email, "a long password").await);
    }
}

#[tokio::test]
async fn codes_are_not_guessed_and_not_asked_for_without_end() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    for n in 0..10 {
        let path = if n % 2 == 0 { "/auth/device/lookup" } else { "/auth/device/authorize" };
        let body = json!({"user_code": "BCDF-GHJK", "approve": true});
        assert_eq!(server.post(path, &admin, body).await.problem().0, 404);
    }
    let reply = server.post("/auth/device/lookup", &admin, json!({"user_code": "BCDF-GHJK"})).await;
    assert_eq!(reply.problem(), (429, "too_many_requests".to_owned()));
    assert!(!reply.header("retry-after").is_empty());
    for _ in 0..30 {
        begin(&server).await;
    }
    assert_eq!(form(&server, "/auth/device/code", &[]).await.problem().0, 429);
}

#[tokio::test]
async fn a_browser_decides_with_its_cookie_and_csrf_token() {
    let server = Server::start().await;
    let signed_in = server.login("admin@localhost", "admin").await;
    let cookie = format!(
        "access_token={}; csrf_token={}",
        signed_in.cookie("access_token").0,
        signed_in.cookie("csrf_token").0
    );
    let csrf = signed_in.cookie("csrf_token").0;
    let (_, letters) = begin(&server).await;
    let body = json!({"user_code": letters, "approve": true});
    let decide = async |headers: &[(&str, &str)]| {
        server.ask(Method::POST, "/auth/device/authorize", headers, Some(body.clone())).await
    };
    assert_eq!(decide(&[("cookie", &cookie)]).await.problem(), (403, "csrf_failed".to_owned()));
    assert_eq!(decide(&[]).await.problem().0, 401);
    assert_eq!(decide(&[("cookie", &cookie), ("x-csrf-token", &csrf)]).await.status, StatusCode::OK);

    let page = server.ask(Method::GET, &format!("/auth/device?user_code={letters}"), &[], None).await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!((page.header("x-frame-options"), page.header("referrer-policy")), ("DENY", "no-referrer"));
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains(&letters), "what stands in the address is not written into the page");
    let page = ask(&server, "nonsense", Method::GET, "/auth/device", None).await;
    assert_eq!(page.status, StatusCode::OK, "it asks nobody");
    assert_eq!(serde_json::from_str::<Value>(&page.text).ok(), None);
}
