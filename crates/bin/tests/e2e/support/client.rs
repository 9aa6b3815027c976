//! HTTP as a program outside speaks it.

use super::{PATIENCE, Sse, until};
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn of(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

/// The API at one address, asked as one user or as nobody.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
    pub(crate) refresh_token: Option<String>,
    organization: Option<String>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // A second choice of the provider is an error that changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self { http, address, token: None, refresh_token: None, organization: None }
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Reply {
        let form = [("username", username), ("password", password)];
        send(self.request(Method::POST, "/auth/login").form(&form)).await
    }

    pub(crate) async fn signed_in(&self, username: &str, password: &str) -> Self {
        let tokens = self.login(username, password).await.of(200);
        Self {
            token: Some(tokens["access_token"].as_str().expect("a token").to_owned()),
            refresh_token: Some(tokens["refresh_token"].as_str().expect("a token").to_owned()),
            ..self.clone()
        }
    }

    /// The development user, who may do everything.
    pub(crate) async fn admin(&self) -> Self {
        self.signed_in("admin@localhost", "admin").await
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn in_organization(&self, id: &str) -> Self {
        Self { organization: Some(id.to_owned()), ..self.clone() }
    }

    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(id) = &self.organization {
            request = request.header("X-Organization-Id", id);
        }
        request
    }

    /// GET with headers of one's own.
    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        send(with(self.request(Method::GET, path), headers)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Reply {
        send(self.request(Method::HEAD, path)).await
    }

    /// Opens a stream of events, or the answer that is none.
    pub(crate) async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Result<Sse, Reply> {
        let response = with(self.request(Method::GET, path), headers).send().await.expect("an answer");
        if response.status() != 200 {
            return Err(reply(response).await);
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-accel-buffering"), Some("no"));
        assert_eq!(header("content-encoding"), None, "what is compressed waits for its block");
        Ok(Sse::of(response))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn execute(&self, body: Value) -> Reply {
        self.post("/api/workflows/execute", body).await
    }

    /// The same, answered as soon as it is accepted.
    pub(crate) async fn execute_async(&self, body: Value) -> Reply {
        let request = self.request(Method::POST, "/api/workflows/execute").header("Prefer", "respond-async");
        send(request.json(&body)).await
    }

    /// Runs a workflow and expects it to be accepted.
    pub(crate) async fn run(&self, name: &str, input: Value) -> Value {
        self.execute(json!({"workflow_name": name, "input_data": input})).await.of(200)
    }

    /// Starts a workflow without waiting for it.
    pub(crate) async fn begin(&self, name: &str, input: Value) -> String {
        let accepted = self.execute_async(json!({"workflow_name": name, "input_data": input})).await.of(202);
        assert!(
            ["Pending", "Running"].contains(&accepted["status"].as_str().expect("a status")),
            "{accepted}"
        );
        accepted["execution_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn execution(&self, id: &str) -> Value {
        self.get(&format!("/api/executions/{id}")).await.of(200)
    }

    /// Waits until an execution has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        until(&format!("the end of {id}"), PATIENCE, async || {
            let execution = self.execution(id).await;
            let status = execution["status"].as_str().expect("a status");
            (!["Scheduled", "Pending", "Running", "Cancelling"].contains(&status)).then_some(execution)
        })
        .await
        .0
    }

    /// Waits until the log has a line that contains `text`.
    pub(crate) async fn line(&self, id: &str, text: &str) {
        until(&format!("the line `{text}` of {id}"), PATIENCE, async || {
            self.log(id)
                .await
                .iter()
                .any(|line| line["message"].as_str().is_some_and(|m| m.contains(text)))
                .then_some(())
        })
        .await;
    }

    /// The whole log, page by page.
    pub(crate) async fn log(&self, id: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("/api/executions/{id}/logs?after={after}&limit=1000")).await.of(200);
            lines.extend(page["logs"].as_array().expect("lines").iter().cloned());
            after = page["next_after"].as_i64().expect("a sequence");
            if page["has_more"] == false {
                return lines;
            }
        }
    }

    /// An answer that goes on for as long as `within`.
    pub(crate) async fn open_stream(
        &self,
        path: &str,
        last_event_id: Option<i64>,
        within: Duration,
    ) -> Result<Response, String> {
        let mut request = self.request(Method::GET, path).timeout(within);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        if response.status() == 200 { Ok(response) } else { Err(response.status().to_string()) }
    }

    pub(crate) async fn ticket(&self) -> String {
        let reply = self.post("/api/live/ticket", json!({})).await;
        assert!(reply.status < 300, "{}", reply.text);
        reply.json()["ticket"].as_str().expect("a ticket").to_owned()
    }
}

fn with(request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

async fn send(request: RequestBuilder) -> Reply {
    reply(request.send().await.expect("an answer")).await
}

async fn reply(response: reqwest::Response) -> Reply {
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}

/// Source as `code` carries it.
pub(crate) fn base64(source: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(source)
}
