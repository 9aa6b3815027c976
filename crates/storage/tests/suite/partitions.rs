//! Daily partitions on PostgreSQL; on SQLite there are none and none are needed.

use crate::support::{Bed, batch, finish, line, uuid_at};
use bifrost_domain::{clock::Clock, execution::Status, ids::ExecutionId};
use bifrost_storage::executions::hot::Guarded;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{Duration, TimeZone, Utc};
use futures::future::join_all;

on_both_databases![
    partitions_are_made_once,
    ids_of_every_day_find_their_place,
    new_days_come_while_runs_go_on
];

async fn partitions_are_made_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let postgres = bed.db.db().is_postgres();
    let (first, last) = (bed.now(), bed.now() + Duration::days(3));
    let made = join_all((0..4).map(|_| bed.store.ensure_partitions(first, last))).await;
    let made: i32 = made.into_iter().map(|made| made.expect("made")).sum();
    assert_eq!(made, if postgres { 2 * 4 } else { 0 }, "two days were there, four tables each");
    assert_eq!(bed.store.ensure_partitions(first, last).await.expect("made"), 0);
    // A day of UTC, whatever the time of the call.
    let next = Utc.with_ymd_and_hms(2026, 11, 24, 0, 0, 0).single().expect("a time");
    let made = bed.store.ensure_partitions(next - Duration::microseconds(1), next).await.expect("made");
    assert_eq!(made, if postgres { 4 } else { 0 });
}

async fn ids_of_every_day_find_their_place(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(1_000_000).await;
    let midnight = Utc.with_ymd_and_hms(2026, 11, 21, 0, 0, 0).single().expect("a time");
    let times = [
        bed.clock.now(),
        midnight - Duration::milliseconds(1),
        midnight,
        midnight + Duration::hours(24) - Duration::milliseconds(1),
    ];
    let mut given = Vec::new();
    for (number, time) in times.into_iter().enumerate() {
        let mut one = bed.pending();
        one.id = ExecutionId::from_uuid(uuid_at(time, u64::try_from(number).expect("small")));
        given.push(one);
    }
    // All in one statement, over two partitions.
    for outcome in join_all(given.iter().map(|one| bed.hot.submit(one.clone()))).await {
        outcome.expect("accepted");
    }
    for one in &given {
        let run = bed.claim(one.id, worker).await;
        bed.hot.write_logs(batch(&run, vec![line(1, "a", bed.now())])).await.expect("stored");
        let end = bed.hot.finish(finish(&run, Status::Success, 1, bed.now())).await;
        assert_eq!(end.expect("asked"), Guarded::Written);
        assert_eq!(bed.reader.last_sequence(one.id).await.expect("read"), 1);
    }
    if bed.db.db().is_postgres() {
        for (day, count) in [("20261120", 2), ("20261121", 2)] {
            let rows = bed.query(&format!("SELECT count(*) AS n FROM executions_p{day}")).await;
            assert_eq!(rows[0].try_get::<i64>("", "n").expect("a number"), count, "{day}");
        }
        let mut beyond = bed.pending();
        beyond.id = ExecutionId::from_uuid(uuid_at(midnight + Duration::days(1), 1));
        assert!(bed.hot.submit(beyond).await.is_err(), "there is no partition for it, and no default one");
    }
}

async fn new_days_come_while_runs_go_on(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    // Every statement of a run locks several of the tables that get a partition meanwhile.
    let runs = async {
        for _ in 0..10 {
            join_all((0..5).map(|_| async {
                let run = bed.running(worker).await;
                let lines = bed.hot.write_logs(batch(&run, vec![line(1, "a", bed.now())])).await;
                assert_eq!(lines.expect("stored"), Guarded::Written);
                let end = bed.hot.finish(finish(&run, Status::Success, 1, bed.now())).await;
                assert_eq!(end.expect("ended"), Guarded::Written);
            }))
            .await;
        }
    };
    let days = async {
        for day in 2..12 {
            let time = bed.now() + Duration::days(day);
            bed.store.ensure_partitions(time, time).await.expect("made");
        }
    };
    futures::future::join(runs, days).await;
}
