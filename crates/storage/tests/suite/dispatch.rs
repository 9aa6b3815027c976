//! From the waiting row to the broker: reservation, and what takes it back.

use crate::support::{Bed, user_id};
use bifrost_domain::{
    execution::{Kind, Status},
    ids::ExecutionId,
    scope::Scope,
};
use bifrost_storage::executions::{
    depth::{Depth, Stage},
    dispatch::{RESERVE_NEWEST, RESERVE_OLDEST},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use std::collections::BTreeSet;

on_both_databases![
    organizations_take_turns,
    a_long_backlog_is_taken_in_parts_and_still_in_turn,
    only_what_is_due_is_reserved,
    racing_relays_share_without_doubles,
    stamps_are_taken_back_from_unclaimed_rows_alone,
    an_unclaimed_row_is_dispatched_again_later_each_time,
    what_waits_is_counted_by_queue_and_stage,
];

async fn reserve(bed: &Bed, limit: u32, now: DateTime<Utc>) -> Vec<ExecutionId> {
    bed.store.reserve_due(limit, now).await.expect("reserved").iter().map(|row| row.id).collect()
}

async fn organizations_take_turns(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (first, second) = (bed.add_organization(1).await, bed.add_organization(2).await);
    let mut of = Vec::new();
    // One organization has a backlog of 20, two others come after it with two each.
    for scope in [vec![first; 20], vec![second; 2], vec![Scope::Global; 2]].concat() {
        let mut given = bed.pending();
        given.scope = scope;
        bed.submit(&given).await;
        of.push((given.id, scope));
    }
    let scope_of = |id: &ExecutionId| of.iter().find(|(other, _)| other == id).expect("known").1;
    let turns: Vec<Scope> = reserve(&bed, 6, bed.now()).await.iter().map(scope_of).collect();
    for scope in [first, second, Scope::Global] {
        assert_eq!(turns.iter().filter(|other| **other == scope).count(), 2, "{turns:?}");
    }
    let rest = reserve(&bed, 100, bed.now()).await;
    assert_eq!(rest, of[2..20].iter().map(|(id, _)| *id).collect::<Vec<_>>());
    assert!(reserve(&bed, 100, bed.now()).await.is_empty());
}

async fn a_long_backlog_is_taken_in_parts_and_still_in_turn(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (busy, quiet) = (bed.add_organization(1).await, bed.add_organization(2).await);
    let backlog: Vec<_> = (0..RESERVE_OLDEST + RESERVE_NEWEST + 300)
        .map(|_| {
            let mut given = bed.pending();
            given.scope = busy;
            given
        })
        .collect();
    join_all(backlog.iter().map(|one| bed.submit(one))).await;
    let mut latest = bed.pending();
    latest.scope = quiet;
    bed.submit(&latest).await;
    assert_eq!(reserve(&bed, 2, bed.now()).await, [backlog[0].id, latest.id]);
    // One round does not look at all of it.
    let most = usize::try_from(RESERVE_OLDEST + RESERVE_NEWEST).expect("small");
    let first = reserve(&bed, 100_000, bed.now()).await;
    assert_eq!(first.len(), most);
    let second = reserve(&bed, 100_000, bed.now()).await;
    assert_eq!(first.len() + second.len() + 1, backlog.len());
}

async fn only_what_is_due_is_reserved(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let now = bed.now();
    let at = async |status, not_before: Option<DateTime<Utc>>, dispatched_at| {
        let mut given = bed.pending();
        (given.status, given.not_before, given.dispatched_at) = (status, not_before, dispatched_at);
        bed.submit(&given).await
    };
    let due = at(Status::Scheduled, Some(now), None).await;
    let soon = at(Status::Scheduled, Some(now + Duration::microseconds(1)), None).await;
    let later = at(Status::Pending, Some(now + Duration::seconds(9)), None).await;
    let plain = at(Status::Pending, None, None).await;
    let dispatched = at(Status::Pending, None, Some(now)).await;
    assert_eq!(bed.store.count_waiting(100, now).await.expect("counted"), (1, 2));
    assert_eq!(bed.store.count_waiting(1, now).await.expect("counted"), (1, 1));
    assert_eq!(bed.store.next_due().await.expect("asked"), Some(now));
    assert_eq!(reserve(&bed, 10, now).await, [due, plain]);
    assert_eq!(bed.status(due).await, Status::Pending);
    assert_eq!(bed.store.next_due().await.expect("asked"), Some(now + Duration::microseconds(1)));
    assert_eq!(reserve(&bed, 10, now + Duration::milliseconds(1)).await, [soon]);
    assert_eq!(reserve(&bed, 10, now + Duration::seconds(9)).await, [later]);
    assert_eq!(bed.store.next_due().await.expect("asked"), None);
    bed.store.clear_stamps(&[dispatched]).await.expect("cleared");
    assert_eq!(reserve(&bed, 10, now).await, [dispatched]);
}

async fn racing_relays_share_without_doubles(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let given: Vec<_> = (0..100).map(|_| bed.pending()).collect();
    join_all(given.iter().map(|one| bed.submit(one))).await;
    let mut all = Vec::new();
    // A relay that meets a rival's rows may come back with fewer; the next round has the rest.
    for _ in 0..100 {
        let rounds = join_all((0..4).map(|_| reserve(&bed, 20, bed.now()))).await;
        assert!(rounds.iter().all(|round| round.len() <= 20));
        all.extend(rounds.into_iter().flatten());
        if all.len() >= 100 {
            break;
        }
    }
    let distinct: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (100, 100));
}

