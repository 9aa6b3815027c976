//! The machine: may enough files be open, and is the port ours.

use super::Finding;
use crate::settings::{Mode, Settings};
use nix::sys::resource::{Resource, getrlimit};
use std::{io::ErrorKind, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// A server with its connections and children needs this many.
const OPEN_FILES: u64 = 1_024;
/// How long whoever has the port may take to say who it is.
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// How much of its answer is read, bytes.
const ANSWER: u64 = 16 * 1024;

/// Looks at the limit of open files and at the port.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    vec![open_files(settings), port(settings).await]
}

fn open_files(settings: &Settings) -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Err(errno) => {
            Finding::warn("open files", format!("the limit cannot be read: {errno}"), "look at `ulimit -n`")
        }
        Ok((soft, hard)) => limit(soft, hard, settings.worker.limits.open_files),
    }
}

/// Judges the limits of this process against what it and its runs need.
fn limit(soft: u64, hard: u64, of_a_run: u64) -> Finding {
    let shown = |limit: u64| if limit > 1 << 40 { "unlimited".to_owned() } else { limit.to_string() };
    let detail = format!("{} at a time, {} at most", shown(soft), shown(hard));
    if soft < OPEN_FILES {
        let advice = format!(
            "`ulimit -n {OPEN_FILES}` before the start, or LimitNOFILE={OPEN_FILES} in the unit of systemd"
        );
        return Finding::warn("open files", detail, advice);
    }
    if hard < of_a_run {
        let advice = format!(
            "runs get {hard} instead of RUN_OPEN_FILES={of_a_run}: raise the hard limit, or lower the setting"
        );
        return Finding::warn("open files", detail, advice);
    }
    Finding::ok("open files", detail)
}

async fn port(settings: &Settings) -> Finding {
    let address = settings.server.address();
    if settings.mode == Mode::Jobs && address.port() == 0 {
        return Finding::ok("port", "a worker needs none");
    }
    if address.port() == 0 {
        return Finding::ok("port", "any free one");
    }
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok("port", format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            match timeout(ASKED_WITHIN, version_at(address)).await {
                Ok(Some(version)) => {
                    Finding::ok("port", format!("a running Bifrost {version} has {address}"))
                }
                _ => Finding::fail(
                    "port",
                    format!("{address} is taken by something else"),
                    "stop what listens there, or set PORT",
                ),
            }
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::fail(
            "port",
            format!("{address} may not be used by this user"),
            "set PORT to 1024 or more, or give the program CAP_NET_BIND_SERVICE",
        ),
        Err(error) => {
            Finding::fail("port", format!("{address} cannot be listened on: {error}"), "correct HOST")
        }
    }
}

/// The version of the Bifrost that listens there.
async fn version_at(address: SocketAddr) -> Option<String> {
    // Whoever listens on every address is asked at this machine's.
    let address = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
        }
        other => other,
    };
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await.ok()?;
    version_in(&String::from_utf8_lossy(&answer))
}

fn version_in(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let health: serde_json::Value = serde_json::from_str(body.trim()).ok()?;
    let is_ours = head.starts_with("HTTP/1.1 200 ")
        && health["status"] == "healthy"
        && health["environment"].is_string();
    let version =
        health["version"].as_str().filter(|text| text.len() <= 40 && !text.chars().any(char::is_control))?;
    is_ours.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use std::collections::HashMap;

    #[test]
    fn limits_that_are_too_low_are_told() {
        assert_eq!(limit(256, 4096, 1024).state, State::Warn);
        assert_eq!(limit(1024, 1024, 4096).state, State::Warn);
        assert_eq!(limit(1024, 4096, 1024).state, State::Ok);
        assert!(limit(u64::MAX, u64::MAX, 1024).detail.starts_with("unlimited"));
    }

    #[test]
    fn only_a_bifrost_is_taken_for_one() {
        let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        let ours = r#"{"status":"healthy","timestamp":"t","version":"0.1.0","environment":"testing"}"#;
        assert_eq!(version_in(&answer(ours)).as_deref(), Some("0.1.0"));
        for other in ["", "<html>", r#"{"status":"healthy"}"#, r#"{"version":"1"}"#, "[]"] {
            assert_eq!(version_in(&answer(other)), None, "{other}");
        }
        assert_eq!(version_in(&answer(ours).replace("200 OK", "500 Oops")), None);
    }

    #[tokio::test]
    async fn a_port_is_free_or_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port_number = taken.local_addr().expect("an address").port();
        let map = HashMap::from([("PORT".to_owned(), port_number.to_string())]);
        let settings = Settings::from_map(&map, Mode::Dev).expect("settings");
        // Accepts and hangs up: no Bifrost.
        let hanging_up = tokio::spawn(async move {
            let _ = taken.accept().await;
            taken
        });
        let finding = port(&settings).await;
        assert_eq!(finding.state, State::Fail, "{finding:?}");
        assert!(finding.advice.is_some_and(|advice| advice.contains("set PORT")));
        drop(hanging_up.await.expect("no panic"));
        assert_eq!(port(&settings).await.state, State::Ok);
    }
}
