//! The code flow, with a provider that can lie.

use super::{
    Begun,
    stand_in::{Pair, StandIn},
};
use crate::support::{Server, tokens};
use axum::http::{Method, StatusCode};
use bifrost_domain::clock::Clock;
use chrono::Duration;
use serde_json::{Value, json};

/// A server with an organization of `acme.example`, a key, and a provider whose people get accounts in it.
async fn scene() -> (Server, String, Pair, StandIn) {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let body = json!({"name": "Acme", "domain": "acme.example"});
    assert_eq!(server.post("/api/organizations", &admin, body).await.status, StatusCode::CREATED);
    let key = Pair::ed("ed");
    let stand_in = StandIn::start(&[&key]).await;
    let rules = json!({"rules": {"jit_enabled": true, "allowed_domains": ["ACME.example"]}});
    server.provider(&admin, &stand_in.issuer(), rules).await;
    (server, admin, key, stand_in)
}

fn id_token(server: &Server, stand_in: &StandIn, nonce: &str) -> Value {
    let now = server.clock.now().timestamp();
    json!({
        "iss": stand_in.issuer(), "aud": "client", "sub": "ann", "nonce": nonce, "iat": now, "exp": now + 300,
        "email": "Ann@Acme.example", "email_verified": true, "name": "Ann"
    })
}

#[tokio::test]
async fn an_id_token_that_is_not_the_answer_signs_nobody_in() {
    let (server, _, key, stand_in) = scene().await;
    let foreign = Pair::ed("ed");
    let now = server.clock.now().timestamp();
    let cases: [(&str, Value, &str); 10] = [
        ("another nonce", json!({"nonce": "other"}), "nonce"),
        ("no nonce", json!({"nonce": null}), "nonce"),
        ("another audience", json!({"aud": "other"}), "audience"),
        ("an access token", json!({"aud": "api://bifrost", "scope": "run"}), "audience"),
        ("several audiences", json!({"aud": ["client", "other"]}), "authorized_party"),
        ("for another client", json!({"azp": "other"}), "authorized_party"),
        ("another issuer", json!({"iss": "https://id.example"}), "issuer"),
        ("expired", json!({"exp": now - 60}), "expired"),
        ("not yet valid", json!({"nbf": now + 61}), "not_yet_valid"),
        ("nobody", json!({"sub": null}), "subject"),
    ];
    for (name, change, reason) in cases {
        let begun = server.begin("stand-in").await;
        let mut claims = id_token(&server, &stand_in, &begun.nonce);
        for (field, value) in change.as_object().expect("an object") {
            if value.is_null() {
                claims.as_object_mut().expect("an object").remove(field);
            } else {
                claims[field] = value.clone();
            }
        }
        stand_in.answer_with(key.sign("JWT", &claims), Value::Null);
        let reply = server.finish(&begun.cookie, "code", &begun.state).await;
        assert_eq!(reply.problem(), (401, "token_invalid".to_owned()), "{name}");
        let lines = server.audit(1).await;
        let detail = json!({"provider": "stand-in", "reason": reason});
        assert_eq!(lines, [("session.begin".to_owned(), "failure".to_owned(), detail)], "{name}");
    }
    for (name, reason) in
        [("typ", "type"), ("key", "signature"), ("none", "malformed"), ("nothing", "malformed")]
    {
        let begun = server.begin("stand-in").await;
        let claims = id_token(&server, &stand_in, &begun.nonce);
        let token = match name {
            "typ" => key.sign("at+jwt", &claims),
            "key" => foreign.sign("JWT", &claims),
            "none" => key.sign_raw(&json!({"alg": "none", "kid": "ed"}), &claims),
            _ => String::new(),
        };
        stand_in.answer_with(token, Value::Null);
        let reply = server.finish(&begun.cookie, "code", &begun.state).await;
        assert_eq!(reply.problem().0, 401, "{name}");
        assert_eq!(server.audit(1).await[0].2["reason"], reason, "{name}");
    }
}

