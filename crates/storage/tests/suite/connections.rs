//! Connections to PostgreSQL: few of them, dead ones, and servers that cannot serve.

use bifrost_migration::{Runner, sea_orm::ConnectionTrait};
use bifrost_storage::{Db, Error, Target};
use bifrost_test_support::TestDatabase;
use futures::future::join_all;
use std::time::Duration;

/// The same database with a pool of its own.
async fn opened(db: &TestDatabase, connections: u32) -> Db {
    let Target::Postgres { url, .. } = db.target() else { panic!("PostgreSQL") };
    let target = Target::Postgres { url: url.clone(), pool_min: 0, pool_max: connections };
    Db::connect(&target).await.expect("open")
}

#[tokio::test]
async fn one_connection_is_enough_to_bring_the_schema_up_to_date() {
    let case = |db: TestDatabase| async move {
        let runner = Runner::new(db.db().migration_connection());
        runner.down(usize::MAX, &mut |_| ()).await.expect("nothing is there");
        let replicas = join_all((0..3).map(|_| opened(&db, 1))).await;
        let starts = replicas
            .iter()
            .map(|replica| async { Runner::new(replica.migration_connection()).up(None, &mut |_| ()).await });
        let mut applied: Vec<usize> =
            join_all(starts).await.into_iter().map(|outcome| outcome.expect("up to date")).collect();
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, runner.names().len()], "one did it");
    };
    TestDatabase::postgres().await.run(case).await;
}

#[tokio::test]
async fn connections_that_died_while_they_were_idle_are_not_lent() {
    let case = |db: TestDatabase| async move {
        let pool = opened(&db, 4).await;
        let busy = (0..4).map(|_| pool.migration_connection().execute_unprepared("SELECT pg_sleep(0.1)"));
        for outcome in join_all(busy).await {
            outcome.expect("four connections are open");
        }
        let killed = db
            .db()
            .migration_connection()
            .execute_unprepared(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await
            .expect("killed");
        assert!(killed.rows_affected() >= 4);
        // The time itself is what counts: a connection is trusted for the first second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        for _ in 0..5 {
            pool.probe().await.expect("a living connection");
        }
    };
    TestDatabase::postgres().await.run(case).await;
}

#[tokio::test]
async fn a_server_that_cannot_serve_counts_as_away() {
    let case = |db: TestDatabase| async move {
        let fails = async |code: &str| {
            let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{code}'; END $$");
            let failed = db.db().migration_connection().execute_unprepared(&sql).await;
            Error::from(failed.expect_err("told to fail"))
        };
        for code in ["08000", "08006", "25006", "53300", "57P01", "57P02", "57P03"] {
            assert!(fails(code).await.is_away(), "{code}");
        }
        for code in ["22012", "23514", "25001", "40001", "42P01", "57014"] {
            assert!(!fails(code).await.is_away(), "{code}");
        }
    };
    TestDatabase::postgres().await.run(case).await;
}
