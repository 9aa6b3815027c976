//! What each operation is sent: a body that it takes, and which objects it is about. `{user}` stands for an object of that kind.

use crate::account::png;
use bifrost_api::access;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A body.
#[derive(Clone)]
pub(super) enum Sent {
    Json(Value),
    Form(&'static [(&'static str, &'static str)]),
    /// A picture, as a browser's form sends it.
    Picture,
}

impl Sent {
    /// The kinds of objects that it names.
    pub(super) fn places(&self) -> Vec<&'static str> {
        let Self::Json(body) = self else { return Vec::new() };
        let mut body = body.clone();
        let mut found = Vec::new();
        walk(&mut body, &mut |kind| {
            found.push(kind);
            String::new()
        });
        found
    }

    /// Its type and its bytes, with the next object in each place.
    pub(super) fn filled<'a>(&self, next: &mut impl FnMut() -> &'a str) -> (&'static str, Vec<u8>) {
        match self {
            Self::Json(body) => {
                let mut body = body.clone();
                walk(&mut body, &mut |_| next().to_owned());
                ("application/json", body.to_string().into_bytes())
            }
            Self::Form(fields) => {
                let form = serde_urlencoded::to_string(fields).expect("a form");
                ("application/x-www-form-urlencoded", form.into_bytes())
            }
            Self::Picture => {
                let head = "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
                            Content-Type: image/png\r\n\r\n";
                let body = [head.as_bytes(), &png(8, 8), b"\r\n--frontier--\r\n"].concat();
                ("multipart/form-data; boundary=frontier", body)
            }
        }
    }
}

/// Puts something in every place.
fn walk(value: &mut Value, put: &mut impl FnMut(&'static str) -> String) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                let kind = KINDS.into_iter().find(|kind| *kind == name);
                *text = put(kind.unwrap_or_else(|| panic!("`{name}` is no kind of object")));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, put)),
        Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, put)),
        _ => {}
    }
}

/// What `scene.rs` makes of each.
pub(super) const KINDS: [&str; 17] = [
    "application",
    "application_key",
    "execution",
    "form",
    "logo",
    "member",
    "organization",
    "provider",
    "provider_name",
    "role",
    "sdk_key",
    "session",
    "trusted_device",
    "user",
    "user_code",
    "workflow",
    "workflow_key",
];

/// What stands in a path, by the path up to there.
const OBJECTS: [(&str, &str); 20] = [
    ("/api/applications/{id}", "application"),
    ("/api/applications/{id}/keys/{key_id}", "application_key"),
    ("/api/branding/logo/{kind}", "logo"),
    ("/api/executions/{id}", "execution"),
    ("/api/identity-providers/{id}", "provider"),
    ("/api/organizations/{id}", "organization"),
    ("/api/organizations/{id}/members/{user_id}", "member"),
    ("/api/roles/{id}", "role"),
    ("/api/roles/{id}/forms/{form_id}", "form"),
    ("/api/roles/{id}/users/{user_id}", "user"),
    ("/api/sdk/keys/{id}", "sdk_key"),
    ("/api/users/{id}", "user"),
    ("/api/workflow-keys/{id}", "workflow_key"),
    ("/auth/callback/{name}", "provider_name"),
    ("/auth/mfa/trusted-devices/{id}", "trusted_device"),
    ("/auth/oauth/accounts/{provider}", "provider_name"),
    ("/auth/oauth/init/{provider}", "provider_name"),
    ("/auth/oauth/link/{provider}", "provider_name"),
    ("/auth/sessions/{id}", "session"),
    ("/ws/execution/{id}", "execution"),
];

/// The kinds of objects in a path.
pub(super) fn objects_of(path: &str) -> Vec<&'static str> {
    let ends = path.match_indices('}').map(|(at, _)| &path[..=at]);
    ends.map(|begin| {
        let found = OBJECTS.iter().find(|(known, _)| *known == begin);
        found
            .unwrap_or_else(|| panic!("`{begin}` names an object that nobody attacks: add it to `OBJECTS`"))
            .1
    })
    .collect()
}

/// What an operation is sent.
pub(super) fn body_of(operation: &str) -> Option<Sent> {
    bodies().into_iter().find(|(name, _)| *name == operation).map(|(_, body)| body)
}

/// Every line of the tables is about something that the document has.
pub(super) fn none_is_left_over() {
    let document = bifrost_api::openapi();
    let known: BTreeSet<String> =
        access::operations(&document).map(|(method, path, _)| format!("{method} {path}")).collect();
    for (name, _) in bodies() {
        assert!(known.contains(name), "{name} is no operation");
    }
    for (begin, _) in OBJECTS {
        assert!(known.iter().any(|name| name.contains(begin)), "{begin} is no path");
    }
}

