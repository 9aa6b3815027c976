//! A workflow that the worker's workspace does not have, or not yet.

use bifrost_domain::{
    clock::{Ids, SystemIds},
    execution::{Kind, LogLevel, NewExecution, Status},
    ids::ExecutionId,
    scope::Scope,
};
use bifrost_storage::HotPath;
use bifrost_test_support::{World, in_both_worlds};
use serde_json::json;
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES; one_that_comes_in_a_moment_is_waited_for, one_that_never_comes_is_told];

/// Accepts a run of a workflow that another worker has put into the catalog.
async fn accepted(world: &World, workflow: &str) -> ExecutionId {
    let execution = NewExecution {
        id: ExecutionId::from_uuid(SystemIds.next()),
        kind: Kind::Workflow,
        scope: Scope::Global,
        workflow_id: None,
        workflow_name: workflow.to_owned(),
        form_id: None,
        executed_by: world.caller.user_id,
        executed_by_name: String::new(),
        executed_by_email: String::new(),
        is_platform_admin: true,
        input: json!({}),
        code: None,
        timeout_seconds: 60,
        retry_policy: None,
        status: Status::Pending,
        not_before: None,
        dispatched_at: None,
        created_at: world.app.clock().now(),
    };
    let id = execution.id;
    HotPath::start(&world.store, world.app.clock()).submit(execution).await.expect("accepted");
    id
}

async fn one_that_comes_in_a_moment_is_waited_for(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let id = accepted(&world, "late").await;
    world.until("it is tried again", async || world.events(id).await.contains(&"retrying")).await;
    let text = "from bifrost import workflow\n\n@workflow\nasync def late():\n    return 7\n";
    world.write_file("late.py", text);
    let run = world.ended(id).await;
    assert_eq!((run.status, run.result.as_deref()), (Status::Success, Some("7")));
    assert!(run.attempt > 1);
    let warnings = world.messages(id, LogLevel::Warning).await;
    assert!(warnings[0].contains("`late` is not in this worker's workspace"), "{warnings:?}");
}

async fn one_that_never_comes_is_told(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = {
        let id = accepted(&world, "nowhere").await;
        world.ended(id).await
    };
    assert_eq!((run.status, run.attempt, run.error_type.as_deref()), (Status::Failed, 3, Some("NotStarted")));
    let message = run.error_message.expect("a text");
    assert!(message.contains("the workflow `nowhere` is not in this worker's workspace"), "{message}");
    assert_eq!(world.messages(run.id, LogLevel::Error).await, [message]);
}
