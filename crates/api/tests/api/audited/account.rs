//! Signing in and out, and the own account.

use super::{
    Scene, Someone,
    directory::{ANN, ANNS_PASSWORD},
    expected::{ANY, Expected, line},
    walk::{ADMIN, ADMIN_PASSWORD, Ask, Walk},
};
use crate::{
    account::{code, file_form, png, session},
    support::tokens,
};
use serde_json::{Value, json};

const SECOND_PASSWORD: &str = "the second password of ann";

impl Walk {
    /// The id of whom a `Bearer …` is of.
    pub(super) async fn me(&self, bearer: &str) -> String {
        let me = self.server.get("/auth/me", bearer.trim_start_matches("Bearer ")).await.json();
        me["id"].as_str().expect("an id").to_owned()
    }
}

/// Those that fail, too, also of nobody.
pub(super) async fn sign_ins(walk: &mut Walk, scene: &Scene) {
    for typed in ["Ann@ACME.example", "nobody@acme.example"] {
        let form = [("username", typed), ("password", "not the password of ann")];
        assert_eq!(walk.ask_any(Ask::to("POST /auth/login").form(&form)).await.status, 401);
        let mut expected = line("session.begin", &typed.to_lowercase(), "").failed();
        if typed.starts_with("Ann") {
            // For the administrators there to see.
            expected = expected.of(&scene.acme);
        }
        walk.left([expected.detail(json!({"reason": "wrong_password"}))]).await;
    }
    let (bearer, refresh) = walk.sign_in(ANN, ANNS_PASSWORD).await;
    walk.left([line("session.begin", ANN, &scene.ann.id).of(&scene.acme)]).await;
    // The session goes on: nothing has begun, and nothing has ended.
    walk.ask(Ask::to("POST /auth/refresh").json(&json!({"refresh_token": refresh}))).await;
    walk.left([]).await;
    walk.ask(Ask::to("POST /api/live/ticket").by(&bearer)).await;
    walk.left([]).await;
    walk.server.clock.advance(chrono::Duration::seconds(11));
    let again = Ask::to("POST /auth/refresh").json(&json!({"refresh_token": refresh}));
    assert_eq!(walk.ask_any(again).await.status, 401);
    walk.left([line("session.refresh_reuse", ANN, &scene.ann.id).of(&scene.acme).denied()]).await;
}

pub(super) async fn profile(walk: &mut Walk, scene: Scene) -> Someone {
    let Someone { id, bearer } = scene.ann;
    let (by, acme) = (bearer.as_str(), scene.acme.as_str());
    let about = |action| line(action, ANN, &id).of(acme);
    walk.ask(Ask::to("PATCH /api/profile").by(by).json(&json!({"name": "Ann B"}))).await;
    walk.left([about("account.update").changes(json!({"name": {"old": "Ann", "new": "Ann B"}}))]).await;
    let (kind, form) = file_form("file", &png(8, 8));
    walk.ask(Ask::to("POST /api/profile/avatar").by(by).file(kind, form)).await;
    walk.left([about("account.avatar").detail(json!({"bytes": ANY}))]).await;
    walk.ask(Ask::to("DELETE /api/profile/avatar").by(by)).await;
    walk.left([about("account.avatar_delete")]).await;

    let body = json!({"current_password": "not the password of ann", "new_password": SECOND_PASSWORD});
    let wrong = walk.ask_any(Ask::to("POST /api/profile/password").by(by).json(&body)).await;
    assert_eq!(wrong.problem().1, "password_wrong");
    walk.left([about("account.prove_password").failed()]).await;
    let body = json!({"current_password": ANNS_PASSWORD, "new_password": SECOND_PASSWORD});
    let changed = walk.ask(Ask::to("POST /api/profile/password").by(by).json(&body)).await;
    let changes = json!({"password": {"old": "[SECRET]", "new": "[SECRET]"}});
    let expected = about("account.password_change").changes(changes);
    walk.left([expected.detail(json!({"sessions_revoked": ANY}))]).await;

    let by = format!("Bearer {}", tokens(&changed).0);
    let body = json!({"organization_id": acme});
    let switched = walk.ask(Ask::to("POST /auth/switch-organization").by(&by).json(&body)).await;
    let changes = json!({"organization_id": {"old": null, "new": acme}});
    walk.left([about("session.switch").changes(changes)]).await;
    Someone { bearer: format!("Bearer {}", tokens(&switched).0), id }
}

