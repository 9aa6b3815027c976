//! Against a real provider: `oidc-provider`, as it comes from npm.

use super::{
    Begun,
    real_provider::{RealProvider, client},
};
use crate::support::{Reply, Server, tokens};
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::clock::{Clock, SystemClock};
use chrono::Duration;
use serde_json::{Value, json};
use url::Url;

const CLIENT_SECRET: &str = ": + & %";
/// A PKCE verifier and its challenge, of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) admin: String,
    pub(super) real: RealProvider,
}

/// A server whose clock is the machine's, as the provider's is, with a provider named `name` for the client `client_id`.
pub(super) async fn scene(name: &str, client_id: &str, has_secret: bool, sparing: bool) -> Scene {
    let server = Server::start().await;
    // A little ahead: this clock stands still, and what the provider issues within a slow minute is not of the future.
    server.clock.advance(SystemClock.now() - server.clock.now() + Duration::seconds(30));
    let (admin, _) = server.admin().await;
    let body = json!({"name": "Acme", "domain": "acme.example"});
    assert_eq!(server.post("/api/organizations", &admin, body).await.status, StatusCode::CREATED);
    let real = RealProvider::start(sparing);
    let secret = format!("secret of {client_id}{CLIENT_SECRET}");
    let change = json!({
        "name": name, "client_id": client_id, "client_secret": has_secret.then_some(secret),
        "rules": {
            "scopes": ["profile", "email", "groups"], "jit_enabled": true, "allowed_domains": ["acme.example"],
            "required_scopes": ["run"]
        }
    });
    server.provider(&admin, &real.issuer, change).await;
    Scene { server, admin, real }
}

impl Scene {
    async fn sign_in(&self, name: &str, login: &str) -> Reply {
        let begun = self.server.begin(name).await;
        let back = self.real.sign_in(&begun.url, login).await;
        assert_eq!(
            (back["state"].as_str(), back["iss"].as_str()),
            (begun.state.as_str(), self.real.issuer.as_str())
        );
        let body = json!({"code": back["code"], "state": back["state"], "iss": back["iss"]});
        let headers = [("cookie", begun.cookie.as_str())];
        self.server.ask(axum::http::Method::POST, "/auth/oauth/callback", &headers, Some(body)).await
    }

    /// An id token and an access token for `audience`, as another program of the person gets them.
    async fn tokens_of(&self, login: &str, audience: &str) -> (String, String) {
        let redirect = "http://localhost:8000/auth/callback/open";
        let mut url: Url = format!("{}/auth", self.real.issuer).parse().expect("a URL");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", "open")
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", "openid email run")
            .append_pair("resource", audience)
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256");
        let back = self.real.sign_in(&url, login).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "open"),
            ("code", back["code"].as_str()),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
            ("resource", audience),
        ];
        let reply = client().post(format!("{}/token", self.real.issuer)).form(&form).send().await;
        let reply: Value = reply.expect("an answer").json().await.expect("JSON");
        let text = |name: &str| reply[name].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
        (text("id_token"), text("access_token"))
    }
}

#[tokio::test]
async fn people_sign_in() {
    for (name, client_id, has_secret, sparing) in
        [("real", "bifrost", true, false), ("real", "bifrost", true, true), ("open", "open", false, false)]
    {
        let scene = scene(name, client_id, has_secret, sparing).await;
        let reply = scene.sign_in(name, "ann").await;
        let me = scene.server.get("/auth/me", &tokens(&reply).0).await.json();
        assert_eq!(
            (&me["email"], &me["name"]),
            (&json!("ann@acme.example"), &json!("ann of Acme")),
            "{name}"
        );
        let again = scene.sign_in(name, "ann").await;
        let again = scene.server.get("/auth/me", &tokens(&again).0).await.json();
        assert_eq!(again["id"], me["id"]);
    }
}

#[tokio::test]
async fn a_code_is_worth_nothing_elsewhere() {
    let scene = scene("real", "bifrost", true, false).await;
    let (one, two) = (scene.server.begin("real").await, scene.server.begin("real").await);
    let (first, second) =
        (scene.real.sign_in(&one.url, "ann").await, scene.real.sign_in(&two.url, "eve").await);
    // Eve slips her code into Ann's sign-in: it has another verifier.
    let slipped = scene.server.finish(&one.cookie, &second["code"], &one.state).await;
    assert_eq!(slipped.problem(), (400, "oauth_code_refused".to_owned()));
    assert_eq!(scene.server.audit(1).await[0].2["reason"], "code");
    let used = scene.server.finish(&one.cookie, &first["code"], &one.state).await;
    assert_eq!(used.problem(), (400, "oauth_state_invalid".to_owned()), "the state is used up");
    // Nor is her state of any use in another browser.
    let other = scene.server.finish(&one.cookie, &second["code"], &two.state).await;
    assert_eq!(other.problem(), (400, "oauth_state_invalid".to_owned()));
}

