//! Tokens that we did not make, or made for something else.

use crate::support::{KEY, Server};
use axum::{
    body::Body,
    http::{HeaderValue, Request},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A key that is not ours.
const OTHER: &str = "e6Ap4Js9Df3GhYt5Km1NbV7cXwL2rZ8q";
/// The time of the tests' clock.
const NOW: i64 = 1_795_176_000;

/// Header and claims of a token of ours.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (next(), next())
}

fn encoded(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Any two texts, signed by somebody who knows the key.
fn sealed(header: &str, claims: &str, algorithm: Algorithm, key: &str) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let key = EncodingKey::from_secret(key.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

/// Header and claims, signed with our key.
fn signed(header: &Value, claims: &Value) -> String {
    sealed(&header.to_string(), &claims.to_string(), Algorithm::HS256, KEY)
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

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().expect("claims").remove(name);
    claims
}

/// A JSON object with one more field at its end, whether it has it already or not.
fn and(object: &Value, field: &str) -> String {
    let text = object.to_string();
    format!("{},{field}}}", text.strip_suffix('}').expect("an object"))
}

/// The same bytes under another last letter: the bits of it that are no part of the bytes are not zero.
fn respelled(token: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.chars().last().and_then(|last| LETTERS.find(last)).expect("base64url");
    format!("{}{}", &token[..token.len() - 1], &LETTERS[last + 1..=last + 1])
}

/// Every forgery by its name: made of header, claims and text of an access token, and of a refresh token.
fn forgeries(header: &Value, claims: &Value, access: &str, refresh: &str) -> Vec<(String, String)> {
    let segments: Vec<&str> = access.split('.').collect();
    let (head, body, signature) = (segments[0], segments[1], segments[2]);
    let nobody = json!("01890a5d-ac96-774b-bcce-b302099a8057");
    let alg = |alg: &str| with(header, "alg", json!(alg)).to_string();
    let unsigned = |name: &str| format!("{}.{}.", encoded(&alg(name)), encoded(&claims.to_string()));
    let mut table: Vec<(String, String)> = [
        ("nothing", String::new()),
        ("no token", "token".to_owned()),
        ("unicode", "ødegård.ødegård.ødegård".to_owned()),
        ("dots", "..".to_owned()),
        ("an empty header", format!(".{body}.{signature}")),
        ("empty claims", format!("{head}..{signature}")),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("trailing part", format!("{access}.e30")),
        ("leading part", format!("e30.{access}")),
        ("five parts, as an encrypted token has", format!("{head}.{body}.{signature}.{body}.{signature}")),
        ("trailing text", format!("{access}x")),
        ("trailing dot", format!("{access}.")),
        ("trailing zero", format!("{access}%00")),
        ("padding", format!("{access}=")),
        ("padding of the header", format!("{head}==.{body}.{signature}")),
        ("another spelling of the signature", respelled(access)),
        ("a blank inside", format!("{head}. {body}.{signature}")),
        ("a tab inside", format!("{head}.{body}.\t{signature}")),
        ("the alphabet of plain base64", format!("{head}.{body}.+/{}", &signature[2..])),
        ("a signature cut short", access[..access.len() - 4].to_owned()),
        ("longer than any", format!("{access}{}", "x".repeat(9000))),
        ("large claims", signed(header, &with(claims, "name", json!("x".repeat(9000))))),
        ("algorithm none", unsigned("none")),
        ("algorithm None", unsigned("None")),
        ("algorithm none with our signature", format!("{}.{body}.{signature}", encoded(&alg("none")))),
        ("no algorithm", signed(&without(header, "alg"), claims)),
        ("an unknown algorithm", signed(&with(header, "alg", json!("HS1")), claims)),
        ("HS512", sealed(&alg("HS512"), &claims.to_string(), Algorithm::HS512, KEY)),
        ("HS384", sealed(&alg("HS384"), &claims.to_string(), Algorithm::HS384, KEY)),
        ("HS384 that says HS256", sealed(&header.to_string(), &claims.to_string(), Algorithm::HS384, KEY)),
        // A server that takes the algorithm from the token would check an RSA signature with our key, or the reverse.
        ("RS256 with our key", signed(&with(header, "alg", json!("RS256")), claims)),
        ("ES256 with our key", signed(&with(header, "alg", json!("ES256")), claims)),
        ("another key", sealed(&header.to_string(), &claims.to_string(), Algorithm::HS256, OTHER)),
        ("an empty key", sealed(&header.to_string(), &claims.to_string(), Algorithm::HS256, "")),
        (
            "changed claims",
            format!("{head}.{}.{signature}", encoded(&with(claims, "is_superuser", json!(true)).to_string())),
        ),
        ("changed header", format!("{}.{body}.{signature}", encoded(&and(header, "\"x\":1")))),
        (
            "duplicate algorithm",
            sealed(&and(header, "\"alg\":\"none\""), &claims.to_string(), Algorithm::HS256, KEY),
        ),
        (
            "duplicate subject",
            sealed(&header.to_string(), &and(claims, &format!("\"sub\":{nobody}")), Algorithm::HS256, KEY),
        ),
        (
            "duplicate end",
            sealed(&header.to_string(), &and(claims, "\"exp\":9999999999"), Algorithm::HS256, KEY),
        ),
        ("claims that are a list", sealed(&header.to_string(), "[]", Algorithm::HS256, KEY)),
        ("claims that are no JSON", sealed(&header.to_string(), "claims", Algorithm::HS256, KEY)),
        ("a header that is no JSON", sealed("header", &claims.to_string(), Algorithm::HS256, KEY)),
        (
            "trailing data after the claims",
            sealed(&header.to_string(), &format!("{claims} {{}}"), Algorithm::HS256, KEY),
        ),
        ("refresh as access", refresh.to_owned()),
        ("the header of a refresh token", signed(&with(header, "typ", json!("rt+jwt")), claims)),
        ("the header of any token", signed(&with(header, "typ", json!("JWT")), claims)),
        ("no type", signed(&without(header, "typ"), claims)),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into();
    for kid in
        [Value::Null, json!(""), json!("../../dev/null"), json!("' OR 1=1"), json!(7), json!([header["kid"]])]
    {
        table.push((format!("key id {kid}"), signed(&with(header, "kid", kid), claims)));
    }
    table.push(("no key id".to_owned(), signed(&without(header, "kid"), claims)));
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("jku", json!("https://attacker.example/keys")),
        ("jwk", json!({"kty": "oct", "k": encoded(OTHER)})),
        ("x5u", json!("https://attacker.example/certificate")),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("b64", json!(false)),
    ] {
        table.push((format!("header {name}: {value}"), signed(&with(header, name, value), claims)));
    }
    for (name, values) in [
        (
            "aud",
            vec![json!("somebody"), json!(""), json!(7), json!(["somebody", "bifrost-client"]), Value::Null],
        ),
        ("iss", vec![json!("somebody"), json!("bifrost-api/"), json!(7), Value::Null]),
        ("sub", vec![nobody.clone(), json!("admin@localhost"), json!(7), Value::Null]),
        ("sid", vec![nobody, json!(""), Value::Null]),
        ("epoch", vec![json!(-1), json!(1), json!("0"), json!(0.5), Value::Null]),
        ("exp", vec![json!(NOW), json!(0), json!(-1), json!("1995176000"), json!(1e300), Value::Null]),
        ("type", vec![json!("refresh"), json!("mfa"), json!("Access"), json!(["access"]), Value::Null]),
        ("jti", vec![json!("x"), Value::Null]),
        ("user_type", vec![json!("ROOT")]),
        ("roles", vec![json!("admin")]),
    ] {
        for value in values {
            table.push((format!("claim {name}: {value}"), signed(header, &with(claims, name, value))));
        }
        table.push((format!("no claim {name}"), signed(header, &without(claims, name))));
    }
    table
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    // Every request has the same id, so that answers can be compared to the letter.
    let proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let server = Server::start_with(|setup| setup.api.trusted_proxies = proxies).await;
    let (access, refresh) = server.admin().await;
    let (header, claims) = parts(&access);
    assert_eq!(
        server.get("/auth/me", &signed(&header, &claims)).await.status,
        200,
        "the way of forging works"
    );

    let table = forgeries(&header, &claims, &access, &refresh);
    assert!(table.len() >= 40, "{}", table.len());
    let mut answer = None;
    for (name, token) in table {
        let request = Request::get("/auth/me").header("x-request-id", "forged");
        let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).expect("a value");
        let request = request.header("authorization", value).body(Body::empty()).expect("a request");
        let reply = server.send(request).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.text);
        if token.is_ascii() {
            assert_eq!(reply.problem().1, "token_invalid", "{name}");
            assert_eq!(reply.text, *answer.get_or_insert_with(|| reply.text.clone()), "{name}: it tells why");
        }
        let body = Some(json!({ "refresh_token": token }));
        let reply = server.ask(axum::http::Method::POST, "/auth/refresh", &[], body).await;
        if token != refresh {
            assert_eq!(reply.problem(), (401, "token_invalid".to_owned()), "{name}, to refresh");
        }
    }
    let body = Some(json!({"refresh_token": access}));
    let reply = server.ask(axum::http::Method::POST, "/auth/refresh", &[], body).await;
    assert_eq!(reply.problem(), (401, "token_invalid".to_owned()), "access as refresh");
    assert_eq!(server.get("/auth/me", &access).await.status, 200, "and ours still holds");
}

