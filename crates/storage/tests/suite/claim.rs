//! A row is claimed by exactly one worker whose lease is valid.

use crate::support::{Bed, batch, line};
use bifrost_domain::{execution::Status, ids::WorkerId};
use bifrost_storage::{executions::hot::Claim, executions::hot::Guarded};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![
    one_of_twenty_claimers_has_it,
    a_worker_without_a_lease_has_nothing,
    attempts_count_up_and_the_log_goes_on,
    nothing_is_claimed_before_its_time,
];

async fn one_of_twenty_claimers_has_it(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let processes: Vec<_> = (0..4).map(|_| bed.another_process()).collect();
    let mut workers = Vec::new();
    for _ in 0..20 {
        workers.push(bed.worker(60).await);
    }
    for _ in 0..5 {
        let id = bed.submit(&bed.pending()).await;
        let claims = join_all(workers.iter().enumerate().map(|(at, &worker_id)| {
            let process = processes[at % processes.len()].clone();
            async move { (worker_id, process.claim(Claim { id, worker_id }).await.expect("asked")) }
        }))
        .await;
        let winners: Vec<WorkerId> =
            claims.iter().filter(|(_, claimed)| claimed.is_some()).map(|(worker, _)| *worker).collect();
        let [winner] = winners.as_slice() else { panic!("{winners:?} have it") };
        let read = bed.reader.find_execution(id, &crate::support::everything(bed.now())).await;
        let read = read.expect("read").expect("there");
        assert_eq!((read.status, read.attempt, read.worker_id), (Status::Running, 1, Some(*winner)));
        assert_eq!(bed.events(id).await.iter().filter(|event| **event == "claimed").count(), 1);
    }
}

async fn a_worker_without_a_lease_has_nothing(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let id = bed.submit(&bed.pending()).await;
    let (ended, stopped, alive) = (bed.worker(10).await, bed.worker(100).await, bed.worker(100).await);
    bed.store.stop_worker(stopped, bed.now()).await.expect("stopped");
    bed.clock.advance(Duration::seconds(10));
    let unknown = WorkerId::from_uuid(bed.uuid());
    for worker in [ended, stopped, unknown] {
        assert!(bed.try_claim(id, worker).await.is_none());
    }
    assert_eq!(bed.status(id).await, Status::Pending);
    assert_eq!(bed.claim(id, alive).await.attempt, 1);
    assert!(bed.try_claim(id, alive).await.is_none(), "not twice");
}

async fn attempts_count_up_and_the_log_goes_on(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let first = bed.running(worker).await;
    assert_eq!((first.attempt, first.last_sequence, first.started_at), (1, 0, bed.now()));
    let lines = vec![line(1, "a", bed.now()), line(2, "b", bed.now())];
    assert_eq!(bed.hot.write_logs(batch(&first, lines)).await.expect("asked"), Guarded::Written);
    let now = bed.now();
    // The number that the worker tells may be behind what is stored, or before it.
    for (told, expected, attempt) in [(0, 2, 1), (7, 7, 2)] {
        let retried = bed.store.retry_execution(first.id, attempt, now, "ValueError", told, now).await;
        assert!(retried.expect("asked"));
        let next = bed.claim(first.id, worker).await;
        assert_eq!((next.attempt, next.last_sequence), (attempt + 1, expected));
    }
}

async fn nothing_is_claimed_before_its_time(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let mut later = bed.pending();
    later.not_before = Some(bed.now() + Duration::seconds(5));
    let mut scheduled = bed.pending();
    scheduled.status = Status::Scheduled;
    scheduled.not_before = later.not_before;
    let (later, scheduled) = (bed.submit(&later).await, bed.submit(&scheduled).await);
    assert!(bed.try_claim(later, worker).await.is_none());
    bed.clock.advance(Duration::seconds(5));
    assert!(bed.try_claim(later, worker).await.is_some());
    assert!(bed.try_claim(scheduled, worker).await.is_none(), "the relay makes it pending");
    let reserved = bed.store.reserve_due(10, bed.now()).await.expect("reserved");
    assert_eq!(reserved.iter().map(|row| row.id).collect::<Vec<_>>(), [scheduled]);
    assert!(bed.try_claim(scheduled, worker).await.is_some());
}
