//! Two organizations with one of everything each, and whatever speaks for one of them.

use super::{Attacker, requests::KINDS};
use crate::{
    account::{enrol, second_factor, session},
    oidc::bearers,
    support::{Reply, Server, tokens},
};
use axum::http::{Method, StatusCode};
use bifrost_domain::{
    clock::{Ids, SystemIds},
    definition::Definition,
    policy::actions,
    ports::python::{FileReport, WorkspaceReport},
    rights::MembershipRole,
};
use bifrost_test_support::{TestDatabase, lines};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const PASSWORD: &str = "a long password";

/// Ids, or names, by the kind of object.
pub(super) type Things = BTreeMap<&'static str, String>;

pub(super) struct Scene {
    pub(super) server: Server,
    /// The platform's administrator.
    pub(super) admin: String,
    /// Whose things are attacked.
    pub(super) acme: House,
    /// Whose people attack.
    pub(super) other: House,
    /// A token of a provider, of each owner: Acme's and the other's.
    bearers: [String; 2],
}

/// An organization with what belongs to it.
pub(super) struct House {
    pub(super) things: Things,
    /// The owner's access token.
    pub(super) owner: String,
    pub(super) owner_id: String,
    /// The owner's sign-in in a browser.
    browser: Reply,
    pub(super) application_key: String,
    pub(super) sdk_key: String,
    pub(super) workflow_key: String,
}

impl Scene {
    pub(super) async fn new(db: TestDatabase) -> Self {
        // The limits of an address are not what is asked about here: each attacker can have his own.
        let proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        let server = Server::on_with(db, |setup| setup.api.trusted_proxies = proxies).await;
        let (admin, _) = server.admin().await;
        // Whom applications act as is made when it is first needed.
        server.auth.ensure_system_user().await.expect("the system user");
        let definitions = ["greet_acme", "greet_other"].map(|name| {
            let definition: Definition = serde_json::from_value(json!({
                "kind": "workflow", "name": name, "function": name, "line": 1, "category": "General", "timeout_seconds": 60,
            }))
            .expect("a definition");
            definition
        });
        let file = FileReport {
            path: "a.py".into(),
            hash: "1".into(),
            definitions: definitions.into(),
            issues: vec![],
        };
        let report = WorkspaceReport { version: "1".into(), files: vec![file] };
        server.app.sync_workspace(&report).await.expect("synced");
        let mut acme = house(&server, &admin, "Acme").await;
        let mut other = house(&server, &admin, "Other").await;
        let owners = ["owner@acme.example", "owner@other.example"];
        let (provider, tokens) = bearers(&server, &admin, "stand-in", &owners).await;
        // One that is off is nobody's to sign in with; Acme's owner once did.
        let off = json!({
            "name": "acme-login", "is_active": false, "rules": {"accept_bearer": false, "bearer_audience": null}
        });
        let off = server.provider(&admin, "https://id.example", off).await;
        server.link(&off, "owner", owners[0]).await;
        acme.things.insert("provider_name", text(&off, "name"));
        other.things.insert("provider_name", text(&provider, "name"));
        let code = server.ask(Method::POST, "/auth/device/code", &[], None).await;
        for house in [&mut acme, &mut other] {
            house.things.insert("provider", text(&provider, "id"));
            house.things.insert("logo", "square".to_owned());
            house.things.insert("user_code", text(&code.json(), "user_code"));
            for kind in KINDS {
                assert!(house.things.contains_key(kind), "there is no {kind}: make one");
            }
        }
        let bearers = tokens.try_into().expect("two");
        Self { server, admin, acme, other, bearers }
    }

    /// What is Acme's and nobody else's.
    pub(super) fn of_acme_alone(&self) -> Things {
        let mut things = self.acme.things.clone();
        things.retain(|kind, value| self.other.things[kind] != *value);
        things
    }

    /// Everything that speaks for the other organization, each with all rights there: who, and with what.
    pub(super) fn strangers(&self) -> Vec<(Shown, Attacker)> {
        self.speakers(&self.other, &self.bearers[1])
    }

    /// The same for Acme.
    pub(super) fn people_of_acme(&self) -> Vec<(Shown, Attacker)> {
        self.speakers(&self.acme, &self.bearers[0])
    }

