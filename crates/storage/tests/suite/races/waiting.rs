//! What waits: accepted, reserved, taken back, claimed, cancelled.

use super::{Rivals, TURNS, at_once};
use crate::support::user_id;
use bifrost_domain::{
    execution::{NewExecution, Status},
    ids::ExecutionId,
};
use bifrost_storage::executions::{hot::Claim, transitions::CancelOutcome};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use std::collections::BTreeSet;

on_both_databases![
    one_of_two_submits_of_an_id_is_the_execution,
    one_of_two_claims_has_the_run,
    one_of_two_reservations_has_the_row,
    a_reserved_row_is_claimed_or_cancelled_and_not_both,
    a_reservation_leaves_alone_what_was_cancelled_or_claimed,
    a_stamp_is_taken_back_from_what_is_unclaimed_only,
    a_stamp_that_is_taken_back_and_reserved_again_leaves_one_row_to_dispatch,
    one_of_two_cancels_ends_what_waits,
];

/// A row that waits, stamped as dispatched.
async fn dispatched(rivals: &Rivals) -> ExecutionId {
    let mut given = rivals.bed.pending();
    given.dispatched_at = Some(rivals.bed.now() - Duration::minutes(1));
    rivals.bed.submit(&given).await
}

async fn stamps(rivals: &Rivals, id: ExecutionId) -> i64 {
    let column = if rivals.bed.db.db().is_postgres() {
        format!("id = '{id}'")
    } else {
        format!("id = X'{}'", id.as_uuid().simple())
    };
    let rows = rivals
        .bed
        .query(&format!("SELECT count(*) AS n FROM executions WHERE {column} AND dispatched_at IS NOT NULL"))
        .await;
    rows[0].try_get("", "n").expect("a number")
}

async fn one_of_two_submits_of_an_id_is_the_execution(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let given = rivals.bed.pending();
        let again = NewExecution {
            workflow_name: "other".to_owned(),
            created_at: given.created_at + Duration::milliseconds(1),
            ..given.clone()
        };
        let (one, other) = rivals.sides();
        let (id, first) = (given.id, given.clone());
        // Both hear that it is accepted: the second caller repeats what the first one said.
        let outcomes = at_once(turn, async move { one.hot.submit(first).await }, async move {
            other.hot.submit(again).await
        })
        .await;
        outcomes.0.expect("accepted");
        outcomes.1.expect("accepted");
        assert_eq!(rivals.bed.events(id).await, ["accepted"]);
        assert_eq!(rivals.bed.status(id).await, Status::Pending);
    }
    rivals.agree().await;
}

async fn one_of_two_claims_has_the_run(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let rival_worker = rivals.bed.worker(100_000).await;
    for turn in 0..TURNS {
        let id = dispatched(&rivals).await;
        let (one, other) = rivals.sides();
        let (a, b) = (Claim { id, worker_id: rivals.worker }, Claim { id, worker_id: rival_worker });
        let (first, second) =
            at_once(turn, async move { one.hot.claim(a).await }, async move { other.hot.claim(b).await })
                .await;
        let (first, second) = (first.expect("asked"), second.expect("asked"));
        assert!(first.is_some() != second.is_some(), "{first:?} and {second:?}");
        let winner = if first.is_some() { rivals.worker } else { rival_worker };
        assert_eq!(rivals.bed.store.list_runs_of(winner).await.expect("read").last().expect("a run").id, id);
    }
    rivals.agree().await;
}

async fn one_of_two_reservations_has_the_row(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ids: BTreeSet<_> = [rivals.bed.pending(), rivals.bed.pending()].map(|one| one.id).into();
        for id in &ids {
            rivals.bed.submit(&NewExecution { id: *id, ..rivals.bed.pending() }).await;
        }
        let (one, other) = rivals.sides();
        let now = rivals.bed.now();
        let (first, second) =
            at_once(turn, async move { one.store.reserve_due(10, now).await }, async move {
                other.store.reserve_due(10, now).await
            })
            .await;
        let mut all: Vec<_> = first.expect("asked").iter().map(|row| row.id).collect();
        all.extend(second.expect("asked").iter().map(|row| row.id));
        // One that came back with fewer because of the other finds the rest in its next round.
        all.extend(rivals.bed.store.reserve_due(10, now).await.expect("asked").iter().map(|row| row.id));
        assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>()), (2, ids));
    }
    rivals.agree().await;
}

