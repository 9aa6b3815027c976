//! How often one may try, and whose word about an address is taken.

use crate::support::{Reply, Server};
use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};
use std::num::NonZeroU32;

async fn login_from(server: &Server, username: &str, password: &str, headers: &[(&str, &str)]) -> Reply {
    let form = serde_urlencoded::to_string([("username", username), ("password", password)]).expect("a form");
    let mut request =
        Request::post("/auth/login").header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::from(form)).expect("a request")).await
}

#[tokio::test]
async fn an_account_that_failed_too_often_is_left_alone_whether_it_exists_or_not() {
    let server = Server::start_with(|setup| setup.api.account_failures = NonZeroU32::new(3)).await;
    for username in ["admin@localhost", "nobody@acme.example", "no address"] {
        for _ in 0..3 {
            assert_eq!(
                server.login(username, "wrong").await.problem(),
                (401, "credentials_invalid".to_owned())
            );
        }
        let refused = server.login(username, "admin").await;
        assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()), "{username}");
        let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=300).contains(&seconds), "{seconds}: a third of a quarter of an hour");
        let typed = server.login(&format!(" {} ", username.to_uppercase()), "wrong").await;
        assert_eq!(typed.problem().0, 429, "{username}, however it is typed");
    }
    assert_eq!(server.login("somebody@acme.example", "wrong").await.problem().0, 401, "others are not meant");
}

#[tokio::test]
async fn sign_ins_that_succeed_or_cannot_be_judged_do_not_count() {
    let server = Server::start_with(|setup| setup.api.account_failures = NonZeroU32::new(2)).await;
    for _ in 0..5 {
        server.admin().await;
        assert_eq!(server.login("admin@localhost", &"p".repeat(1025)).await.problem().0, 422);
    }
    assert_eq!(server.login("admin@localhost", "wrong").await.problem().0, 401);
    assert_eq!(server.login("admin@localhost", "wrong").await.problem().0, 401);
    assert_eq!(server.login("admin@localhost", "admin").await.problem().0, 429);
}

#[tokio::test]
async fn the_own_password_is_tried_no_more_often_than_at_a_sign_in() {
    let wrong = json!({"password": "wrong"});
    let change = json!({"current_password": "wrong", "new_password": "another long password"});
    for (method, path, body) in [
        (Method::POST, "/api/profile/password", &change),
        (Method::DELETE, "/auth/mfa", &wrong),
        (Method::POST, "/auth/mfa/recovery-codes/regenerate", &wrong),
    ] {
        let server = Server::start_with(|setup| setup.api.account_failures = NonZeroU32::new(3)).await;
        let (token, _) = server.admin().await;
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let ask = async |body: &Value| server.ask(method.clone(), path, &headers, Some(body.clone())).await;
        for _ in 0..3 {
            assert_eq!(ask(body).await.problem(), (400, "password_wrong".to_owned()), "{path}");
            // What does not look at the password does not count.
            assert_eq!(ask(&json!({})).await.problem().0, 422, "{path}");
        }
        let refused = ask(body).await;
        assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()), "{path}");
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(server.login("admin@localhost", "admin").await.problem().0, 429, "one limit for both");
    }
}

#[tokio::test]
async fn an_address_is_what_a_trusted_proxy_says_and_nothing_else() {
    let once = NonZeroU32::new(1);
    let spoofed = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "203.0.113.2")];
    let server = Server::start_with(|setup| setup.api.login_rate_per_minute = once).await;
    assert_eq!(login_from(&server, "admin@localhost", "wrong", &spoofed[..1]).await.problem().0, 401);
    let again = login_from(&server, "admin@localhost", "wrong", &spoofed[1..]).await;
    assert_eq!(again.problem().0, 429, "nobody's word is taken: the peer is the same");

    let server = Server::start_with(|setup| {
        setup.api.login_rate_per_minute = once;
        setup.api.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    for headers in [&spoofed[..1], &spoofed[1..]] {
        assert_eq!(login_from(&server, "admin@localhost", "wrong", headers).await.problem().0, 401);
    }
    let more = [("x-forwarded-for", "198.51.100.7, 203.0.113.2")];
    let again = login_from(&server, "admin@localhost", "wrong", &more).await;
    assert_eq!(again.problem().0, 429, "what the client wrote left of it changes nothing");
    let other = [("forwarded", "for=\"[2001:db8::1]:4711\"")];
    assert_eq!(login_from(&server, "admin@localhost", "admin", &other).await.status, 200);
    let token = server.login("admin@localhost", "admin").await.json()["access_token"].clone();
    let lines = server.get("/api/audit?action=session.begin", token.as_str().expect("a token")).await.json();
    let addresses: Vec<_> =
        lines["entries"].as_array().expect("lines").iter().map(|l| &l["ip_address"]).collect();
    assert_eq!(addresses, ["127.0.0.1", "2001:db8::1", "203.0.113.2", "203.0.113.1"]);
}

#[tokio::test]
async fn registrations_are_limited_by_address() {
    let server = Server::start_with(|setup| setup.api.login_rate_per_minute = NonZeroU32::new(1)).await;
    let ask = async || {
        let body = Some(json!({"email": "ann@nowhere.example", "password": "a long password"}));
        server.ask(Method::POST, "/auth/register", &[], body).await
    };
    assert_eq!(ask().await.problem().0, 400);
    let refused = ask().await;
    assert_eq!(refused.problem().0, 429);
    assert_eq!(refused.header("retry-after"), "60");
}