    fn speakers(&self, house: &House, bearer: &str) -> Vec<(Shown, Attacker)> {
        let cookie = |name: &str| house.browser.cookie(name).0;
        let cookies = format!("access_token={}; csrf_token={}", cookie("access_token"), cookie("csrf_token"));
        let browser = Attacker {
            name: "an owner's browser",
            headers: vec![("cookie", cookies), ("x-csrf-token", cookie("csrf_token"))],
        };
        let asserted = Attacker::bearer("an application for an owner", &house.application_key);
        vec![
            (Shown::Session, Attacker::bearer("an owner", &house.owner)),
            (Shown::Session, browser),
            (Shown::Bearer, Attacker::bearer("an owner by a provider's token", bearer)),
            (Shown::SdkKey, Attacker::bearer("an owner's key", &house.sdk_key)),
            (Shown::Application, Attacker::bearer("an application", &house.application_key)),
            (Shown::Application, asserted.and("x-on-behalf-of", &house.owner_id)),
        ]
    }
}

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Session,
    /// A token of an identity provider.
    Bearer,
    SdkKey,
    Application,
}

impl Shown {
    pub(super) fn is_key(self) -> bool {
        matches!(self, Self::SdkKey | Self::Application)
    }
}

pub(super) fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {body}")).to_owned()
}

/// Makes something: what was answered.
pub(super) async fn make(server: &Server, token: &str, path: &str, body: Value) -> Value {
    let made = server.post(path, token, body).await;
    assert!(made.status.is_success(), "{path}: {} {}", made.status, made.text);
    serde_json::from_str(&made.text).unwrap_or_default()
}

/// All that a role or an application can be given.
pub(super) fn all_scopes() -> Vec<&'static str> {
    actions::ALL.iter().map(|one| one.1).filter(|permission| actions::is_grantable(permission)).collect()
}

async fn house(server: &Server, admin: &str, name: &str) -> House {
    let name = name.to_lowercase();
    let organization = server.organization(admin, &name).await;
    let email = format!("owner@{name}.example");
    let owner = server.ranked(&email, &organization, MembershipRole::Owner).await;
    let owner_id = text(&server.get("/auth/me", &owner).await.json(), "id");
    let (browser, trusted_device) = second_factor(server, &owner, &email, PASSWORD).await;
    let of_us = async |path: &str, body: Value| make(server, &owner, path, body).await;

    let ann = format!("ann@{name}.example");
    let user = text(&of_us("/api/users", json!({"email": ann, "password": PASSWORD})).await, "id");
    // With a factor that can be taken away.
    enrol(server, &tokens(&server.login(&ann, PASSWORD).await).0).await;
    let helper = json!({"email": format!("helper@{name}.example"), "user_type": "PLATFORM"});
    let member = text(&make(server, admin, "/api/users", helper).await, "id");
    let membership = format!("/api/organizations/{organization}/members/{member}");
    let bearer = format!("Bearer {admin}");
    let role = Some(json!({"role": "limited"}));
    let joined = server.ask(Method::PUT, &membership, &[("authorization", &bearer)], role).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.text);

    let role =
        text(&of_us("/api/roles", json!({"name": "readers", "permissions": ["users.read"]})).await, "id");
    let form = SystemIds.next().to_string();
    server.make_form(&form, Some(&organization)).await;
    of_us(&format!("/api/roles/{role}/users"), json!({"user_ids": [user]})).await;
    of_us(&format!("/api/roles/{role}/forms"), json!({"form_ids": [form]})).await;

    let workflow = format!("greet_{name}");
    let home = server.sql_id(&organization);
    let owned = format!(
        "UPDATE workflows SET organization_id = {home} WHERE name = '{workflow}' RETURNING name AS line"
    );
    assert_eq!(lines(server.store.db(), &owned).await, [workflow.as_str()]);
    let run = of_us("/api/workflows/execute", json!({"workflow_name": workflow})).await;

    let application = json!({"name": "Sync", "scopes": all_scopes(), "allow_user_assertion": true});
    let application = text(&of_us("/api/applications", application).await, "id");
    let application_key = of_us(&format!("/api/applications/{application}/keys"), json!({})).await;
    let sdk_key = of_us("/api/sdk/keys", json!({})).await;
    let workflow_key = of_us("/api/workflow-keys", json!({})).await;
    let things = [
        ("application", application),
        ("application_key", text(&application_key, "id")),
        ("execution", text(&run, "execution_id")),
        ("form", form),
        ("member", member),
        ("organization", organization),
        ("role", role),
        ("sdk_key", text(&sdk_key, "id")),
        ("session", session(server, &owner).await),
        ("trusted_device", trusted_device),
        ("user", user),
        ("workflow", workflow),
        ("workflow_key", text(&workflow_key, "id")),
    ];
    House {
        things: things.into(),
        owner,
        owner_id,
        browser,
        application_key: text(&application_key, "key"),
        sdk_key: text(&sdk_key, "key"),
        workflow_key: text(&workflow_key, "key"),
    }
}
