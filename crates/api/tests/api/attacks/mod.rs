//! Every route of the document, attacked: by nobody, by who has been let go, by who has no rights, and by everything that speaks for
//! another organization. A route that says no permission fails, and so does one with an object in its path or a body that `requests.rs`
//! does not know.

mod dump;
mod keys;
mod live;
mod open;
mod outsiders;
mod ranks;
mod requests;
mod scene;
mod strangers;

use crate::support::{Reply, Server};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_api::access::{self, LIVE, PUBLIC};
use bifrost_domain::policy::{Rule, actions};
use requests::Sent;
use serde_json::Value;
use std::time::Duration;

/// What exists nowhere.
const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// A stream that an attack has opened never ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// An operation of the document, what it asks, and what it is sent.
struct Route {
    method: Method,
    path: String,
    permission: String,
    body: Option<Sent>,
    /// The kinds of objects that stand in its path and in its body, in order.
    places: Vec<&'static str>,
}

impl Route {
    fn is_public(&self) -> bool {
        self.permission == PUBLIC
    }

    fn is_live(&self) -> bool {
        self.permission == LIVE
    }

    /// A WebSocket is refused after the upgrade (`live.rs`).
    fn is_socket(&self) -> bool {
        self.path.starts_with("/ws/")
    }

    /// The rule of the permission; none for what is public or live.
    fn rule(&self) -> Option<Rule> {
        actions::ALL.iter().find(|one| one.1 == self.permission).map(|one| one.2)
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// An id that exists nowhere, for every place.
    fn nowhere(&self) -> Vec<String> {
        self.places.iter().map(|_| NOWHERE.to_owned()).collect()
    }
}

fn routes() -> Vec<Route> {
    let document = bifrost_api::openapi();
    let routes: Vec<Route> = access::operations(&document)
        .map(|(method, path, operation)| {
            let name = format!("{method} {path}");
            let permission = access::permission_of(operation);
            let permission = permission
                .unwrap_or_else(|| panic!("{name} says no permission: wrap it by `access::allowed`"));
            let body = requests::body_of(&name);
            assert_eq!(body.is_some(), operation.request_body.is_some(), "{name}: see `requests.rs`");
            let mut places = requests::objects_of(path);
            places.extend(body.iter().flat_map(Sent::places));
            Route {
                method: method.parse().expect("a method"),
                path: path.to_owned(),
                permission: permission.to_owned(),
                body,
                places,
            }
        })
        .collect();
    assert!(routes.len() > 20);
    routes
}

/// Who attacks: what he is called, and what he shows.
struct Attacker {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Attacker {
    fn bearer(name: &'static str, token: &str) -> Self {
        Self { name, headers: vec![("authorization", format!("Bearer {token}"))] }
    }

    fn and(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A request that would do what the route is for, with these objects in its places.
async fn attack(server: &Server, route: &Route, values: &[String], headers: &[(&str, String)]) -> Reply {
    let mut values = values.iter();
    let mut next = || values.next().expect("a value for every place").as_str();
    let parts: Vec<&str> =
        route.path.split('/').map(|part| if part.starts_with('{') { next() } else { part }).collect();
    let mut request = Request::builder().method(&route.method).uri(parts.join("/"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let body = match &route.body {
        None => Body::empty(),
        Some(sent) => {
            let (kind, bytes) = sent.filled(&mut next);
            request = request.header("content-type", kind);
            Body::from(bytes)
        }
    };
    let reply = tokio::time::timeout(PATIENCE, server.send(request.body(body).expect("a request")));
    reply.await.unwrap_or_else(|_| panic!("{} goes on and on", route.name()))
}

/// What tells two answers apart, but for the request's own id.
fn told(reply: &Reply) -> (StatusCode, Value) {
    let mut body = serde_json::from_str(&reply.text).unwrap_or_else(|_| reply.text.clone().into());
    if let Value::Object(fields) = &mut body {
        fields.remove("request_id");
    }
    (reply.status, body)
}

#[test]
fn every_route_says_whom_it_lets_in_and_what_it_is_sent() {
    for route in routes() {
        let known = route.is_public() || route.is_live() || route.rule().is_some();
        assert!(known, "{}: `{}` is no permission", route.name(), route.permission);
    }
    requests::none_is_left_over();
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