#[tokio::test]
async fn after_a_change_of_keys_the_tokens_of_the_last_one_hold_and_no_older_ones() {
    let of = async |key: &'static str, previous: Option<&'static str>| {
        Server::start_with(|setup| {
            setup.auth.signing_key = key.into();
            setup.auth.previous_key = previous.map(Into::into);
        })
        .await
    };
    const OLDER: &str = "j5Tg8Kq2Wz7Xc4Vb9Nm1Lp6Rs3Dh0FyE";
    // What these keys are called.
    let last = parts(&of(OTHER, None).await.admin().await.0).0;
    let older = parts(&of(OLDER, None).await.admin().await.0).0;
    let server = of(KEY, Some(OTHER)).await;
    let (access, _) = server.admin().await;
    let (header, claims) = parts(&access);
    let by =
        |header: &Value, key: &str| sealed(&header.to_string(), &claims.to_string(), Algorithm::HS256, key);
    assert_eq!(server.get("/auth/me", &access).await.status, 200);
    assert_eq!(server.get("/auth/me", &by(&last, OTHER)).await.status, 200, "the overlap");
    for (name, token) in [
        ("the key before the last", by(&older, OLDER)),
        ("the last key under the name of this one", by(&header, OTHER)),
        ("this key under the name of the last one", by(&last, KEY)),
    ] {
        assert_eq!(
            server.get("/auth/me", &token).await.problem(),
            (401, "token_invalid".to_owned()),
            "{name}"
        );
    }
    let (new, _) = server.admin().await;
    assert_eq!(parts(&new).0, header, "new tokens are signed with the new key alone");
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
