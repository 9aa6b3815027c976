//! The schema goes up, down and up again, to the same end.

use crate::support::Bed;
use bifrost_migration::{Migrator, MigratorTrait};
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![up_down_and_up_is_the_same_schema];

const SQLITE: &str =
    "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS line FROM sqlite_master ORDER BY 1";

const POSTGRES: &str = "
SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
    || coalesce(' ' || character_maximum_length, '') || coalesce(' ' || column_default, '') AS line
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1";

async fn lines(bed: &Bed) -> Vec<String> {
    let rows = bed.query(if bed.db.db().is_postgres() { POSTGRES } else { SQLITE }).await;
    rows.iter().map(|row| row.try_get("", "line").expect("a line")).collect()
}

async fn up_down_and_up_is_the_same_schema(db: TestDatabase) {
    let connection = db.db().migration_connection().clone();
    let store = db.store();
    let names = store.applied_migrations().await.expect("read");
    assert_eq!(names.len(), Migrator::migrations().len());
    // Each way on its own: the last migration down and up first.
    let bed = Bed::new(db.clone()).await;
    let with_partitions = lines(&bed).await;
    Migrator::down(&connection, Some(1)).await.expect("one down");
    assert_ne!(lines(&bed).await, with_partitions);
    Migrator::up(&connection, None).await.expect("up again");
    assert_eq!(lines(&bed).await, with_partitions);

    Migrator::down(&connection, None).await.expect("down, with partitions in place");
    let bare = lines(&bed).await;
    let left: Vec<&String> = bare.iter().filter(|line| !line.contains("schema_migrations")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(store.applied_migrations().await.expect("read").is_empty());
    Migrator::up(&connection, None).await.expect("up");
    assert_eq!(store.applied_migrations().await.expect("read"), names);
    assert_eq!(lines(&Bed::new(db).await).await, with_partitions);
}
