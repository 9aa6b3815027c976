//! The worker's lease: without renewal every run dies, by the worker's own hand and, when the worker is frozen, by the
//! zygote's.

use crate::support::{World, code, eventually, file};
use bifrost_domain::ports::python::{End, PythonRuntime, RuntimeInfo};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_lease_only_while_it_is_renewed() {
    let world = World::new().await;
    world.python.renew_lease(Duration::from_millis(800));
    let mut running = world.start(code("import time\nprint('begun')\ntime.sleep(1000)"));
    running.until(|lines| !lines.is_empty()).await;
    for _ in 0..5 {
        let early = tokio::time::timeout(Duration::from_millis(300), running.events.recv()).await;
        assert!(early.is_err(), "it goes on while the lease is renewed: {early:?}");
        world.python.renew_lease(Duration::from_millis(800));
    }
    let renewed = Instant::now();
    assert_eq!(running.ended().await.end, End::Interrupted);
    assert!(renewed.elapsed() >= Duration::from_millis(700) && renewed.elapsed() < Duration::from_secs(4));

    // Without a lease nothing begins; with a new one everything does.
    let ran = world.run(file("noop", json!({}))).await;
    assert_eq!((ran.end, ran.started), (End::Interrupted, false));
    world.python.renew_lease(Duration::from_secs(60));
    assert_eq!(world.run(file("noop", json!({}))).await.result(), json!({"ok": true}));
    world.python.shutdown().await;
}

/// A new import replaces the zygote; the old one's children are still under the lease that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_zygote_that_was_replaced() {
    const LEASE: Duration = Duration::from_secs(1);
    let world = World::new().await;
    world.python.renew_lease(LEASE);
    let mut running = world.start(code(
        "import os, time\nprint(f'path={os.getcwd()}')\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\nreturn 'whole'",
    ));
    running.until(|lines| !lines.is_empty()).await;
    let go = std::path::PathBuf::from(running.value("path")).join("go");
    world.write("new.py", "import surely_not_installed\n");
    let mut replaced: Option<Instant> = None;
    while replaced.is_none_or(|since| since.elapsed() < LEASE * 2) {
        world.python.renew_lease(LEASE);
        let early = tokio::time::timeout(LEASE / 5, running.events.recv()).await;
        assert!(early.is_err(), "it goes on while the lease is renewed: {early:?}");
        let knows =
            |info: RuntimeInfo| info.left_out.iter().any(|text| text.contains("surely_not_installed"));
        if replaced.is_none() && world.python.info().is_some_and(knows) {
            replaced = Some(Instant::now());
        }
    }
    std::fs::write(go, "").expect("written");
    assert_eq!(running.ended().await.result(), json!("whole"));
    world.python.shutdown().await;
}

/// The test's own runtime stands still (one thread, blocked), as a frozen worker does: only the zygote can act.
#[tokio::test]
async fn the_zygote_kills_when_the_worker_is_frozen() {
    let world = World::new().await;
    world.python.renew_lease(Duration::from_secs(1));
    let source = "import os, time\nprint(f'path={os.getcwd()}')\nwhile True:\n    open('alive', 'w').close()\n    time.sleep(0.05)";
    let mut running = world.start(code(source));
    running.until(|lines| !lines.is_empty()).await;
    let alive = std::path::PathBuf::from(running.value("path")).join("alive");
    eventually("it has begun to write", || alive.exists()).await;
    // No await from here on: nothing of the adapter runs.
    let frozen = Instant::now();
    let mut dead = false;
    while frozen.elapsed() < Duration::from_secs(10) && !dead {
        let _gone = std::fs::remove_file(&alive);
        std::thread::sleep(Duration::from_millis(400));
        dead = !alive.exists();
    }
    assert!(dead, "the child lives on without a lease");
    assert_eq!(running.ended().await.end, End::Interrupted);
    world.python.shutdown().await;
}
