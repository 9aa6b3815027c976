//! A walk over the API: each request leaves exactly the lines that are expected of it, and none of them shows a secret.

use crate::support::{Reply, Server, auditor, tokens};
use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
};
use bifrost_api::access;
use bifrost_app::auth::DevUser;
use bifrost_storage::audit::Line;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Stands for any value that is there, in what is expected.
pub(super) const ANY: &str = "*";
/// The platform's administrator.
pub(super) const ADMIN: &str = "admin@localhost";
/// One that stands in no other text.
pub(super) const ADMIN_PASSWORD: &str = "the password of the administrator";
/// Fields whose values nobody but their owner knows, wherever they are sent or received.
const SECRET_FIELDS: &[&str] = &[
    "password",
    "current_password",
    "new_password",
    "client_secret",
    "access_token",
    "refresh_token",
    "mfa_token",
    "subject_token",
    "id_token",
    "key",
    "code",
    "state",
    "secret",
    "provisioning_uri",
    "qr_code_uri",
    "device_code",
    "user_code",
    "verification_uri_complete",
    "recovery_codes",
    "ticket",
    "authorization_url",
];

/// A line that is expected.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    action: &'static str,
    outcome: &'static str,
    actor: Option<String>,
    organization: Option<String>,
    target: Option<String>,
    application: Option<String>,
    on_behalf_of: Option<String>,
    changes: Value,
    detail: Value,
}

/// A line of somebody (his address) about something.
pub(super) fn line(action: &'static str, actor: &str, target: &str) -> Expected {
    Expected {
        action,
        outcome: "success",
        actor: Some(actor.to_owned()).filter(|actor| !actor.is_empty()),
        organization: None,
        target: Some(target.to_owned()).filter(|target| !target.is_empty()),
        application: None,
        on_behalf_of: None,
        changes: Value::Null,
        detail: Value::Null,
    }
}

impl Expected {
    /// Whose object it is about.
    pub(super) fn of(self, organization: &str) -> Self {
        Self { organization: Some(organization.to_owned()), ..self }
    }

    pub(super) fn failed(self) -> Self {
        Self { outcome: "failure", ..self }
    }

    pub(super) fn denied(self) -> Self {
        Self { outcome: "denied", ..self }
    }

    pub(super) fn through(self, application: &str, on_behalf_of: Option<&str>) -> Self {
        Self {
            application: Some(application.to_owned()),
            on_behalf_of: on_behalf_of.map(str::to_owned),
            ..self
        }
    }

    pub(super) fn changes(self, changes: Value) -> Self {
        Self { changes, ..self }
    }

    pub(super) fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    fn check(&self, found: &Line, name: &str) {
        let shown = format!("{name}: {found:#?}\nexpected {self:#?}");
        assert_eq!(found.action, self.action, "{shown}");
        assert_eq!(Some(found.resource_type.as_str()), self.action.split('.').next(), "{shown}");
        assert_eq!(found.outcome, self.outcome, "{shown}");
        assert_eq!(found.actor_email, self.actor, "{shown}");
        // Whoever is known by his address is known by his id and name as well, unless the line is about who he says to be.
        let is_known = found.outcome == "success" || found.actor_id.is_some();
        assert!(!is_known || (found.actor_id.is_some() && found.actor_name.is_some()), "{shown}");
        assert_eq!(found.organization_id.map(|id| id.to_string()), self.organization, "{shown}");
        let is_any = self.target.as_deref() == Some(ANY) && found.resource_id.is_some();
        assert!(is_any || found.resource_id == self.target, "{shown}");
        assert_eq!(found.application_id.map(|id| id.to_string()), self.application, "{shown}");
        assert_eq!(found.on_behalf_of.map(|id| id.to_string()), self.on_behalf_of, "{shown}");
        assert_eq!(found.ip_address.as_deref(), Some("127.0.0.1"), "{shown}");
        let (changes, detail) = (found.changes.clone(), found.detail.clone());
        assert!(fits(&self.changes, &changes.unwrap_or_default()), "the changes of {shown}");
        assert!(fits(&self.detail, &detail.unwrap_or_default()), "the detail of {shown}");
    }
}

/// The changes of a thing that was made.
pub(super) fn made(fields: Value) -> Value {
    sided(fields, "new", "old")
}

/// The changes of a thing that is gone.
pub(super) fn gone(fields: Value) -> Value {
    sided(fields, "old", "new")
}

