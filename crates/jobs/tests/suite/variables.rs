//! The variables of a run: while it goes on, and after it ended in whatever way.

use bifrost_app::auth::Client;
use bifrost_domain::{
    error::Kind as ErrorKind,
    execution::{LogLevel, Status},
    ids::ExecutionId,
};
use bifrost_test_support::{World, in_both_worlds};
use serde_json::{Value, json};
use std::sync::Arc;

in_both_worlds![crate::variables::FILES;
    the_last_state_is_kept_however_the_run_ends,
    another_attempt_counts_on,
    a_large_set_is_bounded_and_the_log_says_so,
    they_are_for_administrators,
];

pub(crate) const FILES: &[(&str, &str)] = &[("main.py", MAIN)];

const MAIN: &str = r#"
from bifrost import context, workflow
import asyncio, os, time

@workflow(timeout_seconds=2)
async def steps(how: str):
    step = "first"
    print("first")
    while not context.cancelled.is_set() and how in ("cancel", "timeout"):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            step = "asked to end"
            raise
    step = "second"
    if how == "fail":
        raise RuntimeError("no")
    if how == "exit":
        await asyncio.sleep(1.0)  # long enough to be looked at
        os._exit(3)
    step = "last"
    return step

@workflow
def nothing():
    return 1

@workflow(retry_policy={"max_attempts": 2, "initial_delay_seconds": 0.1})
async def twice():
    from bifrost import config
    attempt = await config.get("attempts", 0) + 1
    await config.set("attempts", attempt)
    await asyncio.sleep(0.6)
    if attempt < 2:
        raise ConnectionError("not yet")
    done = True
    return done

@workflow
async def large():
    small = 1
    many = [["x" * 1000] * 100] * 100
    return small
"#;

async fn variables(world: &World, id: ExecutionId) -> Option<(i32, Value)> {
    world.app.execution_variables(&world.caller, id).await.expect("read")
}

async fn the_last_state_is_kept_however_the_run_ends(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    for (how, status, last) in [
        ("return", Status::Success, "last"),
        ("fail", Status::Failed, "second"),
        ("timeout", Status::Timeout, "asked to end"),
        ("exit", Status::Failed, "second"),
    ] {
        let run = world.execute("steps", json!({"how": how})).await;
        assert_eq!(run.status, status, "{how}: {run:?}");
        let (version, values) = variables(&world, run.id).await.expect("there are some");
        assert!(version >= 1, "{how}");
        assert_eq!(values["step"], last, "{how}: {values}");
        assert_eq!(values.get("how"), None, "parameters are shown as the input");
    }
    let id = world.submit("steps", json!({"how": "cancel"})).await;
    world
        .until("they are shown while it runs", async || {
            variables(&world, id).await.is_some_and(|(_, values)| values["step"] == "first")
        })
        .await;
    assert_eq!(world.find(id).await.status, Status::Running);
    world.app.cancel(&world.caller, id, &Client::default()).await.expect("asked");
    assert_eq!(world.ended(id).await.status, Status::Cancelled);
    let (version, values) = variables(&world, id).await.expect("there are some");
    assert!(version >= 2 && values["step"] == "asked to end", "{version} {values}");

    let run = world.execute("nothing", json!({})).await;
    assert_eq!((run.status, variables(&world, run.id).await), (Status::Success, None));
}

async fn another_attempt_counts_on(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let id = world.submit("twice", json!({})).await;
    let mut seen = Vec::new();
    world
        .until("its end", async || {
            if let Some((version, _)) = variables(&world, id).await
                && seen.last() != Some(&version)
            {
                seen.push(version);
            }
            world.find(id).await.status.is_terminal()
        })
        .await;
    let run = world.find(id).await;
    assert_eq!((run.status, run.attempt), (Status::Success, 2));
    assert!(seen.is_sorted(), "{seen:?}");
    let (version, values) = variables(&world, id).await.expect("there are some");
    assert!(version >= 2, "each attempt wrote at least once");
    assert_eq!((&values["attempt"], &values["done"]), (&json!(2), &json!(true)));
}

async fn a_large_set_is_bounded_and_the_log_says_so(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("large", json!({})).await;
    assert_eq!(run.status, Status::Success);
    let (_, values) = variables(&world, run.id).await.expect("there are some");
    assert_eq!((&values["small"], values.get("many")), (&json!(1), None), "what fits is shown");
    let warnings = world.messages(run.id, LogLevel::Warning).await;
    assert!(warnings.len() == 1 && warnings[0].contains("not shown: many"), "{warnings:?}");
}

async fn they_are_for_administrators(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("steps", json!({"how": "return"})).await;
    // Whose run it is makes no difference.
    let mut person = world.caller.clone();
    person.is_platform_admin = false;
    assert_eq!(person.user_id, run.executed_by);
    let refused = world.app.execution_variables(&person, run.id).await.expect_err("not for him");
    assert_eq!(refused.kind, ErrorKind::Forbidden);
}
