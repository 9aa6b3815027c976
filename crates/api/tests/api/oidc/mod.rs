//! Sign-in with identity providers: against `oidc-provider`, a real one, and against a stand-in that can lie.

mod admin;
mod forged;
mod people;
mod proof;
mod real;
mod real_pages;
mod real_provider;
mod sign_in;
pub(crate) mod stand_in;

use crate::support::{Reply, Server};
use axum::http::{Method, StatusCode};
use bifrost_domain::{
    clock::Clock,
    identity_provider::ExternalIdentity,
    policy::{Caller, actions::ReadAudit, authorize},
    user::Email,
};
use serde_json::{Value, json};
use stand_in::{Pair, StandIn};
use std::{collections::BTreeMap, sync::Arc};

/// A provider whose access tokens are accepted, and one of each of these people (by address), who are linked to it.
pub(crate) async fn bearers(
    server: &Server,
    admin: &str,
    name: &str,
    people: &[&str],
) -> (Value, Vec<String>) {
    let key = Pair::ed("ed");
    let stand_in = StandIn::start(&[&key]).await;
    let provider = server.provider(admin, &stand_in.issuer(), json!({"name": name})).await;
    let now = server.clock.now().timestamp();
    let mut tokens = Vec::new();
    for email in people {
        server.link(&provider, email, email).await;
        let claims = json!({
            "iss": stand_in.issuer(), "aud": "api://bifrost", "sub": email, "iat": now, "exp": now + 300, "scope": "run"
        });
        tokens.push(key.sign("at+jwt", &claims));
    }
    (provider, tokens)
}

/// A browser's part in a sign-in that was begun.
pub(crate) struct Begun {
    url: url::Url,
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// The cookie, as a header.
    pub(crate) cookie: String,
}

impl Begun {
    pub(crate) fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        let url: url::Url =
            reply.json()["authorization_url"].as_str().expect("a URL").parse().expect("a URL");
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["state"], reply.json()["state"]);
        assert_eq!(
            (query["response_type"].as_str(), query["code_challenge_method"].as_str()),
            ("code", "S256")
        );
        let (secret, attributes) = reply.cookie("oauth_binding");
        assert_eq!(attributes, "Path=/auth/oauth; Max-Age=600; SameSite=Lax; HttpOnly");
        Self {
            state: query["state"].clone(),
            nonce: query["nonce"].clone(),
            cookie: format!("oauth_binding={secret}"),
            url,
        }
    }
}

impl Server {
    /// Makes a provider; `change` is merged into the request, its `rules` one by one.
    pub(crate) async fn provider(&self, admin: &str, issuer: &str, change: Value) -> Value {
        let mut body = json!({
            "name": "stand-in", "display_name": "Stand-in", "kind": "generic", "issuer": issuer, "client_id": "client",
            "client_secret": "a secret",
            "rules": {"accept_bearer": true, "bearer_audience": "api://bifrost"}
        });
        for (name, value) in change.as_object().expect("an object") {
            if name == "rules" {
                for (name, value) in value.as_object().expect("an object") {
                    body["rules"][name] = value.clone();
                }
            } else {
                body[name] = value.clone();
            }
        }
        let reply = self.post("/api/identity-providers", admin, body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json()
    }

    /// Links a person of a provider to a user, as a sign-in of long ago did.
    pub(crate) async fn link(&self, provider: &Value, subject: &str, email: &str) {
        let now = self.clock.now();
        let email: Email = email.parse().expect("an address");
        let found = self.store.reader().find_credentials(&email).await.expect("reads").expect("a user");
        let tx = self.store.db().begin().await.expect("begin");
        tx.insert_external_identity(&ExternalIdentity {
            provider_id: provider["id"].as_str().expect("an id").parse().expect("an id"),
            subject: subject.to_owned(),
            user_id: found.user.id,
            email: None,
            linked_at: now,
            last_used_at: now,
        })
        .await
        .expect("linked");
        tx.commit().await.expect("commit");
    }

    async fn begin(&self, provider: &str) -> Begun {
        Begun::of(&self.ask(Method::GET, &format!("/auth/oauth/init/{provider}"), &[], None).await)
    }

    /// Comes back from the provider.
    async fn finish(&self, cookie: &str, code: &str, state: &str) -> Reply {
        let body = json!({"code": code, "state": state});
        self.ask(Method::POST, "/auth/oauth/callback", &[("cookie", cookie)], Some(body)).await
    }

    async fn exchange(&self, token: &str) -> Reply {
        let form = serde_urlencoded::to_string([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ])
        .expect("a form");
        self.form("/auth/token", form).await
    }

    async fn form(&self, path: &str, form: String) -> Reply {
        let request = axum::http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.into())
            .expect("a request");
        self.send(request).await
    }

    /// The newest lines of the audit log: action, outcome, detail.
    async fn audit(&self, limit: u64) -> Vec<(String, String, Value)> {
        let reader = self.store.reader();
        let email: Email = "admin@localhost".parse().expect("an address");
        let admin = reader.find_credentials(&email).await.expect("reads").expect("the administrator").user;
        let rights = Arc::new(reader.find_rights(&admin).await.expect("reads"));
        let caller = Caller::of_user(&admin, &rights, None, None).expect("a caller");
        let permit = authorize::<ReadAudit>(&caller).expect("may");
        let lines = reader.list_audit(&permit, None, limit).await.expect("reads");
        lines.into_iter().map(|line| (line.action, line.outcome, line.detail.unwrap_or_default())).collect()
    }
}
