//! A walk over the API: each request leaves exactly the lines that are expected of it, and none of them shows a secret.

use super::expected::Expected;
use crate::support::{Reply, Server, auditor, tokens};
use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
};
use bifrost_api::access;
use bifrost_app::auth::DevUser;
use bifrost_storage::audit::Line;
use bifrost_test_support::TestDatabase;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
    lines: usize,
    /// The request whose lines are still to be looked at.
    open: Option<String>,
}

impl Walk {
    pub(super) async fn start() -> Self {
        Self::start_on(TestDatabase::sqlite().await).await
    }

    pub(super) async fn start_on(db: TestDatabase) -> Self {
        let server = Server::on_with(db, |setup| {
            setup.auth.dev_user = Some(DevUser { email: ADMIN.to_owned(), password: ADMIN_PASSWORD.into() });
        })
        .await;
        Self::on(server).await
    }

    /// On a server of one's own.
    pub(super) async fn on(server: Server) -> Self {
        let mut walk =
            Self { server, walked: BTreeSet::new(), secrets: BTreeSet::new(), lines: 0, open: None };
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
        let method: Method = ask.route.split(' ').next().expect("a method").parse().expect("a method");
        let mut request = Request::builder().method(method).uri(&ask.path).header("user-agent", "walker/1.0");
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
        self.open = Some(reply.header("x-request-id").to_owned());
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
        let document = bifrost_api::openapi();
        let changing = access::operations(&document).filter(|(method, ..)| *method != "GET");
        let changing: BTreeSet<String> =
            changing.map(|(method, path, _)| format!("{method} {path}")).collect();
        let forgotten: Vec<&String> = changing.difference(&self.walked).collect();
        assert!(
            forgotten.is_empty(),
            "nobody looked for the audit lines of {forgotten:#?}: ask each in `audited/`, and say what it leaves"
        );
        assert!(self.secrets.len() > 50, "{} secrets: are they looked for?", self.secrets.len());
        let lines = self.log().await;
        self.look_for_secrets(&lines);
        (self.server, lines)
    }

    fn look_for_secrets(&self, lines: &[Line]) {
        for line in lines {
            let shown = format!("{line:?}");
            let words: BTreeSet<&str> = shown.split(|letter: char| !letter.is_alphanumeric()).collect();
            for secret in &self.secrets {
                // A short one may be in an id by chance, but no word of its own.
                let is_shown =
                    if secret.len() < 12 { words.contains(secret.as_str()) } else { shown.contains(secret) };
                assert!(!is_shown, "a secret ({secret}) is shown by {shown}");
            }
        }
    }
}

/// The walk notices what it is there for.
mod notices {
    use super::*;
    use crate::audited::expected::line;

    async fn renamed(name: &str) -> Walk {
        let mut walk = Walk::start().await;
        let (by, _) = walk.sign_in(ADMIN, ADMIN_PASSWORD).await;
        let id = walk.me(&by).await;
        walk.left([line("session.begin", ADMIN, &id)]).await;
        walk.ask(Ask::to("PATCH /api/profile").by(&by).json(&json!({ "name": name }))).await;
        walk
    }

    #[tokio::test]
    #[should_panic(expected = "nobody looked for the audit lines of")]
    async fn an_operation_that_nobody_asked() {
        Walk::start().await.end().await;
    }

    #[tokio::test]
    #[should_panic(expected = "1 lines, 0 expected")]
    async fn a_line_that_nobody_expected() {
        renamed("Ann").await.left([]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the changes of")]
    async fn a_change_that_is_not_shown() {
        let mut walk = renamed("Ann").await;
        let id = walk.log().await[0].resource_id.clone().expect("somebody");
        walk.left([line("account.update", ADMIN, &id)]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "is shown by")]
    async fn a_secret_that_is_shown() {
        let walk = renamed(ADMIN_PASSWORD).await;
        walk.look_for_secrets(&walk.log().await);
    }
}
