//! Every route of the document, attacked: by nobody, by who has been let go, by who has no rights, and by the owner of another
//! organization. A route that says no permission fails, and so does one with an object in its path that this file does not know.

use crate::{
    account::{session, trusted_device},
    support::{Reply, Server},
};
use axum::http::{Method, StatusCode};
use bifrost_api::access::{self, LIVE, PUBLIC};
use bifrost_domain::{
    definition::Definition,
    policy::{Rule, actions},
    ports::python::{FileReport, WorkspaceReport},
    rights::MembershipRole,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What exists nowhere.
const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// An operation of the document and what it asks.
struct Route {
    method: Method,
    path: String,
    permission: String,
}

impl Route {
    fn is_public(&self) -> bool {
        self.permission == PUBLIC
    }

    fn is_live(&self) -> bool {
        self.permission == LIVE
    }

    /// The rule of the permission; none for what is public or live.
    fn rule(&self) -> Option<Rule> {
        actions::ALL.iter().find(|one| one.1 == self.permission).map(|one| one.2)
    }

    /// The path with an id in every place.
    fn with(&self, id: &str) -> String {
        self.path
            .split('/')
            .map(|part| if part.starts_with('{') { id } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }
}

fn routes() -> Vec<Route> {
    let document = bifrost_api::openapi();
    let routes: Vec<Route> = access::operations(&document)
        .map(|(method, path, operation)| Route {
            method: method.parse().expect("a method"),
            path: path.to_owned(),
            permission: access::permission_of(operation)
                .unwrap_or_else(|| panic!("{method} {path} says no permission: wrap it by `access::allowed`"))
                .to_owned(),
        })
        .collect();
    assert!(routes.len() > 20);
    routes
}

/// The same request, with the body that the route reads if it reads one at all.
async fn attack(server: &Server, route: &Route, path: &str, headers: &[(&str, &str)]) -> Reply {
    let has_body = matches!(route.method, Method::POST | Method::PUT | Method::PATCH);
    server.ask(route.method.clone(), path, headers, has_body.then(|| json!({}))).await
}

/// What tells two refusals apart, but for the request's own id.
fn told(reply: &Reply) -> (StatusCode, Value) {
    let mut body = reply.json();
    body["request_id"] = Value::Null;
    (reply.status, body)
}

#[tokio::test]
async fn every_route_says_whom_it_lets_in() {
    for route in routes() {
        let known = route.is_public() || route.is_live() || route.rule().is_some();
        assert!(known, "{} {}: `{}` is no permission", route.method, route.path, route.permission);
    }
}

#[tokio::test]
async fn nobody_and_who_was_let_go_get_nowhere() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let revoked = server.person("gone@acme.example", &acme).await;
    assert_eq!(server.post("/auth/logout", &revoked, json!({})).await.status, StatusCode::OK);
    let suspended = server.person("out@acme.example", &acme).await;
    server.suspend("out@acme.example").await;
    server.clock.advance(chrono::Duration::seconds(1));
    let bearer = |token: &str| format!("Bearer {token}");
    let (revoked, suspended) = (bearer(&revoked), bearer(&suspended));
    let attackers: [(&str, Vec<(&str, &str)>); 4] = [
        ("nobody", vec![]),
        ("a session that was ended", vec![("authorization", revoked.as_str())]),
        ("somebody suspended", vec![("authorization", suspended.as_str())]),
        ("nonsense", vec![("authorization", "Bearer x.y.z")]),
    ];
    for route in routes().iter().filter(|route| !route.is_public()) {
        for (who, headers) in &attackers {
            let reply = attack(&server, route, &route.with(NOWHERE), headers).await;
            // A WebSocket is refused after the upgrade, with a close code (`live.rs`); this is no upgrade.
            let expected = if route.path.starts_with("/ws/") { 400 } else { 401 };
            assert_eq!(reply.problem().0, expected, "{who}: {} {}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn who_has_no_right_is_refused_before_anything_is_looked_at() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let mut tokens = BTreeMap::new();
    for role in MembershipRole::ALL {
        let token = server.ranked(&format!("{role}@acme.example"), &acme, *role).await;
        tokens.insert(role.as_str(), format!("Bearer {token}"));
    }
    let mut denials = 0;
    for route in routes() {
        let Some(rule) = route.rule() else { continue };
        // Ends the session that the next routes need; what it refuses is in the test above.
        if route.path == "/auth/logout" {
            continue;
        }
        for (role, token) in &tokens {
            let role: MembershipRole = role.parse().expect("a rank");
            let may = match rule {
                Rule::SignedIn | Rule::Person => true,
                Rule::Member => role.reaches(MembershipRole::Member),
                Rule::Permission => role.reaches(MembershipRole::Admin),
                Rule::PlatformAdmin => false,
            };
            if may && matches!(rule, Rule::SignedIn | Rule::Person) {
                continue;
            }
            let reply = attack(&server, &route, &route.with(NOWHERE), &[("authorization", token)]).await;
            let name = format!("{role}: {} {} {}", route.method, route.path, reply.text);
            if may {
                // The audit log itself tells of refusals.
                let is_refused =
                    reply.status == StatusCode::FORBIDDEN && reply.text.contains("permission_missing");
                assert!(!is_refused, "{name}");
            } else {
                denials += 1;
                assert_eq!(reply.problem(), (403, "permission_missing".to_owned()), "{name}");
                assert_eq!(reply.json()["detail"], "Superuser privileges required", "{name}");
            }
        }
    }
    server.until_audited("access.denied", denials).await;
}

/// What Acme has, by the beginning of the routes that name it.
async fn belongings(server: &Server, admin: &str, acme: &str) -> Vec<(&'static str, String)> {
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "greet", "function": "greet", "line": 1, "category": "General", "timeout_seconds": 60,
    }))
    .expect("a definition");
    let file =
        FileReport { path: "a.py".into(), hash: "1".into(), definitions: vec![definition], issues: vec![] };
    let report = WorkspaceReport { version: "1".into(), files: vec![file] };
    server.app.sync_workspace(&report).await.expect("synced");
    let headers = [("authorization", &*format!("Bearer {admin}")), ("x-organization-id", acme)];
    let run = json!({"workflow_name": "greet"});
    let run = server.ask(Method::POST, "/api/workflows/execute", &headers, Some(run)).await;
    assert_eq!(run.status, StatusCode::OK, "{}", run.text);
    let run = run.json()["execution_id"].as_str().expect("an id").to_owned();
    let make = async |path: &str, body: Value| {
        let made = server.post(path, admin, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()["id"].as_str().expect("an id").to_owned()
    };
    let user = make("/api/users", json!({"email": "ann@acme.example", "organization_id": acme})).await;
    let role = make("/api/roles", json!({"name": "operators", "organization_id": acme})).await;
    // Providers are the platform's; one that is off is nobody's to sign in with, and nobody has an account there.
    let provider = json!({
        "name": "off", "display_name": "Off", "kind": "generic", "issuer": "https://id.example", "client_id": "c", "is_active": false
    });
    let provider = server.post("/api/identity-providers", admin, provider).await;
    assert_eq!(provider.status, StatusCode::CREATED, "{}", provider.text);
    let mut made = Vec::new();
    for (path, body) in [
        ("/api/applications", json!({"name": "Sync"})),
        ("/api/sdk/keys", json!({})),
        ("/api/workflow-keys", json!({})),
    ] {
        let reply = server.ask(Method::POST, path, &headers, Some(body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{path}: {}", reply.text);
        made.push(reply.json()["id"].as_str().expect("an id").to_owned());
    }
    let [application, sdk_key, workflow_key] = made.try_into().expect("three");
    vec![
        ("/api/identity-providers/{id}", provider.json()["id"].as_str().expect("an id").to_owned()),
        ("/auth/oauth/", "off".to_owned()),
        ("/api/applications/{id}", application),
        ("/api/sdk/keys/{id}", sdk_key),
        ("/api/workflow-keys/{id}", workflow_key),
        ("/api/organizations/{id}", acme.to_owned()),
        ("/api/users/{id}", user),
        ("/api/roles/{id}", role),
        ("/api/executions/{id}", run.clone()),
        ("/ws/execution/{id}", run),
        ("/auth/sessions/{id}", session(server, admin).await),
        ("/auth/mfa/trusted-devices/{id}", trusted_device(server, admin).await),
        ("/api/branding/logo/{kind}", "square".to_owned()),
    ]
}

#[tokio::test]
async fn what_is_anothers_does_not_exist() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let other = server.organization(&admin, "Other").await;
    let stranger = server.ranked("owner@other.example", &other, MembershipRole::Owner).await;
    let stranger = format!("Bearer {stranger}");
    let belongings = belongings(&server, &admin, &acme).await;
    for route in routes().iter().filter(|route| route.path.contains('{') && !route.is_public()) {
        let name = format!("{} {}", route.method, route.path);
        let Some((_, id)) = belongings.iter().find(|(begin, _)| route.path.starts_with(begin)) else {
            panic!("{name} names an object that nobody attacks: add one to `belongings`");
        };
        let headers = [("authorization", stranger.as_str())];
        let theirs = attack(&server, route, &route.with(id), &headers).await;
        let nowhere = attack(&server, route, &route.with(NOWHERE), &headers).await;
        assert_eq!(told(&theirs), told(&nowhere), "{name} tells that there is something");
        let expected: &[u16] = match route.rule() {
            Some(Rule::PlatformAdmin) => &[403],
            // Before the object is looked for, the body is read.
            Some(_) => &[404, 422],
            None if route.path.starts_with("/ws/") => &[400],
            None => &[404],
        };
        assert!(expected.contains(&theirs.status.as_u16()), "{name}: {} {}", theirs.status, theirs.text);
    }
}

#[tokio::test]
async fn nobody_acts_in_an_organization_that_is_not_his() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let other = server.organization(&admin, "Other").await;
    let stranger = server.ranked("owner@other.example", &other, MembershipRole::Owner).await;
    let token = format!("Bearer {stranger}");
    for route in routes().iter().filter(|route| !route.is_public() && !route.path.starts_with("/ws/")) {
        let mut told_of = Vec::new();
        for named in [acme.as_str(), NOWHERE] {
            let headers = [("authorization", token.as_str()), ("x-organization-id", named)];
            let reply = attack(&server, route, &route.with(NOWHERE), &headers).await;
            assert_eq!(
                reply.problem(),
                (403, "not_a_member".to_owned()),
                "{} {}: {}",
                route.method,
                route.path,
                reply.text
            );
            told_of.push(told(&reply));
        }
        assert_eq!(told_of[0], told_of[1]);
    }
}

/// `docs/policy.md` is what the routes say. `UPDATE_POLICY=1` writes it.
#[test]
fn the_policy_is_written_down() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let text = access::policy_table(&bifrost_api::openapi());
    if std::env::var_os("UPDATE_POLICY").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, text, "UPDATE_POLICY=1 cargo test -p bifrost-api --test api policy");
}

/// A key speaks for a client or for a person's programs; nothing that asks for the person himself takes one.
#[tokio::test]
async fn no_key_becomes_a_session() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let owner = server.ranked("owner@acme.example", &acme, MembershipRole::Owner).await;
    let made = async |path: &str, body: Value| {
        let reply = server.post(path, &owner, body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{path}: {}", reply.text);
        reply.json()
    };
    let application = made("/api/applications", json!({"name": "Sync", "scopes": ["workflows.read"]})).await;
    let keys = format!("/api/applications/{}/keys", application["id"].as_str().expect("an id"));
    for key in [made(&keys, json!({})).await, made("/api/sdk/keys", json!({})).await] {
        let key = key["key"].as_str().expect("a key");
        for path in [
            "/auth/mfa/setup",
            "/auth/mfa/totp/setup",
            "/auth/mfa/verify",
            "/auth/mfa/totp/verify",
            "/api/live/ticket",
            "/auth/switch-organization",
            "/auth/device/authorize",
            "/api/sdk/keys",
        ] {
            let reply = server.post(path, key, json!({"code": "123456"})).await;
            let is_refused = matches!(reply.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
            assert!(is_refused, "{path}: {} {}", reply.status, reply.text);
        }
    }
}
