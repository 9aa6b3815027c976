//! Cookies, CSRF, foreign origins, headers that keep browsers careful.

use crate::support::{Reply, Server};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_api::AllowedOrigins;
use serde_json::json;

fn cookies(reply: &Reply) -> String {
    ["access_token", "refresh_token", "csrf_token"]
        .map(|name| format!("{name}={}", reply.cookie(name).0))
        .join("; ")
}

#[tokio::test]
async fn cookies_carry_a_session_and_writes_need_the_csrf_token() {
    let server = Server::start().await;
    let reply = server.login("admin@localhost", "admin").await;
    assert_eq!(reply.cookie("access_token").1, "Path=/; Max-Age=1800; SameSite=Lax; HttpOnly");
    assert_eq!(reply.cookie("refresh_token").1, "Path=/auth; Max-Age=604800; SameSite=Lax; HttpOnly");
    let (csrf, attributes) = reply.cookie("csrf_token");
    assert_eq!(attributes, "Path=/; Max-Age=604800; SameSite=Lax", "scripts read it");
    assert!(csrf.len() >= 32);
    let cookies = cookies(&reply);
    let cookie = ("cookie", cookies.as_str());

    let me = server.ask(Method::GET, "/auth/me", &[cookie], None).await;
    assert_eq!(me.status, StatusCode::OK, "reads need no CSRF token");
    let write = async |headers: &[(&str, &str)]| {
        server.ask(Method::POST, "/api/organizations", headers, Some(json!({"name": "Acme"}))).await
    };
    assert_eq!(write(&[cookie]).await.problem(), (403, "csrf_failed".to_owned()));
    assert_eq!(write(&[cookie, ("x-csrf-token", "guess")]).await.problem(), (403, "csrf_failed".to_owned()));
    let without = cookies.split("; csrf").next().expect("cookies").to_owned();
    let reply = write(&[("cookie", &without), ("x-csrf-token", "")]).await;
    assert_eq!(reply.problem(), (403, "csrf_failed".to_owned()), "empty is not equal to absent");
    assert_eq!(write(&[cookie, ("x-csrf-token", &csrf)]).await.status, StatusCode::CREATED);

    for origin in ["https://neighbour.localhost", "http://localhost:9999", "null"] {
        let foreign = [cookie, ("origin", origin)];
        let refused = server.ask(Method::POST, "/auth/refresh", &foreign, None).await;
        assert_eq!(refused.problem(), (403, "foreign_origin".to_owned()), "{origin}");
    }
    let refreshed = server.ask(Method::POST, "/auth/refresh", &[cookie], None).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text);
    assert_eq!(refreshed.cookie("csrf_token").0, csrf, "one for the session");
}

