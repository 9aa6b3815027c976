//! What is accepted is readable at once, and a bad row fails alone.

use crate::support::{Bed, everything, organization};
use bifrost_domain::{
    definition::{Backoff, RetryPolicy},
    execution::{NewExecution, Status},
    scope::Scope,
};
use bifrost_storage::{Error, executions::Filter};
use bifrost_test_support::{TestDatabase, on_both_databases};
use futures::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

on_both_databases![
    what_is_accepted_is_read_at_once,
    an_id_is_accepted_once,
    an_unknown_organization_is_refused_alone,
    three_hundred_at_once_are_all_there,
    a_bad_row_fails_alone,
    closing_does_not_wait_for_the_writers,
];

async fn what_is_accepted_is_read_at_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let mut given = bed.pending();
    given.scope = bed.add_organization(1).await;
    given.retry_policy = Some(RetryPolicy {
        max_attempts: 3,
        backoff: Backoff::Exponential,
        initial_delay_seconds: 0.5,
        max_delay_seconds: 9.0,
        retry_on: Some(vec!["ValueError".to_owned()]),
    });
    given.code = Some("return 'ü'".to_owned());
    let id = bed.submit(&given).await;
    let read = bed.reader.find_execution(id, &everything(bed.now())).await.expect("read").expect("there");
    assert_eq!((read.id, read.kind, read.scope, read.status), (id, given.kind, given.scope, Status::Pending));
    assert_eq!((&read.workflow_name, &read.input), (&given.workflow_name, &given.input));
    assert_eq!((read.executed_by, &read.executed_by_name), (given.executed_by, &given.executed_by_name));
    assert_eq!((read.created_at, read.attempt, read.worker_id), (given.created_at, 0, None));
    assert_eq!((read.started_at, read.completed_at, read.result), (None, None, None));
    assert_eq!(bed.events(id).await, ["accepted"]);
    let worker = bed.worker(60).await;
    let claimed = bed.claim(id, worker).await;
    assert_eq!((claimed.retry_policy, claimed.code), (given.retry_policy, given.code));
}

async fn an_id_is_accepted_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let given = bed.pending();
    bed.submit(&given).await;
    let mut again = given.clone();
    again.workflow_name = "other".to_owned();
    again.created_at += chrono::Duration::milliseconds(1);
    bed.submit(&again).await;
    let all = bed.reader.list_executions(&everything(bed.now()), &Filter::default(), 10).await.expect("read");
    assert_eq!(all.iter().map(|one| one.workflow_name.as_str()).collect::<Vec<_>>(), ["greet"]);
    assert_eq!(bed.events(given.id).await, ["accepted"]);
}

async fn an_unknown_organization_is_refused_alone(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let home = bed.add_organization(1).await;
    let scopes = [home, organization(2), Scope::Global, organization(3)];
    let given: Vec<_> = (0..40).map(|at| NewExecution { scope: scopes[at % 4], ..bed.pending() }).collect();
    let outcomes = join_all(given.iter().map(|one| bed.hot.submit(one.clone()))).await;
    for (one, outcome) in given.iter().zip(outcomes) {
        let is_there = one.scope == home || one.scope == Scope::Global;
        match outcome {
            Ok(()) => assert!(is_there),
            Err(Error::NoOrganization) => assert!(!is_there),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(bed.reader.find_status(one.id).await.expect("read").is_some(), is_there);
        assert_eq!(bed.events(one.id).await.len(), usize::from(is_there));
    }
}

async fn three_hundred_at_once_are_all_there(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let given: Vec<_> = (0..300).map(|_| bed.pending()).collect();
    let accepted = join_all(given.iter().map(|one| async {
        bed.hot.submit(one.clone()).await.expect("accepted");
        bed.status(one.id).await
    }))
    .await;
    assert!(accepted.iter().all(|status| *status == Status::Pending));
    let all =
        bed.reader.list_executions(&everything(bed.now()), &Filter::default(), 1_000).await.expect("read");
    let mut expected: Vec<_> = given.iter().map(|one| one.id).collect();
    expected.reverse();
    assert_eq!(all.iter().map(|one| one.id).collect::<Vec<_>>(), expected);
}

async fn a_bad_row_fails_alone(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let mut given: Vec<_> = (0..40).map(|_| bed.pending()).collect();
    given[7].timeout_seconds = 0;
    let mut bad = vec![7];
    if bed.db.db().is_postgres() {
        // SQLite takes both of these: the application checks them first.
        given[20].input = json!({"text": "a\0b"});
        given[33].workflow_name = "x".repeat(201);
        bad.extend([20, 33]);
    }
    let outcomes = join_all(given.iter().map(|one| bed.hot.submit(one.clone()))).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), bad.contains(&at), "row {at}: {outcome:?}");
        let found = bed.reader.find_status(given[at].id).await.expect("read");
        assert_eq!(found.is_none(), bad.contains(&at), "row {at}");
    }
    bed.submit(&bed.pending()).await;
}

async fn closing_does_not_wait_for_the_writers(db: TestDatabase) {
    let bed = Bed::new(db).await;
    bed.submit(&bed.pending()).await;
    let begun = Instant::now();
    bed.db.db().close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(bed.reader.find_status(bed.pending().id).await.is_err(), "it is closed");
}

/// A driver that leaves Nagle's algorithm on waits 40 ms for the other side's delayed acknowledgement with each statement
/// over 8 KiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_input_does_not_stall_over_tcp() {
    let db = TestDatabase::postgres().await;
    db.run(|db| async {
        let bed = Bed::new(db).await;
        bed.submit(&bed.pending()).await;
        let mut times = Vec::new();
        for _ in 0..20 {
            let mut large = bed.pending();
            large.input = json!({"text": "x".repeat(64 * 1024)});
            let begun = Instant::now();
            bed.submit(&large).await;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        assert!(times[10] < Duration::from_millis(30), "the median of {times:?}");
    })
    .await;
}
