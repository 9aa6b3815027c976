//! `/api/branding`: everybody sees it, platform admins change it.

use crate::{
    account::{ask, png, send, upload},
    support::Server,
};
use axum::http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn everybody_sees_it_and_platform_admins_change_it() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    let seen = async || server.ask(Method::GET, "/api/branding", &[], None).await.json();
    assert_eq!(
        seen().await,
        json!({
            "name": null, "primary_color": null, "square_logo_url": null, "rectangle_logo_url": null, "updated_at": null
        })
    );
    let put = async |token: &str, body| ask(&server, Method::PUT, "/api/branding", token, Some(body)).await;
    assert_eq!(put(&ann, json!({"name": "x"})).await.problem().0, 403);
    let set = put(&admin, json!({"name": " Acme Automation ", "primary_color": "#00AACC"})).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    assert_eq!(seen().await, set.json());
    assert_eq!(
        (&set.json()["name"], &set.json()["primary_color"]),
        (&json!("Acme Automation"), &json!("#00aacc"))
    );
    let other = put(&admin, json!({"primary_color": null})).await.json();
    assert_eq!((&other["name"], &other["primary_color"]), (&json!("Acme Automation"), &json!(null)));
    let bad = put(&admin, json!({"name": "n".repeat(101), "primary_color": "red"})).await;
    let fields = [("name", "length"), ("primary_color", "format")];
    assert_eq!(bad.fields(), fields.map(|(path, code)| (path.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn logos_are_set_served_and_taken_away() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    for (kind, other) in [("square", "rectangle"), ("rectangle", "square")] {
        let path = format!("/api/branding/logo/{kind}");
        assert_eq!(server.ask(Method::GET, &path, &[], None).await.problem().0, 404);
        assert_eq!(upload(&server, &path, &ann, "file", &png(8, 8)).await.problem().0, 403);
        let set = upload(&server, &path, &admin, "file", &png(2000, 1000)).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.text);
        let url = set.json()[format!("{kind}_logo_url")].as_str().expect("an address").to_owned();
        assert_eq!(set.json()[format!("{other}_logo_url")], json!(null));
        let reply = server.ask(Method::GET, &url, &[], None).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, "image/png"),
            "to everybody"
        );
        assert_eq!(reply.header("cache-control"), "public, no-cache");
        let known = [("if-none-match", reply.header("etag"))];
        assert_eq!(server.ask(Method::GET, &url, &known, None).await.status, StatusCode::NOT_MODIFIED);
        let bad = send(&server, &path, &admin, "image/gif", b"GIF89a".to_vec()).await;
        assert_eq!(bad.problem().0, 422);
        assert_eq!(ask(&server, Method::DELETE, &path, &ann, None).await.problem().0, 403);
        assert_eq!(ask(&server, Method::DELETE, &path, &admin, None).await.status, StatusCode::NO_CONTENT);
        assert_eq!(ask(&server, Method::DELETE, &path, &admin, None).await.problem().0, 404);
    }
    for method in [Method::GET, Method::DELETE] {
        let reply = ask(&server, method, "/api/branding/logo/round", &admin, None).await;
        assert_eq!(reply.problem().0, 422);
    }
}
