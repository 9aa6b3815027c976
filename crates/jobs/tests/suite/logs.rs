//! Logs that are too much.

use bifrost_domain::execution::{LogLevel, Status};
use bifrost_test_support::{
    World, in_both_worlds,
    world::{LINE_BYTES, MAX_LINES},
};
use serde_json::json;
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES; too_many_lines_are_counted, too_long_a_line_is_cut_and_says_so];

async fn too_many_lines_are_counted(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("many", json!({"count": 200_000})).await;
    assert_eq!((run.status, run.result.as_deref()), (Status::Success, Some("200000")));
    let lines = world.lines(run.id).await;
    let kept = usize::try_from(MAX_LINES).expect("small");
    assert_eq!(lines.len(), kept + 1);
    assert_eq!(lines[0].message, "line 0");
    assert_eq!(lines[kept - 1].message, format!("line {}", kept - 1));
    let last = &lines[kept];
    assert_eq!(last.level, LogLevel::Warning);
    assert!(
        last.message.starts_with(&format!("{} log lines were dropped", 200_000 - kept)),
        "{}",
        last.message
    );
}

async fn too_long_a_line_is_cut_and_says_so(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("long_line", json!({"length": 10_000_000})).await;
    assert_eq!(run.status, Status::Success);
    let lines = world.messages(run.id, LogLevel::Info).await;
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("üxxx") && lines[0].contains("line cut"),
        "{}",
        &lines[0][lines[0].len() - 80..]
    );
    assert!((LINE_BYTES - 100..LINE_BYTES + 100).contains(&lines[0].len()), "{}", lines[0].len());
    assert_eq!(lines[1], "after");
}