pub(super) async fn second_factor(walk: &mut Walk, ann: &Someone) {
    let by = ann.bearer.as_str();
    let acme = walk.server.get("/auth/me", by.trim_start_matches("Bearer ")).await.json();
    let acme = acme["organization_id"].as_str().expect("an organization").to_owned();
    let about = |action| -> Expected { line(action, ANN, &ann.id).of(&acme) };
    let proof = json!({"password": SECOND_PASSWORD});
    for (set_up, verify) in [
        ("POST /auth/mfa/setup", "POST /auth/mfa/verify"),
        ("POST /auth/mfa/totp/setup", "POST /auth/mfa/totp/verify"),
    ] {
        let begun = walk.ask(Ask::to(set_up).by(by)).await.json();
        let changes = json!({"totp_secret": {"old": null, "new": "[SECRET]"}});
        walk.left([about("mfa.setup").changes(changes)]).await;
        let wrong = walk.ask_any(Ask::to(verify).by(by).json(&json!({"code": "x"}))).await;
        assert_eq!(wrong.problem().1, "mfa_code_invalid");
        let expected = about("mfa.enrol").failed();
        walk.left([expected.detail(json!({"reason": "wrong_code"}))]).await;
        let right = json!({"code": code(&walk.server, begun["secret"].as_str().expect("a secret"))});
        let enrolled = walk.ask(Ask::to(verify).by(by).json(&right)).await.json();
        let changes = json!({
            "mfa_enabled": {"old": false, "new": true}, "recovery_codes": {"old": null, "new": "[SECRET]"}
        });
        walk.left([about("mfa.enrol").changes(changes)]).await;

        with_a_code(walk, &enrolled["recovery_codes"][0], &about).await;
        let show = |code: &Value| Ask::to("POST /auth/mfa/prove").by(by).json(&json!({"code": code}));
        assert_eq!(walk.ask_any(show(&json!("x"))).await.problem().1, "mfa_code_invalid");
        walk.left([about("mfa.prove").failed().detail(json!({"reason": "wrong_code"}))]).await;
        walk.ask(show(&enrolled["recovery_codes"][1])).await;
        walk.left([about("mfa.prove").detail(json!({"method": "recovery_code"}))]).await;
        trusted_devices(walk, by, &about).await;

        walk.ask(Ask::to("POST /auth/mfa/recovery-codes/regenerate").by(by).json(&proof)).await;
        let changes = json!({"recovery_codes": {"old": "[SECRET]", "new": "[SECRET]"}});
        walk.left([about("mfa.recovery_codes").changes(changes)]).await;
        walk.ask(Ask::to("DELETE /auth/mfa").by(by).json(&proof)).await;
        let changes = json!({"mfa_enabled": {"old": true, "new": false}});
        walk.left([about("mfa.remove").changes(changes)]).await;
    }
}

/// A sign-in in two steps: the right password is a line, also when nothing follows.
async fn with_a_code(walk: &mut Walk, code: &Value, about: &impl Fn(&'static str) -> Expected) {
    let form = [("username", ANN), ("password", SECOND_PASSWORD)];
    let challenge = walk.ask(Ask::to("POST /auth/login").form(&form)).await.json();
    walk.left([about("mfa.challenge")]).await;
    let answer = |code: &Value| {
        let body = json!({"mfa_token": challenge["mfa_token"], "code": code, "trust_device": true});
        Ask::to("POST /auth/mfa/login").json(&body)
    };
    assert_eq!(walk.ask_any(answer(&json!("nonsense"))).await.status, 401);
    walk.left([about("mfa.pass").failed().detail(json!({"reason": "wrong_code"}))]).await;
    walk.ask(answer(code)).await;
    let detail = json!({"method": "recovery_code", "trusted_device": true});
    walk.left([about("mfa.pass").detail(detail), about("session.begin")]).await;
}

async fn trusted_devices(walk: &mut Walk, by: &str, about: &impl Fn(&'static str) -> Expected) {
    let token = by.trim_start_matches("Bearer ");
    let known = walk.server.get("/auth/mfa/trusted-devices", token).await.json();
    let device = known["devices"][0]["id"].as_str().expect("an id");
    walk.ask(Ask::to("DELETE /auth/mfa/trusted-devices/{id}").at(&[device]).by(by)).await;
    let expected = about("mfa.forget_device");
    walk.left([expected.clone().detail(json!({"device": device, "count": 1}))]).await;
    walk.ask(Ask::to("DELETE /auth/mfa/trusted-devices").by(by)).await;
    walk.left([expected.detail(json!({"device": null, "count": 0}))]).await;
}

/// As the platform's administrator, whose lines are no organization's.
pub(super) async fn sessions(walk: &mut Walk) {
    let (bearer, _) = walk.sign_in(ADMIN, ADMIN_PASSWORD).await;
    let id = walk.me(&bearer).await;
    let about = |action| line(action, ADMIN, &id);
    walk.left([about("session.begin")]).await;
    let newest = session(&walk.server, bearer.trim_start_matches("Bearer ")).await;
    walk.ask(Ask::to("DELETE /auth/sessions/{id}").at(&[&newest]).by(&bearer)).await;
    walk.left([about("session.end").detail(json!({"session": newest}))]).await;
    let (bearer, _) = walk.sign_in(ADMIN, ADMIN_PASSWORD).await;
    walk.left([about("session.begin")]).await;
    walk.ask(Ask::to("POST /auth/logout").by(&bearer)).await;
    walk.left([about("session.end")]).await;
    let (bearer, _) = walk.sign_in(ADMIN, ADMIN_PASSWORD).await;
    walk.left([about("session.begin")]).await;
    walk.ask(Ask::to("POST /auth/revoke-all").by(&bearer)).await;
    walk.left([about("session.revoke_all").detail(json!({"sessions": ANY}))]).await;
}
