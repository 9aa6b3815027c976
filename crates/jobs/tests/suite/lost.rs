//! A worker that goes away without a word: its lease tells.

use bifrost_app::auth::Client;
use bifrost_app::worker::{Ending, Outcome, Registration};
use bifrost_domain::{
    clock::{Ids, SystemIds},
    execution::{Claimed, LogBatch, LogLevel, LogLine, Status},
    ids::{ExecutionId, WorkerId},
};
use bifrost_test_support::{World, in_both_worlds, lines, world::Mode};
use chrono::Duration;
use serde_json::json;
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES;
    its_run_ends_as_lost_and_keeps_its_lines,
    its_run_is_tried_again_where_the_policy_allows,
    its_cancelled_run_ends_as_cancelled,
    a_run_whose_claim_was_not_heard_of_begins_all_the_same,
];

/// A worker that registers, claims `id`, writes two lines and is never heard of again.
async fn claimed_by_one_that_goes(world: &World, id: ExecutionId) -> Claimed {
    let now = world.app.clock().now();
    let worker = WorkerId::from_uuid(SystemIds.next());
    let registration = Registration {
        id: worker,
        name: "gone:1".to_owned(),
        version: "test".to_owned(),
        slots: 1,
        info: json!({}),
        started_at: now,
        lease_until: now + Duration::milliseconds(1_500),
    };
    world.app.register_worker(&registration).await.expect("registered");
    let run = world.app.claim(id, worker).await.expect("asked").expect("claimed");
    assert_eq!(write(world, &run, 1).await, Outcome::Written);
    run
}

async fn write(world: &World, run: &Claimed, first: i64) -> Outcome {
    let line = |sequence| LogLine {
        sequence,
        level: LogLevel::Info,
        message: format!("line {sequence} of attempt {}", run.attempt),
        metadata: None,
        timestamp: run.started_at,
    };
    let lines = vec![line(first), line(first + 1)];
    world.app.write_logs(LogBatch { id: run.id, attempt: run.attempt, lines }).await.expect("asked")
}

/// Accepts a run while no worker is there to take it.
async fn accepted(world: &World, workflow: &str) -> ExecutionId {
    let first = world.start_worker(|_| {}).await;
    world.drain(&first).await;
    world.submit(workflow, json!({})).await
}

async fn its_run_ends_as_lost_and_keeps_its_lines(world: Arc<World>) {
    let id = accepted(&world, "greet").await;
    let lost = claimed_by_one_that_goes(&world, id).await;
    world.start_worker(|_| {}).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, run.attempt, run.error_type.as_deref()), (Status::Failed, 1, Some("WorkerLost")));
    // The lease, the reaper's patience of 2 s, and a round.
    let noticed = run.completed_at.expect("an end") - lost.started_at;
    assert!(noticed >= Duration::milliseconds(3_500), "{noticed}: children may live until then");
    assert!(noticed < Duration::seconds(8), "{noticed}");
    assert_eq!(world.messages(id, LogLevel::Info).await, ["line 1 of attempt 1", "line 2 of attempt 1"]);
    assert_eq!(world.messages(id, LogLevel::Error).await, ["the worker that ran it went away"]);
    assert!(world.events(id).await.contains(&"worker_lost"));
    // It was only frozen: whatever it writes now is dropped.
    assert_eq!(write(&world, &lost, 4).await, Outcome::Stale);
    let late = Ending::by_platform(Status::Success, "x", "late", 5);
    assert_eq!(world.app.finish(&lost, late).await.expect("asked"), Outcome::Stale);
    assert_eq!(world.find(id).await.status, Status::Failed);
    assert_eq!(world.lines(id).await.len(), 3);
}

async fn its_run_is_tried_again_where_the_policy_allows(world: Arc<World>) {
    let id = accepted(&world, "patient").await;
    let lost = claimed_by_one_that_goes(&world, id).await;
    world.start_worker(|_| {}).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, run.attempt, run.result.as_deref()), (Status::Success, 2, Some("\"done\"")));
    let told: Vec<String> = world.lines(id).await.into_iter().map(|line| line.message).collect();
    assert_eq!(
        told,
        [
            "line 1 of attempt 1",
            "line 2 of attempt 1",
            "the worker that ran it went away; it is tried again",
            "begun"
        ]
    );
    assert_eq!(write(&world, &lost, 3).await, Outcome::Stale);
}

async fn its_cancelled_run_ends_as_cancelled(world: Arc<World>) {
    let id = accepted(&world, "patient").await;
    claimed_by_one_that_goes(&world, id).await;
    assert_eq!(
        world.app.cancel(&world.caller, id, &Client::default()).await.expect("asked"),
        Status::Cancelling
    );
    world.start_worker(|_| {}).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, run.attempt), (Status::Cancelled, 1));
}

/// The statement that claims is committed and its answer lost with the connection: the worker has a run that it does not know of.
async fn a_run_whose_claim_was_not_heard_of_begins_all_the_same(world: Arc<World>) {
    let worker = world.start_worker(|settings| settings.max_concurrency = 1).await;
    // Its one slot is taken, so that the next message waits.
    let long = world.submit("sleeps", json!({})).await;
    world.until("it runs", async || !world.lines(long).await.is_empty()).await;
    let id = world.submit("greet", json!({})).await;
    let unheard = world.app.claim(id, worker.id()).await.expect("asked").expect("claimed");
    assert_eq!(unheard.attempt, 1);
    world.until("it is handed back", async || world.find(id).await.status == Status::Pending).await;
    world.app.cancel(&world.caller, long, &Client::default()).await.expect("asked");
    let run = world.ended(id).await;
    assert_eq!((run.status, run.attempt), (Status::Success, 2));
    assert!(world.messages(id, LogLevel::Error).await.is_empty());
}

/// Whatever the look-ups beside it wait for: a table that somebody locks for longer than a lease costs no run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_waits_for_nothing_else() {
    let world = World::open(Mode::Stack, crate::workspace::FILES).await;
    world
        .run(async |world| {
            world.start_worker(|settings| settings.lease = std::time::Duration::from_secs(4)).await;
            let id = world.submit("sleeps", json!({"seconds": 8.0})).await;
            world.until("it runs", async || !world.lines(id).await.is_empty()).await;
            let locked =
                "DO $$ BEGIN LOCK TABLE executions IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(5); END $$";
            lines(world.store.db(), locked).await;
            let run = world.ended(id).await;
            assert_eq!((run.status, run.attempt), (Status::Success, 1), "{run:?}");
        })
        .await;
}
