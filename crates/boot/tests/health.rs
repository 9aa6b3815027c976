//! When the database can serve: it answers, its schema is this program's, and its partitions reach ahead.

#![expect(clippy::expect_used, reason = "a case that cannot go on has failed")]

use bifrost_boot::health::database_ready;
use bifrost_domain::clock::{Clock, SystemClock};
use bifrost_migration::{Runner, sea_orm::ConnectionTrait};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;

on_both_databases![the_schema_has_to_be_whole, partitions_have_to_reach_ahead, a_database_that_is_away];

async fn the_schema_has_to_be_whole(db: TestDatabase) {
    let (store, now) = (db.store(), SystemClock.now());
    store.ensure_partitions(now, now + Duration::days(14)).await.expect("partitions");
    assert_eq!(database_ready(&store, now).await, Ok(()));
    let connection = store.db().migration_connection();
    // As a newer program finds the database of an older one.
    let runner = Runner::new(connection);
    runner.down(1, &mut |_| ()).await.expect("taken back");
    let last = runner.names().pop().expect("a migration");
    let said = database_ready(&store, now).await.expect_err("a migration is missing");
    assert!(said.contains("migrations are missing") && said.contains(&last), "{said}");
    runner.up(None, &mut |_| ()).await.expect("applied");
    assert_eq!(database_ready(&store, now).await, Ok(()));
    connection.execute_unprepared("DROP TABLE schema_migrations").await.expect("dropped");
    let said = database_ready(&store, now).await.expect_err("no schema");
    assert!(said.contains("migrations are missing"), "{said}");
}

async fn partitions_have_to_reach_ahead(db: TestDatabase) {
    let (store, now) = (db.store(), SystemClock.now());
    store.ensure_partitions(now, now + Duration::days(2)).await.expect("partitions");
    assert_eq!(database_ready(&store, now).await, Ok(()));
    let tomorrow = database_ready(&store, now + Duration::days(1)).await;
    if !store.db().is_postgres() {
        assert_eq!(tomorrow, Ok(()), "SQLite has none");
        return;
    }
    let said = tomorrow.expect_err("one day ahead only");
    let day = (now + Duration::days(3)).format("_p%Y%m%d").to_string();
    assert!(said.contains("partitions") && said.contains(&day), "{said}");
    // Each of the tables counts.
    store.ensure_partitions(now, now + Duration::days(3)).await.expect("partitions");
    let last = format!("execution_variables{day}");
    let connection = store.db().migration_connection();
    connection.execute_unprepared(&format!("DROP TABLE {last}")).await.expect("dropped");
    let said = database_ready(&store, now + Duration::days(1)).await.expect_err("one table is behind");
    assert!(said.contains(&last), "{said}");
}

async fn a_database_that_is_away(db: TestDatabase) {
    let (store, now) = (db.store(), SystemClock.now());
    store.db().close().await;
    assert_eq!(database_ready(&store, now).await, Err("the database does not answer".to_owned()));
}
