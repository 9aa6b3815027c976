//! Programs that call with a key, and programs that ask to be signed in.

mod applications;
mod device;
mod device_page;
mod keys;
mod sdk_keys;

use crate::support::{Reply, Server};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// What exists nowhere.
const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn ask(server: &Server, token: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
    server.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
}

/// The text of a field.
fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {body}")).to_owned()
}

/// Makes an application: its id.
async fn application(server: &Server, token: &str, home: &str, more: Value) -> String {
    let mut body = json!({"name": "Sync", "organization_id": home});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = server.post("/api/applications", token, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    text(&made.json(), "id")
}

/// Makes a key of an application: its id and its text.
async fn key(server: &Server, token: &str, application: &str) -> (String, String) {
    let made = server.post(&format!("/api/applications/{application}/keys"), token, json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    (text(&made.json(), "id"), text(&made.json(), "key"))
}
