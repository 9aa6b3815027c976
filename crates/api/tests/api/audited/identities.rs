//! Identity providers, and who signs in with them.

use super::{
    Scene,
    directory::{ANN, ANNS_PASSWORD, id},
    expected::{ANY, gone, line, made},
    walk::{ADMIN, Ask, Walk},
};
use crate::oidc::{
    Begun,
    stand_in::{Pair, StandIn},
};
use axum::http::Method;
use bifrost_domain::clock::Clock;
use serde_json::{Value, json};

const EVE: &str = "eve@acme.example";

pub(super) async fn providers(walk: &mut Walk, scene: &Scene) {
    let by = scene.admin.bearer.as_str();
    let key = Pair::ed("ed");
    let stand_in = StandIn::start(&[&key]).await;
    let body = json!({
        "name": "stand-in", "display_name": "Stand-in", "kind": "generic", "issuer": stand_in.issuer(),
        "client_id": "client", "client_secret": "the first secret of the client",
        "rules": {
            "accept_bearer": true, "bearer_audience": "api://bifrost", "jit_enabled": true,
            "allowed_domains": ["acme.example"]
        }
    });
    let provider = id(&walk.ask(Ask::to("POST /api/identity-providers").by(by).json(&body)).await);
    let about = |action| line(action, ADMIN, &provider);
    let all = json!({
        "name": "stand-in", "display_name": "Stand-in", "kind": "generic", "issuer": stand_in.issuer(),
        "client_id": "client", "client_secret": "[SECRET]", "is_active": true, "rules": ANY
    });
    walk.left([about("identity_provider.create").changes(made(all.clone()))]).await;
    walk.ask(Ask::to("POST /api/identity-providers/{id}/test").at(&[&provider]).by(by)).await;
    walk.left([]).await;
    let body = json!({"client_secret": "the second secret of the client"});
    walk.ask(Ask::to("PATCH /api/identity-providers/{id}").at(&[&provider]).by(by).json(&body)).await;
    let changes = json!({"client_secret": {"old": "[SECRET]", "new": "[SECRET]"}});
    walk.left([about("identity_provider.update").changes(changes)]).await;

    people(walk, scene, &key, &stand_in).await;

    walk.ask(Ask::to("DELETE /api/identity-providers/{id}").at(&[&provider]).by(by)).await;
    walk.left([about("identity_provider.delete").changes(gone(all))]).await;
}

async fn people(walk: &mut Walk, scene: &Scene, key: &Pair, stand_in: &StandIn) {
    let acme = scene.acme.as_str();
    let by = json!({"provider": "stand-in"});
    // Somebody new.
    let begun = Begun::of(&walk.server.ask(Method::GET, "/auth/oauth/init/stand-in", &[], None).await);
    answer(walk, key, stand_in, &begun, &json!({"sub": "eve", "email": EVE, "email_verified": true}));
    let eve = finish(walk, &begun).await;
    assert!(eve["access_token"].is_string(), "{eve}");
    let eve = walk.me(&format!("Bearer {}", eve["access_token"].as_str().expect("a token"))).await;
    let all = json!({
        "email": EVE, "user_type": "ORG", "organization_id": acme, "is_active": true, "is_superuser": false,
        "is_verified": true, "is_registered": true
    });
    let linked = json!({"provider": "stand-in", "subject": "eve"});
    walk.left([
        line("user.register", EVE, &eve).of(acme).changes(made(all)).detail(by.clone()),
        line("identity.link", EVE, &eve).of(acme).detail(linked),
        line("session.begin", EVE, &eve).of(acme).detail(by.clone()),
    ])
    .await;
    // The same person with an access token of the provider.
    let token = key.sign(
        "at+jwt",
        &json!({
            "iss": stand_in.issuer(), "aud": "api://bifrost", "sub": "eve",
            "exp": walk.server.clock.now().timestamp() + 300
        }),
    );
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    walk.ask(Ask::to("POST /auth/token").form(&form)).await;
    walk.left([line("session.begin", EVE, &eve).of(acme).detail(by)]).await;

    // Somebody who is known links another identity of his, and takes it away.
    let begin = Ask::to("POST /auth/oauth/link/{provider}").at(&["stand-in"]).by(&scene.ann.bearer);
    let begin = begin.json(&json!({"password": ANNS_PASSWORD}));
    let begun = Begun::of(&walk.ask(begin).await);
    walk.left([]).await;
    answer(walk, key, stand_in, &begun, &json!({"sub": "ann there"}));
    finish(walk, &begun).await;
    let about = |action| line(action, ANN, &scene.ann.id).of(acme);
    let detail = json!({"provider": "stand-in", "subject": "ann there"});
    walk.left([about("identity.link").detail(detail)]).await;
    let unlink = Ask::to("DELETE /auth/oauth/accounts/{provider}").at(&["stand-in"]).by(&scene.ann.bearer);
    walk.ask(unlink).await;
    walk.left([about("identity.unlink").detail(json!({"provider": "stand-in"}))]).await;

    // Somebody whom nobody expects.
    let begun = Begun::of(&walk.server.ask(Method::GET, "/auth/oauth/init/stand-in", &[], None).await);
    let claims = json!({"sub": "mallory", "email": "Mallory@elsewhere.example", "email_verified": true});
    answer(walk, key, stand_in, &begun, &claims);
    let refused = walk.ask_any(callback(&begun)).await;
    assert_eq!(refused.problem(), (403, "identity_unknown".to_owned()));
    let detail = json!({"provider": "stand-in", "reason": "identity_unknown", "subject": "mallory"});
    let expected = line("session.begin", "mallory@elsewhere.example", "").failed();
    walk.left([expected.detail(detail)]).await;
}

fn answer(walk: &Walk, key: &Pair, stand_in: &StandIn, begun: &Begun, claims: &Value) {
    let now = walk.server.clock.now().timestamp();
    let mut all = json!({
        "iss": stand_in.issuer(), "aud": "client", "nonce": begun.nonce, "iat": now, "exp": now + 300
    });
    for (name, value) in claims.as_object().expect("an object") {
        all[name] = value.clone();
    }
    stand_in.answer_with(key.sign("JWT", &all), Value::Null);
}

fn callback(begun: &Begun) -> Ask<'_> {
    let body = json!({"code": "the code of the provider", "state": begun.state});
    Ask::to("POST /auth/oauth/callback").with("cookie", &begun.cookie).json(&body)
}

async fn finish(walk: &mut Walk, begun: &Begun) -> Value {
    walk.ask(callback(begun)).await.json()
}
