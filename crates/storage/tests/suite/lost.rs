//! Workers come, renew and go; what a lost one had is found.

use crate::support::{Bed, batch, line, organization, user_id};
use bifrost_domain::{
    definition::{Backoff, RetryPolicy},
    execution::Status,
    ids::{ExecutionId, WorkerId},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;

on_both_databases![
    a_lease_is_renewed_while_it_is_valid,
    runs_of_lost_workers_are_found,
    workers_without_runs_are_forgotten,
];

async fn live(bed: &Bed) -> Vec<WorkerId> {
    let workers = bed.reader.list_live_workers(bed.now()).await.expect("read");
    workers.iter().map(|worker| worker.id).collect()
}

async fn a_lease_is_renewed_while_it_is_valid(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (worker, stopped) = (bed.worker(10).await, bed.worker(10).await);
    let renew = async |id| {
        let until = bed.now() + Duration::seconds(10);
        bed.store.renew_worker(id, until, bed.now()).await.expect("asked")
    };
    bed.clock.advance(Duration::milliseconds(9_999));
    assert!(renew(worker).await);
    assert_eq!(live(&bed).await, [worker, stopped]);
    bed.store.stop_worker(stopped, bed.now()).await.expect("stopped");
    assert!(!renew(stopped).await, "who stopped has nothing any more");
    assert_eq!(live(&bed).await, [worker]);
    bed.clock.advance(Duration::seconds(10));
    assert!(!renew(worker).await, "a lease that ended cannot be renewed");
    assert!(live(&bed).await.is_empty());
    assert!(!renew(WorkerId::from_uuid(bed.uuid())).await);
}

async fn runs_of_lost_workers_are_found(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (ends, lives, stops) = (bed.worker(10).await, bed.worker(60).await, bed.worker(60).await);
    let policy = RetryPolicy {
        max_attempts: 2,
        backoff: Backoff::Fixed,
        initial_delay_seconds: 1.0,
        max_delay_seconds: 60.0,
        retry_on: None,
    };
    let mut given = bed.pending();
    (given.scope, given.retry_policy) = (organization(4), Some(policy.clone()));
    bed.submit(&given).await;
    let run = bed.claim(given.id, ends).await;
    bed.hot
        .write_logs(batch(&run, vec![line(1, "a", bed.now()), line(2, "b", bed.now())]))
        .await
        .expect("stored");
    let cancelling = bed.running(ends).await;
    bed.store.cancel_execution(cancelling.id, user_id(9), bed.now()).await.expect("asked");
    bed.running(lives).await;
    let of_stopped = bed.running(stops).await;
    let lost = async |before| -> Vec<ExecutionId> {
        bed.store.list_lost(before).await.expect("read").iter().map(|lost| lost.id).collect()
    };
    assert!(lost(bed.now()).await.is_empty());
    bed.store.stop_worker(stops, bed.now()).await.expect("stopped");
    assert_eq!(lost(bed.now() + Duration::microseconds(1)).await, [of_stopped.id]);
    assert_eq!(lost(bed.now() + Duration::seconds(10)).await, [of_stopped.id], "the lease ends then");
    let after = bed.now() + Duration::seconds(10) + Duration::microseconds(1);
    assert_eq!(lost(after).await, [run.id, cancelling.id, of_stopped.id]);
    let found = bed.store.list_lost(after).await.expect("read");
    let first = &found[0];
    assert_eq!((first.attempt, first.status, first.worker_id), (1, Status::Running, ends));
    assert_eq!((first.scope, first.last_sequence, first.started_at), (organization(4), 2, run.started_at));
    assert_eq!((&first.retry_policy, first.executed_by), (&Some(policy), given.executed_by));
    assert_eq!(found[1].status, Status::Cancelling);
    bed.store.note_worker_lost(first, after).await.expect("noted");
    assert_eq!(bed.events(run.id).await, ["accepted", "claimed", "worker_lost"]);
}

async fn workers_without_runs_are_forgotten(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (idle, busy) = (bed.worker(10).await, bed.worker(10).await);
    let run = bed.running(busy).await;
    bed.clock.advance(Duration::seconds(30));
    let alive = bed.worker(10).await;
    assert_eq!(bed.store.forget_workers(bed.now()).await.expect("forgotten"), 1);
    assert!(bed.try_claim(bed.submit(&bed.pending()).await, idle).await.is_none());
    assert_eq!(bed.store.list_lost(bed.now()).await.expect("read")[0].id, run.id);
    assert_eq!(live(&bed).await, [alive]);
    // A run whose worker's row is gone is lost as well.
    bed.query(if bed.db.db().is_postgres() {
        "DELETE FROM workers WHERE lease_until < '2026-11-20 12:00:20+00' RETURNING 1"
    } else {
        "DELETE FROM workers WHERE lease_until < '2026-11-20T12:00:20' RETURNING 1"
    })
    .await;
    assert_eq!(bed.store.list_lost(bed.now()).await.expect("read")[0].id, run.id);
}
