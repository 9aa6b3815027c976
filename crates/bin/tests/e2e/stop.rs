//! Ends of processes while work is under way.

use crate::{
    in_both_modes,
    support::{World, processes, unique},
};
use nix::sys::signal::Signal;
use serde_json::json;

in_both_modes!(sigterm_lets_running_work_end, an_api_that_is_killed_takes_no_run_with_it);

async fn sigterm_lets_running_work_end(world: &mut World) {
    let admin = world.admin().await;
    let mark = &unique("st")[..15];
    let id = admin.begin("stay", json!({"mark": mark, "seconds": 2.0})).await;
    admin.line(&id, "started").await;
    let mut process = match world.jobs.pop() {
        Some(jobs) => jobs,
        None => world.api.take().expect("started"),
    };
    process.signal(Signal::SIGTERM);
    assert!(process.ended().await.success(), "{:?}", process.said());
    assert_eq!(processes(mark), [0_u32; 0]);
    // Embedded: everything is started again, on the same data.
    if world.api.is_none() {
        world.start_api().await;
    }
    let admin = admin.at(world.address());
    let ended = admin.execution(&id).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("Success"), &json!({"rounds": 20})), "{ended}");
    assert_eq!(ended["attempt"], 1);
    let log = admin.log(&id).await;
    assert_eq!(log.last().map(|line| &line["message"]), Some(&json!("round 20")));
}

async fn an_api_that_is_killed_takes_no_run_with_it(world: &mut World) {
    let admin = world.admin().await;
    let id = admin.begin("count", json!({"lines": 30, "pause": 0.1})).await;
    admin.line(&id, "line 3").await;
    world.api.take().expect("started").kill().await;
    world.start_api().await;
    let admin = admin.at(world.address());
    let ended = admin.ended(&id).await;
    let log = admin.log(&id).await;
    let numbers: Vec<_> = log.iter().filter_map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    if world.jobs.is_empty() {
        // Its worker was the same process: the run ends in a stated way, and what it said is kept.
        assert_eq!(
            (&ended["status"], &ended["error_type"]),
            (&json!("Failed"), &json!("WorkerLost")),
            "{ended}"
        );
        assert!(log.iter().any(|line| line["message"] == "line 3"));
    } else {
        assert_eq!(
            (&ended["status"], &ended["result"]),
            (&json!("Success"), &json!({"lines": 30})),
            "{ended}"
        );
        assert_eq!((&ended["attempt"], numbers.len()), (&json!(1), 30));
    }
    assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
}