fn bodies() -> Vec<(&'static str, Sent)> {
    let mut all: Vec<(&'static str, Sent)> =
        jsons().into_iter().map(|(name, body)| (name, Sent::Json(body))).collect();
    all.extend([
        ("POST /api/branding/logo/{kind}", Sent::Picture),
        ("POST /api/profile/avatar", Sent::Picture),
        ("POST /auth/device/code", Sent::Form(&[("client_id", "cli")])),
        (
            "POST /auth/device/token",
            Sent::Form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ]),
        ),
        (
            "POST /auth/login",
            Sent::Form(&[("username", "owner@acme.example"), ("password", "not the password")]),
        ),
        (
            "POST /auth/token",
            Sent::Form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", "x.y.z"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ]),
        ),
    ]);
    all
}

fn jsons() -> Vec<(&'static str, Value)> {
    let provider = json!({
        "name": "new", "display_name": "New", "kind": "generic", "issuer": "https://new.example", "client_id": "c"
    });
    let password =
        json!({"current_password": "a long password", "new_password": "another password, also long"});
    let proof = json!({"password": "a long password"});
    vec![
        ("POST /api/applications", json!({"name": "New", "organization_id": "{organization}"})),
        ("PATCH /api/applications/{id}", json!({"name": "Taken over"})),
        ("POST /api/applications/{id}/keys", json!({"name": "stolen"})),
        ("PUT /api/branding", json!({"name": "Taken over"})),
        ("POST /api/identity-providers", provider),
        ("PATCH /api/identity-providers/{id}", json!({"display_name": "Taken over"})),
        ("POST /api/organizations", json!({"name": "New"})),
        ("PATCH /api/organizations/{id}", json!({"name": "Taken over"})),
        ("PUT /api/organizations/{id}/members/{user_id}", json!({"role": "member"})),
        ("PATCH /api/profile", json!({"name": "Taken over"})),
        ("POST /api/profile/password", password),
        ("POST /api/roles", json!({"name": "New", "organization_id": "{organization}"})),
        ("PUT /api/roles/{id}", json!({"name": "Taken over", "permissions": []})),
        ("PATCH /api/roles/{id}", json!({"name": "Taken over again"})),
        ("POST /api/roles/{id}/forms", json!({"form_ids": ["{form}"]})),
        ("POST /api/roles/{id}/users", json!({"user_ids": ["{user}"]})),
        ("POST /api/sdk/keys", json!({"name": "stolen"})),
        ("POST /api/users", json!({"email": "new@new.example", "organization_id": "{organization}"})),
        ("PATCH /api/users/{id}", json!({"name": "Taken over"})),
        ("POST /api/workflow-keys", json!({"workflow_name": "{workflow}"})),
        ("POST /api/workflows/execute", json!({"workflow_name": "{workflow}", "form_id": "{form}"})),
        ("POST /api/workflows/validate", json!({"path": "a.py", "content": "x = 1"})),
        ("POST /auth/admin/revoke-user", json!({"user_id": "{user}"})),
        ("POST /auth/device/authorize", json!({"user_code": "{user_code}", "approve": true})),
        ("POST /auth/device/lookup", json!({"user_code": "{user_code}"})),
        ("DELETE /auth/mfa", proof.clone()),
        ("POST /auth/mfa/login", json!({"mfa_token": "x.y.z", "code": "123456"})),
        ("POST /auth/mfa/prove", json!({"code": "123456"})),
        ("POST /auth/mfa/recovery-codes/regenerate", proof.clone()),
        ("POST /auth/mfa/setup", json!({"mfa_token": "x.y.z"})),
        ("POST /auth/mfa/totp/setup", json!({"mfa_token": "x.y.z"})),
        ("POST /auth/mfa/totp/verify", json!({"mfa_token": "x.y.z", "code": "123456"})),
        ("POST /auth/mfa/verify", json!({"mfa_token": "x.y.z", "code": "123456"})),
        ("POST /auth/oauth/callback", json!({"code": "code", "state": "A".repeat(43)})),
        ("POST /auth/oauth/link/{provider}", proof),
        ("POST /auth/refresh", json!({"refresh_token": "x.y.z"})),
        ("POST /auth/register", json!({"email": "owner@acme.example", "password": "a long password"})),
        ("POST /auth/switch-organization", json!({"organization_id": "{organization}"})),
    ]
}
