//! The own account: second factor, sessions, profile.

mod factor;
mod profile;
mod required;
mod sessions;

use crate::support::{Reply, Server, tokens};
use axum::{
    body::Body,
    http::{Method, Request},
};
use bifrost_domain::clock::Clock;
use bifrost_test_support::one_time_code;
use image::{ImageFormat, RgbaImage};
use serde_json::{Value, json};
use std::io::Cursor;

/// Asks with a token.
pub(crate) async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Reply {
    server.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
}

/// Enrols whom `token` is of: the secret, and the reply of the verification.
pub(crate) async fn enrol(server: &Server, token: &str) -> (String, Reply) {
    let setup = ask(server, Method::POST, "/auth/mfa/setup", token, None).await;
    assert_eq!(setup.status, 200, "{}", setup.text);
    let secret = setup.json()["secret"].as_str().expect("a secret").to_owned();
    let body = json!({"code": code(server, &secret)});
    let verified = ask(server, Method::POST, "/auth/mfa/verify", token, Some(body)).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    (secret, verified)
}

/// What the authenticator with this secret shows now.
pub(crate) fn code(server: &Server, secret: &str) -> String {
    one_time_code(secret, server.clock.now())
}

/// A PNG of these measures.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbaImage::new(width, height).write_to(&mut bytes, ImageFormat::Png).expect("encoded");
    bytes.into_inner()
}

/// Sends a file as a browser's form does.
pub(crate) async fn upload(server: &Server, path: &str, token: &str, field: &str, file: &[u8]) -> Reply {
    let (kind, body) = file_form(field, file);
    send(server, path, token, kind, body).await
}

/// A form with a picture, as browsers write it: its type and its body.
pub(crate) fn file_form(field: &str, file: &[u8]) -> (&'static str, Vec<u8>) {
    let head = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"me.png\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    let body = [head.as_bytes(), file, b"\r\n--frontier--\r\n"].concat();
    ("multipart/form-data; boundary=frontier", body)
}

/// Sends a body of this type.
pub(crate) async fn send(server: &Server, path: &str, token: &str, kind: &str, body: Vec<u8>) -> Reply {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", kind)
        .body(Body::from(body))
        .expect("a request");
    server.send(request).await
}

/// The newest session of whom `token` is of.
pub(crate) async fn session(server: &Server, token: &str) -> String {
    let sessions = server.get("/auth/sessions", token).await.json();
    sessions[0]["id"].as_str().expect("an id").to_owned()
}

/// Enrols somebody for a second factor and signs him in with it: the reply, and the device that is trusted from then on.
pub(crate) async fn second_factor(
    server: &Server,
    token: &str,
    email: &str,
    password: &str,
) -> (Reply, String) {
    let (_, verified) = enrol(server, token).await;
    let challenge = server.login(email, password).await.json();
    let (token, code) = (&challenge["mfa_token"], &verified.json()["recovery_codes"][0]);
    let body = json!({"mfa_token": token, "code": code, "trust_device": true});
    let reply = server.ask(Method::POST, "/auth/mfa/login", &[], Some(body)).await;
    let (access, _) = tokens(&reply);
    let devices = server.get("/auth/mfa/trusted-devices", &access).await.json();
    let device = devices["devices"][0]["id"].as_str().expect("an id").to_owned();
    (reply, device)
}
