//! Login, refresh, me, register, status, logout: shapes and refusals.

use crate::support::{Server, tokens};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::json;
use std::num::NonZeroU32;

on_both_databases![a_refresh_token_is_used_once,];

#[tokio::test]
async fn sign_in_and_who_am_i() {
    let server = Server::start().await;
    let reply = server.login("Admin@localhost", "admin").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = reply.json();
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["expires_in"], 1800);
    assert_eq!(body.as_object().expect("an object").len(), 4);
    assert_eq!(reply.header("cache-control"), "no-store");
    let me = server.get("/auth/me", body["access_token"].as_str().expect("a token")).await.json();
    let id = me["id"].clone();
    assert_eq!(
        me,
        json!({
            "id": id, "email": "admin@localhost", "name": "Developer", "is_active": true, "is_superuser": true,
            "is_verified": true, "organization_id": null, "roles": [], "permissions": [], "current_organization_id": null, "memberships": []
        })
    );
}

/// What the sign-in form of Swagger UI sends.
#[tokio::test]
async fn the_password_flow_of_oauth2_signs_in() {
    let server = Server::start().await;
    let form = "grant_type=password&username=admin%40localhost&password=admin&client_id=&client_secret=";
    let request = Request::post("/auth/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Basic Og==")
        .body(Body::from(form))
        .expect("a request");
    let (access, _) = tokens(&server.send(request).await);
    assert_eq!(server.get("/auth/me", &access).await.status, StatusCode::OK);
    for (form, paths) in
        [("username=a", &["password"][..]), ("password=a", &["username"]), ("", &["username", "password"])]
    {
        let request = Request::post("/auth/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .expect("a request");
        let reply = server.send(request).await;
        assert_eq!(reply.problem().0, 422);
        let expected: Vec<_> = paths.iter().map(|&path| (path.to_owned(), "required".to_owned())).collect();
        assert_eq!(reply.fields(), expected);
    }
    let body = Some(json!({"username": "admin@localhost", "password": "admin"}));
    assert_eq!(server.ask(Method::POST, "/auth/login", &[], body).await.problem().0, 415);
}

#[tokio::test]
async fn wrong_passwords_say_nothing() {
    let server = Server::start().await;
    let wrong = server.login("admin@localhost", "wrong").await;
    let unknown = server.login("nobody@localhost", "admin").await;
    for reply in [&wrong, &unknown] {
        assert_eq!(reply.problem(), (401, "credentials_invalid".to_owned()));
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        assert!(reply.headers.get("set-cookie").is_none());
    }
    assert_eq!(wrong.json()["detail"], unknown.json()["detail"]);
    let long = server.login("admin@localhost", &"p".repeat(1025)).await;
    assert_eq!(long.problem().0, 422);
    assert_eq!(long.fields(), [("password".to_owned(), "too_long".to_owned())]);
}

async fn a_refresh_token_is_used_once(db: TestDatabase) {
    let server = Server::on(db).await;
    let (_, first) = server.admin().await;
    let ask = async |token: &str| {
        server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": token}))).await
    };
    let (access, second) = tokens(&ask(&first).await);
    assert_ne!(first, second);
    assert_eq!(tokens(&ask(&first).await), (access.clone(), second.clone()), "a repeat gets the same");
    server.clock.advance(Duration::seconds(11));
    assert_eq!(ask(&first).await.problem(), (401, "token_invalid".to_owned()));
    assert_eq!(ask(&second).await.problem().0, 401, "the family has ended");
    assert_eq!(server.get("/auth/me", &access).await.problem().0, 401);
    assert_eq!(
        server.ask(Method::POST, "/auth/refresh", &[], None).await.problem().0,
        401,
        "no token at all"
    );
}

#[tokio::test]
async fn sign_out_ends_the_session() {
    let server = Server::start().await;
    let (access, refresh) = server.admin().await;
    let (other, _) = server.admin().await;
    let bearer = format!("Bearer {access}");
    let reply = server.ask(Method::POST, "/auth/logout", &[("authorization", &bearer)], None).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({"message": "signed out"})));
    assert_eq!(
        reply.cookie("access_token"),
        (String::new(), "Path=/; Max-Age=0; SameSite=Lax; HttpOnly".to_owned())
    );
    assert_eq!(server.get("/auth/me", &access).await.problem().0, 401);
    let again = server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": refresh}))).await;
    assert_eq!(again.problem().0, 401);
    assert_eq!(server.get("/auth/me", &other).await.status, StatusCode::OK, "other sessions go on");
}

