//! Workers and duties: a lease is somebody's or nobody's.

use super::{Rivals, TURNS, at_once};
use bifrost_domain::{execution::Status, ids::WorkerId};
use bifrost_storage::executions::hot::Claim;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;

on_both_databases![
    a_lease_is_renewed_or_has_ended_for_the_reaper,
    a_worker_that_stopped_is_not_brought_back_by_a_renewal,
    what_a_stopping_worker_claims_is_found,
    a_forgotten_worker_leaves_no_run_behind,
    a_duty_is_renewed_by_its_holder_or_taken_by_another,
    a_duty_that_is_given_back_is_not_taken_from_the_next,
];

/// At the very end of a lease: never both renewed and taken for dead.
async fn a_lease_is_renewed_or_has_ended_for_the_reaper(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let worker = rivals.bed.worker(10).await;
        let run = rivals.bed.running(worker).await;
        // Around the end, by the microsecond.
        let now = rivals.bed.now() + Duration::seconds(10) + Duration::microseconds(i64::from(turn % 3) - 1);
        let (one, other) = rivals.sides();
        let (renewed, lost) = at_once(
            turn,
            async move { one.store.renew_worker(worker, now + Duration::seconds(10), now).await },
            async move { other.store.list_lost(now, None).await },
        )
        .await;
        let lost = lost.expect("read").iter().any(|lost| lost.id == run.id);
        assert!(!(renewed.expect("asked") && lost));
        rivals.bed.store.stop_worker(worker, rivals.bed.now()).await.expect("stopped");
    }
    rivals.agree().await;
}

async fn a_worker_that_stopped_is_not_brought_back_by_a_renewal(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let worker = rivals.bed.worker(10).await;
        let now = rivals.bed.now();
        let until = now + Duration::seconds(20);
        let (one, other) = rivals.sides();
        let (renewed, stopped) =
            at_once(turn, async move { one.store.renew_worker(worker, until, now).await }, async move {
                other.store.stop_worker(worker, now).await
            })
            .await;
        renewed.expect("asked");
        stopped.expect("asked");
        let live = rivals.bed.reader.list_live_workers(now).await.expect("read");
        assert!(live.iter().all(|live| live.id != worker));
        assert!(!rivals.bed.store.renew_worker(worker, until, now).await.expect("asked"));
    }
    rivals.agree().await;
}

async fn what_a_stopping_worker_claims_is_found(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let worker = rivals.bed.worker(100).await;
        let id = rivals.bed.submit(&rivals.bed.pending()).await;
        let now = rivals.bed.now();
        let (one, other) = rivals.sides();
        let claim = Claim { id, worker_id: worker };
        let (claimed, stopped) = at_once(turn, async move { one.hot.claim(claim).await }, async move {
            other.store.stop_worker(worker, now).await
        })
        .await;
        stopped.expect("asked");
        let claimed = claimed.expect("asked").is_some();
        let lost = rivals.bed.store.list_lost(now + Duration::microseconds(1), None).await.expect("read");
        assert_eq!(lost.iter().any(|lost| lost.id == id), claimed, "it is the reaper's");
        assert_eq!(rivals.bed.status(id).await, if claimed { Status::Running } else { Status::Pending });
        if claimed {
            let lost = lost.iter().find(|lost| lost.id == id).expect("found");
            let back = rivals.bed.store.retry_execution(id, lost.attempt, now, "x", 0, now).await;
            assert!(back.expect("asked"));
        }
    }
    rivals.agree().await;
}

/// Nobody asks for workers to be forgotten before their lease has ended; even so no run is left without an owner.
async fn a_forgotten_worker_leaves_no_run_behind(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let worker = rivals.bed.worker(10).await;
        let id = rivals.bed.submit(&rivals.bed.pending()).await;
        let now = rivals.bed.now();
        let all = now + Duration::seconds(11);
        let (one, other) = rivals.sides();
        let claim = Claim { id, worker_id: worker };
        let (claimed, forgotten) = at_once(turn, async move { one.hot.claim(claim).await }, async move {
            other.store.forget_workers(all).await
        })
        .await;
        let (claimed, forgotten) = (claimed.expect("asked").is_some(), forgotten.expect("asked"));
        let lost = rivals.bed.store.list_lost(now, None).await.expect("read");
        let is_lost = lost.iter().any(|lost| lost.id == id);
        match (claimed, forgotten) {
            (true, 0) => assert!(!is_lost),
            (true, 1) => assert!(is_lost, "a run whose worker is gone is the reaper's"),
            (false, 1) => assert_eq!(rivals.bed.status(id).await, Status::Pending),
            other => panic!("{other:?}"),
        }
        if claimed {
            assert!(rivals.bed.store.retry_execution(id, 1, now, "x", 0, now).await.expect("asked"));
            assert_eq!(rivals.bed.store.forget_workers(all).await.expect("forgotten"), 1 - forgotten);
        }
    }
    rivals.agree().await;
}

async fn a_duty_is_renewed_by_its_holder_or_taken_by_another(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let holders = [(); 2].map(|()| WorkerId::from_uuid(rivals.bed.uuid()));
    let mut holder = 0;
    for turn in 0..TURNS {
        let (own, rival) = (holders[holder], holders[1 - holder]);
        let begun = rivals.bed.now();
        assert!(
            rivals
                .bed
                .store
                .hold_lease("relay", own, begun + Duration::seconds(6), begun)
                .await
                .expect("asked")
        );
        rivals.bed.clock.advance(Duration::seconds(6) + Duration::microseconds(1));
        let now = rivals.bed.now();
        let until = now + Duration::seconds(6);
        let (one, other) = rivals.sides();
        let (renewed, taken) = at_once(
            turn,
            async move { one.store.hold_lease("relay", own, until, now).await.expect("asked") },
            async move { other.store.hold_lease("relay", rival, until, now).await.expect("asked") },
        )
        .await;
        assert!(renewed != taken, "renewed: {renewed}, taken: {taken}");
        holder = if renewed { holder } else { 1 - holder };
    }
    rivals.agree().await;
}

async fn a_duty_that_is_given_back_is_not_taken_from_the_next(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (own, rival) = (WorkerId::from_uuid(rivals.bed.uuid()), WorkerId::from_uuid(rivals.bed.uuid()));
    for turn in 0..TURNS {
        let begun = rivals.bed.now();
        assert!(
            rivals
                .bed
                .store
                .hold_lease("relay", own, begun + Duration::seconds(6), begun)
                .await
                .expect("asked")
        );
        rivals.bed.clock.advance(Duration::seconds(7));
        let now = rivals.bed.now();
        let until = now + Duration::seconds(6);
        let (one, other) = rivals.sides();
        let (released, taken) =
            at_once(turn, async move { one.store.release_leases(own).await }, async move {
                other.store.hold_lease("relay", rival, until, now).await
            })
            .await;
        released.expect("asked");
        assert!(taken.expect("asked"), "it had run out, or was given back");
        assert!(
            !rivals.bed.store.hold_lease("relay", own, until, now).await.expect("asked"),
            "it is the rival's"
        );
        rivals.bed.store.release_leases(rival).await.expect("given back");
    }
    rivals.agree().await;
}
