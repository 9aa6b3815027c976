//! A worker that is asked to go hands back what it has.

use bifrost_domain::execution::{Isolation, LogLevel, Status};
use bifrost_test_support::{World, in_both_worlds};
use serde_json::json;
use std::{sync::Arc, time::Duration};

in_both_worlds![crate::workspace::FILES;
    what_is_in_hand_goes_to_the_next_worker,
    what_was_taken_and_never_began_is_handed_back,
];

async fn what_is_in_hand_goes_to_the_next_worker(world: Arc<World>) {
    let first = world
        .start_worker(|settings| {
            settings.max_concurrency = 2;
            settings.shutdown_grace = Duration::from_secs(2);
        })
        .await;
    // One that ends in time, one that does not and may be tried again, and more that wait for a slot.
    let long = world.submit("patient", json!({"seconds": 5.0})).await;
    let short = world.submit("sleeps", json!({"seconds": 1.0})).await;
    for id in [long, short] {
        world.until("it runs", async || !world.lines(id).await.is_empty()).await;
    }
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(world.submit("greet", json!({})).await);
    }
    let worker = first.id();
    world.drain(&first).await;
    assert_eq!(first.running(), 0);
    let ended = world.find(short).await;
    assert_eq!((ended.status, ended.result.as_deref()), (Status::Success, Some("\"woke\"")));
    let handed_back = world.find(long).await;
    assert_eq!((handed_back.status, handed_back.attempt), (Status::Pending, 1));
    let live = world.app.reader().list_live_workers(world.app.clock().now()).await.expect("read");
    assert!(live.iter().all(|one| one.id != worker), "the lease is given back");

    world.start_worker(|_| {}).await;
    for id in waiting {
        let run = world.ended(id).await;
        assert_eq!((run.status, run.attempt), (Status::Success, 1));
    }
    let run = world.ended(long).await;
    assert_eq!((run.status, run.attempt), (Status::Success, 2));
    assert!(run.worker_id.is_some_and(|id| id != worker));
    assert_eq!(world.messages(long, LogLevel::Info).await, ["begun", "begun"]);
}

/// A worker with kept children takes more than it runs at a time: what waits for a child has not begun, and needs no policy to begin
/// elsewhere.
async fn what_was_taken_and_never_began_is_handed_back(world: Arc<World>) {
    let first = world
        .start_worker(|settings| {
            settings.isolation = Isolation::Reuse;
            settings.max_concurrency = 1;
            settings.shutdown_grace = Duration::from_millis(300);
        })
        .await;
    let long = world.submit("sleeps", json!({})).await;
    world.until("it runs", async || !world.lines(long).await.is_empty()).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(world.submit("greet", json!({})).await);
    }
    for id in &waiting {
        world.until("it is taken", async || world.find(*id).await.status == Status::Running).await;
    }
    world.drain(&first).await;
    let ended = world.find(long).await;
    assert_eq!((ended.status, ended.error_type.as_deref()), (Status::Failed, Some("WorkerShutdown")));
    for id in &waiting {
        assert_eq!(world.find(*id).await.status, Status::Pending);
    }
    world.start_worker(|_| {}).await;
    for id in waiting {
        let run = world.ended(id).await;
        assert_eq!((run.status, run.attempt), (Status::Success, 2));
        assert_eq!(world.messages(id, LogLevel::Info).await, ["hello you"]);
        assert!(world.messages(id, LogLevel::Error).await.is_empty());
    }
}
