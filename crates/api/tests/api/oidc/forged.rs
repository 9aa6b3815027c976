//! Tokens of a provider that somebody else made, or that were made for something else: none opens anything.

use super::stand_in::{Pair, StandIn};
use crate::support::Server;
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::clock::Clock;
use chrono::Duration;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const STRANGER: &str = "22222222-2222-2222-2222-222222222222";
const OBJECT: &str = "33333333-3333-3333-3333-333333333333";

fn with(claims: &Value, change: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[tokio::test]
async fn a_table_of_them() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    server.person("ann@home.example", &home).await;
    let (good, rsa, ec, weak, foreign) =
        (Pair::ed("ed"), Pair::rsa("rsa", 2048), Pair::ec("ec"), Pair::rsa("weak", 1024), Pair::ed("ed"));
    let stand_in = StandIn::start(&[&good, &rsa, &ec, &weak]).await;
    let provider = server.provider(&admin, &stand_in.issuer(), json!({})).await;
    server.link(&provider, "ann", "ann@home.example").await;
    let now = server.clock.now().timestamp();
    let claims = json!({
        "iss": stand_in.issuer(), "aud": "api://bifrost", "sub": "ann", "iat": now, "exp": now + 300, "scope": "run"
    });
    let typ = "at+jwt";

    for key in [&good, &rsa, &ec] {
        let reply = server.get("/auth/me", &key.sign(typ, &claims)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}: {}", key.kid, reply.text);
        assert_eq!(reply.json()["email"], "ann@home.example");
    }

    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |alg: &str| {
        let header = json!({"alg": alg, "typ": typ, "kid": "ed"});
        format!("{}.{}.", part(&header), part(&claims))
    };
    let by_hmac = |secret: &[u8], kid: &str| {
        let header = Header { typ: Some(typ.into()), kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(secret)).expect("signed")
    };
    let valid = good.sign(typ, &claims);
    let (message, signature) = valid.rsplit_once('.').expect("three parts");
    let with_header = |change: Value| good.sign_raw(&with(&good.header(typ), &change), &claims);
    let with_claims = |change: Value| good.sign(typ, &with(&claims, &change));
    let modulus = URL_SAFE_NO_PAD.decode(rsa.jwk["n"].as_str().expect("a modulus")).expect("base64url");
    let id_token = with(&claims, &json!({"aud": "client", "nonce": "n"}));
    let mut table = vec![
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no signature", format!("{message}.")),
        ("a cut signature", format!("{message}.{}", &signature[..signature.len() - 4])),
        ("HS256 with the public key in PEM", by_hmac(rsa.public.as_bytes(), "rsa")),
        ("HS256 with the public key trimmed", by_hmac(rsa.public.trim().as_bytes(), "rsa")),
        ("HS256 with the modulus", by_hmac(&modulus, "rsa")),
        ("HS256 with the client's secret", by_hmac(b"a secret", "ed")),
        ("somebody else's key under the same name", foreign.sign(typ, &claims)),
        (
            "a key of the set under another's name",
            ec.sign_raw(&with(&ec.header(typ), &json!({"kid": "ed"})), &claims),
        ),
        ("a key that is too short", weak.sign(typ, &claims)),
        ("the key in the token itself", {
            let header = with(&foreign.header(typ), &json!({"jwk": foreign.jwk, "kid": "mine"}));
            foreign.sign_raw(&header, &claims)
        }),
        ("an unknown key", with_header(json!({"kid": "other"}))),
        ("no key's name", with_header(json!({"kid": null, "alg": "RS256"}))),
        ("another algorithm in the header", with_header(json!({"alg": "ES256"}))),
        ("an extension that we do not know", with_header(json!({"crit": ["exp"], "exp": 1}))),
        ("other claims under the signature", {
            let (header, _) = message.split_once('.').expect("two parts");
            format!("{header}.{}.{signature}", part(&with(&claims, &json!({"sub": "bob"}))))
        }),
        ("something after it", format!("{valid}.x")),
        ("a letter after it", format!("{valid}A")),
        ("a space in it", valid.replacen('.', ". ", 1)),
        ("too long", format!("{valid}{}", "A".repeat(20_000))),
        ("another type", good.sign("logout+jwt", &claims)),
        ("an id token", good.sign("JWT", &id_token)),
        (
            "an id token with our audience",
            good.sign("JWT", &with(&id_token, &json!({"aud": "api://bifrost"}))),
        ),
        ("an id token that calls itself an access token", good.sign(typ, &id_token)),
        ("neither typ nor scope", good.sign("JWT", &with(&claims, &json!({"scope": null})))),
    ];
    for (name, change) in [
        ("another audience", json!({"aud": "api://other"})),
        ("no audience", json!({"aud": null})),
        ("the client as audience", json!({"aud": ["client", "api://bifrost"]})),
        ("another issuer", json!({"iss": "https://id.example"})),
        ("the issuer with a slash", json!({"iss": format!("{}/", stand_in.issuer())})),
        ("no issuer", json!({"iss": null})),
        ("our own issuer", json!({"iss": "bifrost-api"})),
        ("expired", json!({"exp": now - 60})),
        ("without an end", json!({"exp": null})),
        ("an end that is no number", json!({"exp": "2100-01-01"})),
        ("not yet valid", json!({"nbf": now + 61})),
        ("issued in the future", json!({"iat": now + 61})),
        ("nobody", json!({"sub": null})),
        ("an unknown person", json!({"sub": "bob"})),
        (
            "an address instead of a person",
            json!({"sub": "ann@home.example", "email": "ann@home.example", "email_verified": true}),
        ),
        ("a number as a person", json!({"sub": 7})),
    ] {
        table.push((name, with_claims(change)));
    }
    for (name, token) in &table {
        let reply = server.get("/auth/me", token).await;
        assert_eq!(reply.problem().0, 401, "{name}");
        // An unknown person may be welcomed at an exchange; here nobody is.
        let status = server.exchange(token).await.status;
        assert!(matches!(status.as_u16(), 401 | 403), "{name}: {status}");
    }
    assert!(table.len() >= 40, "{}", table.len());
    assert_eq!(
        server.get("/auth/me", &with_claims(json!({"exp": now - 59}))).await.status,
        StatusCode::OK,
        "leeway"
    );
    assert_eq!(
        server.get("/auth/me", &with_claims(json!({"nbf": now + 60}))).await.status,
        StatusCode::OK,
        "leeway"
    );
    // All of that asked for the keys once: half a minute has not passed.
    assert_eq!(stand_in.keys_asked(), 1);

    // Not where the provider does not allow it, and not any more when it is off.
    let path = format!("/api/identity-providers/{}", provider["id"].as_str().expect("an id"));
    for change in [
        json!({"rules": {"accept_bearer": false}}),
        json!({"rules": {"accept_bearer": true}, "is_active": false}),
    ] {
        let bearer = format!("Bearer {admin}");
        let reply =
            server.ask(axum::http::Method::PATCH, &path, &[("authorization", &bearer)], Some(change)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert_eq!(server.get("/auth/me", &valid).await.problem().0, 401);
        assert_eq!(server.exchange(&valid).await.problem().0, 401);
    }
}

#[tokio::test]
async fn a_stranger_s_tenant_is_nobody_s() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    server.person("ann@home.example", &home).await;
    let key = Pair::ed("ed");
    let stand_in = StandIn::start(&[&key]).await;
    let rules = json!({"allowed_tenants": [{"tenant_id": TENANT.to_uppercase()}]});
    let entra = json!({"kind": "entra", "name": "entra", "rules": rules});
    let provider = server.provider(&admin, &stand_in.template(), entra).await;
    for subject in [format!("{TENANT}:{OBJECT}"), format!("{STRANGER}:{OBJECT}")] {
        // Even who was linked before his tenant was no longer let in.
        let email = if subject.starts_with(TENANT) { "ann@home.example" } else { "admin@localhost" };
        server.link(&provider, &subject, email).await;
    }
    let now = server.clock.now().timestamp();
    let of = |tenant: &str| stand_in.template().replace("{tenantid}", tenant);
    let claims = json!({
        "iss": of(TENANT), "tid": TENANT, "oid": OBJECT, "sub": "x", "aud": "api://bifrost", "azp": "other", "scp": "run",
        "iat": now, "exp": now + 300
    });
    let good = server.get("/auth/me", &key.sign("JWT", &claims)).await;
    assert_eq!((good.status, &good.json()["email"]), (StatusCode::OK, &json!("ann@home.example")));
    for (name, change) in [
        ("another tenant", json!({"tid": STRANGER, "iss": of(STRANGER)})),
        ("an issuer of another tenant", json!({"iss": of(STRANGER)})),
        ("a tenant of another issuer", json!({"tid": STRANGER})),
        ("the template itself", json!({"iss": stand_in.template(), "tid": "{tenantid}"})),
        ("neither scope nor role", json!({"scp": null})),
        ("a program", json!({"idtyp": "app", "roles": ["x"]})),
        ("no object", json!({"oid": null})),
    ] {
        assert_eq!(
            server.get("/auth/me", &key.sign("JWT", &with(&claims, &change))).await.problem().0,
            401,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_reach_the_provider() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (old, new) = (Pair::ed("old"), Pair::ed("new"));
    let stand_in = StandIn::start(&[&old]).await;
    let provider = server.provider(&admin, &stand_in.issuer(), json!({})).await;
    server.link(&provider, "ann", "admin@localhost").await;
    let now = server.clock.now().timestamp();
    let claims = json!({
        "iss": stand_in.issuer(), "aud": "api://bifrost", "sub": "ann", "iat": now, "exp": now + 86_400, "scope": "run"
    });
    let flood = async || {
        // Nobody gets so far as to check the signature.
        let signed = old.sign("at+jwt", &claims);
        let (_, rest) = signed.split_once('.').expect("three parts");
        let tokens: Vec<String> = (0..200)
            .map(|n| {
                let header = with(&old.header("at+jwt"), &json!({"kid": format!("k{n}")}));
                format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
            })
            .collect();
        let replies = join_all(tokens.iter().map(|token| server.get("/auth/me", token))).await;
        assert!(replies.iter().all(|reply| reply.status == StatusCode::UNAUTHORIZED));
    };
    flood().await;
    assert_eq!(stand_in.keys_asked(), 1, "the first look");
    server.clock.advance(Duration::seconds(31));
    flood().await;
    assert_eq!(stand_in.keys_asked(), 2, "one more, half a minute later");

    // The provider signs with another key: it is found when somebody shows it, once the pause is over.
    stand_in.set_keys(&[&new]);
    let (by_old, by_new) = (old.sign("at+jwt", &claims), new.sign("at+jwt", &claims));
    assert_eq!(server.get("/auth/me", &by_new).await.problem().0, 401, "asked a moment ago");
    assert_eq!(server.get("/auth/me", &by_old).await.status, StatusCode::OK, "the old one is known still");
    server.clock.advance(Duration::seconds(31));
    assert_eq!(server.get("/auth/me", &by_new).await.status, StatusCode::OK);
    assert_eq!(server.get("/auth/me", &by_old).await.problem().0, 401, "and the dropped one is gone");

    // One that nobody replaces is gone within the hour, too.
    stand_in.set_keys(&[&old]);
    server.clock.advance(Duration::minutes(61));
    assert_eq!(server.get("/auth/me", &by_new).await.problem().0, 401);
    assert_eq!(server.get("/auth/me", &by_old).await.status, StatusCode::OK);
    assert_eq!(stand_in.keys_asked(), 4);

    // A set without a usable key, or a document of another issuer, is no set: the provider is away, and is not asked at once again.
    stand_in.set_jwks(vec![json!({"kty": "oct", "k": "c2VjcmV0", "kid": "old", "alg": "HS256"})]);
    server.clock.advance(Duration::minutes(61));
    for _ in 0..3 {
        let reply = server.get("/auth/me", &by_old).await;
        assert_eq!(reply.problem(), (503, "provider_unavailable".to_owned()));
    }
    assert_eq!(stand_in.keys_asked(), 5);
    stand_in.set_keys(&[&old]);
    stand_in.claim_issuer("https://id.example");
    server.clock.advance(Duration::seconds(6));
    assert_eq!(server.get("/auth/me", &by_old).await.problem().0, 503);
}
