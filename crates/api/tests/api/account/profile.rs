//! `/api/profile`: name, password, picture.

use super::{ask, png, send, upload};
use crate::support::{Server, tokens};
use axum::http::{Method, StatusCode};
use image::{ImageFormat, ImageReader};
use serde_json::json;
use std::io::Cursor;

#[tokio::test]
async fn the_profile_is_seen_and_changed() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    let profile = server.get("/api/profile", &ann).await.json();
    for (name, value) in [
        ("email", json!("ann@acme.example")),
        ("name", json!(null)),
        ("user_type", json!("ORG")),
        ("organization_id", json!(acme)),
        ("organization_name", json!("Acme")),
        ("is_superuser", json!(false)),
        ("mfa_enabled", json!(false)),
        ("has_password", json!(true)),
        ("has_avatar", json!(false)),
        ("avatar_url", json!(null)),
    ] {
        assert_eq!(profile[name], value, "{name}");
    }
    let patch = async |body| ask(&server, Method::PATCH, "/api/profile", &ann, Some(body)).await;
    assert_eq!(patch(json!({"name": "  Ann  "})).await.json()["name"], "Ann");
    assert_eq!(patch(json!({})).await.json()["name"], "Ann", "what is not named stays");
    assert_eq!(patch(json!({"name": "n".repeat(255)})).await.status, StatusCode::OK);
    for (name, code) in [("n".repeat(256), "too_long"), ("a\u{0}b".to_owned(), "format")] {
        let reply = patch(json!({"name": name})).await;
        assert_eq!((reply.problem().0, reply.fields()), (422, vec![("name".to_owned(), code.to_owned())]));
    }
    assert_eq!(patch(json!({"name": null})).await.json()["name"], json!(null));
    let other = patch(json!({"is_superuser": true, "email": "x@y.example"})).await.json();
    assert_eq!((&other["is_superuser"], &other["email"]), (&json!(false), &json!("ann@acme.example")));
}

#[tokio::test]
async fn the_password_is_changed() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    let (other, _) = tokens(&server.login("ann@acme.example", "a long password").await);
    let change = async |token: &str, current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        server.post("/api/profile/password", token, body).await
    };
    let wrong = change(&ann, "wrong", "another long password").await;
    assert_eq!(wrong.problem(), (400, "password_wrong".to_owned()));
    for (new, code) in [
        ("short", "too_short"),
        (&"pq".repeat(129), "too_long"),
        ("Password123!", "too_common"),
        ("ann@acme.example", "own_name"),
        ("a long password", "unchanged"),
    ] {
        let reply = change(&ann, "a long password", new).await;
        assert_eq!(
            (reply.problem().0, reply.fields()),
            (422, vec![("new_password".to_owned(), code.to_owned())]),
            "{new}"
        );
        assert!(!reply.text.contains("a long password"));
    }
    let changed = change(&ann, "a long password", "another long password").await;
    let (access, refresh) = tokens(&changed);
    assert!(!changed.cookie("refresh_token").0.is_empty());
    assert_eq!(server.get("/auth/me", &access).await.status, StatusCode::OK);
    for token in [&ann, &other] {
        assert_eq!(server.get("/auth/me", token).await.problem().0, 401);
    }
    let refreshed =
        server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": refresh}))).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text);
    assert_eq!(server.login("ann@acme.example", "a long password").await.problem().0, 401);
    tokens(&server.login("ann@acme.example", "another long password").await);
}

#[tokio::test]
async fn registration_keeps_the_same_rule() {
    let server = Server::start_with(|setup| {
        setup.dev_user = false;
        setup.auth.password_min_length = 12;
    })
    .await;
    for (password, code) in
        [("elevenchars", "too_short"), ("password123456", "too_common"), ("Ann@acme.example", "own_name")]
    {
        let body = json!({"email": "ann@acme.example", "password": password});
        let reply = server.ask(Method::POST, "/auth/register", &[], Some(body)).await;
        assert_eq!(reply.fields(), [("password".to_owned(), code.to_owned())], "{password}");
    }
    let body = json!({"email": "ann@acme.example", "password": "twelve chars"});
    let reply = server.ask(Method::POST, "/auth/register", &[], Some(body)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
}

#[tokio::test]
async fn the_picture_is_set_served_and_taken_away() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let path = "/api/profile/avatar";
    assert_eq!(server.get(path, &token).await.problem().0, 404);
    let set = upload(&server, path, &token, "file", &png(1200, 600)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let profile = set.json();
    assert_eq!(profile["has_avatar"], true);
    let url = profile["avatar_url"].as_str().expect("an address").to_owned();

    let request = axum::http::Request::get(&url)
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty())
        .expect("a request");
    let (parts, body) = server.respond(request).await.into_parts();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "private, no-cache");
    let tag = header("etag").to_owned();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let found = ImageReader::with_format(Cursor::new(&bytes[..]), ImageFormat::Png).into_dimensions();
    assert_eq!(found.expect("a PNG"), (512, 256));
    let bearer = format!("Bearer {token}");
    for known in [tag.as_str(), &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let headers = [("authorization", bearer.as_str()), ("if-none-match", known)];
        let reply = server.ask(Method::GET, &url, &headers, None).await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{known}");
    }
    let raw = send(&server, path, &token, "image/png", png(8, 8)).await;
    assert_ne!(raw.json()["avatar_url"], url, "another picture has another address");
    assert_eq!(ask(&server, Method::DELETE, path, &token, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, Method::DELETE, path, &token, None).await.problem().0, 404);
    assert_eq!(server.get("/api/profile", &token).await.json()["has_avatar"], false);
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    const MOST: usize = 2 * 1024 * 1024;
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let path = "/api/profile/avatar";
    let mut at_the_bound = png(8, 8);
    at_the_bound.resize(MOST, 0);
    assert_eq!(upload(&server, path, &token, "avatar", &at_the_bound).await.status, StatusCode::OK);
    let over = vec![0; MOST + 1];
    assert_eq!(upload(&server, path, &token, "file", &over).await.problem().0, 413);
    assert_eq!(send(&server, path, &token, "image/png", over).await.problem().0, 413);
    let code = |reply: &crate::support::Reply| (reply.problem().0, reply.fields()[0].1.clone());
    for (file, expected) in [
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>".to_vec(), "format"),
        (png(4097, 1), "dimensions"),
        (png(64, 64)[..60].to_vec(), "damaged"),
        (Vec::new(), "format"),
    ] {
        let reply = upload(&server, path, &token, "file", &file).await;
        assert_eq!(code(&reply), (422, expected.to_owned()));
    }
    assert_eq!(send(&server, path, &token, "application/json", b"{}".to_vec()).await.problem().0, 415);
    for (kind, body, status) in [
        ("multipart/form-data", &b"x"[..], 400),
        ("multipart/form-data; boundary=f", b"no form", 400),
        (
            "multipart/form-data; boundary=f",
            b"--f\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--f--\r\n",
            422,
        ),
    ] {
        assert_eq!(send(&server, path, &token, kind, body.to_vec()).await.problem().0, status, "{kind}");
    }
}
