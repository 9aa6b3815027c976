//! `/auth/mfa/*`, and a sign-in with a second factor.

use super::{ask, code, enrol};
use crate::support::{Reply, Server, tokens};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use chrono::Duration;
use serde_json::{Value, json};
use std::num::NonZeroU32;

async fn answer(server: &Server, body: Value) -> Reply {
    server.ask(Method::POST, "/auth/mfa/login", &[], Some(body)).await
}

async fn challenge(server: &Server) -> String {
    let reply = server.login("admin@localhost", "admin").await;
    assert_eq!(reply.json()["mfa_required"], true, "{}", reply.text);
    reply.json()["mfa_token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn a_factor_is_set_up_and_asked_for() {
    let server = Server::start().await;
    let (access, _) = server.admin().await;
    let setup = ask(&server, Method::POST, "/auth/mfa/totp/setup", &access, None).await;
    assert_eq!((setup.status, setup.header("cache-control")), (StatusCode::OK, "no-store"));
    let body = setup.json();
    assert_eq!((&body["issuer"], &body["account_name"]), (&json!("Bifrost"), &json!("admin@localhost")));
    let text = |name: &str| body[name].as_str().expect("a text").to_owned();
    assert_eq!(text("secret").len(), 32);
    assert!(text("qr_code_uri").starts_with("data:image/svg+xml;base64,"));
    assert!(text("provisioning_uri").starts_with("otpauth://totp/Bifrost:admin%40localhost?secret="));
    let status = server.get("/auth/mfa/status", &access).await.json();
    assert_eq!(
        status,
        json!({"mfa_enabled": false, "mfa_required": false, "available_methods": [], "recovery_codes_remaining": 0})
    );
    let (access, _) = tokens(&server.login("admin@localhost", "admin").await);

    let (secret, verified) = enrol(&server, &access).await;
    let body = verified.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["recovery_codes"].as_array().map(Vec::len), Some(10));
    let (next, refresh) = tokens(&verified);
    assert_eq!(server.get("/auth/me", &next).await.status, StatusCode::OK);
    let refreshed =
        server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": refresh}))).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text);
    let status = server.get("/auth/mfa/status", &access).await.json();
    assert_eq!((&status["mfa_enabled"], &status["recovery_codes_remaining"]), (&json!(true), &json!(10)));
    assert_eq!(server.get("/api/profile", &access).await.json()["mfa_enabled"], true);
    let again = ask(&server, Method::POST, "/auth/mfa/setup", &access, None).await;
    assert_eq!(again.problem(), (409, "mfa_enrolled".to_owned()));

    let reply = server.login("admin@localhost", "admin").await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(reply.headers.get("set-cookie").is_none(), "no session yet");
    let body = reply.json();
    let token = body["mfa_token"].as_str().expect("a token");
    assert_eq!(
        body,
        json!({
            "mfa_required": true, "mfa_token": token, "available_methods": ["totp", "recovery_code"], "expires_in": 300
        })
    );
    let wrong = answer(&server, json!({"mfa_token": token, "code": "nonsense"})).await;
    assert_eq!(wrong.problem(), (401, "mfa_code_invalid".to_owned()));
    server.clock.advance(Duration::seconds(30));
    let right = answer(&server, json!({"mfa_token": token, "code": code(&server, &secret)})).await;
    let (access, _) = tokens(&right);
    assert_eq!(right.json().as_object().map(serde_json::Map::len), Some(4));
    assert!(!right.cookie("refresh_token").0.is_empty());
    assert_eq!(server.get("/auth/me", &access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_challenge_opens_nothing_else() {
    let server = Server::start().await;
    let (access, _) = server.admin().await;
    enrol(&server, &access).await;
    let token = challenge(&server).await;
    for path in ["/auth/me", "/api/organizations", "/auth/mfa/status", "/auth/sessions", "/api/profile"] {
        assert_eq!(server.get(path, &token).await.problem(), (401, "token_invalid".to_owned()), "{path}");
    }
    let refresh = server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": token}))).await;
    assert_eq!(refresh.problem().0, 401);
    let ticket = ask(&server, Method::POST, "/api/live/ticket", &token, None).await;
    assert_eq!(ticket.problem().0, 401);
    for path in ["/auth/mfa/setup", "/auth/mfa/totp/setup"] {
        let refused = ask(&server, Method::POST, path, &token, None).await;
        assert_eq!(refused.problem(), (409, "mfa_enrolled".to_owned()), "{path}");
    }
    // And no other token passes for one.
    for other in [access.as_str(), "", "x", &format!("{token}x"), &"x".repeat(9000)] {
        let reply = answer(&server, json!({"mfa_token": other, "code": "123456"})).await;
        assert_eq!(reply.problem(), (401, "token_invalid".to_owned()));
    }
    for path in ["/auth/mfa/setup", "/auth/mfa/verify", "/auth/mfa/totp/setup", "/auth/mfa/totp/verify"] {
        assert_eq!(server.ask(Method::POST, path, &[], None).await.problem().0, 401, "{path}");
        let forged = Some(json!({"mfa_token": "x.y.z", "code": "123456"}));
        assert_eq!(server.ask(Method::POST, path, &[], forged).await.problem().0, 401, "{path}");
    }
    let bad = answer(&server, json!({"mfa_token": token, "code": "1".repeat(65)})).await;
    assert_eq!((bad.problem().0, bad.fields()), (422, vec![("code".to_owned(), "too_long".to_owned())]));
    assert_eq!(answer(&server, json!({})).await.fields().len(), 2);
}

#[tokio::test]
async fn a_required_factor_is_set_up_before_the_first_session() {
    let server = Server::start_with(|setup| setup.auth.mfa_required = true).await;
    let status = server.ask(Method::GET, "/auth/status", &[], None).await.json();
    assert_eq!(status["mfa_required_for_password"], true);
    let reply = server.login("admin@localhost", "admin").await;
    let body = reply.json();
    let token = body["mfa_token"].as_str().expect("a token");
    assert_eq!(
        body,
        json!({
            "mfa_required": true, "mfa_token": token, "available_methods": [], "setup_required": true, "expires_in": 300
        })
    );
    // In the body, or as a Bearer token.
    let setup = server.ask(Method::POST, "/auth/mfa/setup", &[], Some(json!({"mfa_token": token}))).await;
    assert_eq!(setup.status, StatusCode::OK, "{}", setup.text);
    let (secret, verified) = enrol(&server, token).await;
    let (access, _) = tokens(&verified);
    assert_eq!(server.get("/auth/mfa/status", &access).await.json()["mfa_required"], true);
    server.clock.advance(Duration::seconds(30));
    let token = challenge(&server).await;
    tokens(&answer(&server, json!({"mfa_token": token, "code": code(&server, &secret)})).await);
}

#[tokio::test]
async fn an_organization_asks_for_a_factor() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    server.person("ann@acme.example", &acme).await;
    let settings = json!({"settings": {"security": {"mfa_required": true}}});
    let changed =
        ask(&server, Method::PATCH, &format!("/api/organizations/{acme}"), &admin, Some(settings)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let reply = server.login("ann@acme.example", "a long password").await;
    assert_eq!(reply.json()["setup_required"], true, "{}", reply.text);
    tokens(&server.login("admin@localhost", "admin").await);
}

#[tokio::test]
async fn a_browser_is_trusted_by_its_secret() {
    let server = Server::start_with(|setup| {
        setup.api.public_url = "https://bifrost.example".parse().expect("a URL");
    })
    .await;
    let (access, _) = server.admin().await;
    let (_, verified) = enrol(&server, &access).await;
    let recovery = verified.json()["recovery_codes"][0].clone();
    let token = challenge(&server).await;
    let reply = answer(&server, json!({"mfa_token": token, "code": recovery, "trust_device": true})).await;
    let (access, _) = tokens(&reply);
    let (secret, attributes) = reply.cookie("trusted_device");
    assert_eq!(attributes, "Path=/auth; Max-Age=2592000; SameSite=Lax; HttpOnly; Secure");
    assert_eq!(secret.len(), 43);
    let sign_in = async |cookie: &str| {
        let request = Request::post("/auth/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookie)
            .header("user-agent", "the same")
            .body(Body::from("username=admin%40localhost&password=admin"))
            .expect("a request");
        server.send(request).await.json()
    };
    let cookie = format!("trusted_device={secret}");
    assert!(sign_in(&cookie).await["access_token"].is_string());
    assert_eq!(sign_in("trusted_device=x").await["mfa_required"], true);
    let devices = server.get("/auth/mfa/trusted-devices", &access).await.json();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1));
    assert!(!devices.to_string().contains(&secret));
    let id = devices["devices"][0]["id"].as_str().expect("an id");
    let path = format!("/auth/mfa/trusted-devices/{id}");
    assert_eq!(ask(&server, Method::DELETE, &path, &access, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, Method::DELETE, &path, &access, None).await.problem().0, 404);
    assert_eq!(sign_in(&cookie).await["mfa_required"], true);
    let all = ask(&server, Method::DELETE, "/auth/mfa/trusted-devices", &access, None).await.json();
    assert_eq!(all["devices_removed"], 0);
}

#[tokio::test]
async fn recovery_codes_are_counted_and_renewed_and_the_factor_is_removed() {
    let server = Server::start().await;
    let (access, _) = server.admin().await;
    let (_, verified) = enrol(&server, &access).await;
    let codes = verified.json()["recovery_codes"].clone();
    let renew = "/auth/mfa/recovery-codes/regenerate";
    let missing = ask(&server, Method::POST, renew, &access, None).await;
    assert_eq!(
        (missing.problem().0, missing.fields()),
        (422, vec![("code".to_owned(), "required".to_owned())])
    );
    let wrong = ask(&server, Method::POST, renew, &access, Some(json!({"password": "wrong"}))).await;
    assert_eq!(wrong.problem(), (400, "password_wrong".to_owned()));
    let count = server.get("/auth/mfa/recovery-codes/count", &access).await.json();
    assert_eq!(count, json!({"remaining": 10, "total": 10}));
    let renewed = ask(&server, Method::POST, renew, &access, Some(json!({"code": codes[0]}))).await;
    assert_eq!((renewed.status, renewed.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!(renewed.json()["count"], 10);
    assert_ne!(renewed.json()["recovery_codes"], codes);

    let token = challenge(&server).await;
    let old = answer(&server, json!({"mfa_token": token, "code": codes[1]})).await;
    assert_eq!(old.problem(), (401, "mfa_code_invalid".to_owned()));
    let wrong = ask(&server, Method::DELETE, "/auth/mfa", &access, Some(json!({"code": codes[1]}))).await;
    assert_eq!(wrong.problem(), (400, "mfa_code_invalid".to_owned()));
    let gone =
        ask(&server, Method::DELETE, "/auth/mfa", &access, Some(json!({"current_password": "admin"}))).await;
    assert_eq!(gone.json()["success"], true, "{}", gone.text);
    tokens(&server.login("admin@localhost", "admin").await);
    assert_eq!(server.get("/auth/mfa/status", &access).await.json()["mfa_enabled"], false);
    let again = ask(&server, Method::DELETE, "/auth/mfa", &access, Some(json!({"password": "admin"}))).await;
    assert_eq!(again.problem(), (400, "mfa_not_enrolled".to_owned()));
}

#[tokio::test]
async fn codes_are_limited_per_minute() {
    let server = Server::start_with(|setup| setup.api.mfa_rate_per_minute = NonZeroU32::new(5)).await;
    for _ in 0..5 {
        assert_eq!(answer(&server, json!({"mfa_token": "x", "code": "123456"})).await.problem().0, 401);
    }
    let refused = answer(&server, json!({"mfa_token": "x", "code": "123456"})).await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    let verify = server.ask(Method::POST, "/auth/mfa/verify", &[], Some(json!({"code": "123456"}))).await;
    assert_eq!(verify.problem().0, 429, "they share it");
    assert_eq!(server.login("admin@localhost", "admin").await.status, StatusCode::OK, "sign-ins do not");
}

#[tokio::test]
async fn an_old_session_sets_up_a_factor_with_the_password_alone() {
    let server = Server::start().await;
    let (access, _) = server.admin().await;
    server.clock.advance(Duration::minutes(11));
    let set_up = async |body: Value| ask(&server, Method::POST, "/auth/mfa/setup", &access, Some(body)).await;
    for body in [json!({}), json!({"mfa_token": null})] {
        let refused = set_up(body).await;
        let field = ("password".to_owned(), "required".to_owned());
        assert_eq!((refused.problem().0, refused.fields()), (422, vec![field]));
    }
    assert_eq!(set_up(json!({"password": "wrong"})).await.problem(), (400, "password_wrong".to_owned()));
    let long = set_up(json!({"password": "x".repeat(1025)})).await;
    assert_eq!((long.problem().0, long.fields()[0].1.as_str()), (422, "too_long"));
    for name in ["password", "current_password"] {
        let begun = set_up(json!({name: "admin"})).await;
        assert_eq!(begun.status, StatusCode::OK, "{}", begun.text);
    }
}
