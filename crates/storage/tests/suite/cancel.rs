//! Cancel: what waits ends now, what runs is asked, what has ended stays.

use crate::support::{Bed, everything, finish, user_id};
use bifrost_domain::{execution::Status, ids::ExecutionId};
use bifrost_migration::sea_orm::{ConnectionTrait, TransactionTrait};
use bifrost_storage::executions::{hot::Claim, hot::Guarded, transitions::CancelOutcome};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join;

on_both_databases![
    what_waits_ends_now_and_counts_once,
    what_runs_is_asked_and_its_end_counts_once,
    what_has_ended_stays,
    cancel_and_claim_agree,
    a_cancelled_run_is_not_tried_again,
];

async fn cancel(bed: &Bed, id: ExecutionId) -> Option<CancelOutcome> {
    bed.store.cancel_execution(id, user_id(9), bed.now(), None).await.expect("asked")
}

async fn cancelled_count(bed: &Bed) -> i64 {
    let rows =
        bed.query("SELECT CAST(sum(cancelled_count) AS bigint) AS n FROM execution_metrics_daily").await;
    rows[0].try_get::<Option<i64>>("", "n").expect("a number").unwrap_or(0)
}

async fn what_waits_ends_now_and_counts_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let mut scheduled = bed.pending();
    scheduled.status = Status::Scheduled;
    scheduled.not_before = Some(bed.now() + Duration::hours(1));
    for given in [scheduled, bed.pending()] {
        let before = cancelled_count(&bed).await;
        bed.submit(&given).await;
        assert_eq!(cancel(&bed, given.id).await, Some(CancelOutcome::Cancelled));
        assert_eq!(cancel(&bed, given.id).await, Some(CancelOutcome::Already(Status::Cancelled)));
        assert_eq!(cancelled_count(&bed).await, before + 1);
        assert!(bed.try_claim(given.id, worker).await.is_none());
        let read = bed.reader.find_execution(given.id, &everything(bed.now())).await.expect("read");
        let read = read.expect("there");
        assert_eq!(
            (read.status, read.completed_at, read.duration_ms),
            (Status::Cancelled, Some(bed.now()), Some(0))
        );
        let mut events = bed.events(given.id).await;
        events.sort_unstable();
        assert_eq!(events, ["accepted", "cancel_requested", "finished"]);
    }
    assert!(bed.store.reserve_due(10, bed.now() + Duration::days(1)).await.expect("asked").is_empty());
    assert_eq!(cancel(&bed, ExecutionId::from_uuid(bed.uuid())).await, None);
}

async fn what_runs_is_asked_and_its_end_counts_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let run = bed.running(worker).await;
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Cancelling));
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Already(Status::Cancelling)));
    assert_eq!(bed.store.list_cancelling(worker).await.expect("asked"), [run.id]);
    assert_eq!(cancelled_count(&bed).await, 0);
    let end = bed.hot.finish(finish(&run, Status::Cancelled, 3, bed.now())).await;
    assert_eq!(end.expect("asked"), Guarded::Written);
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Already(Status::Cancelled)));
    assert!(bed.store.list_cancelling(worker).await.expect("asked").is_empty());
    assert_eq!(cancelled_count(&bed).await, 1);
}

async fn what_has_ended_stays(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    for status in [Status::Success, Status::CompletedWithErrors, Status::Failed, Status::Timeout] {
        let run = bed.running(worker).await;
        bed.hot.finish(finish(&run, status, 3, bed.now())).await.expect("ended");
        assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Finished(status)));
        assert_eq!(bed.status(run.id).await, status);
    }
    assert_eq!(cancelled_count(&bed).await, 0);
    // The end that came first is kept, also after a cancel was asked.
    let run = bed.running(worker).await;
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Cancelling));
    bed.hot.finish(finish(&run, Status::Success, 3, bed.now())).await.expect("ended");
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Finished(Status::Success)));
}

async fn cancel_and_claim_agree(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker_id = bed.worker(600).await;
    let mut ended = 0;
    for turn in 0..30 {
        let id = bed.submit(&bed.pending()).await;
        let claim = bed.hot.claim(Claim { id, worker_id });
        let (outcome, claimed) = if turn % 2 == 0 {
            join(cancel(&bed, id), claim).await
        } else {
            let (claimed, outcome) = join(claim, cancel(&bed, id)).await;
            (outcome, claimed)
        };
        let (claimed, status) = (claimed.expect("asked"), bed.status(id).await);
        match outcome {
            Some(CancelOutcome::Cancelled) => {
                assert!(claimed.is_none());
                assert_eq!(status, Status::Cancelled);
                ended += 1;
            }
            Some(CancelOutcome::Cancelling) => {
                assert!(claimed.is_some());
                assert_eq!(status, Status::Cancelling);
            }
            other => panic!("{other:?} with {claimed:?}"),
        }
    }
    assert_eq!(cancelled_count(&bed).await, ended);
}

/// A retry that is under way when the cancel comes: whatever the cancel answers is true when it answers.
#[tokio::test]
async fn a_cancel_waits_for_a_retry_that_is_under_way() {
    let case = |db: TestDatabase| async move {
        let bed = Bed::new(db).await;
        let worker = bed.worker(600).await;
        let run = bed.running(worker).await;
        let retry = bed.db.db().migration_connection().begin().await.expect("begin");
        let sql =
            format!("UPDATE executions SET status = 'Pending', worker_id = NULL WHERE id = '{}'", run.id);
        retry.execute_unprepared(&sql).await.expect("changed");
        let waits = async {
            const BLOCKED: &str = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while bed.query(BLOCKED).await.is_empty() {}
            retry.commit().await.expect("commit");
        };
        let (outcome, ()) = join(cancel(&bed, run.id), waits).await;
        assert_eq!(outcome, Some(CancelOutcome::Cancelled));
        assert_eq!(bed.status(run.id).await, Status::Cancelled);
    };
    TestDatabase::postgres().await.run(case).await;
}

async fn a_cancelled_run_is_not_tried_again(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let now = bed.now();
    let run = bed.running(worker).await;
    cancel(&bed, run.id).await;
    assert!(!bed.store.retry_execution(run.id, 1, now, "x", 0, now).await.expect("asked"));
    assert_eq!(bed.status(run.id).await, Status::Cancelling);
    // One that waits for its next attempt ends at once.
    let run = bed.running(worker).await;
    assert!(bed.store.retry_execution(run.id, 1, now, "x", 0, now).await.expect("asked"));
    assert_eq!(bed.status(run.id).await, Status::Pending);
    assert_eq!(cancel(&bed, run.id).await, Some(CancelOutcome::Cancelled));
    assert_eq!(cancelled_count(&bed).await, 1);
    assert!(bed.events(run.id).await.contains(&"retrying"));
}
