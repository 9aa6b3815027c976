//! Kept children: state stays in its organization, and nothing bad is kept.

use crate::support::{World, call, code};
use bifrost_domain::{
    clock::{Ids, SystemIds},
    execution::Isolation,
    ids::OrganizationId,
    ports::python::{Call, End, PythonRuntime, Target},
    scope::Scope,
};
use serde_json::{Value, json};
use std::time::Duration;

const COUNTER: &str = "
import os, sys
count = getattr(sys, 'bifrost_test_count', 0) + 1
sys.bifrost_test_count = count
return {'count': count, 'pid': os.getpid()}
";

fn kept(scope: Scope, source: &str) -> Call {
    let mut call = code(source);
    call.isolation = Isolation::Reuse;
    call.context.scope = scope;
    call
}

fn count(result: &Value) -> u64 {
    result["count"].as_u64().expect("a count")
}

fn organization() -> Scope {
    Scope::Organization(OrganizationId::from_uuid(SystemIds.next()))
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_kept_per_organization_and_children_are_recycled() {
    let world = World::with(|settings| settings.reuse_max_runs = 3).await;
    let (one, other) = (organization(), organization());
    let mut counts = Vec::new();
    for scope in [one, one, other, one, one] {
        counts.push(count(&world.run(kept(scope, COUNTER)).await.result()));
    }
    // The fourth run of `one` has a new child: the first served three times.
    assert_eq!(counts, [1, 2, 1, 3, 1]);
    // A run in isolation `fork` meets neither.
    assert_eq!(count(&world.run(code(COUNTER)).await.result()), 1);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_was_cancelled_or_died_is_not_used_again() {
    let world = World::new().await;
    let scope = organization();
    let next = || async { count(&world.run(kept(scope, COUNTER)).await.result()) };
    assert_eq!((next().await, next().await), (1, 2));

    world.run(kept(scope, "raise RuntimeError('x')")).await;
    assert_eq!(next().await, 1, "an error replaces the child");

    world.run(kept(scope, "from bifrost import UserError\nraise UserError('said to the user')")).await;
    assert_eq!(next().await, 2, "an author's own error does not");

    let mut call = kept(scope, "import time\ntime.sleep(1000)");
    call.timeout = Some(Duration::from_millis(300));
    assert_eq!(world.run(call).await.end, End::TimedOut);
    assert_eq!(next().await, 1, "a timeout replaces it");

    let ran = world.run(kept(scope, "import os\nos._exit(3)")).await;
    assert!(matches!(ran.end, End::Died { .. }), "{ran:?}");
    assert_eq!(next().await, 1, "a death replaces it");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_places_take_turns() {
    let world = World::with(|settings| settings.max_concurrency = 2).await;
    let scopes: Vec<_> = (0..5).map(|_| organization()).collect();
    for round in 0..2 {
        for scope in &scopes {
            let ran = world.run(kept(*scope, COUNTER)).await;
            assert_eq!(count(&ran.result()), 1, "round {round}: an evicted child does not come back");
        }
    }
    // All at once: every one of them gets its turn.
    let runs: Vec<_> = (0..20).map(|number| world.start(kept(scopes[number % 5], COUNTER))).collect();
    for running in runs {
        running.ended().await.result();
    }
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_runs_of_one_organization_do_not_block_each_other() {
    let world = World::new().await;
    let scope = organization();
    let mut slow = world.start(kept(scope, "import time\nprint('begun')\ntime.sleep(1000)"));
    slow.until(|lines| !lines.is_empty()).await;
    assert_eq!(count(&world.run(kept(scope, COUNTER)).await.result()), 1);
    drop(slow);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_gets_a_new_child() {
    let world = World::new().await;
    let scope = organization();
    let noop = || {
        let target =
            Target::File { path: "main.py".into(), function: "version".into(), workflow: "version".into() };
        let mut call = call(target, json!({}));
        call.isolation = Isolation::Reuse;
        call.context.scope = scope;
        call
    };
    let text = |number: u32| {
        format!("from bifrost import workflow\n\n@workflow\nasync def version():\n    return {number}\n")
    };
    for number in 1..3 {
        let former = world.report(|_| true).await.version.clone();
        world.write("main.py", &text(number));
        world.report(|report| report.version != former).await;
        assert_eq!(world.run(noop()).await.result(), json!(number));
    }
    world.python.shutdown().await;
}
