//! Our own pages in a browser, with the real provider: the one that finishes a sign-in, and the one where a program's is decided about.

use super::{
    Begun,
    real::{Scene, scene},
};
use crate::page::Browser;
use axum::http::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;

/// The address at which the provider leaves the browser.
fn back(sent: &BTreeMap<String, String>) -> String {
    format!("/auth/callback/real?{}", serde_urlencoded::to_string(sent).expect("a query"))
}

async fn begin(scene: &Scene, place: &str) -> Begun {
    let path = format!("/auth/oauth/init/real{place}");
    Begun::of(&scene.server.ask(Method::GET, &path, &[], None).await)
}

#[tokio::test]
async fn a_browser_comes_back_is_signed_in_and_goes_where_it_wanted() {
    let scene = scene("real", "bifrost", true, false).await;
    let mut browser = Browser::of(&scene.server).await;
    let begun = begin(&scene, "?redirect_to=%2Fforms%3Fa%3Db").await;
    let sent = scene.real.sign_in(&begun.url, "ann").await;
    assert!(sent.contains_key("iss"), "{sent:?}");

    let mut other = Browser::of(&scene.server).await;
    let seen = other.visit(&back(&sent), json!([{"wait": "failed"}])).await;
    let said = seen.texts["said"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("was not begun in this browser"), "{said}");
    assert_eq!((seen.went, seen.url.as_str()), (None, "/auth/callback/real"), "the code is not kept");

    browser.bind(&begun.cookie);
    let seen = browser.visit(&back(&sent), json!([{"leave": true}])).await;
    assert_eq!(seen.went.as_deref(), Some("http://localhost:8000/forms?a=b"));
    let me = scene.server.get("/auth/me", &browser.cookie("access_token")).await.json();
    assert_eq!(me["email"], "ann@acme.example");

    let seen = browser.visit(&back(&sent), json!([{"wait": "failed"}])).await;
    let said = seen.texts["said"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("finished already; begin again"), "{said}");
}

#[tokio::test]
async fn the_page_says_in_words_how_a_sign_in_ended() {
    let scene = scene("real", "bifrost", true, false).await;
    let mut browser = Browser::of(&scene.server).await;
    let begun = begin(&scene, "").await;
    browser.bind(&begun.cookie);
    let sent = scene.real.sign_in(&begun.url, "ann").await;
    let seen = browser.visit(&back(&sent), json!([{"wait": "done"}])).await;
    assert_eq!(seen.texts["outcome"], "You are signed in. You can close this page.");

    let body = json!({"password": "admin"});
    let linked = scene.server.post("/auth/oauth/link/real", &scene.admin, body).await;
    let begun = Begun::of(&linked);
    browser.bind(&begun.cookie);
    let sent = scene.real.sign_in(&begun.url, "boss").await;
    let seen = browser.visit(&back(&sent), json!([{"wait": "done"}])).await;
    assert_eq!(seen.texts["outcome"], "The account is linked. You can close this page.");

    for (query, words) in [
        (
            "?error=access_denied&error_description=Call+me&state=x",
            "The sign-in was cancelled at the provider.",
        ),
        ("?error=server_error&state=x", "The provider refused the sign-in."),
        ("?state=x", "There is no sign-in to finish here."),
        ("", "There is no sign-in to finish here."),
        ("?code=x&state=x", "was not begun in this browser"),
    ] {
        let seen = browser.visit(&format!("/auth/callback/real{query}"), json!([{"wait": "failed"}])).await;
        let said = seen.texts["said"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(words), "{query}: {said}");
        assert!(!seen.texts.to_string().contains("Call me"), "nobody else's words: {}", seen.texts);
        assert_eq!(seen.went, None);
    }
    let page = scene.server.ask(Method::GET, "/auth/callback/other?code=secret", &[], None).await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("secret") && !page.text.contains("other"), "nothing of the address");
}

#[tokio::test]
async fn who_signs_in_with_a_provider_comes_back_to_the_code_and_approves() {
    let scene = scene("real", "bifrost", true, false).await;
    let server = &scene.server;
    let begun = server.ask(Method::POST, "/auth/device/code", &[], Some(json!({"client_id": "cli"}))).await;
    let begun = begun.json();
    let letters = begun["user_code"].as_str().expect("letters");
    let device = format!("/auth/device?user_code={letters}");
    let mut browser = Browser::of(server).await;
    let steps = json!([{"wait": "sign-in"}, {"click": "Sign in with Stand-in"}, {"leave": true}]);
    let seen = browser.visit(&device, steps).await;
    let away = seen.went.expect("it goes to the provider").parse().expect("a URL");
    let sent = scene.real.sign_in(&away, "ann").await;
    let seen = browser.visit(&back(&sent), json!([{"leave": true}])).await;
    assert_eq!(seen.went, Some(format!("http://localhost:8000{device}")), "the code is kept");

    let steps = json!([{"wait": "decide"}]);
    let seen = browser.visit(&device, steps).await;
    assert_eq!(
        (&seen.texts["me"], &seen.texts["code"], &seen.texts["client"]),
        (&json!("ann@acme.example"), &json!(letters), &json!("cli"))
    );
    let steps = json!([{"wait": "decide"}, {"click": "approve"}, {"wait": "done"}]);
    let seen = browser.visit(&device, steps).await;
    assert_eq!(seen.texts["outcome"], "The program is signed in. You can close this page.");
    let body = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"],
    });
    let tokens = server.ask(Method::POST, "/auth/device/token", &[], Some(body)).await;
    let token =
        tokens.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", tokens.text)).to_owned();
    assert_eq!(server.get("/auth/me", &token).await.json()["email"], "ann@acme.example");
}
