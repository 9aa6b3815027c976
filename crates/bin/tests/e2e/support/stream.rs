//! An execution followed over Server-Sent Events, as a client does that reconnects by itself.

use super::{Client, PATIENCE};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a follower was sent.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Every `execution_log`, in the order of its arrival.
    pub(crate) lines: Vec<Value>,
    /// The `execution_update` with which it ended.
    pub(crate) end: Value,
    /// How often the stream broke off and was opened again.
    pub(crate) reopened: usize,
}

impl Followed {
    pub(crate) fn sequences(&self) -> Vec<i64> {
        self.lines.iter().filter_map(|line| line["sequence"].as_i64()).collect()
    }
}

/// Follows an execution to its end, at most for `within`.
pub(crate) async fn follow(client: Client, id: String, within: Duration) -> Followed {
    let path = format!("/api/executions/{id}/stream");
    let mut followed = Followed::default();
    let mut last = None;
    let mut failing_since: Option<Instant> = None;
    loop {
        match client.open_stream(&path, last, within).await {
            Ok(mut response) => {
                failing_since = None;
                let mut text = String::new();
                // The end of the stream, or of the connection: either way it is opened again.
                while let Ok(Some(bytes)) = response.chunk().await {
                    text.push_str(std::str::from_utf8(&bytes).expect("text"));
                    while let Some((event, rest)) = text.split_once("\n\n") {
                        let ended = take(&mut followed, &mut last, event);
                        text = rest.to_owned();
                        if ended {
                            return followed;
                        }
                    }
                }
                followed.reopened += 1;
            }
            Err(why) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "the stream of {id} does not open: {why}");
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Takes one event; whether it was the last.
fn take(followed: &mut Followed, last: &mut Option<i64>, event: &str) -> bool {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let Some(data) = field("data:") else { return false };
    let data: Value = serde_json::from_str(data).expect("JSON");
    match field("event:") {
        Some("execution_log") => {
            *last = field("id:").and_then(|id| id.parse().ok());
            followed.lines.push(data);
            false
        }
        Some("execution_update") => {
            let status = data["status"].as_str().expect("a status");
            let is_last = !["Scheduled", "Pending", "Running", "Cancelling"].contains(&status);
            if is_last {
                followed.end = data;
            }
            is_last
        }
        _ => false,
    }
}