#[tokio::test]
async fn a_csrf_token_is_of_its_session_whatever_a_cookie_says() {
    let server = Server::start().await;
    let (mine, other) =
        (server.login("admin@localhost", "admin").await, server.login("admin@localhost", "admin").await);
    let (csrf, foreign) = (mine.cookie("csrf_token").0, other.cookie("csrf_token").0);
    assert_ne!(csrf, foreign);
    // A neighbour of our domain can write the cookie of the token, to one that he knows.
    let written = format!("access_token={}; csrf_token={foreign}", mine.cookie("access_token").0);
    let write = async |token: &str| {
        let headers = [("cookie", written.as_str()), ("x-csrf-token", token)];
        server.ask(Method::POST, "/api/organizations", &headers, Some(json!({"name": "Acme"}))).await
    };
    assert_eq!(write(&foreign).await.problem(), (403, "csrf_failed".to_owned()));
    assert_eq!(write(&csrf).await.status, StatusCode::CREATED);
    let headers = [("cookie", cookies(&mine)), ("x-csrf-token", csrf.clone())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(server.ask(Method::POST, "/auth/logout", &headers, None).await.status, StatusCode::OK);
    let next = server.login("admin@localhost", "admin").await;
    let headers = [("cookie", cookies(&next)), ("x-csrf-token", csrf)];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let again = server.ask(Method::POST, "/auth/logout", &headers, None).await;
    assert_eq!(again.problem(), (403, "csrf_failed".to_owned()), "it is of a session that has ended");
}

/// Another site's form would sign its visitors in as somebody else.
#[tokio::test]
async fn another_sites_form_signs_nobody_in() {
    let server = Server::start_with(|setup| {
        setup.api.allowed_origins = AllowedOrigins::List(vec!["https://console.example".into()]);
    })
    .await;
    let login = async |origin: &str| {
        let request = Request::post("/auth/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "bifrost.example")
            .header("origin", origin)
            .body(Body::from("username=admin%40localhost&password=admin"))
            .expect("a request");
        server.send(request).await
    };
    for origin in ["https://attacker.example", "https://bifrost.example.attacker.example", "null", ""] {
        let refused = login(origin).await;
        assert_eq!(refused.problem(), (403, "foreign_origin".to_owned()), "{origin:?}");
        assert!(refused.headers.get("set-cookie").is_none(), "{origin:?}");
    }
    // The last is the public URL: a proxy before us may ask under another host.
    for origin in ["https://console.example", "https://bifrost.example", "http://localhost:8000"] {
        let reply = login(origin).await;
        assert_eq!(reply.status, StatusCode::OK, "{origin}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_bearer_token_wins_and_is_never_passed_over() {
    let server = Server::start().await;
    let reply = server.login("admin@localhost", "admin").await;
    let cookies = cookies(&reply);
    let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
    for authorization in ["Bearer wrong", "Bearer ", "Basic YTpi", "Bearer", token.as_str()] {
        let headers = [("cookie", cookies.as_str()), ("authorization", authorization)];
        let reply = server.ask(Method::GET, "/auth/me", &headers, None).await;
        assert_eq!(reply.problem().0, 401, "{authorization}");
    }
    let bearer = format!("bearer {token}");
    let headers = [("cookie", "access_token=wrong"), ("authorization", bearer.as_str())];
    let write = server.ask(Method::POST, "/api/organizations", &headers, Some(json!({"name": "Acme"}))).await;
    assert_eq!(write.status, StatusCode::CREATED, "and needs no CSRF token");
    let twice = [("authorization", bearer.as_str()), ("authorization", "Bearer wrong")];
    assert_eq!(server.ask(Method::GET, "/auth/me", &twice, None).await.problem().0, 401);
    let wrong = server.ask(Method::GET, "/auth/me", &[("cookie", "access_token=wrong")], None).await;
    assert_eq!(wrong.problem().0, 401);
}

#[tokio::test]
async fn cookies_are_secure_behind_https() {
    let server =
        Server::start_with(|setup| setup.api.public_url = "https://bifrost.example".parse().expect("a URL"))
            .await;
    let reply = server.login("admin@localhost", "admin").await;
    for name in ["access_token", "refresh_token", "csrf_token"] {
        assert!(reply.cookie(name).1.ends_with("; Secure"), "{name}");
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_answers() {
    let server = Server::start_with(|setup| {
        setup.api.allowed_origins = AllowedOrigins::List(vec!["https://console.example".into()]);
    })
    .await;
    let preflight = async |origin: &str| {
        let request = Request::options("/api/organizations")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-csrf-token")
            .body(Body::empty())
            .expect("a request");
        server.send(request).await
    };
    let ours = preflight("https://console.example").await;
    assert_eq!(ours.header("access-control-allow-origin"), "https://console.example");
    assert_eq!(ours.header("access-control-allow-credentials"), "true");
    assert_eq!(ours.header("x-content-type-options"), "nosniff");
    assert_eq!(ours.header("x-frame-options"), "DENY");
    for origin in [
        "https://attacker.example",
        "https://console.example.attacker.example",
        "https://console.example:8443",
        "http://console.example",
        "https://CONSOLE.example/",
        "null",
    ] {
        assert_eq!(preflight(origin).await.header("access-control-allow-origin"), "", "{origin}");
    }
    let refused = server.ask(Method::GET, "/auth/me", &[("origin", "https://console.example")], None).await;
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://console.example",
        "refusals can be read"
    );
}

#[tokio::test]
async fn any_origin_may_read_answers_without_cookies() {
    let server = Server::start_with(|setup| setup.api.allowed_origins = AllowedOrigins::Any).await;
    for origin in ["https://console.example", "http://localhost:3000"] {
        let reply = server.ask(Method::GET, "/auth/status", &[("origin", origin)], None).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert_eq!(reply.header("access-control-allow-credentials"), "", "no cookies");
    }
}

#[tokio::test]
async fn every_answer_keeps_browsers_careful() {
    let server = Server::start().await;
    for path in ["/health", "/nothing", "/auth/me", "/docs/", "/openapi.json"] {
        let reply = server.ask(Method::GET, path, &[], None).await;
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert!(reply.header("permissions-policy").contains("camera=()"), "{path}");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(reply.header("strict-transport-security"), "", "{path}: it is plain HTTP");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
}

#[tokio::test]
async fn https_is_kept_to() {
    let server =
        Server::start_with(|setup| setup.api.public_url = "https://bifrost.example".parse().expect("a URL"))
            .await;
    for path in ["/health", "/nothing", "/docs/"] {
        let reply = server.ask(Method::GET, path, &[], None).await;
        assert_eq!(reply.header("strict-transport-security"), "max-age=63072000", "{path}");
    }
}

#[tokio::test]
async fn what_is_one_callers_is_in_no_cache() {
    let server = Server::start().await;
    let (admin, refresh) = server.admin().await;
    for path in
        ["/auth/me", "/auth/status", "/api/organizations", "/api/executions", "/api/audit", "/nothing"]
    {
        assert_eq!(server.get(path, &admin).await.header("cache-control"), "no-store", "{path}");
    }
    let body = Some(json!({ "refresh_token": refresh }));
    let refreshed = server.ask(Method::POST, "/auth/refresh", &[], body).await;
    assert_eq!((refreshed.status, refreshed.header("cache-control")), (StatusCode::OK, "no-store"));
}

#[tokio::test]
async fn heads_are_bounded_and_the_bound_is_told() {
    let server = Server::start().await;
    let ask = async |path: &str, headers: &[(&str, &str)]| server.ask(Method::GET, path, headers, None).await;
    let large = "x".repeat(33 * 1024);
    let refused = ask("/health", &[("x-large", &large)]).await;
    assert_eq!(refused.problem(), (431, "headers_too_large".to_owned()));
    assert!(
        refused.json()["detail"].as_str().is_some_and(|detail| detail.contains("32768")),
        "{}",
        refused.text
    );
    let many: Vec<String> = (0..90).map(|n| format!("x-header-{n}")).collect();
    let value = "y".repeat(400);
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), value.as_str())).collect();
    assert_eq!(ask("/health", &many).await.problem().0, 431, "many small ones are as large");
    assert_eq!(ask("/health", &many[..60]).await.status, StatusCode::OK);
    let cookie = format!("access_token={}", "x".repeat(33 * 1024));
    assert_eq!(ask("/auth/me", &[("cookie", &cookie)]).await.problem().0, 431);
    let long = format!("/health?{}", "x".repeat(8 * 1024));
    assert_eq!(ask(&long, &[]).await.problem(), (414, "uri_too_long".to_owned()));
    let accepted = format!("/health?{}", "x".repeat(8 * 1024 - 8));
    assert_eq!(ask(&accepted, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_are_compressed_for_who_asks() {
    let server = Server::start().await;
    let reply = server.ask(Method::GET, "/openapi.json", &[("accept-encoding", "gzip")], None).await;
    assert_eq!((reply.status, reply.header("content-encoding")), (StatusCode::OK, "gzip"));
}