#[tokio::test]
async fn the_first_user_sets_the_system_up() {
    let server = Server::start_with(|setup| {
        setup.dev_user = false;
        setup.auth.registration_enabled = false;
    })
    .await;
    let status = server.ask(Method::GET, "/auth/status", &[], None).await.json();
    assert_eq!(
        status,
        json!({
            "needs_setup": true, "password_login_enabled": true, "mfa_required_for_password": false,
            "oauth_providers": []
        })
    );
    let body = json!({"email": "Ann@acme.example", "password": "a long password", "name": "Ann"});
    let reply = server.ask(Method::POST, "/auth/register", &[], Some(body.clone())).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    let user = reply.json();
    for (name, value) in [
        ("email", json!("ann@acme.example")),
        ("user_type", json!("PLATFORM")),
        ("is_superuser", json!(true)),
        ("is_registered", json!(true)),
        ("mfa_enabled", json!(false)),
        ("organization_id", json!(null)),
        ("created_at", json!("2026-11-20T12:00:00Z")),
    ] {
        assert_eq!(user[name], value, "{name}");
    }
    assert!(!reply.text.contains("password"));
    assert_eq!(server.ask(Method::GET, "/auth/status", &[], None).await.json()["needs_setup"], false);
    let second = server.ask(Method::POST, "/auth/register", &[], Some(body)).await;
    assert_eq!(second.problem(), (403, "registration_off".to_owned()));
    tokens(&server.login("ann@acme.example", "a long password").await);
}

/// Whoever knows the address of an administrator who has not registered yet does not become him.
#[tokio::test]
async fn a_stub_of_the_platform_is_nobodys_to_claim() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    for (stub, claimed) in [
        (json!({"email": "boss@localhost", "is_superuser": true}), false),
        (json!({"email": "helper@localhost", "user_type": "PLATFORM"}), false),
        (json!({"email": "off@home.example", "organization_id": home, "is_active": false}), false),
        (json!({"email": "ann@home.example", "organization_id": home}), true),
    ] {
        let made = server.post("/api/users", &admin, stub.clone()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let body = json!({"email": stub["email"], "password": "a long password"});
        let reply = server.ask(Method::POST, "/auth/register", &[], Some(body)).await;
        let email = stub["email"].as_str().expect("an address");
        let signed_in = server.login(email, "a long password").await;
        if claimed {
            assert_eq!((reply.status, signed_in.status), (StatusCode::CREATED, StatusCode::OK), "{stub}");
        } else {
            assert_eq!(reply.problem(), (400, "already_registered".to_owned()), "{stub}");
            assert_eq!(signed_in.problem().0, 401, "{stub}");
        }
    }
}

#[tokio::test]
async fn registration_names_every_bad_field() {
    let server = Server::start().await;
    let body = json!({"email": "nobody", "password": "sesame", "name": "n".repeat(300)});
    let reply = server.ask(Method::POST, "/auth/register", &[], Some(body)).await;
    assert_eq!(reply.problem(), (422, "invalid".to_owned()));
    let pairs = [("email", "format"), ("password", "too_short"), ("name", "too_long")];
    assert_eq!(reply.fields(), pairs.map(|(path, code)| (path.to_owned(), code.to_owned())));
    assert!(!reply.text.contains("sesame"), "the password is not repeated");
}

#[tokio::test]
async fn attempts_are_limited_per_minute() {
    let server = Server::start_with(|setup| setup.api.login_rate_per_minute = NonZeroU32::new(3)).await;
    for _ in 0..3 {
        assert_eq!(server.login("admin@localhost", "wrong").await.problem().0, 401);
    }
    let refused = server.login("admin@localhost", "admin").await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=21).contains(&seconds), "{seconds}");
    let other = server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": "x"}))).await;
    assert_eq!(other.problem().0, 401, "refreshes are counted apart");
}
