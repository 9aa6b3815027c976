//! Refusals of somebody who is known: each leaves a line, and many of the same leave few.

use super::{
    directory::{ANN, ANNS_PASSWORD, id},
    expected::{Expected, line},
    walk::{ADMIN, ADMIN_PASSWORD, Ask, Walk},
};
use crate::{
    live::Live,
    support::{Server, tokens},
};
use axum::http::{Method, StatusCode};
use bifrost_app::auth::SYSTEM_EMAIL;
use bifrost_storage::audit::Line;
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};
use std::num::NonZeroU32;

on_both_databases![
    what_policy_or_a_command_refuses_leaves_a_line,
    a_foreign_organization_in_a_header_leaves_a_line,
    a_missing_or_wrong_csrf_token_leaves_a_line,
    a_channel_that_is_refused_leaves_a_line,
    whose_codes_are_refused_for_a_while_leaves_a_line,
];

/// Ann, who is a member of Acme, and the administrator; Other is nobody's.
struct Scene {
    walk: Walk,
    admin: String,
    ann: String,
    ann_id: String,
    acme: String,
    other: String,
}

async fn scene(db: TestDatabase) -> Scene {
    let mut walk = Walk::start_on(db).await;
    let (admin, _) = tokens(&walk.server.login(ADMIN, ADMIN_PASSWORD).await);
    let acme = walk.server.organization(&admin, "Acme").await;
    let other = walk.server.organization(&admin, "Other").await;
    let body = json!({"email": ANN, "organization_id": acme, "password": ANNS_PASSWORD});
    let made = walk.server.post("/api/users", &admin, body).await;
    let (ann, _) = tokens(&walk.server.login(ANN, ANNS_PASSWORD).await);
    walk.skip().await;
    let (admin, ann) = (format!("Bearer {admin}"), format!("Bearer {ann}"));
    Scene { walk, admin, ann, ann_id: id(&made), acme, other }
}

fn denied(actor: &str, organization: &str, detail: Value) -> Expected {
    line("access.denied", actor, "").of(organization).denied().detail(detail)
}

async fn what_policy_or_a_command_refuses_leaves_a_line(db: TestDatabase) {
    let Scene { mut walk, admin, ann, ann_id, acme, other } = scene(db).await;
    // Policy, before anything is looked at.
    let refused = walk.ask_any(Ask::to("GET /api/users").by(&ann)).await;
    assert_eq!(refused.problem(), (403, "permission_missing".to_owned()));
    let detail =
        json!({"permission": "users.read", "reason": "permission_missing", "request": "GET /api/users"});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    // Commands, which look at the object first.
    let path = format!("/api/organizations/{acme}/members/{ann_id}");
    let put = || Ask::to("PUT /api/organizations/{id}/members/{user_id}").at(&[&acme, &ann_id]);
    walk.ask(put().by(&admin).json(&json!({"role": "admin"}))).await;
    let changes = json!({"role": {"old": "member", "new": "admin"}});
    walk.left([line("membership.update", ADMIN, &ann_id).of(&acme).changes(changes)]).await;
    walk.server.clock.advance(chrono::Duration::seconds(1));
    let refused = walk.ask_any(put().by(&ann).json(&json!({"role": "owner"}))).await;
    assert_eq!(refused.problem(), (403, "rank_too_high".to_owned()));
    let detail =
        json!({"permission": "members.write", "reason": "rank_too_high", "request": format!("PUT {path}")});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    let body = json!({"name": "too much", "permissions": ["executions.run_code"], "organization_id": other});
    let not_refused = walk.ask_any(Ask::to("POST /api/roles").by(&ann).json(&body)).await;
    assert_eq!(not_refused.problem().0, 422, "what cannot be is no refusal");
    walk.left([]).await;
}

