//! Cancel, wherever the run is.

use bifrost_app::auth::Client;
use bifrost_domain::{
    error::Kind as ErrorKind,
    execution::{LogLevel, Status},
};
use bifrost_test_support::{World, in_both_worlds};
use serde_json::json;
use std::{sync::Arc, time::Instant};

in_both_worlds![crate::workspace::FILES; what_waits_never_begins, what_runs_ends, what_does_not_listen_is_killed];

async fn what_waits_never_begins(world: Arc<World>) {
    // The catalog is filled by a worker, which then goes.
    let worker = world.start_worker(|_| {}).await;
    world.drain(&worker).await;
    let id = world.submit("greet", json!({})).await;
    assert_eq!(
        world.app.cancel(&world.caller, id, &Client::default()).await.expect("cancelled"),
        Status::Cancelled
    );
    world.start_worker(|_| {}).await;
    // Its message is still in the queue, and comes before this one's.
    assert_eq!(world.execute("noop", json!({})).await.status, Status::Success);
    let run = world.find(id).await;
    assert_eq!((run.status, run.attempt, run.started_at), (Status::Cancelled, 0, None));
    assert!(world.lines(id).await.is_empty());
    let again = world.app.cancel(&world.caller, id, &Client::default()).await.expect("no error");
    assert_eq!(again, Status::Cancelled);
}

async fn what_runs_ends(world: Arc<World>) {
    let worker = world.start_worker(|_| {}).await;
    let id = world.submit("sleeps", json!({})).await;
    world.until("it runs", async || !world.lines(id).await.is_empty()).await;
    assert_eq!(worker.running(), 1);
    let begun = Instant::now();
    assert_eq!(
        world.app.cancel(&world.caller, id, &Client::default()).await.expect("asked"),
        Status::Cancelling
    );
    let run = world.ended(id).await;
    assert_eq!(run.status, Status::Cancelled);
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    assert_eq!(world.messages(id, LogLevel::Info).await, ["begun"]);
    world.until("the slot is free", async || worker.running() == 0).await;
    let done = world.execute("noop", json!({})).await;
    let refused =
        world.app.cancel(&world.caller, done.id, &Client::default()).await.expect_err("it has ended");
    assert_eq!(refused.kind, ErrorKind::BadRequest);
}

async fn what_does_not_listen_is_killed(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let id = world.submit("stubborn", json!({})).await;
    world.until("it runs", async || !world.lines(id).await.is_empty()).await;
    world.app.cancel(&world.caller, id, &Client::default()).await.expect("asked");
    assert_eq!(world.ended(id).await.status, Status::Cancelled);
}
