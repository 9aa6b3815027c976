//! The workflow's own policy decides about another attempt.

use bifrost_domain::execution::{LogLevel, Status};
use bifrost_test_support::{World, in_both_worlds};
use chrono::Duration;
use serde_json::json;
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES; a_second_attempt_comes_after_its_delay, attempts_are_bounded_and_chosen];

async fn a_second_attempt_comes_after_its_delay(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("tries", json!({})).await;
    assert_eq!((run.status, run.attempt, run.result.as_deref()), (Status::Success, 2, Some("2")));
    let told: Vec<_> = world.messages(run.id, LogLevel::Info).await;
    assert_eq!(told, ["attempt 1", "still here", "attempt 2", "still here"]);
    let warnings = world.messages(run.id, LogLevel::Warning).await;
    assert!(warnings.len() == 1 && warnings[0].contains("trying again in 0.5 s"), "{warnings:?}");
    // Why it failed is for administrators.
    assert!(!warnings[0].contains("not yet"), "{warnings:?}");
    assert_eq!(world.messages(run.id, LogLevel::Debug).await, ["ConnectionError: not yet"]);
    let timeline = world.app.reader().list_timeline(run.id).await.expect("read");
    let names: Vec<_> = timeline.iter().map(|entry| entry.event.as_str()).collect();
    let expected = ["accepted", "dispatched", "claimed", "retrying", "dispatched", "claimed", "finished"];
    assert_eq!(names, expected);
    let waited = timeline[5].at - timeline[3].at;
    assert!(waited >= Duration::milliseconds(500), "{waited}");
    assert!(waited < Duration::seconds(3), "{waited}");
}

async fn attempts_are_bounded_and_chosen(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("never", json!({})).await;
    assert_eq!((run.status, run.attempt, run.error_type.as_deref()), (Status::Failed, 2, Some("ValueError")));
    assert_eq!(world.messages(run.id, LogLevel::Traceback).await.len(), 2);
    let run = world.execute("picky", json!({})).await;
    assert_eq!((run.status, run.attempt), (Status::Failed, 1));
    let run = world.execute("fails", json!({})).await;
    assert_eq!((run.status, run.attempt), (Status::Failed, 1), "without a policy there is one attempt");
}
