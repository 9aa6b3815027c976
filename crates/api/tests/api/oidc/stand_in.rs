//! A provider that says whatever a test wants it to, with keys of its own.

use axum::{Json, Router, extract::State, routing};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A key pair.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) kid: String,
    pub(super) private: String,
    /// The public half in PEM, which everybody may know.
    pub(super) public: String,
    pub(super) jwk: Value,
}

impl Pair {
    /// Made by node, which the tests need anyway: making an RSA key takes minutes in a debug build.
    fn make(kind: &str, options: &str, format: &str, algorithm: Algorithm, kid: &str) -> Self {
        let script = format!(
            "const k = require('node:crypto').generateKeyPairSync('{kind}', {options}); console.log(JSON.stringify({{\
             private: k.privateKey.export({{type: '{format}', format: 'pem'}}), \
             public: k.publicKey.export({{type: 'spki', format: 'pem'}}), jwk: k.publicKey.export({{format: 'jwk'}})}}))"
        );
        let output = Command::new("node").args(["-e", &script]).output().expect("node is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        let mut jwk = made["jwk"].clone();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        Self { algorithm, kid: kid.to_owned(), private: text("private"), public: text("public"), jwk }
    }

    pub(crate) fn ed(kid: &str) -> Self {
        Self::make("ed25519", "{}", "pkcs8", Algorithm::EdDSA, kid)
    }

    pub(super) fn ec(kid: &str) -> Self {
        Self::make("ec", "{namedCurve: 'P-256'}", "pkcs8", Algorithm::ES256, kid)
    }

    pub(super) fn rsa(kid: &str, bits: u32) -> Self {
        Self::make("rsa", &format!("{{modulusLength: {bits}}}"), "pkcs1", Algorithm::RS256, kid)
    }

    fn encoding(&self) -> EncodingKey {
        let pem = self.private.as_bytes();
        match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        }
        .expect("a key")
    }

    pub(super) fn header(&self, typ: &str) -> Value {
        json!({"alg": self.algorithm, "typ": typ, "kid": self.kid})
    }

    /// Signs whatever header and claims there are.
    pub(super) fn sign_raw(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding(), self.algorithm);
        format!("{message}.{}", signature.expect("signed"))
    }

    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> String {
        let header =
            Header { typ: Some(typ.to_owned()), kid: Some(self.kid.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).expect("signed")
    }
}

/// What the stand-in says.
#[derive(Default)]
struct Said {
    keys: Vec<Value>,
    id_token: String,
    userinfo: Value,
    /// Instead of the right one.
    issuer: Option<String>,
}

struct Inner {
    base: String,
    said: Mutex<Said>,
    keys_asked: AtomicUsize,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct StandIn(Arc<Inner>);

impl StandIn {
    /// Serves until the runtime ends.
    pub(crate) async fn start(keys: &[&Pair]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let said = Mutex::new(Said::default());
        let this = Self(Arc::new(Inner { base, said, keys_asked: AtomicUsize::new(0) }));
        this.set_keys(keys);
        let router = Router::new()
            .route("/.well-known/openid-configuration", routing::get(Self::document))
            .route("/organizations/v2.0/.well-known/openid-configuration", routing::get(Self::many))
            .route("/keys", routing::get(Self::keys))
            .route("/token", routing::post(Self::token))
            .route("/userinfo", routing::get(Self::userinfo))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    pub(crate) fn issuer(&self) -> String {
        self.0.base.clone()
    }

    /// The issuer of Entra's kind, with many tenants.
    pub(super) fn template(&self) -> String {
        format!("{}/{{tenantid}}/v2.0", self.0.base)
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.said.lock().expect("a lock"));
    }

    pub(super) fn set_keys(&self, keys: &[&Pair]) {
        self.change(|said| said.keys = keys.iter().map(|key| key.jwk.clone()).collect());
    }

    pub(super) fn set_jwks(&self, keys: Vec<Value>) {
        self.change(|said| said.keys = keys);
    }

    pub(crate) fn answer_with(&self, id_token: String, userinfo: Value) {
        self.change(|said| (said.id_token, said.userinfo) = (id_token, userinfo));
    }

    pub(super) fn claim_issuer(&self, issuer: &str) {
        self.change(|said| said.issuer = Some(issuer.to_owned()));
    }

    pub(super) fn keys_asked(&self) -> usize {
        self.0.keys_asked.load(Ordering::SeqCst)
    }

    fn described(&self, issuer: String) -> Json<Value> {
        let base = &self.0.base;
        let issuer = self.0.said.lock().expect("a lock").issuer.clone().unwrap_or(issuer);
        Json(json!({
            "issuer": issuer, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}/token"),
            "userinfo_endpoint": format!("{base}/userinfo"), "jwks_uri": format!("{base}/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post"]
        }))
    }

    async fn document(State(this): State<Self>) -> Json<Value> {
        this.described(this.issuer())
    }

    async fn many(State(this): State<Self>) -> Json<Value> {
        this.described(this.template())
    }

    async fn keys(State(this): State<Self>) -> Json<Value> {
        this.0.keys_asked.fetch_add(1, Ordering::SeqCst);
        Json(json!({"keys": this.0.said.lock().expect("a lock").keys}))
    }

    async fn token(State(this): State<Self>) -> Json<Value> {
        let said = this.0.said.lock().expect("a lock");
        Json(json!({"access_token": "opaque", "token_type": "Bearer", "id_token": said.id_token}))
    }

    async fn userinfo(State(this): State<Self>) -> Json<Value> {
        Json(this.0.said.lock().expect("a lock").userinfo.clone())
    }
}
