//! Organizations, people, members, roles.

use super::{
    Scene, Someone,
    expected::{ANY, gone, line, made},
    walk::{ADMIN, Ask, Walk},
};
use crate::{account::enrol, support::Reply};
use serde_json::json;

pub(super) const ANN: &str = "ann@acme.example";
pub(super) const ANNS_PASSWORD: &str = "the first password of ann";
const BOB: &str = "bob@acme.example";

pub(super) fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().expect("an id").to_owned()
}

pub(super) async fn organizations_and_people(walk: &mut Walk, admin: Someone) -> Scene {
    let by = admin.bearer.as_str();
    let body = json!({"name": "Acme", "domain": "acme.example"});
    let acme = id(&walk.ask(Ask::to("POST /api/organizations").by(by).json(&body)).await);
    let all = json!({
        "name": "Acme", "domain": "acme.example", "is_active": true, "kind": ANY, "time_zone": ANY, "settings": {}
    });
    let expected = line("organization.create", ADMIN, &acme).of(&acme);
    walk.left([expected.changes(made(all.clone()))]).await;
    let body = json!({"name": "Acme 2", "settings": {"color": "red"}});
    walk.ask(Ask::to("PATCH /api/organizations/{id}").at(&[&acme]).by(by).json(&body)).await;
    let changes = json!({
        "name": {"old": "Acme", "new": "Acme 2"}, "settings": {"old": {}, "new": {"color": "red"}}
    });
    walk.left([line("organization.update", ADMIN, &acme).of(&acme).changes(changes)]).await;

    let body = json!({"name": "Gone", "domain": "gone.example"});
    let other = id(&walk.ask(Ask::to("POST /api/organizations").by(by).json(&body)).await);
    let mut all = all;
    (all["name"], all["domain"]) = (json!("Gone"), json!("gone.example"));
    let expected = line("organization.create", ADMIN, &other).of(&other);
    walk.left([expected.changes(made(all.clone()))]).await;
    walk.ask(Ask::to("DELETE /api/organizations/{id}").at(&[&other]).by(by)).await;
    let expected = line("organization.delete", ADMIN, &other).of(&other).changes(gone(all));
    walk.left([expected.detail(json!({"memberships_ended": 0, "keys_ended": 0}))]).await;

    let ann = people(walk, &admin, &acme).await;
    Scene { admin, acme, ann }
}

async fn people(walk: &mut Walk, admin: &Someone, acme: &str) -> Someone {
    let by = admin.bearer.as_str();
    let body = json!({"email": ANN, "organization_id": acme});
    let ann = id(&walk.ask(Ask::to("POST /api/users").by(by).json(&body)).await);
    let mut all = json!({
        "email": ANN, "user_type": "ORG", "organization_id": acme, "is_active": true, "is_superuser": false,
        "is_verified": ANY, "is_registered": false
    });
    walk.left([line("user.create", ADMIN, &ann).of(acme).changes(made(all.clone()))]).await;
    let body = json!({"email": ANN, "password": ANNS_PASSWORD, "name": "Ann"});
    walk.ask(Ask::to("POST /auth/register").json(&body)).await;
    let changes = json!({
        "name": {"old": null, "new": "Ann"}, "is_registered": {"old": false, "new": true},
        "password": {"old": null, "new": "[SECRET]"}
    });
    walk.left([line("user.register", ANN, &ann).of(acme).changes(changes)]).await;
    let (bearer, _) = walk.sign_in(ANN, ANNS_PASSWORD).await;
    walk.left([line("session.begin", ANN, &ann).of(acme)]).await;

    let body = json!({"email": BOB, "organization_id": acme, "password": "the first password of bob"});
    let bob = id(&walk.ask(Ask::to("POST /api/users").by(by).json(&body)).await);
    (all["email"], all["is_registered"], all["password"]) = (json!(BOB), json!(true), json!("[SECRET]"));
    walk.left([line("user.create", ADMIN, &bob).of(acme).changes(made(all))]).await;
    let body = json!({"name": "Bob", "password": "the second password of bob"});
    walk.ask(Ask::to("PATCH /api/users/{id}").at(&[&bob]).by(by).json(&body)).await;
    let changes = json!({
        "name": {"old": null, "new": "Bob"}, "password": {"old": "[SECRET]", "new": "[SECRET]"}
    });
    walk.left([line("user.update", ADMIN, &bob).of(acme).changes(changes)]).await;
    let (bobs, _) = walk.sign_in(BOB, "the second password of bob").await;
    walk.left([line("session.begin", BOB, &bob).of(acme)]).await;
    enrol(&walk.server, bobs.trim_start_matches("Bearer ")).await;
    walk.skip().await;
    walk.ask(Ask::to("DELETE /api/users/{id}/mfa").at(&[&bob]).by(by)).await;
    let changes = json!({"mfa_enabled": {"old": true, "new": false}});
    let expected = line("user.reset_factor", ADMIN, &bob).of(acme).changes(changes);
    walk.left([expected.detail(json!({"sessions_revoked": 1}))]).await;
    walk.ask(Ask::to("POST /auth/admin/revoke-user").by(by).json(&json!({"user_id": bob}))).await;
    let expected = line("user.revoke", ADMIN, &bob).of(acme);
    walk.left([expected.detail(json!({"sessions_revoked": 0}))]).await;
    walk.ask(Ask::to("DELETE /api/users/{id}").at(&[&bob]).by(by)).await;
    let changes = json!({"is_active": {"old": true, "new": false}, "purge_at": {"old": null, "new": ANY}});
    walk.left([line("user.delete", ADMIN, &bob).of(acme).changes(changes)]).await;
    Someone { id: ann, bearer }
}

