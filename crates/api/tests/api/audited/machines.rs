//! API clients, keys, programs without a browser.

use super::{
    Scene,
    directory::{ANN, id},
    expected::{ANY, gone, line, made},
    walk::{ADMIN, Ask, Walk},
};
use bifrost_app::auth::SYSTEM_EMAIL;
use serde_json::json;

pub(super) async fn applications(walk: &mut Walk, scene: &Scene) {
    let (by, acme) = (scene.admin.bearer.as_str(), scene.acme.as_str());
    let body = json!({
        "name": "Sync", "app_id": "sync", "organization_id": acme, "scopes": ["roles.write"],
        "allow_user_assertion": true
    });
    let application = id(&walk.ask(Ask::to("POST /api/applications").by(by).json(&body)).await);
    let about = |action| line(action, ADMIN, &application).of(acme);
    let mut all = json!({
        "app_id": "sync", "name": "Sync", "scopes": ["roles.write"], "is_active": true, "allow_user_assertion": true
    });
    walk.left([about("application.create").changes(made(all.clone()))]).await;
    let body = json!({"rate_limit_per_minute": 1_000});
    walk.ask(Ask::to("PATCH /api/applications/{id}").at(&[&application]).by(by).json(&body)).await;
    let changes = json!({"rate_limit_per_minute": {"old": null, "new": 1_000}});
    walk.left([about("application.update").changes(changes)]).await;

    let ask = Ask::to("POST /api/applications/{id}/keys").at(&[&application]).by(by);
    let key = walk.ask(ask.json(&json!({"name": "first"}))).await.json();
    let (key_id, secret) = (key["id"].as_str().expect("an id"), key["key"].as_str().expect("a key"));
    let shown = json!({"name": "first", "prefix": key["prefix"], "key": "[SECRET]"});
    let expected = about("application.key_create").changes(made(shown.clone()));
    walk.left([expected.detail(json!({"key_id": key_id}))]).await;

    // It does something itself, and for somebody.
    for (name, person) in [("of the program", None), ("of ann", Some(scene.ann.id.as_str()))] {
        let mut ask = Ask::to("POST /api/roles").with("x-api-key", secret).json(&json!({"name": name}));
        if let Some(person) = person {
            ask = ask.with("x-on-behalf-of", person);
        }
        let role = id(&walk.ask(ask).await);
        let actor = if person.is_some() { ANN } else { SYSTEM_EMAIL };
        let expected = line("role.create", actor, &role).of(acme).through(&application, person);
        let all = json!({"name": name, "permissions": [], "is_active": true});
        walk.left([expected.changes(made(all))]).await;
    }

    let delete = "DELETE /api/applications/{id}/keys/{key_id}";
    walk.ask(Ask::to(delete).at(&[&application, key_id]).by(by)).await;
    let expected = about("application.key_revoke").changes(gone(shown));
    walk.left([expected.detail(json!({"key_id": key_id}))]).await;
    walk.ask(Ask::to("DELETE /api/applications/{id}").at(&[&application]).by(by)).await;
    all["rate_limit_per_minute"] = json!(1_000);
    walk.left([about("application.delete").changes(gone(all))]).await;
}

pub(super) async fn other_keys(walk: &mut Walk, scene: &Scene) {
    let (by, acme) = (scene.ann.bearer.as_str(), scene.acme.as_str());
    for (make, delete, word) in [
        ("POST /api/workflow-keys", "DELETE /api/workflow-keys/{id}", "workflow_key"),
        ("POST /api/sdk/keys", "DELETE /api/sdk/keys/{id}", "sdk_key"),
    ] {
        let (create, revoke) = match word {
            "sdk_key" => ("sdk_key.create", "sdk_key.revoke"),
            _ => ("workflow_key.create", "workflow_key.revoke"),
        };
        let body = json!({"name": "mine", "expires_at": "2027-01-01T00:00:00Z"});
        let key = walk.ask(Ask::to(make).by(by).json(&body)).await.json();
        let key_id = key["id"].as_str().expect("an id");
        let shown = json!({"name": "mine", "prefix": key["prefix"], "expires_at": ANY, "key": "[SECRET]"});
        walk.left([line(create, ANN, key_id).of(acme).changes(made(shown.clone()))]).await;
        walk.ask(Ask::to(delete).at(&[key_id]).by(by)).await;
        walk.left([line(revoke, ANN, key_id).of(acme).changes(gone(shown))]).await;
    }
}

pub(super) async fn device(walk: &mut Walk, scene: &Scene) {
    let (by, acme) = (scene.ann.bearer.as_str(), scene.acme.as_str());
    for approve in [false, true] {
        // Nobody has done anything yet: a program asks, and a person looks at what it says of itself.
        let ask = Ask::to("POST /auth/device/code").form(&[("client_id", "cli")]);
        let begun = walk.ask(ask).await.json();
        walk.left([]).await;
        let (letters, code) = (&begun["user_code"], begun["device_code"].as_str().expect("a code"));
        walk.ask(Ask::to("POST /auth/device/lookup").by(by).json(&json!({"user_code": letters}))).await;
        walk.left([]).await;
        let body = json!({"user_code": letters, "approve": approve});
        walk.ask(Ask::to("POST /auth/device/authorize").by(by).json(&body)).await;
        let action = if approve { "device.approve" } else { "device.deny" };
        let detail = json!({"client_id": "cli", "ip_address": "127.0.0.1", "user_agent": "walker/1.0"});
        walk.left([line(action, ANN, ANY).of(acme).detail(detail)]).await;
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let ask = Ask::to("POST /auth/device/token").form(&[("grant_type", grant), ("device_code", code)]);
        let answer = walk.ask_any(ask).await;
        assert_eq!(answer.status.is_success(), approve, "{}", answer.text);
        if approve {
            walk.left([line("session.begin", ANN, &scene.ann.id).of(acme)]).await;
        } else {
            walk.left([]).await;
        }
    }
}
