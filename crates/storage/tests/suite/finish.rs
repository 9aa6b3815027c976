//! An attempt ends once, and only its own.

use crate::support::{Bed, everything, finish};
use bifrost_domain::execution::{ResultType, Status};
use bifrost_storage::executions::hot::Guarded;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![
    an_end_is_stored_whole,
    what_has_one_time_stands_in_order,
    an_older_attempt_ends_nothing,
    one_of_two_racing_ends_is_written,
    old_and_new_ends_in_one_batch_are_told_apart,
    a_bad_end_harms_no_other_run,
];

async fn an_end_is_stored_whole(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let mut given = bed.pending();
    given.dispatched_at = Some(bed.now() + Duration::microseconds(7));
    let worker = bed.worker(600).await;
    bed.submit(&given).await;
    bed.clock.advance(Duration::milliseconds(1));
    let run = bed.claim(given.id, worker).await;
    bed.clock.advance(Duration::milliseconds(1));
    let mut end = finish(&run, Status::Failed, 1, bed.now());
    end.result_type = ResultType::Text;
    end.error_type = Some("ValueError".to_owned());
    end.error_message = Some("for admins".to_owned());
    end.user_message = Some("for all".to_owned());
    assert_eq!(bed.hot.finish(end.clone()).await.expect("asked"), Guarded::Written);
    let read = bed.reader.find_execution(run.id, &everything(bed.now())).await.expect("read").expect("there");
    assert_eq!((read.status, read.result_type), (Status::Failed, ResultType::Text));
    assert_eq!((read.result.as_deref(), &read.error_type), (end.result.as_deref(), &end.error_type));
    assert_eq!((&read.error_message, &read.user_message), (&end.error_message, &end.user_message));
    assert_eq!((read.completed_at, read.duration_ms), (Some(end.completed_at), Some(1)));
    assert_eq!((read.peak_memory_bytes, read.cpu_seconds), (Some(1_001), Some(0.25)));
    assert_eq!(bed.events(run.id).await, ["accepted", "dispatched", "claimed", "finished"]);
    let timeline = bed.reader.list_timeline(run.id).await.expect("read");
    assert_eq!(timeline[1].at, given.created_at + Duration::microseconds(7), "times keep microseconds");
    assert_eq!(timeline[3].detail.as_ref().expect("a detail")["status"], "Failed");
}

async fn what_has_one_time_stands_in_order(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let mut given = bed.pending();
    given.dispatched_at = Some(given.created_at);
    let worker = bed.worker(600).await;
    bed.submit(&given).await;
    let run = bed.claim(given.id, worker).await;
    // Wherever the database keeps it.
    bed.query("UPDATE execution_events SET detail = detail WHERE event = 'accepted'").await;
    assert_eq!(bed.events(run.id).await, ["accepted", "dispatched", "claimed"]);
}

async fn an_older_attempt_ends_nothing(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let first = bed.running(worker).await;
    let now = bed.now();
    assert!(bed.store.retry_execution(first.id, 1, now, "x", 0, now).await.expect("asked"));
    assert_eq!(bed.hot.finish(finish(&first, Status::Success, 1, now)).await.expect("asked"), Guarded::Stale);
    let second = bed.claim(first.id, worker).await;
    assert_eq!(bed.hot.finish(finish(&first, Status::Success, 1, now)).await.expect("asked"), Guarded::Stale);
    assert_eq!(bed.status(first.id).await, Status::Running);
    assert!(!bed.store.retry_execution(first.id, 1, now, "x", 0, now).await.expect("asked"));
    assert_eq!(
        bed.hot.finish(finish(&second, Status::Timeout, 1, now)).await.expect("asked"),
        Guarded::Written
    );
    assert_eq!(
        bed.hot.finish(finish(&second, Status::Success, 1, now)).await.expect("asked"),
        Guarded::Stale
    );
    assert_eq!(bed.status(first.id).await, Status::Timeout);
    assert!(!bed.store.retry_execution(first.id, 2, now, "x", 0, now).await.expect("asked"));
    let counted = bed.query("SELECT success_count, timeout_count FROM execution_metrics_daily").await;
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].try_get::<i64>("", "timeout_count").expect("a count"), 1);
    assert_eq!(counted[0].try_get::<i64>("", "success_count").expect("a count"), 0);
}

async fn one_of_two_racing_ends_is_written(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let now = bed.now();
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(bed.running(worker).await);
    }
    // Half of the pairs meet in one batch, half come from two processes.
    let other = bed.another_process();
    let pairs = join_all(runs.iter().enumerate().map(|(at, run)| {
        let rival = if at % 2 == 0 { &bed.hot } else { &other };
        futures::future::join(
            bed.hot.finish(finish(run, Status::Success, 5, now)),
            rival.finish(finish(run, Status::Failed, 5, now)),
        )
    }))
    .await;
    let mut successes = 0;
    for (run, (success, failure)) in runs.iter().zip(pairs) {
        let outcomes = (success.expect("asked"), failure.expect("asked"));
        let status = bed.status(run.id).await;
        match outcomes {
            (Guarded::Written, Guarded::Stale) => assert_eq!(status, Status::Success),
            (Guarded::Stale, Guarded::Written) => assert_eq!(status, Status::Failed),
            both => panic!("{both:?} for {status}"),
        }
        successes += i64::from(status == Status::Success);
        assert_eq!(bed.events(run.id).await.iter().filter(|event| **event == "finished").count(), 1);
    }
    let counted = bed.query("SELECT success_count, failed_count FROM execution_metrics_daily").await;
    assert_eq!(counted[0].try_get::<i64>("", "success_count").expect("a count"), successes);
    assert_eq!(counted[0].try_get::<i64>("", "failed_count").expect("a count"), 20 - successes);
}

async fn old_and_new_ends_in_one_batch_are_told_apart(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let now = bed.now();
    let mut pairs = Vec::new();
    for _ in 0..10 {
        let first = bed.running(worker).await;
        assert!(bed.store.retry_execution(first.id, 1, now, "x", 0, now).await.expect("asked"));
        let second = bed.claim(first.id, worker).await;
        pairs.push((first, second));
    }
    let outcomes = join_all(pairs.iter().map(|(first, second)| {
        futures::future::join(
            bed.hot.finish(finish(first, Status::Failed, 1, now)),
            bed.hot.finish(finish(second, Status::Success, 1, now)),
        )
    }))
    .await;
    for ((first, _), (old, new)) in pairs.iter().zip(outcomes) {
        assert_eq!((old.expect("asked"), new.expect("asked")), (Guarded::Stale, Guarded::Written));
        assert_eq!(bed.status(first.id).await, Status::Success);
    }
}

async fn a_bad_end_harms_no_other_run(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let now = bed.now();
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(bed.running(worker).await);
    }
    let outcomes = join_all(runs.iter().enumerate().map(|(at, run)| {
        // A run cannot end as running: both databases refuse the row.
        let status = if at == 6 { Status::Running } else { Status::Success };
        bed.hot.finish(finish(run, status, 1, now))
    }))
    .await;
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), at == 6, "{at}: {outcome:?}");
        assert_eq!(bed.status(runs[at].id).await == Status::Success, at != 6);
    }
}