fn sided(fields: Value, there: &str, not: &str) -> Value {
    let Value::Object(fields) = fields else { panic!("no object: {fields}") };
    fields.into_iter().map(|(name, value)| (name, json!({there: value, not: null}))).collect()
}

fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), found) if any == ANY => !found.is_null(),
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        _ => expected == found,
    }
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) route: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
}

impl Ask<'_> {
    /// Without a body; the path is the route's.
    pub(super) fn to(route: &'static str) -> Self {
        let path = route.split(' ').nth(1).expect("a path").to_owned();
        Self { route, path, headers: Vec::new(), kind: "", body: Bytes::new() }
    }
}

impl<'a> Ask<'a> {
    /// With the ids of the path, in their order.
    pub(super) fn at(mut self, ids: &[&str]) -> Self {
        let mut ids = ids.iter();
        let parts = self.path.split('/').map(|part| {
            if part.starts_with('{') { *ids.next().expect("an id for each place") } else { part }
        });
        self.path = parts.collect::<Vec<_>>().join("/");
        self
    }

    /// As somebody: `Bearer …`.
    pub(super) fn by(self, bearer: &'a str) -> Self {
        self.with("authorization", bearer)
    }

    pub(super) fn with(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        Self { kind: "application/json", body: body.to_string().into(), ..self }
    }

    pub(super) fn form(self, fields: &[(&str, &str)]) -> Self {
        let form = serde_urlencoded::to_string(fields).expect("a form");
        Self { kind: "application/x-www-form-urlencoded", body: form.into(), ..self }
    }

    pub(super) fn file(self, kind: &'static str, body: Vec<u8>) -> Self {
        Self { kind, body: body.into(), ..self }
    }
}

/// The walk.
pub(super) struct Walk {
    pub(super) server: Server,
    walked: BTreeSet<String>,
    secrets: BTreeSet<String>,
    requests: usize,
    lines: usize,
    /// The request whose lines are still to be looked at.
    open: Option<String>,
}

impl Walk {
    pub(super) async fn start() -> Self {
        let server = Server::start_with(|setup| {
            setup.auth.dev_user = Some(DevUser { email: ADMIN.to_owned(), password: ADMIN_PASSWORD.into() });
        })
        .await;
        Self::on(server).await
    }

    /// On a server of one's own.
    pub(super) async fn on(server: Server) -> Self {
        let mut walk = Self {
            server,
            walked: BTreeSet::new(),
            secrets: BTreeSet::new(),
            requests: 0,
            lines: 0,
            open: None,
        };
        walk.skip().await;
        walk
    }

    /// Signs in with a password, without a second factor: `Bearer …` and the refresh token.
    pub(super) async fn sign_in(&mut self, email: &str, password: &str) -> (String, String) {
        let ask = Ask::to("POST /auth/login").form(&[("username", email), ("password", password)]);
        let (access, refresh) = tokens(&self.ask(ask).await);
        (format!("Bearer {access}"), refresh)
    }

    /// Everything that the log has, oldest first.
    pub(super) async fn log(&self) -> Vec<Line> {
        let mut lines =
            self.server.store.reader().list_audit(&auditor(&self.server), None, 10_000).await.expect("read");
        lines.reverse();
        lines
    }

    /// What was written until now is not looked at: it was done by others than the walk.
    pub(super) async fn skip(&mut self) {
        assert_eq!(self.open, None, "its lines are not looked at");
        self.lines = self.log().await.len();
    }

    /// Asks, whatever the answer.
    pub(super) async fn ask_any(&mut self, ask: Ask<'_>) -> Reply {
        assert_eq!(self.open, None, "its lines are not looked at");
        self.requests += 1;
        let id = format!("walk-{}", self.requests);
        let method: Method = ask.route.split(' ').next().expect("a method").parse().expect("a method");
        let mut request = Request::builder()
            .method(method)
            .uri(&ask.path)
            .header("x-request-id", &id)
            .header("user-agent", "walker/1.0");
        for (name, value) in &ask.headers {
            request = request.header(*name, *value);
        }
        if !ask.kind.is_empty() {
            request = request.header("content-type", ask.kind);
        }
        self.keep_sent(&ask);
        let reply = self.server.send(request.body(Body::from(ask.body)).expect("a request")).await;
        self.keep_received(&reply);
        self.walked.insert(ask.route.to_owned());
        self.open = Some(id);
        reply
    }

