//! The daily numbers are what a recount of the rows gives.

use crate::support::{Bed, everything, finish, user_id};
use bifrost_domain::{
    execution::{Execution, Status},
    scope::Scope,
};
use bifrost_storage::executions::Filter;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{Duration, NaiveDate};
use futures::future::join_all;
use std::collections::BTreeMap;

on_both_databases![the_numbers_equal_a_recount, a_run_counts_on_the_day_it_ended];

const COUNTS: [(Status, &str); 5] = [
    (Status::Success, "success_count"),
    (Status::CompletedWithErrors, "completed_with_errors_count"),
    (Status::Failed, "failed_count"),
    (Status::Timeout, "timeout_count"),
    (Status::Cancelled, "cancelled_count"),
];

/// Columns of the histogram with their upper bounds in milliseconds.
const BUCKETS: [(i64, &str); 16] = [
    (10, "le_10_ms"),
    (25, "le_25_ms"),
    (50, "le_50_ms"),
    (100, "le_100_ms"),
    (250, "le_250_ms"),
    (500, "le_500_ms"),
    (1_000, "le_1_s"),
    (2_500, "le_2500_ms"),
    (5_000, "le_5_s"),
    (10_000, "le_10_s"),
    (30_000, "le_30_s"),
    (60_000, "le_1_min"),
    (300_000, "le_5_min"),
    (900_000, "le_15_min"),
    (3_600_000, "le_1_h"),
    (i64::MAX, "over_1_h"),
];

type Numbers = BTreeMap<String, i64>;
type Key = (String, String, String);

fn recount(executions: &[Execution]) -> BTreeMap<Key, Numbers> {
    let mut all: BTreeMap<Key, Numbers> = BTreeMap::new();
    for one in executions {
        let (Some(at), Some(duration)) = (one.completed_at, one.duration_ms) else { continue };
        let date: NaiveDate = at.date_naive();
        let key = (date.to_string(), one.scope.to_string(), one.workflow_name.clone());
        let numbers = all.entry(key).or_insert_with(|| {
            let columns = COUNTS.iter().map(|(_, name)| *name).chain(BUCKETS.iter().map(|(_, name)| *name));
            columns.map(|name| (name.to_owned(), 0)).collect()
        });
        let mut add = |name: &str, by: i64| *numbers.entry(name.to_owned()).or_insert(0) += by;
        let count = COUNTS.iter().find(|(status, _)| *status == one.status).expect("an end");
        add(count.1, 1);
        let bucket = BUCKETS.iter().find(|(high, _)| duration <= *high).expect("a bucket");
        add(bucket.1, 1);
        add("duration_ms_sum", duration);
        add("cpu_ms_sum", one.cpu_seconds.map_or(0, |_| 250));
        let most = numbers.entry("duration_ms_max".to_owned()).or_insert(0);
        *most = duration.max(*most);
        let memory = numbers.entry("peak_memory_bytes_max".to_owned()).or_insert(0);
        *memory = one.peak_memory_bytes.unwrap_or(0).max(*memory);
    }
    all
}

async fn stored(bed: &Bed) -> BTreeMap<Key, Numbers> {
    let rows = bed.query("SELECT *, CAST(date AS text) AS day FROM execution_metrics_daily").await;
    let mut all = BTreeMap::new();
    for row in rows {
        let text = |name: &str| row.try_get::<String>("", name).expect("text");
        let mut numbers = Numbers::new();
        let names = COUNTS.iter().map(|(_, name)| *name).chain(BUCKETS.iter().map(|(_, name)| *name));
        for name in names.chain(["duration_ms_sum", "duration_ms_max", "peak_memory_bytes_max"]) {
            numbers.insert(name.to_owned(), row.try_get("", name).expect("a number"));
        }
        let cpu: f64 = row.try_get("", "cpu_seconds_sum").expect("a number");
        numbers.insert("cpu_ms_sum".to_owned(), (cpu * 1_000.0).round() as i64);
        all.insert((text("day"), text("scope"), text("workflow_name")), numbers);
    }
    all
}

async fn the_numbers_equal_a_recount(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let durations: Vec<i64> = BUCKETS
        .iter()
        .flat_map(|(high, _)| [high.saturating_sub(1).min(9_999_999), (*high).min(4_000_000)])
        .collect();
    let scopes = [Scope::Global, bed.add_organization(1).await, bed.add_organization(2).await];
    let mut runs = Vec::new();
    for at in 0..96 {
        let mut given = bed.pending();
        given.scope = scopes[at % 3];
        given.workflow_name = ["greet", "Größe"][at % 2].to_owned();
        bed.submit(&given).await;
        runs.push(given);
    }
    // Some are cancelled before they begin, by another statement than the others' end.
    let (cancelled, ended) = runs.split_at(12);
    for run in cancelled {
        for _ in 0..2 {
            bed.store.cancel_execution(run.id, user_id(9), bed.now(), None).await.expect("asked");
        }
    }
    let other = bed.another_process();
    let writes = join_all(ended.iter().enumerate().map(|(at, run)| {
        let (hot, now) = (if at % 2 == 0 { bed.hot.clone() } else { other.clone() }, bed.now());
        let (duration, status) = (durations[at % durations.len()], COUNTS[at % 5].0);
        let claim = bed.claim(run.id, worker);
        async move {
            let claimed = claim.await;
            let mut end = finish(&claimed, status, duration, now);
            if at % 7 == 0 {
                (end.cpu_seconds, end.peak_memory_bytes) = (None, None);
            }
            hot.finish(end).await
        }
    }))
    .await;
    assert!(writes.iter().all(Result::is_ok), "{writes:?}");
    let all =
        bed.reader.list_executions(&everything(bed.now()), &Filter::default(), 1_000).await.expect("read");
    let (stored, expected) = (stored(&bed).await, recount(&all));
    assert_eq!(stored, expected);
    assert_eq!(stored.len(), 6, "three scopes, two workflows, one day");
    for numbers in stored.values() {
        let sum =
            |names: &mut dyn Iterator<Item = &'static str>| names.map(|name| numbers[name]).sum::<i64>();
        let counted = sum(&mut COUNTS.iter().map(|(_, name)| *name));
        assert_eq!(sum(&mut BUCKETS.iter().map(|(_, name)| *name)), counted);
    }
}

async fn a_run_counts_on_the_day_it_ended(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(200_000).await;
    let midnight = bed.now() + Duration::hours(12);
    for at in [midnight - Duration::microseconds(1), midnight, midnight + Duration::seconds(1)] {
        let run = bed.running(worker).await;
        bed.hot.finish(finish(&run, Status::Success, 20, at)).await.expect("ended");
    }
    let counts: Vec<(String, i64)> = stored(&bed)
        .await
        .into_iter()
        .map(|((day, _, _), numbers)| (day, numbers["success_count"]))
        .collect();
    assert_eq!(counts, [("2026-11-20".to_owned(), 1), ("2026-11-21".to_owned(), 2)]);
}