pub(super) async fn members(walk: &mut Walk, scene: &Scene) {
    let (by, ann) = (scene.admin.bearer.as_str(), scene.ann.id.as_str());
    let put = "PUT /api/organizations/{id}/members/{user_id}";
    walk.ask(Ask::to(put).at(&[&scene.acme, ann]).by(by).json(&json!({"role": "admin"}))).await;
    let changes = json!({"role": {"old": "member", "new": "admin"}});
    walk.left([line("membership.update", ADMIN, ann).of(&scene.acme).changes(changes)]).await;

    let other = walk.server.organization(by.trim_start_matches("Bearer "), "Other").await;
    walk.skip().await;
    let body = json!({"role": "limited", "attributes": {"since": 2026}});
    walk.ask(Ask::to(put).at(&[&other, ann]).by(by).json(&body)).await;
    let all = json!({"role": "limited", "source": "direct", "attributes": {"since": 2026}});
    walk.left([line("membership.create", ADMIN, ann).of(&other).changes(made(all.clone()))]).await;
    let delete = "DELETE /api/organizations/{id}/members/{user_id}";
    walk.ask(Ask::to(delete).at(&[&other, ann]).by(by)).await;
    walk.left([line("membership.delete", ADMIN, ann).of(&other).changes(gone(all))]).await;
}

pub(super) async fn roles(walk: &mut Walk, scene: &Scene) {
    // By somebody of the organization: he is the actor, and the organization is his.
    let (by, acme, ann) = (scene.ann.bearer.as_str(), scene.acme.as_str(), scene.ann.id.as_str());
    walk.server.clock.advance(chrono::Duration::seconds(1));
    let body = json!({"name": "operators", "permissions": ["executions.run"]});
    let role = id(&walk.ask(Ask::to("POST /api/roles").by(by).json(&body)).await);
    let all = json!({"name": "operators", "permissions": ["executions.run"], "is_active": true});
    let about = |action| line(action, ANN, &role).of(acme);
    walk.left([about("role.create").changes(made(all))]).await;
    let body = json!({"permissions": ["executions.run", "executions.read_all"]});
    walk.ask(Ask::to("PATCH /api/roles/{id}").at(&[&role]).by(by).json(&body)).await;
    let both = json!(["executions.read_all", "executions.run"]);
    let changes = json!({"permissions": {"old": ["executions.run"], "new": both}});
    walk.left([about("role.update").changes(changes)]).await;
    let body = json!({"name": "ops", "permissions": both});
    walk.ask(Ask::to("PUT /api/roles/{id}").at(&[&role]).by(by).json(&body)).await;
    walk.left([about("role.update").changes(json!({"name": {"old": "operators", "new": "ops"}}))]).await;

    let give = || Ask::to("POST /api/roles/{id}/users").at(&[&role]).by(by);
    walk.ask(give().json(&json!({"user_ids": [ann]}))).await;
    walk.left([about("role.give").changes(made(json!({"user_ids": [ann]})))]).await;
    walk.ask(give().json(&json!({"user_ids": [ann]}))).await;
    // Who has it already is none whom it was given to.
    walk.left([about("role.give")]).await;
    walk.ask(Ask::to("DELETE /api/roles/{id}/users/{user_id}").at(&[&role, ann]).by(by)).await;
    walk.left([about("role.take").changes(gone(json!({"user_ids": [ann]})))]).await;

    let form = form(walk, acme).await;
    walk.ask(Ask::to("POST /api/roles/{id}/forms").at(&[&role]).by(by).json(&json!({"form_ids": [form]})))
        .await;
    walk.left([about("role.open").changes(made(json!({"form_ids": [form]})))]).await;
    walk.ask(Ask::to("DELETE /api/roles/{id}/forms/{form_id}").at(&[&role, &form]).by(by)).await;
    walk.left([about("role.close").changes(gone(json!({"form_ids": [form]})))]).await;
    walk.ask(Ask::to("DELETE /api/roles/{id}").at(&[&role]).by(by)).await;
    let all = json!({"name": "ops", "permissions": both, "is_active": true});
    walk.left([about("role.delete").changes(gone(all))]).await;
}

/// A form of the organization.
async fn form(walk: &Walk, acme: &str) -> String {
    let id = "01890a5d-ac96-774b-bcce-000000000001";
    walk.server.make_form(id, Some(acme)).await;
    id.to_owned()
}
