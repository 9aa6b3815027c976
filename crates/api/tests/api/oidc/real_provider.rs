//! `oidc-provider` from npm in a process of its own, and a browser that signs in there.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use url::Url;

/// Where `scripts/oidc-provider.sh` puts it.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/oidc-provider")
}

/// See the module. It ends with this value, or with the test's process.
pub(super) struct RealProvider {
    child: Child,
    pub(super) issuer: String,
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The provider of npm sends browsers back to one of these.
const REDIRECTS: [&str; 2] =
    ["http://localhost:8000/auth/callback/real", "http://localhost:8000/auth/callback/open"];

impl RealProvider {
    /// `sparing`: it says addresses at its userinfo endpoint alone, and takes secrets in bodies alone.
    pub(super) fn start(sparing: bool) -> Self {
        let folder = folder();
        assert!(
            folder.join("node_modules/oidc-provider").is_dir(),
            "the provider is not installed: run scripts/oidc-provider.sh (./test.sh does)"
        );
        // Its library is found beside it; tests that run at the same time write the same text.
        let staged = tempfile::NamedTempFile::new_in(&folder).expect("a file");
        std::fs::write(staged.path(), include_str!("../../oidc/provider.mjs")).expect("written");
        let script = folder.join("provider.mjs");
        staged.persist(&script).expect("in its place");
        let mut child = Command::new("node")
            .arg(&script)
            .arg(if sparing { "sparing" } else { "plain" })
            .args(REDIRECTS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is there");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its port");
        let port: u16 = line.trim().parse().expect("its port");
        Self { child, issuer: format!("http://127.0.0.1:{port}") }
    }

    /// It signs with another key from now on.
    pub(super) async fn rotate(&self) {
        let client = client();
        let reply = client.post(format!("{}/control/rotate", self.issuer)).send().await;
        assert!(reply.expect("an answer").status().is_success());
    }

    /// How often its keys were asked for.
    pub(super) async fn keys_asked(&self) -> usize {
        let reply = client().get(format!("{}/control/keys", self.issuer)).send().await.expect("an answer");
        reply.text().await.expect("a text").parse().expect("a number")
    }

    /// Signs in as `login` and allows what is asked: what the provider sends back with the browser.
    pub(super) async fn sign_in(&self, url: &Url, login: &str) -> BTreeMap<String, String> {
        let client = client();
        let mut cookies: BTreeMap<String, String> = BTreeMap::new();
        let mut next = url.clone();
        for _ in 0..20 {
            if REDIRECTS.iter().any(|redirect| next.as_str().starts_with(redirect)) {
                return next.query_pairs().into_owned().collect();
            }
            let shown: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = client.get(next.clone()).header("cookie", shown.join("; "));
            let mut reply = request.send().await.expect("an answer");
            if reply.status() == 200 {
                // A page with a form: who it is, or whether it is allowed.
                let page = reply.text().await.expect("a page");
                let form = if page.contains(r#"name="prompt" value="login""#) {
                    vec![("prompt", "login"), ("login", login), ("password", "any")]
                } else {
                    assert!(page.contains(r#"name="prompt" value="consent""#), "{page}");
                    vec![("prompt", "consent")]
                };
                let request = client.post(next.clone()).header("cookie", shown.join("; ")).form(&form);
                reply = request.send().await.expect("an answer");
            }
            for set in reply.headers().get_all("set-cookie") {
                let text = set.to_str().expect("a text").split(';').next().unwrap_or_default();
                let (name, value) = text.split_once('=').expect("a cookie");
                if value.is_empty() {
                    cookies.remove(name);
                } else {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
            let status = reply.status();
            let location =
                reply.headers().get("location").map(|value| value.to_str().expect("a text").to_owned());
            let Some(location) = location else {
                panic!("{status} of {next}: {}", reply.text().await.unwrap_or_default());
            };
            next = next.join(&location).expect("an address");
        }
        panic!("the provider goes round in circles");
    }
}

pub(super) fn client() -> reqwest::Client {
    let policy = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(policy).no_proxy().build().expect("a client")
}
