//! Workers among themselves: one dies, two share.

use crate::support::{Mode, PATIENCE, World, processes, unique, until};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

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

#[tokio::test]
async fn two_workers_run_each_execution_once() {
    const RUNS: usize = 50;
    World::new(Mode::Stack)
        .await
        .run(async |world: &mut World| {
            world.start_jobs();
            world.jobs[1].says("ready to run workflows").await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let knocks = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
            let counted = knocks.clone();
            let door = tokio::spawn(async move {
                loop {
                    let (mut visitor, _) = listener.accept().await.expect("a visitor");
                    let mut word = String::new();
                    visitor.read_to_string(&mut word).await.expect("a word");
                    *counted.lock().expect("not poisoned").entry(word).or_default() += 1;
                }
            });
            let admin = world.admin().await;
            let words: Vec<String> = (0..RUNS).map(|number| format!("word-{number}")).collect();
            let begun = words.iter().map(|word| admin.begin("knock", json!({"port": port, "word": word})));
            let ids = futures::future::join_all(begun).await;
            for (id, word) in ids.iter().zip(&words) {
                let ended = admin.ended(id).await;
                assert_eq!(
                    (&ended["status"], &ended["result"], &ended["attempt"]),
                    (&json!("Success"), &json!(word), &json!(1)),
                    "{ended}"
                );
                assert_eq!(admin.log(id).await.len(), 1);
            }
            until("every word outside", PATIENCE, async || {
                (knocks.lock().expect("not poisoned").len() >= RUNS).then_some(())
            })
            .await;
            let knocks = knocks.lock().expect("not poisoned").clone();
            assert_eq!(knocks, words.into_iter().map(|word| (word, 1)).collect::<HashMap<_, _>>());
            let health = admin.get("/health/detailed").await.of(200);
            assert_eq!(health["components"]["worker"]["detail"], "2 running, 8 slots", "{health}");
            door.abort();
        })
        .await;
}
