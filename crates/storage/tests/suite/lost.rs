//! Workers come, renew and go; what a lost one had is found.

use crate::support::{Bed, batch, everything, line, user_id};
use bifrost_domain::{
    definition::{Backoff, RetryPolicy},
    execution::{Claimed, Status},
    ids::{ExecutionId, WorkerId},
};
use bifrost_storage::executions::{
    LogFilter,
    hot::Guarded,
    lost::{Lost, Reaping},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join;

on_both_databases![
    a_lease_is_renewed_while_it_is_valid,
    runs_of_lost_workers_are_found,
    a_lost_run_is_taken_once,
    a_cancel_that_came_first_decides,
    no_line_is_lost_to_the_reaper,
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
    let scope = bed.add_organization(4).await;
    (given.scope, given.retry_policy) = (scope, Some(policy.clone()));
    bed.submit(&given).await;
    let run = bed.claim(given.id, ends).await;
    bed.hot
        .write_logs(batch(&run, vec![line(1, "a", bed.now()), line(2, "b", bed.now())]))
        .await
        .expect("stored");
    let cancelling = bed.running(ends).await;
    bed.store.cancel_execution(cancelling.id, user_id(9), bed.now(), None).await.expect("asked");
    bed.running(lives).await;
    let of_stopped = bed.running(stops).await;
    let lost = async |before| -> Vec<ExecutionId> {
        bed.store.list_lost(before, None).await.expect("read").iter().map(|lost| lost.id).collect()
    };
    assert!(lost(bed.now()).await.is_empty());
    bed.store.stop_worker(stops, bed.now()).await.expect("stopped");
    assert_eq!(lost(bed.now() + Duration::microseconds(1)).await, [of_stopped.id]);
    assert_eq!(lost(bed.now() + Duration::seconds(10)).await, [of_stopped.id], "the lease ends then");
    let after = bed.now() + Duration::seconds(10) + Duration::microseconds(1);
    assert_eq!(lost(after).await, [run.id, cancelling.id, of_stopped.id]);
    let found = bed.store.list_lost(after, None).await.expect("read");
    let first = &found[0];
    assert_eq!((first.attempt, first.worker_id), (1, ends));
    assert_eq!((first.scope, first.started_at), (scope, run.started_at));
    assert_eq!((&first.retry_policy, first.executed_by), (&Some(policy), given.executed_by));
}

const END: Reaping = Reaping {
    not_before: None,
    error_type: "WorkerLost",
    error_message: "for administrators",
    user_message: "for everybody",
    line: |status| status.as_str(),
};

/// The run as the reaper finds it.
async fn found(bed: &Bed, run: &Claimed, worker: WorkerId) -> Lost {
    let runs = bed.store.list_runs_of(worker).await.expect("read");
    runs.into_iter().find(|lost| lost.id == run.id).expect("there")
}

async fn reap(bed: &Bed, lost: &Lost, reaping: &Reaping) -> Option<(Status, i64)> {
    let reaped = bed.store.reap_execution(lost, reaping, bed.now()).await.expect("asked");
    reaped.map(|reaped| (reaped.status, reaped.sequence))
}

async fn messages(bed: &Bed, id: ExecutionId) -> Vec<(i64, String)> {
    let filter = LogFilter { internal: true, limit: 1_000, ..LogFilter::default() };
    let lines = bed.reader.list_logs(id, &filter).await.expect("read");
    lines.into_iter().map(|line| (line.sequence, line.message)).collect()
}

async fn a_lost_run_is_taken_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(10).await;
    let run = bed.running(worker).await;
    bed.hot.write_logs(batch(&run, vec![line(1, "a", bed.now())])).await.expect("stored");
    let lost = found(&bed, &run, worker).await;
    bed.clock.advance(Duration::seconds(20));
    let again = Reaping { not_before: Some(bed.now()), ..END };
    assert_eq!(reap(&bed, &lost, &again).await, Some((Status::Pending, 2)));
    assert_eq!(reap(&bed, &lost, &again).await, None);
    let late = batch(&run, vec![line(2, "late", bed.now())]);
    assert_eq!(bed.hot.write_logs(late).await.expect("asked"), Guarded::Stale);
    assert_eq!(bed.events(run.id).await, ["accepted", "claimed", "worker_lost", "retrying"]);

    let worker = bed.worker(10).await;
    let run = bed.claim(run.id, worker).await;
    assert_eq!((run.attempt, run.last_sequence), (2, 2));
    let second = found(&bed, &run, worker).await;
    assert_eq!(reap(&bed, &lost, &END).await, None, "an older attempt is nobody's to end");
    assert_eq!(reap(&bed, &second, &END).await, Some((Status::Failed, 3)));
    assert_eq!(reap(&bed, &second, &END).await, None);
    let expected = [(1, "a"), (2, "Pending"), (3, "Failed")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!(messages(&bed, run.id).await, expected);
    let read = bed.reader.find_execution(run.id, &everything(bed.now())).await.expect("read").expect("there");
    assert_eq!((read.status, read.error_type.as_deref()), (Status::Failed, Some("WorkerLost")));
    let texts = (read.error_message.as_deref(), read.user_message.as_deref());
    assert_eq!(texts, (Some("for administrators"), Some("for everybody")));
    assert!(read.completed_at.is_some() && read.duration_ms == Some(0));
    let rows = bed.query("SELECT CAST(sum(failed_count) AS bigint) AS n FROM execution_metrics_daily").await;
    assert_eq!(rows[0].try_get::<i64>("", "n").expect("a number"), 1);
}

async fn a_cancel_that_came_first_decides(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(10).await;
    for reaping in [END, Reaping { not_before: Some(bed.now()), ..END }] {
        let run = bed.running(worker).await;
        let lost = found(&bed, &run, worker).await;
        bed.store.cancel_execution(run.id, user_id(9), bed.now(), None).await.expect("asked");
        assert_eq!(reap(&bed, &lost, &reaping).await, Some((Status::Cancelled, 1)));
        assert_eq!(bed.status(run.id).await, Status::Cancelled);
    }
}

/// A worker that is only slow writes while its run is taken: whatever it was told to be stored is.
async fn no_line_is_lost_to_the_reaper(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    for round in 0..20 {
        let run = bed.running(worker).await;
        let lost = found(&bed, &run, worker).await;
        let writes = async {
            for number in 1.. {
                let lines = vec![line(number, "a", bed.now())];
                if bed.hot.write_logs(batch(&run, lines)).await.expect("asked") == Guarded::Stale {
                    return number - 1;
                }
            }
            unreachable!("the run is taken at some time")
        };
        let taken = async {
            while bed.reader.last_sequence(run.id).await.expect("read") < round % 5 {}
            reap(&bed, &lost, &END).await.expect("taken")
        };
        let (stored, (status, sequence)) = join(writes, taken).await;
        assert_eq!((status, sequence), (Status::Failed, stored + 1));
        let mut expected: Vec<_> = (1..=stored).map(|number| (number, "a".to_owned())).collect();
        expected.push((stored + 1, "Failed".to_owned()));
        assert_eq!(messages(&bed, run.id).await, expected);
    }
}

async fn workers_without_runs_are_forgotten(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (idle, busy) = (bed.worker(10).await, bed.worker(10).await);
    let run = bed.running(busy).await;
    bed.clock.advance(Duration::seconds(30));
    let alive = bed.worker(10).await;
    assert_eq!(bed.store.forget_workers(bed.now()).await.expect("forgotten"), 1);
    assert!(bed.try_claim(bed.submit(&bed.pending()).await, idle).await.is_none());
    assert_eq!(bed.store.list_lost(bed.now(), None).await.expect("read")[0].id, run.id);
    assert_eq!(live(&bed).await, [alive]);
    // A run whose worker's row is gone is lost as well.
    bed.query(if bed.db.db().is_postgres() {
        "DELETE FROM workers WHERE lease_until < '2026-11-20 12:00:20+00' RETURNING 1"
    } else {
        "DELETE FROM workers WHERE lease_until < '2026-11-20T12:00:20' RETURNING 1"
    })
    .await;
    assert_eq!(bed.store.list_lost(bed.now(), None).await.expect("read")[0].id, run.id);
}