    /// Asks for what is done.
    pub(super) async fn ask(&mut self, ask: Ask<'_>) -> Reply {
        let route = ask.route;
        let reply = self.ask_any(ask).await;
        assert!(reply.status.is_success(), "{route}: {} {}", reply.status, reply.text);
        reply
    }

    /// The request before left these lines and no other, in this order.
    pub(super) async fn left<const N: usize>(&mut self, expected: [Expected; N]) {
        let id = self.open.take().expect("a request");
        let found = self.log().await.split_off(self.lines);
        let name = format!("{id} ({} lines, {N} expected)", found.len());
        let actions: Vec<&str> = found.iter().map(|line| line.action.as_str()).collect();
        let wanted: Vec<&str> = expected.iter().map(|line| line.action).collect();
        assert_eq!(actions, wanted, "{name}: {found:#?}");
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found.request_id.as_deref(), Some(id.as_str()), "{found:#?}");
            expected.check(found, &name);
        }
        self.lines += N;
    }

    /// Refusals are written behind the answer: waits for as many.
    pub(super) async fn left_soon<const N: usize>(&mut self, expected: [Expected; N]) {
        for _ in 0..500 {
            if self.log().await.len() >= self.lines + N {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.left(expected).await;
    }

    fn keep_sent(&mut self, ask: &Ask<'_>) {
        for (name, value) in &ask.headers {
            match *name {
                "authorization" => self.keep(value.trim_start_matches("Bearer ")),
                "x-api-key" | "x-csrf-token" => self.keep(value),
                "cookie" => {
                    let values = value.split("; ").filter_map(|cookie| cookie.split_once('='));
                    values.for_each(|(_, value)| self.keep(value));
                }
                _ => {}
            }
        }
        match ask.kind {
            "application/json" => self.keep_fields(&serde_json::from_slice(&ask.body).expect("JSON")),
            "application/x-www-form-urlencoded" => {
                let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&ask.body).expect("a form");
                fields.into_iter().for_each(|(name, value)| self.keep_fields(&json!({name: value})));
            }
            _ => {}
        }
    }

    fn keep_received(&mut self, reply: &Reply) {
        if let Ok(body) = serde_json::from_str(&reply.text) {
            // What a refusal says under `code` is no secret.
            if reply.status.is_success() {
                self.keep_fields(&body);
            }
        }
        for cookie in reply.headers.get_all("set-cookie") {
            let text = cookie.to_str().expect("a text");
            let value = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie").1;
            self.keep(value);
        }
    }

    fn keep_fields(&mut self, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if SECRET_FIELDS.contains(&name.as_str()) => self.keep(text),
                        Value::Array(many) if SECRET_FIELDS.contains(&name.as_str()) => {
                            many.iter().filter_map(Value::as_str).for_each(|text| self.keep(text));
                        }
                        other => self.keep_fields(other),
                    }
                }
            }
            Value::Array(many) => many.iter().for_each(|one| self.keep_fields(one)),
            _ => {}
        }
    }

    /// Also without the hyphens that are for reading.
    fn keep(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.insert(secret.to_owned());
            self.secrets.insert(secret.replace('-', ""));
        }
    }

    /// No line shows what was secret, and nothing that the document has was left out.
    pub(super) async fn end(self) -> (Server, Vec<Line>) {
        assert_eq!(self.open, None, "its lines are not looked at");
        let lines = self.log().await;
        assert!(self.secrets.len() > 50, "{} secrets: are they looked for?", self.secrets.len());
        for line in &lines {
            let shown = format!("{line:?}");
            let words: BTreeSet<&str> = shown.split(|letter: char| !letter.is_alphanumeric()).collect();
            for secret in &self.secrets {
                // A short one may be in an id by chance, but no word of its own.
                let is_shown =
                    if secret.len() < 12 { words.contains(secret.as_str()) } else { shown.contains(secret) };
                assert!(!is_shown, "a secret ({secret}) is shown by {shown}");
            }
        }
        let document = bifrost_api::openapi();
        let changing = access::operations(&document).filter(|(method, ..)| *method != "GET");
        let changing: BTreeSet<String> =
            changing.map(|(method, path, _)| format!("{method} {path}")).collect();
        let forgotten: Vec<&String> = changing.difference(&self.walked).collect();
        assert!(
            forgotten.is_empty(),
            "nobody looked for the audit lines of {forgotten:#?}: ask each in `audited/`, and say what it leaves"
        );
        (self.server, lines)
    }
}
