//! The newest variables of the current attempt.

use crate::support::{Bed, finish};
use bifrost_domain::execution::Status;
use bifrost_migration::sea_orm::{ConnectionTrait, TransactionTrait};
use bifrost_test_support::{TestDatabase, on_both_databases};
use futures::future::join;
use serde_json::json;

on_both_databases![the_newest_version_of_the_current_attempt_is_kept];

async fn the_newest_version_of_the_current_attempt_is_kept(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let run = bed.running(worker).await;
    let now = bed.now();
    let put = async |attempt, number| {
        let values = json!({"attempt": attempt, "number": number, "ü": [1]});
        bed.store.put_variables(run.id, attempt, &values, now).await.expect("asked")
    };
    let read = async || bed.reader.find_variables(run.id).await.expect("read");
    assert_eq!(read().await, None);
    assert_eq!(put(1, 1).await, Some(1));
    assert_eq!(put(1, 2).await, Some(2));
    assert_eq!(put(2, 9).await, None, "there is no such attempt yet");
    assert_eq!(read().await, Some((2, json!({"attempt": 1, "number": 2, "ü": [1]}))));
    assert!(bed.store.retry_execution(run.id, 1, now, "x", 0, now).await.expect("asked"));
    assert_eq!(put(1, 3).await, None, "nothing of it runs");
    let second = bed.claim(run.id, worker).await;
    assert_eq!(put(1, 4).await, None, "the attempt is over");
    assert_eq!(put(2, 1).await, Some(3), "who follows the run sees that these are newer");
    assert_eq!(read().await, Some((3, json!({"attempt": 2, "number": 1, "ü": [1]}))));
    bed.hot.finish(finish(&second, Status::Success, 1, now)).await.expect("ended");
    assert_eq!(put(2, 2).await, None, "the run has ended");
}

/// The next attempt begins and says its first variables while the last ones of the attempt before are under way.
#[tokio::test]
async fn the_last_of_an_attempt_do_not_take_the_place_of_the_next_ones() {
    let case = |db: TestDatabase| async move {
        let bed = Bed::new(db).await;
        let worker = bed.worker(600).await;
        let run = bed.running(worker).await;
        let next = bed.db.db().migration_connection().begin().await.expect("begin");
        for sql in [
            format!("UPDATE executions SET attempt = 2 WHERE id = '{}'", run.id),
            format!(
                "INSERT INTO execution_variables (execution_id, attempt, version, variables, updated_at) \
                 VALUES ('{}', 2, 1, '{{\"attempt\": 2}}', '{}')",
                run.id,
                bed.now().to_rfc3339()
            ),
        ] {
            next.execute_unprepared(&sql).await.expect("changed");
        }
        let waits = async {
            const BLOCKED: &str = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while bed.query(BLOCKED).await.is_empty() {}
            next.commit().await.expect("commit");
        };
        let values = json!({"attempt": 1});
        let (late, ()) = join(bed.store.put_variables(run.id, 1, &values, bed.now()), waits).await;
        assert_eq!(late.expect("asked"), None, "its attempt is over");
        let read = bed.reader.find_variables(run.id).await.expect("read");
        assert_eq!(read, Some((1, json!({"attempt": 2}))));
    };
    TestDatabase::postgres().await.run(case).await;
}