async fn a_reserved_row_is_claimed_or_cancelled_and_not_both(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let id = dispatched(&rivals).await;
        let (one, other) = rivals.sides();
        let (claim, now) = (Claim { id, worker_id: rivals.worker }, rivals.bed.now());
        let (claimed, cancelled) = at_once(turn, async move { one.hot.claim(claim).await }, async move {
            other.store.cancel_execution(id, user_id(9), now, None).await
        })
        .await;
        let (claimed, cancelled) = (claimed.expect("asked"), cancelled.expect("asked"));
        let expected = if claimed.is_some() {
            (Some(CancelOutcome::Cancelling), Status::Cancelling)
        } else {
            (Some(CancelOutcome::Cancelled), Status::Cancelled)
        };
        assert_eq!((cancelled, rivals.bed.status(id).await), expected);
    }
    rivals.agree().await;
}

async fn a_reservation_leaves_alone_what_was_cancelled_or_claimed(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let id = rivals.bed.submit(&rivals.bed.pending()).await;
        let (one, other) = rivals.sides();
        let (claim, now) = (Claim { id, worker_id: rivals.worker }, rivals.bed.now());
        let is_cancel = turn % 4 < 2;
        let (reserved, ()) = at_once(turn, async move { one.store.reserve_due(10, now).await }, async move {
            if is_cancel {
                let cancelled = other.store.cancel_execution(id, user_id(9), now, None).await;
                assert_eq!(cancelled.expect("asked"), Some(CancelOutcome::Cancelled));
            } else {
                other.hot.claim(claim).await.expect("asked").expect("nobody else wants it");
            }
        })
        .await;
        assert!(reserved.expect("asked").len() <= 1);
        let expected = if is_cancel { Status::Cancelled } else { Status::Running };
        assert_eq!(rivals.bed.status(id).await, expected);
        assert!(rivals.bed.store.reserve_due(10, now).await.expect("asked").is_empty());
    }
    rivals.agree().await;
}

async fn a_stamp_is_taken_back_from_what_is_unclaimed_only(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let id = dispatched(&rivals).await;
        let (one, other) = rivals.sides();
        let (claim, now) = (Claim { id, worker_id: rivals.worker }, rivals.bed.now());
        let (cleared, claimed) = at_once(
            turn,
            async move {
                match turn % 3 {
                    0 => one.store.clear_stamps(&[id]).await,
                    1 => one.store.clear_stamps_before(now, 10).await,
                    _ => one.store.clear_overdue_stamps(now).await,
                }
            },
            async move { other.hot.claim(claim).await },
        )
        .await;
        // The message is still out there: whoever takes it has the run, with or without a stamp.
        assert!(claimed.expect("asked").is_some());
        let cleared = i64::try_from(cleared.expect("asked")).expect("small");
        assert_eq!(stamps(&rivals, id).await, 1 - cleared);
        assert_eq!(rivals.bed.status(id).await, Status::Running);
    }
    rivals.agree().await;
}

async fn a_stamp_that_is_taken_back_and_reserved_again_leaves_one_row_to_dispatch(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let id = dispatched(&rivals).await;
        let (one, other) = rivals.sides();
        let now = rivals.bed.now();
        let (cleared, reserved) =
            at_once(turn, async move { one.store.clear_stamps(&[id]).await }, async move {
                other.store.reserve_due(10, now).await
            })
            .await;
        assert_eq!(cleared.expect("asked"), 1);
        let taken = reserved.expect("asked").len();
        let left = rivals.bed.store.reserve_due(10, now).await.expect("asked").len();
        assert_eq!(taken + left, 1);
        rivals.bed.claim(id, rivals.worker).await;
    }
    rivals.agree().await;
}

async fn one_of_two_cancels_ends_what_waits(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let id = dispatched(&rivals).await;
        let (one, other) = rivals.sides();
        let now = rivals.bed.now();
        let (first, second) = at_once(
            turn,
            async move { one.store.cancel_execution(id, user_id(8), now, None).await },
            async move { other.store.cancel_execution(id, user_id(9), now, None).await },
        )
        .await;
        let mut outcomes = [first, second].map(|outcome| outcome.expect("asked").expect("there"));
        outcomes.sort_by_key(|outcome| *outcome != CancelOutcome::Cancelled);
        assert_eq!(outcomes, [CancelOutcome::Cancelled, CancelOutcome::Already(Status::Cancelled)]);
    }
    rivals.agree().await;
}
