//! Tokens that we did not make, or made for something else.

use crate::support::{KEY, Server};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// Header and claims of a token of ours.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (next(), next())
}

/// The claims signed by somebody who knows the key.
fn signed(header: &Value, claims: &Value, algorithm: Algorithm, key: &[u8]) -> String {
    let header = Header {
        typ: header["typ"].as_str().map(str::to_owned),
        kid: header["kid"].as_str().map(str::to_owned),
        ..Header::new(algorithm)
    };
    encode(&header, claims, &EncodingKey::from_secret(key)).expect("sign")
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[tokio::test]
async fn claims_are_the_contracts() {
    let server = Server::start().await;
    let (access, refresh) = server.admin().await;
    let (header, claims) = parts(&access);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("at+jwt")));
    let mut names: Vec<&str> = claims.as_object().expect("claims").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "aud",
            "email",
            "epoch",
            "exp",
            "iat",
            "is_superuser",
            "iss",
            "jti",
            "name",
            "org_id",
            "roles",
            "sid",
            "sub",
            "type",
            "user_type"
        ]
    );
    for (name, value) in [
        ("aud", json!("bifrost-client")),
        ("iss", json!("bifrost-api")),
        ("type", json!("access")),
        ("user_type", json!("PLATFORM")),
        ("iat", json!(1_795_176_000)),
        ("exp", json!(1_795_176_000 + 1800)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let (header, claims) = parts(&refresh);
    assert_eq!((&header["typ"], &claims["type"]), (&json!("rt+jwt"), &json!("refresh")));
    assert_eq!(claims["exp"], 1_795_176_000 + 7 * 24 * 3600);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = Server::start().await;
    let (access, refresh) = server.admin().await;
    let (header, claims) = parts(&access);
    let key = KEY.as_bytes();
    let genuine = signed(&header, &claims, Algorithm::HS256, key);
    assert_eq!(server.get("/auth/me", &genuine).await.status, 200, "the way of forging works");

    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned =
        |alg: &str| format!("{}.{}.", encoded(&with(&header, "alg", json!(alg))), encoded(&claims));
    // A server that takes the algorithm from the token would check an RSA signature with our key, or the reverse.
    let confused = {
        let header = with(&header, "alg", json!("RS256"));
        let signature = genuine.rsplit('.').next().expect("a signature");
        format!("{}.{}.{signature}", encoded(&header), encoded(&claims))
    };
    let changed = {
        let mut parts: Vec<String> = access.split('.').map(str::to_owned).collect();
        parts[1] = encoded(&with(&claims, "is_superuser", json!(false)));
        parts.join(".")
    };
    let no_kid = signed(&with(&header, "kid", Value::Null), &claims, Algorithm::HS256, key);
    let other = "e6Ap4Js9Df3GhYt5Km1NbV7cXwL2rZ8q".as_bytes();
    let nobody = json!("01890a5d-ac96-774b-bcce-b302099a8057");
    let forged = |claims: Value| signed(&header, &claims, Algorithm::HS256, key);
    for (name, token) in [
        ("nothing", String::new()),
        ("no token", "token".to_owned()),
        ("algorithm none", unsigned("none")),
        ("algorithm None", unsigned("None")),
        ("HS512", signed(&header, &claims, Algorithm::HS512, key)),
        ("HS384", signed(&header, &claims, Algorithm::HS384, key)),
        ("RS256 with our key", confused),
        ("changed claims", changed),
        ("another key", signed(&header, &claims, Algorithm::HS256, other)),
        ("no key id", no_kid),
        ("wrong audience", forged(with(&claims, "aud", json!("somebody")))),
        ("no audience", forged(with(&claims, "aud", Value::Null))),
        ("wrong issuer", forged(with(&claims, "iss", json!("somebody")))),
        ("another user", forged(with(&claims, "sub", nobody.clone()))),
        ("another session", forged(with(&claims, "sid", nobody))),
        ("older epoch", forged(with(&claims, "epoch", json!(-1)))),
        ("expired", forged(with(&claims, "exp", json!(1_795_176_000)))),
        ("end as text", forged(with(&claims, "exp", json!("1995176000")))),
        ("refresh claims under an access header", forged(with(&claims, "type", json!("refresh")))),
        ("trailing part", format!("{access}.e30")),
        ("trailing text", format!("{access}x")),
        ("trailing dot", format!("{access}.")),
        ("longer than any", format!("{access}{}", "x".repeat(9000))),
        ("refresh as access", refresh.clone()),
    ] {
        let reply = server.get("/auth/me", &token).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.text);
        assert_eq!(reply.problem().1, "token_invalid", "{name}");
    }
    let body = Some(json!({"refresh_token": access}));
    let reply = server.ask(axum::http::Method::POST, "/auth/refresh", &[], body).await;
    assert_eq!(reply.problem(), (401, "token_invalid".to_owned()), "access as refresh");
    assert_eq!(server.get("/auth/me", &access).await.status, 200, "and ours still holds");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let server = Server::start().await;
    let (access, _) = server.admin().await;
    server.clock.advance(Duration::minutes(30) - Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &access).await.status, 200);
    server.clock.advance(Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &access).await.problem(), (401, "token_invalid".to_owned()));
}
