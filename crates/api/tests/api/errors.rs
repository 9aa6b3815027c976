//! Every refusal is a problem.

use crate::support::{Reply, Server};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_api::health::{Probes, Report};
use bifrost_app::auth::{Client, SignIn};
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::{sync::Arc, time::Duration};

async fn post(server: &Server, token: &str, media_type: Option<&str>, body: impl Into<Body>) -> Reply {
    let mut request = Request::post("/api/organizations").header("authorization", format!("Bearer {token}"));
    if let Some(media_type) = media_type {
        request = request.header("content-type", media_type);
    }
    server.send(request.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let server = Server::start_with(|setup| setup.api.body_limit_bytes = 100).await;
    let (admin, _) = server.admin().await;
    let json = Some("application/json");
    for (name, media_type, body, status, code) in [
        ("no type", None, "{}", 415, "unsupported_media_type"),
        ("text", Some("text/plain"), "{}", 415, "unsupported_media_type"),
        ("a form", Some("application/x-www-form-urlencoded"), "name=a", 415, "unsupported_media_type"),
        ("nothing", json, "", 400, "json_syntax"),
        ("broken", json, "{\"name\":", 400, "json_syntax"),
        ("two values", json, "{\"name\":\"a\"} {}", 400, "json_syntax"),
        ("not UTF-8 escaped", json, "{\"name\":\"\\ud800\"}", 400, "json_syntax"),
        ("another type", json, "[]", 422, "invalid"),
        ("null", json, "null", 422, "invalid"),
        ("a byte order mark and an object", json, "\u{feff}{}", 422, "invalid"),
        ("a number too large", json, "{\"name\":1e400}", 422, "invalid"),
    ] {
        assert_eq!(
            post(&server, &admin, media_type, body).await.problem(),
            (status, code.to_owned()),
            "{name}"
        );
    }
    let exactly = format!("{{\"name\":\"{}\"}}", "n".repeat(89));
    assert_eq!(exactly.len(), 100);
    let utf8 = Some("application/json; charset=utf-8");
    assert_eq!(post(&server, &admin, utf8, exactly.clone()).await.status, StatusCode::CREATED);
    assert_eq!(
        post(&server, &admin, json, format!("{exactly} ")).await.problem(),
        (413, "too_large".to_owned())
    );
    // Without an announced length as well.
    let parts = vec![Ok::<_, std::io::Error>(exactly), Ok(" ".to_owned())];
    let body = Body::from_stream(futures::stream::iter(parts));
    assert_eq!(post(&server, &admin, json, body).await.problem(), (413, "too_large".to_owned()));
    let parts = vec![Ok("{".to_owned()), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures::stream::iter(parts));
    assert_eq!(post(&server, &admin, json, body).await.problem(), (400, "bad_request".to_owned()));
    let deep = "[".repeat(99);
    assert_eq!(
        post(&server, &admin, json, deep).await.status.as_u16(),
        422,
        "depth is bounded by the size here"
    );
}

#[tokio::test]
async fn routes_that_are_not_there() {
    let server = Server::start().await;
    for path in ["/nothing", "/api/nothing", "/auth/", "/docs/nothing.js"] {
        let reply = server.ask(Method::GET, path, &[], None).await;
        assert_eq!(reply.problem(), (404, "not_found".to_owned()), "{path}");
    }
    let reply = server.ask(Method::DELETE, "/auth/login", &[], None).await;
    assert_eq!(reply.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(reply.header("allow"), "POST");
}

#[tokio::test]
async fn older_clients_get_the_type_they_ask_for() {
    let server = Server::start().await;
    let ask = async |accept: &str| server.ask(Method::GET, "/auth/me", &[("accept", accept)], None).await;
    let plain = ask("application/json").await;
    assert_eq!(plain.header("content-type"), "application/json");
    assert_eq!((plain.status.as_u16(), &plain.json()["code"]), (401, &json!("unauthenticated")));
    assert_eq!(ask("*/*").await.problem().0, 401);
    assert_eq!(ask("application/problem+json, application/json").await.problem().0, 401);
}

#[tokio::test]
async fn an_id_is_what_a_trusted_proxy_says_or_ours() {
    let trusting = async |networks: &[&str]| {
        let networks = networks.iter().map(|text| text.parse().expect("a network")).collect();
        Server::start_with(|setup| setup.api.trusted_proxies = networks).await
    };
    let ask = async |server: &Server, headers: &[(&str, &str)]| {
        let reply = server.ask(Method::GET, "/nothing", headers, None).await;
        // The problem has the same one.
        reply.problem();
        reply.header("x-request-id").to_owned()
    };
    let is_ours = |id: &str| id.parse::<uuid::Uuid>().is_ok_and(|id| id.get_version_num() == 7);
    let longest = "x".repeat(64);
    let sane = ["abc-123_x.y", "0", longest.as_str()];

    // A stranger may say what he likes, also that he is behind a proxy.
    for networks in [&[][..], &["10.0.0.0/8"]] {
        let server = trusting(networks).await;
        for id in sane {
            for more in [("accept", "*/*"), ("x-forwarded-for", "10.0.0.1")] {
                let made = ask(&server, &[("x-request-id", id), more]).await;
                assert!(is_ours(&made), "{id}: {made}");
            }
        }
    }

    let server = trusting(&["127.0.0.0/8"]).await;
    for id in sane {
        assert_eq!(ask(&server, &[("x-request-id", id)]).await, id);
    }
    for insane in ["", " ", "a b", "a\"b", "a/b", "a,b", "a\tb", "é", &"x".repeat(65), &"x".repeat(10_000)] {
        let made = ask(&server, &[("x-request-id", insane)]).await;
        assert!(is_ours(&made), "{insane}: {made}");
    }
    let made = ask(&server, &[("x-request-id", "one"), ("x-request-id", "two")]).await;
    assert!(is_ours(&made), "one of two came from the client: {made}");
    let (one, other) = (ask(&server, &[]).await, ask(&server, &[]).await);
    assert!(is_ours(&one) && is_ours(&other) && one != other, "{one} {other}");
}

struct Panics;

impl Probes for Panics {
    fn report(&self) -> BoxFuture<'_, Arc<Report>> {
        async { panic!("the secret of the handler") }.boxed()
    }
}

#[tokio::test]
async fn our_faults_show_an_id_and_nothing_else() {
    let server = Server::start_with(|setup| setup.health = Arc::new(Panics)).await;
    let reply = server.ask(Method::GET, "/health/ready", &[], None).await;
    assert_eq!(reply.problem(), (500, "internal".to_owned()));
    assert!(!reply.text.contains("secret"), "{}", reply.text);
    assert_eq!(server.ask(Method::GET, "/health", &[], None).await.status, StatusCode::OK, "and it goes on");
}

struct Hangs;

impl Probes for Hangs {
    fn report(&self) -> BoxFuture<'_, Arc<Report>> {
        futures::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_request_takes_no_longer_than_it_may() {
    let server = Server::start_with(|setup| {
        setup.health = Arc::new(Hangs);
        setup.api.request_timeout = Duration::from_millis(20);
    })
    .await;
    assert_eq!(
        server.ask(Method::GET, "/health/ready", &[], None).await.problem(),
        (503, "timeout".to_owned())
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_said_so() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    server.store.db().close().await;
    server.clock.advance(chrono::Duration::seconds(2));
    let reply = server.get("/auth/me", &admin).await;
    assert_eq!(reply.problem(), (503, "unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), "1");
    assert!(server.auth.status().await.is_err());
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    for (path, body, fields) in [
        ("/auth/register", json!({}), vec![("email", "required"), ("password", "required")]),
        ("/auth/register", json!({"email": 1, "password": 2}), vec![("email", "type"), ("password", "type")]),
        ("/auth/register", json!({"password": 2}), vec![("password", "type"), ("email", "required")]),
        (
            "/api/workflows/execute",
            json!({"workflow_name": 7, "input_data": [], "form_id": "x", "delay_seconds": -1}),
            vec![
                ("workflow_name", "type"),
                ("input_data", "type"),
                ("form_id", "format"),
                ("delay_seconds", "value"),
            ],
        ),
        ("/api/users", json!({"email": "a@b.example", "user_type": 5}), vec![("user_type", "type")]),
        ("/api/users", json!({"email": 5, "user_type": []}), vec![("email", "type"), ("user_type", "type")]),
        ("/api/workflows/execute", json!(["add"]), vec![("body", "type")]),
        ("/api/workflows/execute", json!(7), vec![("body", "type")]),
    ] {
        let reply = server.post(path, &admin, body.clone()).await;
        assert_eq!(reply.problem().0, 422, "{path} {body}");
        let mut found = reply.fields();
        let mut expected: Vec<_> =
            fields.iter().map(|&(path, code)| (path.to_owned(), code.to_owned())).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{path} {body}");
        for word in ["struct", "element", "u32", "expected", "sequence", "map"] {
            assert!(!reply.text.contains(word), "`{word}` is no word of ours: {}", reply.text);
        }
    }
    for (query, fields) in [
        ("limit=1&limit=2", vec!["limit"]),
        ("limit=x&continuation_token=a&continuation_token=b", vec!["limit", "continuation_token"]),
    ] {
        let reply = server.get(&format!("/api/organizations?{query}"), &admin).await;
        assert_eq!(reply.problem().0, 422, "{query}");
        let found: Vec<_> = reply.fields().into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, fields, "{query}");
    }
}

#[tokio::test]
async fn tokens_of_pages_are_ours() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    for path in ["/api/workflows", "/api/executions", "/api/organizations", "/auth/sessions"] {
        // The first is a NUL, which PostgreSQL takes in no text.
        for token in ["AA", "YQBi", "%00", "a b", &"YWFh".repeat(100)] {
            let token = token.replace(' ', "%20");
            let reply = server.get(&format!("{path}?continuation_token={token}"), &admin).await;
            assert_eq!(reply.problem().0, 422, "{path} {token}");
            assert_eq!(reply.fields()[0].0, "continuation_token", "{path} {token}");
        }
    }
}

#[tokio::test]
async fn a_body_arrives_in_time_also_where_a_run_is_waited_for() {
    let server = Server::start_with(|setup| setup.api.request_timeout = Duration::from_millis(50)).await;
    // Not over HTTP: on a busy machine a password is checked for longer than that.
    let client = Client { ip: None, user_agent: None, request_id: None };
    let signed_in = server.auth.login("admin@localhost", "admin".into(), None, &client).await;
    let SignIn::Session(pair) = signed_in.expect("signed in") else { panic!("no session") };
    let admin = pair.access_token.expose_secret();
    let parts = futures::stream::iter([Ok::<_, std::io::Error>("{")]).chain(futures::stream::pending());
    let request = Request::post("/api/workflows/execute")
        .header("authorization", format!("Bearer {admin}"))
        .header("content-type", "application/json")
        .body(Body::from_stream(parts))
        .expect("a request");
    assert_eq!(server.send(request).await.problem(), (408, "timeout".to_owned()));
}
