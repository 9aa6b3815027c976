//! Who links an account shows first that it is he; and nobody throws his only way in away.

use super::{
    Begun,
    people::{Scene, ann, jit, scene, scene_on},
};
use crate::{
    account::{code, enrol},
    support::{Reply, Server, tokens},
};
use axum::http::{Method, StatusCode};
use chrono::Duration;
use serde_json::{Value, json};
use std::num::NonZeroU32;

const LINK: &str = "/auth/oauth/link/stand-in";

async fn link(scene: &Scene, access: &str, proof: Option<Value>) -> Reply {
    scene.as_(access, Method::POST, LINK, proof).await
}

#[tokio::test]
async fn who_has_a_password_or_a_factor_shows_it() {
    let scene = scene(json!({})).await;
    let server = &scene.server;
    let ben = server.person("ben@acme.example", &scene.acme).await;
    let required = |path: &str| [(path.to_owned(), "required".to_owned())];
    for nothing in [None, Some(json!({})), Some(json!({"password": null}))] {
        assert_eq!(link(&scene, &ben, nothing).await.fields(), required("password"));
    }
    let wrong = link(&scene, &ben, Some(json!({"password": "another password"}))).await;
    assert_eq!(wrong.problem(), (400, "password_wrong".to_owned()));
    assert_eq!(server.audit(1).await[0].0, "account.prove_password");
    let none = link(&scene, &ben, Some(json!({"code": "123456"}))).await;
    assert_eq!(none.problem(), (400, "mfa_not_enrolled".to_owned()));
    let proof = json!({"current_password": "a long password"});
    assert_eq!(link(&scene, &ben, Some(proof.clone())).await.status, StatusCode::OK);

    let (secret, enrolled) = enrol(server, &ben).await;
    let (ben, _) = tokens(&enrolled);
    server.clock.advance(Duration::seconds(30));
    // Who has a session alone could have set the factor up himself.
    let own = Some(json!({"code": enrolled.json()["recovery_codes"][0]}));
    assert_eq!(link(&scene, &ben, own).await.fields(), required("password"));
    let challenge = server.login("ben@acme.example", "a long password").await.json();
    let body = json!({"mfa_token": challenge["mfa_token"], "code": enrolled.json()["recovery_codes"][0]});
    let (ben, _) = tokens(&server.ask(Method::POST, "/auth/mfa/login", &[], Some(body)).await);
    assert_eq!(link(&scene, &ben, None).await.fields(), required("password"));
    let wrong = link(&scene, &ben, Some(json!({"code": "nonsense"}))).await;
    assert_eq!(wrong.problem(), (400, "mfa_code_invalid".to_owned()));
    assert_eq!(server.audit(1).await[0].0, "account.prove_code");
    let shown = json!({"code": code(server, &secret)});
    assert_eq!(link(&scene, &ben, Some(shown.clone())).await.status, StatusCode::OK);
    let again = link(&scene, &ben, Some(shown)).await;
    assert_eq!(again.problem(), (400, "mfa_code_invalid".to_owned()), "a code is used once");
    assert_eq!(link(&scene, &ben, Some(proof)).await.status, StatusCode::OK, "the password does as well");
}

#[tokio::test]
async fn wrong_passwords_count_with_those_of_sign_ins() {
    let server = Server::start_with(|setup| setup.api.account_failures = NonZeroU32::new(3)).await;
    let scene = scene_on(server, json!({})).await;
    let server = &scene.server;
    let ben = server.person("ben@acme.example", &scene.acme).await;
    let (elsewhere, _) = tokens(&server.login("ben@acme.example", "a long password").await);
    let cid = server.person("cid@acme.example", &scene.acme).await;
    let right = || Some(json!({"password": "a long password"}));
    let wrong = || Some(json!({"password": "another password"}));
    // What is right, and what shows nothing, does not count.
    for _ in 0..4 {
        assert_eq!(link(&scene, &ben, right()).await.status, StatusCode::OK);
        assert_eq!(link(&scene, &ben, None).await.problem().0, 422);
    }
    for session in [&ben, &elsewhere, &ben] {
        assert_eq!(link(&scene, session, wrong()).await.problem(), (400, "password_wrong".to_owned()));
    }
    let limited = (429, "too_many_requests".to_owned());
    for (session, proof) in [(&ben, wrong()), (&ben, right()), (&elsewhere, right())] {
        let refused = link(&scene, session, proof).await;
        assert_eq!(refused.problem(), limited, "whatever is shown, in every session");
        let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=300).contains(&seconds), "{seconds}: a third of a quarter of an hour");
        assert!(refused.headers.get("set-cookie").is_none(), "nothing was begun");
    }
    let sign_in = server.login("ben@acme.example", "a long password").await;
    assert_eq!(sign_in.problem(), limited, "one limit for both");
    assert_eq!(link(&scene, &cid, right()).await.status, StatusCode::OK, "others are not meant");
}

#[tokio::test]
async fn who_has_neither_comes_from_the_provider() {
    let scene = scene(jit()).await;
    let server = &scene.server;
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    let wrong = link(&scene, &access, Some(json!({"password": ""}))).await;
    assert_eq!(wrong.problem(), (400, "password_wrong".to_owned()), "no password is right");
    server.clock.advance(Duration::seconds(599));
    assert_eq!(link(&scene, &access, None).await.status, StatusCode::OK);
    server.clock.advance(Duration::seconds(1));
    let late = link(&scene, &access, None).await;
    assert_eq!(late.problem(), (403, "sign_in_again".to_owned()));

    // A session that a program was given is young, and shows nothing.
    let begun = server.ask(Method::POST, "/auth/device/code", &[], Some(json!({}))).await.json();
    let yes = json!({"user_code": begun["user_code"], "approve": true});
    assert_eq!(server.post("/auth/device/authorize", &access, yes).await.status, StatusCode::OK);
    let poll = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"],
    });
    let program = tokens(&server.ask(Method::POST, "/auth/device/token", &[], Some(poll)).await).0;
    assert_eq!(link(&scene, &program, None).await.problem(), (403, "sign_in_again".to_owned()));

    let (access, _) = tokens(&scene.sign_in(ann()).await);
    assert_eq!(link(&scene, &access, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_provider_that_is_off_is_no_way_in() {
    let scene = scene(jit()).await;
    let server = &scene.server;
    let second = server.provider(&scene.admin, &scene.stand_in.issuer(), json!({"name": "second"})).await;
    let second = format!("/api/identity-providers/{}", second["id"].as_str().expect("an id"));
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    let begun = Begun::of(&scene.as_(&access, Method::POST, "/auth/oauth/link/second", None).await);
    scene.answer(&begun, &ann(), Value::Null);
    let linked = server.finish(&begun.cookie, "code", &begun.state).await;
    assert_eq!(linked.json(), json!({"linked": "second"}));
    let unlink = async || scene.as_(&access, Method::DELETE, "/auth/oauth/accounts/stand-in", None).await;
    let switch = async |on: bool| scene.change(Method::PATCH, &second, Some(json!({"is_active": on}))).await;
    assert_eq!(switch(false).await.status, StatusCode::OK);
    assert_eq!(unlink().await.problem(), (409, "last_sign_in".to_owned()));
    assert_eq!(switch(true).await.status, StatusCode::OK);
    assert_eq!(unlink().await.status, StatusCode::NO_CONTENT);
}
