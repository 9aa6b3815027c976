//! Results that are not plain JSON, and large ones.

use bifrost_domain::execution::{LogLevel, Status};
use bifrost_test_support::{World, in_both_worlds};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES;
    what_json_cannot_hold_is_replaced_and_said,
    a_large_result_reads_back_identical,
    what_the_catalog_cannot_hold_keeps_nothing_else_out,
];

async fn what_json_cannot_hold_is_replaced_and_said(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("unfit", json!({})).await;
    assert_eq!(run.status, Status::Success);
    let result: Value = serde_json::from_str(run.result.as_deref().expect("a result")).expect("json");
    let expected = json!({"nan": null, "infinity": null, "nul": "a\u{fffd}b", "lone": "\u{fffd}"});
    assert_eq!(result, expected);
    assert!(!world.messages(run.id, LogLevel::Warning).await.is_empty());

    let run = world.execute("itself", json!({})).await;
    assert_eq!((run.status, run.error_type.as_deref()), (Status::Failed, Some("ResultNotSerializable")));

    let run = world.execute("strange", json!({})).await;
    assert_eq!(run.status, Status::Success, "{run:?}");
    let result: Value = serde_json::from_str(run.result.as_deref().expect("a result")).expect("json");
    assert_eq!(result["set"], json!([1]));
    assert!(result["bytes"].is_string());
}

async fn a_large_result_reads_back_identical(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let expected = |size: usize| json!({"text": "ü".repeat(size)});
    // Just inside, by its own size in bytes, and beyond.
    let inside = (2 * 1024 * 1024 - r#"{"text":""}"#.len()) / 2;
    for (size, apart) in [(inside, false), (inside + 1, true), (3_000_000, true)] {
        let run = world.execute("large", json!({"size": size})).await;
        assert_eq!(run.status, Status::Success, "{size}");
        assert_eq!((run.result.is_none(), run.result_object.is_some()), (apart, apart), "{size}");
        let output = world.app.execution_result(&world.caller, run.id).await.expect("found");
        let pieces = world.app.read_result(&output, 0..output.size).await.expect("opened");
        let text: Vec<Bytes> = pieces.try_collect().await.expect("read");
        let read: Value = serde_json::from_slice(&text.concat()).expect("json");
        assert!(read == expected(size), "{size}: the result differs");
        assert_eq!(run.result_bytes, i64::try_from(output.size).expect("a size"));
    }
}

async fn what_the_catalog_cannot_hold_keeps_nothing_else_out(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let (listed, _) = world.app.list_workflows(&world.caller, None, 1_000).await.expect("read");
    let names: Vec<&str> = listed.iter().map(|one| one.definition.name.as_str()).collect();
    assert!(names.contains(&"noop") && names.contains(&"odd") && !names.contains(&"long"), "{names:?}");
    // The function's own defaults are used: they are only not shown.
    let run = world.execute("odd", json!({})).await;
    assert_eq!((run.status, run.result.as_deref()), (Status::Success, Some("[3,1,true]")));
}
