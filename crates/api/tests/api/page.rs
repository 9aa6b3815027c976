//! A browser on our own pages: `tests/page/browser.mjs` runs their scripts.

use crate::support::Server;
use serde_json::{Value, json};
use std::{net::SocketAddr, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// What it believes the server to be.
const ORIGIN: &str = "http://localhost:8000";

/// A browser with its cookies.
pub(crate) struct Browser {
    server: SocketAddr,
    cookies: Value,
}

/// What a page came to.
pub(crate) struct Seen {
    /// The part of the page that is shown.
    pub(crate) section: String,
    /// What stands there, by id.
    pub(crate) texts: Value,
    pub(crate) buttons: Value,
    /// Where the page sent the browser.
    pub(crate) went: Option<String>,
    /// Path and query in the address bar.
    pub(crate) url: String,
}

impl Browser {
    /// A browser in which nobody is signed in.
    pub(crate) async fn of(server: &Server) -> Self {
        Self { server: server.listen().await, cookies: json!({}) }
    }

    /// Takes up the cookie of a sign-in that was begun, `name=value`.
    pub(crate) fn bind(&mut self, cookie: &str) {
        let (name, value) = cookie.split_once('=').expect("a cookie");
        self.cookies[name] = json!({"value": value, "path": "/auth/oauth", "httpOnly": true});
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> String {
        let value = self.cookies[name]["value"].as_str();
        value.unwrap_or_else(|| panic!("no cookie {name}: {}", self.cookies)).to_owned()
    }

    /// Opens a page and does what `steps` say.
    pub(crate) async fn visit(&mut self, url: &str, steps: Value) -> Seen {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/browser.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is there");
        let told = json!({
            "server": self.server, "origin": ORIGIN, "url": url, "cookies": self.cookies, "steps": steps,
        });
        let mut input = child.stdin.take().expect("its input");
        input.write_all(told.to_string().as_bytes()).await.expect("told");
        drop(input);
        let output = child.wait_with_output().await.expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        let seen: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        self.cookies = seen["cookies"].clone();
        let text = |name: &str| seen[name].as_str().map(str::to_owned);
        Seen {
            section: text("section").expect("a section"),
            texts: seen["texts"].clone(),
            buttons: seen["buttons"].clone(),
            went: text("went"),
            url: text("url").expect("an address"),
        }
    }
}
