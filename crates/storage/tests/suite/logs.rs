//! Log lines: fenced by the attempt, in order, each once.

use crate::support::{Bed, batch, finish, line};
use bifrost_domain::execution::{LogBatch, LogLevel, LogLine, Status};
use bifrost_storage::executions::{LogFilter, hot::Guarded};
use bifrost_test_support::{TestDatabase, on_both_databases};
use futures::future::join_all;
use serde_json::json;

on_both_databases![
    a_stale_attempt_stores_nothing,
    old_and_new_attempts_in_one_batch_are_told_apart,
    lines_come_back_in_order_and_once,
    a_log_is_filtered,
    a_bad_line_harms_no_other_run,
];

fn all() -> LogFilter {
    LogFilter { internal: true, limit: 1_000, ..LogFilter::default() }
}

async fn a_stale_attempt_stores_nothing(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let first = bed.running(worker).await;
    let (id, now) = (first.id, bed.now());
    assert!(bed.store.retry_execution(id, 1, now, "x", 0, now).await.expect("asked"));
    // Between two attempts nobody may write.
    let old = batch(&first, vec![line(1, "old", now)]);
    assert_eq!(bed.hot.write_logs(old.clone()).await.expect("asked"), Guarded::Stale);
    let second = bed.claim(id, worker).await;
    assert_eq!(bed.hot.write_logs(old.clone()).await.expect("asked"), Guarded::Stale);
    let ahead = LogBatch { attempt: 3, ..old };
    assert_eq!(bed.hot.write_logs(ahead).await.expect("asked"), Guarded::Stale);
    let new = batch(&second, vec![line(1, "new", now)]);
    assert_eq!(bed.hot.write_logs(new).await.expect("asked"), Guarded::Written);
    bed.hot.finish(finish(&second, Status::Success, 1, now)).await.expect("ended");
    let late = batch(&second, vec![line(2, "late", now)]);
    assert_eq!(bed.hot.write_logs(late).await.expect("asked"), Guarded::Stale);
    let lines = bed.reader.list_logs(id, &all()).await.expect("read");
    assert_eq!(lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["new"]);
}

async fn old_and_new_attempts_in_one_batch_are_told_apart(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let first = bed.running(worker).await;
    let now = bed.now();
    assert!(bed.store.retry_execution(first.id, 1, now, "x", 0, now).await.expect("asked"));
    let second = bed.claim(first.id, worker).await;
    let writes = (1..=40_i64).map(|n| {
        let (of, text) = if n % 2 == 0 { (&second, "new") } else { (&first, "old") };
        bed.hot.write_logs(batch(of, vec![line(n, text, now)]))
    });
    for (n, outcome) in (1..=40).zip(join_all(writes).await) {
        let expected = if n % 2 == 0 { Guarded::Written } else { Guarded::Stale };
        assert_eq!(outcome.expect("asked"), expected, "batch {n}");
    }
    let lines = bed.reader.list_logs(first.id, &all()).await.expect("read");
    assert_eq!(lines.len(), 20);
    assert!(lines.iter().all(|line| line.message == "new" && line.sequence % 2 == 0), "{lines:?}");
}

async fn lines_come_back_in_order_and_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let (run, other) = (bed.running(worker).await, bed.running(worker).await);
    let now = bed.now();
    let mut writes = Vec::new();
    for n in (1..=30_i64).rev() {
        writes.push(bed.hot.write_logs(batch(&run, vec![line(n, &format!("line {n}"), now)])));
        writes.push(bed.hot.write_logs(batch(&other, vec![line(n, "other", now)])));
    }
    for outcome in join_all(writes).await {
        assert_eq!(outcome.expect("asked"), Guarded::Written);
    }
    // A batch whose answer was lost is written again.
    let again = batch(&run, vec![line(30, "again", now), line(31, "last", now)]);
    assert_eq!(bed.hot.write_logs(again).await.expect("asked"), Guarded::Written);
    let lines = bed.reader.list_logs(run.id, &all()).await.expect("read");
    assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), (1..=31).collect::<Vec<_>>());
    assert_eq!((lines[0].message.as_str(), lines[29].message.as_str()), ("line 1", "line 30"));
    assert_eq!(bed.reader.last_sequence(run.id).await.expect("read"), 31);
    assert_eq!(bed.reader.last_sequence(other.id).await.expect("read"), 30);
}

async fn a_log_is_filtered(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let run = bed.running(bed.worker(600).await).await;
    let now = bed.now();
    let written: Vec<LogLine> = LogLevel::ALL
        .iter()
        .zip(1..)
        .map(|(&level, sequence)| LogLine {
            level,
            metadata: Some(json!({"n": sequence})),
            ..line(sequence, if sequence % 2 == 0 { "Half 50%_done\\" } else { "half 50 or done" }, now)
        })
        .collect();
    bed.hot.write_logs(batch(&run, written.clone())).await.expect("stored");
    let read = async |filter: LogFilter| {
        let lines = bed.reader.list_logs(run.id, &filter).await.expect("read");
        lines.iter().map(|line| line.sequence).collect::<Vec<_>>()
    };
    assert_eq!(bed.reader.list_logs(run.id, &all()).await.expect("read"), written);
    assert_eq!(read(LogFilter { internal: false, ..all() }).await, [2, 3, 4, 5]);
    assert_eq!(read(LogFilter { after: 4, ..all() }).await, [5, 6]);
    assert_eq!(read(LogFilter { level: Some(LogLevel::Error), ..all() }).await, [4]);
    assert_eq!(read(LogFilter { text: Some("HALF".into()), limit: 2, ..all() }).await, [1, 2]);
    // What means something to LIKE is only text here.
    assert_eq!(read(LogFilter { text: Some("50%_".into()), ..all() }).await, [2, 4, 6]);
    assert_eq!(read(LogFilter { text: Some("e\\".into()), ..all() }).await, [2, 4, 6]);
    // A letter beyond ASCII is found as it is written; cases are folded as far as the database knows them.
    let umlauts = batch(&run, vec![line(7, "Größe: ÄRGER", now)]);
    bed.hot.write_logs(umlauts).await.expect("stored");
    for text in ["ÄRGER", "Größe: Ä", "GRößE: ÄRger"] {
        assert_eq!(read(LogFilter { text: Some(text.into()), ..all() }).await, [7], "{text}");
    }
}

async fn a_bad_line_harms_no_other_run(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let now = bed.now();
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(bed.running(worker).await);
    }
    let outcomes = join_all(runs.iter().enumerate().map(|(at, run)| {
        // A sequence of 0 is refused by both databases.
        let sequence = i64::from(at != 3);
        bed.hot.write_logs(batch(run, vec![line(sequence, "text", now)]))
    }))
    .await;
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), at == 3, "{at}: {outcome:?}");
        assert_eq!(bed.reader.last_sequence(runs[at].id).await.expect("read"), i64::from(at != 3));
    }
}