#[tokio::test]
async fn the_provider_changes_its_keys() {
    let scene = scene("real", "bifrost", true, false).await;
    assert_eq!(scene.sign_in("real", "ann").await.status, StatusCode::OK);
    let (_, before) = scene.tokens_of("ann", "api://bifrost").await;
    assert_eq!(scene.server.get("/auth/me", &before).await.status, StatusCode::OK);
    scene.real.rotate().await;
    scene.server.clock.advance(Duration::seconds(31));
    assert_eq!(scene.sign_in("real", "ann").await.status, StatusCode::OK, "the new key is fetched");
    assert_eq!(scene.server.get("/auth/me", &before).await.problem().0, 401, "the old one is gone");
    assert_eq!(scene.real.keys_asked().await, 2);
}

#[tokio::test]
async fn its_tokens_are_accepted_and_exchanged() {
    let scene = scene("real", "bifrost", true, false).await;
    let server = &scene.server;
    assert_eq!(scene.sign_in("real", "ann").await.status, StatusCode::OK);
    let (id_token, access) = scene.tokens_of("ann", "api://bifrost").await;
    assert_eq!(server.get("/auth/me", &access).await.json()["email"], "ann@acme.example");
    let ours = server.exchange(&access).await;
    let ours = ours.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", ours.text)).to_owned();
    assert_eq!(server.get("/auth/me", &ours).await.json()["email"], "ann@acme.example");
    // A live connection is asked every second whether its session goes on, so it needs one.
    let ticket = server.post("/api/live/ticket", &access, json!({})).await;
    assert_eq!(ticket.problem(), (403, "session_required".to_owned()));
    let path = "/api/executions/01890a5d-ac96-774b-bcce-b302099a8057/stream";
    assert_eq!(server.get(path, &access).await.problem(), (403, "session_required".to_owned()));
    assert_eq!(server.post("/api/live/ticket", &ours, json!({})).await.status, StatusCode::OK);
    let (_, elsewhere) = scene.tokens_of("ann", "api://other").await;
    let tampered = {
        let mut parts: Vec<&str> = access.split('.').collect();
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
        let mut claims: Value = serde_json::from_slice(&claims).expect("JSON");
        claims["sub"] = "bob".into();
        let forged = URL_SAFE_NO_PAD.encode(claims.to_string());
        parts[1] = &forged;
        parts.join(".")
    };
    for (name, token) in
        [("an id token", &id_token), ("another audience", &elsewhere), ("changed", &tampered)]
    {
        assert_eq!(server.get("/auth/me", token).await.problem().0, 401, "{name}");
        assert_eq!(server.exchange(token).await.problem().0, 401, "{name}");
    }
    // Somebody whom nobody here knows.
    let (_, bob) = scene.tokens_of("bob", "api://bifrost").await;
    assert_eq!(server.get("/auth/me", &bob).await.problem(), (401, "identity_unknown".to_owned()));
    assert_eq!(server.exchange(&bob).await.problem(), (403, "identity_unknown".to_owned()));
    // Ten minutes and the leeway later it has ended, whenever within this test it was issued.
    server.clock.advance(Duration::minutes(20));
    assert_eq!(server.get("/auth/me", &access).await.problem().0, 401);
}

#[tokio::test]
async fn groups_come_with_the_token() {
    let scene = scene("real", "bifrost", true, false).await;
    let other = scene.server.organization(&scene.admin, "Other").await;
    let listed = scene.server.get("/api/identity-providers", &scene.admin).await.json();
    let path = format!("/api/identity-providers/{}", listed[0]["id"].as_str().expect("an id"));
    let rule =
        json!({"rules": {"group_rules": [{"group": "staff", "organization_id": other, "role": "admin"}]}});
    let bearer = format!("Bearer {}", scene.admin);
    let headers = [("authorization", bearer.as_str())];
    let changed = scene.server.ask(axum::http::Method::PATCH, &path, &headers, Some(rule)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    for (login, expected) in [("ann+staff", 2), ("bob", 1)] {
        let reply = scene.sign_in("real", login).await;
        let me = scene.server.get("/auth/me", &tokens(&reply).0).await.json();
        assert_eq!(me["memberships"].as_array().map(Vec::len), Some(expected), "{login}: {me}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let mut scene = scene("real", "bifrost", true, false).await;
    let begun: Begun = scene.server.begin("real").await;
    let back = scene.real.sign_in(&begun.url, "ann").await;
    let issuer = std::mem::take(&mut scene.real.issuer);
    drop(scene.real);
    let late = scene.server.finish(&begun.cookie, &back["code"], &begun.state).await;
    assert_eq!(late.problem(), (503, "provider_unavailable".to_owned()), "{issuer}");
    scene.server.clock.advance(Duration::minutes(61));
    let reply = scene.server.ask(axum::http::Method::GET, "/auth/oauth/init/real", &[], None).await;
    assert_eq!(reply.problem(), (503, "provider_unavailable".to_owned()));
}
