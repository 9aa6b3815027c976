//! `login --device`: a browser somewhere else says yes (RFC 8628).

use crate::{
    client::{Client, Exit, Failure, Pair},
    terminal::{self, Paint, text},
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

const CLIENT: &str = "bifrost-cli";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What a server may ask for is bounded: seconds between two questions, and seconds until it is over.
const INTERVAL: std::ops::RangeInclusive<u64> = 1..=120;
const LONGEST: u64 = 60 * 60;
/// How much longer is waited after "slow down" (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Code {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Asks for a session and waits until somebody says yes.
///
/// # Errors
/// When somebody says no or nobody answers in time, the server is away, or Ctrl-C came.
pub(super) async fn sign_in(client: &Client) -> Result<Pair, Failure> {
    let request = client.request(Method::POST, &["auth", "device", "code"]).form(&[("client_id", CLIENT)]);
    let code: Code = client.send(&request).await?.read()?;
    let bold = |text: &str| Paint::of_stderr().bold(&text::line(text));
    let place = code.verification_uri_complete.as_ref().unwrap_or(&code.verification_uri);
    terminal::note(&format!("open   {}", bold(place)));
    terminal::note(&format!("code   {}", bold(&code.user_code)));
    terminal::note("check that the page shows this code, and approve; Ctrl-C gives up");
    tokio::select! {
        pair = wait(client, &code) => pair,
        _ = tokio::signal::ctrl_c() => {
            terminal::note("");
            Err(Failure::interrupted())
        },
    }
}

async fn wait(client: &Client, code: &Code) -> Result<Pair, Failure> {
    let not_allowed = |what: &str| Err(Failure::new(Exit::NotAllowed, what));
    let end = Instant::now() + Duration::from_secs(code.expires_in.min(LONGEST));
    let mut interval =
        Duration::from_secs(code.interval.unwrap_or(5).clamp(*INTERVAL.start(), *INTERVAL.end()));
    let form = [("grant_type", GRANT), ("device_code", code.device_code.as_str()), ("client_id", CLIENT)];
    let request = client.request(Method::POST, &["auth", "device", "token"]).form(&form);
    while Instant::now() + interval < end {
        tokio::time::sleep(interval).await;
        let (status, answer) = match client.exchange(&request).await {
            Ok(answered) => answered,
            // A server that starts again, a network that comes back: the question is asked once more.
            Err(failure) if failure.exit == Exit::Unreachable => continue,
            Err(failure) => return Err(failure),
        };
        if status.is_success() {
            return answer.read();
        }
        if status.is_server_error() {
            continue;
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            interval += SLOWER;
            continue;
        }
        match answer.read::<Refusal>()?.error.as_str() {
            "authorization_pending" => {}
            "slow_down" => interval += SLOWER,
            "access_denied" => return not_allowed("the sign-in was denied"),
            "expired_token" => break,
            other => {
                let other = text::line(other).into_owned();
                return not_allowed(&format!("the server does not sign this program in: {other}"));
            }
        }
    }
    not_allowed("nobody approved in time: run `bifrost login --device` again")
}