async fn stamps_are_taken_back_from_unclaimed_rows_alone(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let now = bed.now();
    let worker = bed.worker(600).await;
    let mut ids = Vec::new();
    for age in [30, 20, 10, 5] {
        let mut given = bed.pending();
        given.dispatched_at = Some(now - Duration::seconds(age));
        ids.push(bed.submit(&given).await);
    }
    bed.claim(ids[0], worker).await;
    bed.store.cancel_execution(ids[1], user_id(9), now, None).await.expect("cancelled");
    let none: &[ExecutionId] = &[];
    assert_eq!(bed.store.clear_stamps(none).await.expect("cleared"), 0);
    assert_eq!(bed.store.clear_stamps(&ids[..3]).await.expect("cleared"), 1);
    assert_eq!(bed.store.clear_stamps(&ids[..3]).await.expect("cleared"), 0);
    assert_eq!(reserve(&bed, 10, now).await, [ids[2]]);
    // After the broker came back: everything older than a time, a bounded number at once.
    assert_eq!(bed.store.clear_stamps_before(now - Duration::seconds(5), 10).await.expect("cleared"), 0);
    assert_eq!(bed.store.clear_stamps_before(now + Duration::seconds(1), 1).await.expect("cleared"), 1);
    assert_eq!(bed.store.clear_stamps_before(now + Duration::seconds(1), 10).await.expect("cleared"), 1);
    assert_eq!(reserve(&bed, 10, now).await, ids[2..]);
}

async fn an_unclaimed_row_is_dispatched_again_later_each_time(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let mut given = bed.pending();
    given.dispatched_at = Some(bed.now());
    bed.submit(&given).await;
    let overdue = async |now| bed.store.clear_overdue_stamps(now).await.expect("swept");
    let mut at = bed.now();
    for wait in [30, 60, 120, 240, 480, 900, 900] {
        assert_eq!(overdue(at + Duration::seconds(wait) - Duration::milliseconds(1)).await, 0, "{wait} s");
        at += Duration::seconds(wait) + Duration::milliseconds(1);
        assert_eq!(overdue(at).await, 1, "{wait} s");
        assert_eq!(overdue(at + Duration::days(1)).await, 0, "it is not dispatched now");
        assert_eq!(reserve(&bed, 10, at).await, [given.id]);
    }
    let claimed = bed.claim(given.id, bed.worker(600).await).await;
    assert_eq!(overdue(at + Duration::days(1)).await, 0, "a claimed row is nobody's to take back");
    // Another attempt begins with the shortest wait.
    let retried = bed.store.retry_execution(claimed.id, 1, at, "x", 0, at).await;
    assert!(retried.expect("asked"));
    assert_eq!(reserve(&bed, 10, at).await, [given.id]);
    assert_eq!(overdue(at + Duration::seconds(31)).await, 1);
}

async fn what_waits_is_counted_by_queue_and_stage(db: TestDatabase) {
    let bed = Bed::new(db).await;
    assert_eq!(bed.reader.queue_depths(bed.now()).await.expect("counted"), []);
    let now = bed.now();
    let minutes = |count| now + Duration::minutes(count);
    for (kind, not_before, dispatched) in [
        (Kind::Workflow, None, false),
        (Kind::Workflow, Some(-3), false),
        (Kind::Workflow, Some(5), false),
        (Kind::Script, None, true),
        (Kind::Script, Some(-2), true),
    ] {
        let mut given = bed.pending();
        given.kind = kind;
        given.not_before = not_before.map(minutes);
        given.dispatched_at = dispatched.then_some(now);
        bed.submit(&given).await;
    }
    // What a worker has waits no more, and had waited since it was due.
    let worker = bed.worker(600).await;
    let mut delayed = bed.pending();
    delayed.not_before = Some(minutes(-4));
    bed.submit(&delayed).await;
    assert_eq!(bed.claim(delayed.id, worker).await.due_at, minutes(-4));
    let run = bed.running(worker).await;
    assert_eq!(run.due_at, now);
    let mut depths = bed.reader.queue_depths(now).await.expect("counted");
    depths.sort_by_key(|depth| (depth.kind.as_str(), depth.oldest));
    let depth = |kind, stage, count, oldest| Depth { kind, stage, count, oldest };
    assert_eq!(
        depths,
        [
            depth(Kind::Script, Stage::Dispatched, 2, minutes(-2)),
            depth(Kind::Workflow, Stage::Waiting, 2, minutes(-3)),
            depth(Kind::Workflow, Stage::Later, 1, minutes(5)),
        ]
    );
}
