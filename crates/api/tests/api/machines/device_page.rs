//! The page on which a person decides, in a browser.

use super::device::{begin, poll};
use crate::{
    account::{code, enrol},
    page::Browser,
    support::{Server, tokens},
};
use chrono::Duration;
use serde_json::json;

const MAIL: &str = "ann@home.example";

#[tokio::test]
async fn a_person_signs_in_with_a_second_factor_and_approves() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person(MAIL, &home).await;
    let (secret, enrolled) = enrol(&server, &ann).await;
    // The code that was shown to enrol is used.
    server.clock.advance(Duration::seconds(30));
    let password = json!({"wait": "sign-in", "fill": {"username": MAIL, "password": "a long password"}, "submit": "with-password"});
    let factor = |code: &str| json!({"wait": "factor", "fill": {"factor_code": code}, "submit": "second"});

    let (device, letters) = begin(&server).await;
    let url = format!("/auth/device?user_code={letters}");
    let mut browser = Browser::of(&server).await;
    let steps = json!([password, factor("nonsense")]);
    let seen = browser.visit(&url, steps).await;
    assert_eq!((seen.section.as_str(), &seen.texts["said"]), ("factor", &json!("the code is not right")));
    let buttons = json!(["Sign in", "Continue", "Continue", "Approve", "Deny"]);
    assert_eq!(seen.buttons, buttons, "no provider is offered");
    let steps = json!([
        password, factor("nonsense"), factor(&code(&server, &secret)),
        {"wait": "decide"}, {"click": "approve"}, {"wait": "done"}
    ]);
    let seen = browser.visit(&url, steps).await;
    assert_eq!(seen.texts["outcome"], "The program is signed in. You can close this page.");
    assert!(seen.texts["said"].is_null(), "{}", seen.texts);
    let (access, _) = tokens(&poll(&server, &device).await);
    assert_eq!(server.get("/auth/me", &access).await.json()["email"], MAIL);

    // A recovery code does as well; who typed no code is asked for it.
    let (device, letters) = begin(&server).await;
    let recovery = enrolled.json()["recovery_codes"][0].as_str().expect("a code").to_owned();
    let steps = json!([
        password, factor(&recovery),
        {"wait": "enter", "fill": {"user_code": letters.to_lowercase()}, "submit": "with-code"},
        {"wait": "decide"}, {"click": "deny"}, {"wait": "done"}
    ]);
    let mut browser = Browser::of(&server).await;
    let seen = browser.visit("/auth/device", steps).await;
    assert_eq!(seen.texts["outcome"], "The program was denied. You can close this page.");
    assert_eq!(poll(&server, &device).await.json()["error"], "access_denied");
}

#[tokio::test]
async fn who_guesses_codes_begins_again() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    enrol(&server, &admin).await;
    let mut steps = vec![
        json!({"wait": "sign-in", "fill": {"username": "admin@localhost", "password": "admin"}, "submit": "with-password"}),
    ];
    steps.extend(
        (0..6).map(|_| json!({"wait": "factor", "fill": {"factor_code": "nonsense"}, "submit": "second"})),
    );
    let seen = Browser::of(&server).await.visit("/auth/device", json!(steps)).await;
    assert_eq!(seen.section, "sign-in");
    let said = seen.texts["said"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("too many codes were wrong"), "{said}");
}

#[tokio::test]
async fn who_has_to_set_a_factor_up_first_is_told_so() {
    let server = Server::start_with(|setup| setup.auth.mfa_required = true).await;
    let steps = json!([
        {"wait": "sign-in", "fill": {"username": "admin@localhost", "password": "admin"}, "submit": "with-password"},
    ]);
    let seen = Browser::of(&server).await.visit("/auth/device?user_code=BCDF-GHJK", steps).await;
    let said = seen.texts["said"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("needs a second factor before you can sign in"), "{said}");
}