#[tokio::test]
async fn a_sign_in_is_finished_once_in_its_browser_and_in_time() {
    let (server, _, key, stand_in) = scene().await;
    let invalid = (400, "oauth_state_invalid".to_owned());
    let answer = |begun: &Begun| {
        stand_in.answer_with(key.sign("JWT", &id_token(&server, &stand_in, &begun.nonce)), Value::Null);
    };
    let (mine, other) = (server.begin("stand-in").await, server.begin("stand-in").await);
    assert_ne!((&mine.state, &mine.cookie), (&other.state, &other.cookie));
    answer(&mine);
    // Another browser, none, one that lies; and a state that is none.
    for (cookie, state) in [
        (other.cookie.as_str(), mine.state.as_str()),
        ("", &mine.state),
        ("oauth_binding=x", &mine.state),
        (&mine.cookie, &mine.nonce),
        (&mine.cookie, "x"),
        (&mine.cookie, ""),
    ] {
        assert_eq!(server.finish(cookie, "code", state).await.problem(), invalid, "{cookie} {state}");
    }
    // None of them used it up.
    let done = server.finish(&mine.cookie, "code", &mine.state).await;
    let (access, _) = tokens(&done);
    assert_eq!(server.get("/auth/me", &access).await.json()["email"], "ann@acme.example");
    let (_, attributes) = done.cookie("access_token");
    assert!(attributes.contains("HttpOnly"), "{attributes}");
    assert_eq!(server.finish(&mine.cookie, "code", &mine.state).await.problem(), invalid, "a second time");

    // Two tabs of one browser share its secret.
    let path = "/auth/oauth/init/stand-in?redirect_to=%2Fforms%3Fa%3Db";
    let tab = Begun::of(&server.ask(Method::GET, path, &[("cookie", &mine.cookie)], None).await);
    assert_eq!(tab.cookie, mine.cookie);
    answer(&tab);
    let done = server.finish(&mine.cookie, "code", &tab.state).await;
    assert_eq!((done.status, &done.json()["redirect_to"]), (StatusCode::OK, &json!("/forms?a=b")));

    let late = server.begin("stand-in").await;
    answer(&late);
    server.clock.advance(Duration::seconds(600));
    assert_eq!(
        server.finish(&late.cookie, "code", &late.state).await.problem(),
        invalid,
        "ten minutes later"
    );

    // RFC 9207: whoever answers has to be who was asked.
    let mixed = server.begin("stand-in").await;
    answer(&mixed);
    let body = json!({"code": "code", "state": mixed.state, "iss": "https://id.example"});
    let headers = [("cookie", mixed.cookie.as_str())];
    let reply = server.ask(Method::POST, "/auth/oauth/callback", &headers, Some(body)).await;
    assert_eq!(reply.problem(), invalid);

    // RFC 9700, 4.4: what comes to the address of another provider is that one's, and its code is given to nobody.
    for (provider, expected) in [("other", 400), ("stand-in", 200)] {
        let begun = server.begin("stand-in").await;
        answer(&begun);
        let body = json!({"code": "code", "state": begun.state, "provider": provider});
        let headers = [("cookie", begun.cookie.as_str())];
        let reply = server.ask(Method::POST, "/auth/oauth/callback", &headers, Some(body)).await;
        assert_eq!(reply.status.as_u16(), expected, "{provider}: {}", reply.text);
    }
}

#[tokio::test]
async fn two_callers_finish_one_sign_in_once() {
    let (server, _, key, stand_in) = scene().await;
    let begun = server.begin("stand-in").await;
    stand_in.answer_with(key.sign("JWT", &id_token(&server, &stand_in, &begun.nonce)), Value::Null);
    let (one, two) = tokio::join!(
        server.finish(&begun.cookie, "code", &begun.state),
        server.finish(&begun.cookie, "code", &begun.state)
    );
    let mut found = [one.status.as_u16(), two.status.as_u16()];
    found.sort_unstable();
    assert_eq!(found, [200, 400]);
}

#[tokio::test]
async fn bounds_of_a_sign_in() {
    let (server, admin, _, _) = scene().await;
    let get = async |path: &str| server.ask(Method::GET, path, &[], None).await;
    assert_eq!(get("/auth/oauth/init/other").await.problem(), (400, "provider_unknown".to_owned()));
    let long = format!("/{}", "a".repeat(512));
    for place in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "/a%0Ab",
        "/%09/evil.example",
        &long,
    ] {
        let reply = get(&format!("/auth/oauth/init/stand-in?redirect_to={place}")).await;
        assert_eq!(reply.problem().0, 422, "{place}");
        assert_eq!(reply.fields(), [("redirect_to".to_owned(), "format".to_owned())], "{place}");
    }
    let begun = server.begin("stand-in").await;
    for code in [String::new(), "c".repeat(4097)] {
        let reply = server.finish(&begun.cookie, &code, &begun.state).await;
        assert_eq!(reply.fields(), [("code".to_owned(), "length".to_owned())]);
    }
    for form in [
        "grant_type=password&subject_token=x",
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x&subject_token_type=x",
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token",
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt&requested_token_type=x",
        "",
    ] {
        let reply = server.form("/auth/token", form.to_owned()).await;
        assert!(matches!(reply.problem().0, 400 | 422), "{form}");
    }
    // What the sign-in page shows.
    let expected = json!([{"name": "stand-in", "display_name": "Stand-in", "icon": null}]);
    assert_eq!(get("/auth/oauth/providers").await.json(), json!({"providers": expected}));
    assert_eq!(get("/auth/status").await.json()["oauth_providers"], expected);
    let listed = server.get("/api/identity-providers", &admin).await.json();
    let path = format!("/api/identity-providers/{}", listed[0]["id"].as_str().expect("an id"));
    let headers = [("authorization", format!("Bearer {admin}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let off = server.ask(Method::PATCH, &path, &headers, Some(json!({"is_active": false}))).await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text);
    assert_eq!(get("/auth/oauth/providers").await.json(), json!({"providers": []}));
    assert_eq!(get("/auth/oauth/init/stand-in").await.problem().0, 400);
    // What was begun before is not finished either.
    assert_eq!(server.finish(&begun.cookie, "code", &begun.state).await.problem().0, 400);
}
