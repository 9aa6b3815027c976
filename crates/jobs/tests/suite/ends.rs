//! Every way in which a run ends by its own doing.

use bifrost_domain::{
    execution::{LogLevel, Status},
    messages::{ExecutionEvent, topics},
    ports::bus::Signal,
};
use bifrost_test_support::{World, in_both_worlds, world::PATIENCE};
use serde_json::json;
use std::sync::Arc;

in_both_worlds![crate::workspace::FILES;
    a_run_succeeds_and_its_lines_are_stored_before_they_are_announced,
    an_error_is_told_with_its_traceback,
    the_limit_of_time_is_kept,
    a_process_that_goes_away_is_told,
];

async fn a_run_succeeds_and_its_lines_are_stored_before_they_are_announced(world: Arc<World>) {
    // Accepted before there is a worker, so that the subscription comes before the first line.
    world.start_worker(|_| {}).await;
    let mut history = world.app.bus().subscribe(topics::FINISHED).await.expect("subscribed");
    let id = {
        let mut later = bifrost_app::executions::Submit {
            what: bifrost_app::executions::What::Name("greet".to_owned()),
            input: serde_json::Map::new(),
            form_id: None,
            not_before: Some(world.app.clock().now() + chrono::Duration::milliseconds(400)),
        };
        later.input.insert("name".to_owned(), json!("Ødegård"));
        world.app.submit(&world.caller, later, false).await.expect("accepted").id
    };
    let mut events = world.app.bus().subscribe(&topics::execution(id)).await.expect("subscribed");
    let mut announced = 0;
    let watching = async {
        loop {
            let Some(Signal::Event(body)) = events.signals.recv().await else { panic!("a signal was lost") };
            match serde_json::from_slice(&body).expect("an event") {
                ExecutionEvent::Log { sequence } => {
                    let stored = world.app.reader().last_sequence(id).await.expect("read");
                    assert!(stored >= sequence, "{sequence} is announced, {stored} is stored");
                    assert!(sequence > announced);
                    announced = sequence;
                }
                ExecutionEvent::Status { status } if status.is_terminal() => {
                    assert_eq!(world.find(id).await.status, status, "an announced end is stored");
                    return;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("the end was announced");
    assert!(matches!(history.signals.recv().await, Some(Signal::Event(_))));
    let run = world.ended(id).await;
    assert_eq!((run.status, run.attempt, run.error_type), (Status::Success, 1, None));
    assert_eq!(run.result.as_deref(), Some(r#"{"greeting":"hello Ødegård"}"#));
    assert!(run.peak_memory_bytes.is_some() && run.worker_id.is_some() && run.duration_ms.is_some());
    let lines = world.lines(id).await;
    let texts: Vec<_> = lines.iter().map(|line| (line.level, line.message.as_str())).collect();
    let expected =
        [(LogLevel::Info, "hello Ødegård"), (LogLevel::Warning, "two"), (LogLevel::Debug, "three")];
    assert_eq!(texts, expected);
    assert_eq!(announced, 3);
    assert_eq!(world.events(id).await, ["accepted", "dispatched", "claimed", "finished"]);
}

async fn an_error_is_told_with_its_traceback(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("fails", json!({})).await;
    assert_eq!((run.status, run.error_type.as_deref()), (Status::Failed, Some("RuntimeError")));
    assert_eq!(run.error_message.as_deref(), Some("inside ü"));
    assert!(!run.user_message.expect("a text").contains("inside"), "others do not read it");
    let traceback = world.messages(run.id, LogLevel::Traceback).await;
    assert_eq!(traceback.len(), 1);
    assert!(
        traceback[0].contains("main.py") && traceback[0].contains("RuntimeError: inside ü"),
        "{traceback:?}"
    );
    assert_eq!(world.messages(run.id, LogLevel::Info).await, ["before"]);

    let run = world.execute("refuses", json!({})).await;
    assert_eq!((run.status, run.error_type.as_deref()), (Status::Failed, Some("UserError")));
    assert_eq!(run.user_message.as_deref(), Some("the licences are used up"));

    let run = world.execute("half", json!({})).await;
    assert_eq!(run.status, Status::CompletedWithErrors);

    let run = world.execute_code("print('posted')\nreturn 6 * 7").await;
    assert_eq!((run.status, run.result.as_deref()), (Status::Success, Some("42")));
    assert_eq!(world.messages(run.id, LogLevel::Info).await, ["posted"]);
}

async fn the_limit_of_time_is_kept(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("slow", json!({})).await;
    assert_eq!((run.status, run.error_type.as_deref()), (Status::Timeout, Some("Timeout")));
    let took = run.duration_ms.expect("a duration");
    assert!((1_000..4_000).contains(&took), "{took} ms");
    assert_eq!(world.messages(run.id, LogLevel::Info).await, ["begun"]);
    assert!(world.messages(run.id, LogLevel::Error).await[0].contains("1 seconds"));
}

async fn a_process_that_goes_away_is_told(world: Arc<World>) {
    world.start_worker(|_| {}).await;
    let run = world.execute("leaves", json!({})).await;
    assert_eq!((run.status, run.error_type.as_deref()), (Status::Failed, Some("ProcessDied")));
    assert!(run.error_message.expect("a text").contains("code 3"));
    assert_eq!(world.messages(run.id, LogLevel::Info).await, ["last words"]);
    // The worker goes on.
    assert_eq!(world.execute("noop", json!({})).await.status, Status::Success);
}
