//! A worker that dies.

use crate::support::{Mode, World, processes, unique, until};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(4);
/// The reaper waits two seconds after a lease, and looks every second or so; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_killed_worker_leaves_no_run_open() {
    let seconds = LEASE.as_secs().to_string();
    World::new(Mode::Stack)
        .await
        .with("WORKER_LEASE_SECONDS", &seconds)
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let mark = &unique("wk")[..15];
            let id = admin.begin("stay", json!({"mark": mark})).await;
            admin.line(&id, "round 5").await;
            assert_eq!(processes(mark).len(), 2);
            let before = admin.log(&id).await;

            let killed = Instant::now();
            world.jobs.remove(0).kill().await;
            until("the end of its user's processes", Duration::from_secs(5), async || {
                processes(mark).is_empty().then_some(())
            })
            .await;
            world.start_jobs();
            let ended = admin.ended(&id).await;
            let took = killed.elapsed();
            assert_eq!(
                (&ended["status"], &ended["error_type"], &ended["attempt"]),
                (&json!("Failed"), &json!("WorkerLost"), &json!(1)),
                "{ended}"
            );
            assert!(took < LEASE + NOTICED, "{took:?}");
            let after = admin.log(&id).await;
            assert_eq!(after[..before.len()], before, "its lines are kept");
            for (number, line) in after.iter().enumerate() {
                assert_eq!(line["sequence"], number + 1);
            }
            assert_eq!(after.last().map(|line| &line["level"]), Some(&json!("ERROR")));
            assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
        })
        .await;
}