async fn a_foreign_organization_in_a_header_leaves_a_line(db: TestDatabase) {
    let Scene { mut walk, admin, ann, ann_id, acme, other } = scene(db).await;
    let me = || Ask::to("GET /auth/me").by(&ann).with("x-organization-id", &other);
    assert_eq!(walk.ask_any(me()).await.problem(), (403, "not_a_member".to_owned()));
    let detail = json!({"reason": "not_a_member", "request": "GET /auth/me", "organization_id": other});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    // As often as he likes: it is counted.
    for _ in 0..50 {
        assert_eq!(walk.server.ask(Method::GET, "/auth/me", &me().headers, None).await.status, 403);
    }
    // Behind those, so that they have been looked at.
    walk.ask_any(Ask::to("PUT /api/branding").by(&ann).json(&json!({}))).await;
    let detail = json!({
        "permission": "branding.write", "reason": "permission_missing", "request": "PUT /api/branding"
    });
    walk.left_soon([denied(ANN, &acme, detail)]).await;

    // Keys, of an API client and of a person.
    let make = async |path: &str, token: &str, body: Value| {
        let headers = [("authorization", token)];
        let made = walk.server.ask(Method::POST, path, &headers, Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let body = json!({"name": "Sync", "organization_id": acme, "scopes": ["roles.read"]});
    let application = text(&make("/api/applications", &admin, body).await["id"]);
    let key = make(&format!("/api/applications/{application}/keys"), &admin, json!({})).await;
    let own = make("/api/sdk/keys", &ann, json!({})).await;
    let (key, own) = (text(&key["key"]), text(&own["key"]));
    walk.skip().await;
    let roles = || Ask::to("GET /api/roles");
    let reason = |reason: &str, more: Value| {
        let mut detail = json!({"reason": reason, "request": "GET /api/roles"});
        for (name, value) in more.as_object().expect("an object") {
            detail[name] = value.clone();
        }
        detail
    };
    walk.ask_any(roles().with("x-api-key", &key).with("x-organization-id", &other)).await;
    let named = json!({ "organization_id": other });
    let by_program = |detail| denied("", &acme, detail).through(&application, None);
    walk.left_soon([by_program(reason("not_a_member", named.clone()))]).await;
    walk.ask_any(roles().with("x-api-key", &key).with("x-on-behalf-of", &ann_id)).await;
    let detail = reason("assertion_not_allowed", json!({ "on_behalf_of": ann_id }));
    walk.left_soon([by_program(detail)]).await;
    walk.ask_any(roles().with("x-api-key", &own).with("x-organization-id", &other)).await;
    walk.left_soon([denied(ANN, &acme, reason("key_of_another_organization", named))]).await;
    walk.ask_any(roles().by(&ann).with("x-on-behalf-of", &ann_id)).await;
    let detail = reason("assertion_not_allowed", json!({ "on_behalf_of": ann_id }));
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    assert!(walk.log().await.iter().all(|line| line.actor_email.as_deref() != Some(SYSTEM_EMAIL)));
}

async fn a_missing_or_wrong_csrf_token_leaves_a_line(db: TestDatabase) {
    let Scene { mut walk, acme, .. } = scene(db).await;
    let signed_in = walk.server.login(ANN, ANNS_PASSWORD).await;
    walk.skip().await;
    let cookie = format!("access_token={}", signed_in.cookie("access_token").0);
    let change = || Ask::to("PATCH /api/profile").with("cookie", &cookie).json(&json!({"name": "Mallory"}));
    assert_eq!(walk.ask_any(change()).await.problem(), (403, "csrf_failed".to_owned()));
    let detail = json!({"reason": "csrf_failed", "request": "PATCH /api/profile"});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    let wrong = Ask::to("POST /auth/logout").with("cookie", &cookie).with("x-csrf-token", "made up for this");
    assert_eq!(walk.ask_any(wrong).await.problem().1, "csrf_failed");
    let detail = json!({"reason": "csrf_failed", "request": "POST /auth/logout"});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
    // A token of a waiting sign-in goes before the cookie: then the cookie is nobody's matter.
    let body = json!({"mfa_token": "x.y.z"});
    let waiting = Ask::to("POST /auth/mfa/setup").with("cookie", &cookie).json(&body);
    assert_eq!(walk.ask_any(waiting).await.problem().0, 401);
    walk.left([]).await;
    assert_eq!(walk.ask_any(Ask::to("POST /auth/mfa/setup").with("cookie", &cookie)).await.problem().0, 403);
    let detail = json!({"reason": "csrf_failed", "request": "POST /auth/mfa/setup"});
    walk.left_soon([denied(ANN, &acme, detail)]).await;
}

/// The newest lines, once there are as many as this of the action.
async fn soon(walk: &Walk, action: &str, count: usize) -> Vec<Line> {
    walk.server.until_audited(action, count).await;
    let lines = walk.log().await.into_iter().filter(|line| line.action == action).collect::<Vec<_>>();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

async fn a_channel_that_is_refused_leaves_a_line(db: TestDatabase) {
    let Scene { mut walk, admin, ann, ann_id, acme, other } = scene(db).await;
    let run = running(&walk.server, &admin, &acme).await;
    walk.skip().await;
    let address = walk.server.listen().await;
    let channels = format!("system,history:{other},user:01890a5d-ac96-774b-bcce-b302099a8057");
    let headers = [("authorization", ann.as_str())];
    let path = format!("/ws/connect?channels={channels}");
    let mut live = Live::open(address, &path, &headers).await.expect("open");
    assert_eq!(live.hear().await.expect("hello")["channels"], json!(["system"]));
    // Again and again, and what is another one's run in the own organization.
    for _ in 0..20 {
        let all = json!({"type": "subscribe", "channels": [format!("history:{other}")]});
        live.send(all.to_string()).await;
    }
    live.send(
        json!({"type": "subscribe", "channels": [format!("execution:{run}"), "nonsense:x"]}).to_string(),
    )
    .await;
    let lines = soon(&walk, "access.denied", 3).await;
    let shown: Vec<(&Value, &Value)> = lines
        .iter()
        .map(|line| {
            assert_eq!((line.actor_email.as_deref(), line.outcome.as_str()), (Some(ANN), "denied"));
            assert_eq!(line.organization_id.map(|id| id.to_string()), Some(acme.clone()));
            assert_eq!(line.actor_id.map(|id| id.to_string()), Some(ann_id.clone()));
            assert_eq!(line.request_id.as_deref(), Some(live.request_id()));
            let detail = line.detail.as_ref().expect("a detail");
            (&detail["channel"], &detail["reason"])
        })
        .collect();
    let refused = [json!(format!("history:{other}")), json!("user:01890a5d-ac96-774b-bcce-b302099a8057")];
    assert_eq!(shown[..2], [(&refused[0], &json!("not_found")), (&refused[1], &json!("not_found"))]);
    assert_eq!(shown[2].0, &json!(format!("execution:{run}")));
    drop(live);

    // The same over Server-Sent Events, by somebody else: another person's run, and a foreign organization in the header.
    let bob = walk.server.person("bob@acme.example", &acme).await;
    let stream = format!("/api/executions/{run}/stream");
    assert_eq!(walk.server.get(&stream, &bob).await.status, 403);
    let bearer = format!("Bearer {bob}");
    let headers = [("authorization", bearer.as_str()), ("x-organization-id", other.as_str())];
    assert_eq!(walk.server.ask(Method::GET, &stream, &headers, None).await.problem().1, "not_a_member");
    let lines = soon(&walk, "access.denied", 5).await;
    let [.., run_refused, header_refused] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(run_refused.detail.as_ref().expect("a detail")["channel"], json!(format!("execution:{run}")));
    let detail = header_refused.detail.as_ref().expect("a detail");
    assert_eq!((&detail["reason"], &detail["organization_id"]), (&json!("not_a_member"), &json!(other)));
    // And a key that is no person's opens nothing live.
    let body = json!({"name": "Sync", "organization_id": acme, "scopes": ["executions.read"]});
    let token = admin.trim_start_matches("Bearer ");
    let application = id(&walk.server.post("/api/applications", token, body).await);
    let key =
        walk.server.post(&format!("/api/applications/{application}/keys"), token, json!({})).await.json();
    let key = key["key"].as_str().expect("a key");
    assert_eq!(walk.server.get(&stream, key).await.problem(), (403, "permission_missing".to_owned()));
    let lines = soon(&walk, "access.denied", 6).await;
    assert_eq!(lines[5].application_id.map(|id| id.to_string()), Some(application));
    assert_eq!(lines[5].detail.as_ref().expect("a detail")["permission"], "live.use");
}

/// An execution of the administrator.
async fn running(server: &Server, admin: &str, acme: &str) -> String {
    use bifrost_domain::{
        definition::Definition,
        ports::python::{FileReport, WorkspaceReport},
    };
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "greet", "function": "greet", "line": 1, "category": "General", "timeout_seconds": 60,
    }))
    .expect("a definition");
    let file =
        FileReport { path: "a.py".into(), hash: "1".into(), definitions: vec![definition], issues: vec![] };
    let report = WorkspaceReport { version: "1".into(), files: vec![file] };
    server.app.sync_workspace(&report).await.expect("synced");
    let headers = [("authorization", admin), ("x-organization-id", acme)];
    let run = json!({"workflow_name": "greet"});
    let run = server.ask(Method::POST, "/api/workflows/execute", &headers, Some(run)).await.json();
    run["execution_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn who_is_locked_out_leaves_a_line() {
    let limited = |limit: &str| line("access.limited", ADMIN, "").denied().detail(json!({ "limit": limit }));
    let right = [("username", "Admin@localhost"), ("password", "admin")];
    let wrong = [("username", "admin@localhost"), ("password", "not the password")];
    let ask = |form: &[(&str, &str)]| Ask::to("POST /auth/login").form(form);
    let failed = || line("session.begin", ADMIN, "").failed().detail(json!({"reason": "wrong_password"}));

    let server = Server::start_with(|setup| setup.api.account_failures = NonZeroU32::new(3)).await;
    let mut walk = Walk::on(server).await;
    for _ in 0..3 {
        assert_eq!(walk.ask_any(ask(&wrong)).await.status, 401);
        walk.left([failed()]).await;
    }
    // Also with the right password.
    assert_eq!(walk.ask_any(ask(&right)).await.problem().0, 429);
    walk.left_soon([limited("account")]).await;
    // One line, however often it is tried; another account's is another one.
    for _ in 0..10 {
        assert_eq!(walk.server.login(ADMIN, "admin").await.problem().0, 429);
    }
    for _ in 0..3 {
        walk.server.login("other@localhost", "x").await;
    }
    walk.skip().await;
    let other = [("username", "other@localhost"), ("password", "x")];
    assert_eq!(walk.ask_any(ask(&other)).await.problem().0, 429);
    let expected = line("access.limited", "other@localhost", "").denied();
    walk.left_soon([expected.detail(json!({"limit": "account"}))]).await;

    // The address.
    let server = Server::start_with(|setup| setup.api.login_rate_per_minute = NonZeroU32::new(1)).await;
    let mut walk = Walk::on(server).await;
    assert_eq!(walk.ask_any(ask(&wrong)).await.status, 401);
    walk.left([failed()]).await;
    assert_eq!(walk.ask_any(ask(&right)).await.problem().0, 429);
    walk.left_soon([limited("login")]).await;
}

async fn whose_codes_are_refused_for_a_while_leaves_a_line(db: TestDatabase) {
    let Scene { mut walk, ann, ann_id, acme, .. } = scene(db).await;
    let token = ann.trim_start_matches("Bearer ").to_owned();
    let set_up = walk.server.post("/auth/mfa/setup", &token, json!({})).await;
    assert_eq!(set_up.status, StatusCode::OK, "{}", set_up.text);
    for _ in 0..10 {
        let wrong = walk.server.post("/auth/mfa/verify", &token, json!({"code": "x"})).await;
        assert_eq!(wrong.problem().0, 400);
    }
    walk.skip().await;
    let once_more = Ask::to("POST /auth/mfa/verify").by(&ann).json(&json!({"code": "x"}));
    assert_eq!(walk.ask_any(once_more).await.problem().0, 429);
    let expected = line("access.limited", ANN, "").of(&acme).denied();
    walk.left_soon([expected.detail(json!({"limit": "codes"}))]).await;
    let log = walk.log().await;
    assert_eq!(log.last().and_then(|line| line.actor_id).map(|id| id.to_string()), Some(ann_id));
}
