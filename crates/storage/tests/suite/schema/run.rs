//! How migrations are run: failures, newer databases, late ones, the record, and starting afresh.

use super::{described, left, note, rows, runner, texts};
use crate::support::Bed;
use bifrost_migration::{
    Error, Runner, Schema,
    sea_orm::{ConnectionTrait, DatabaseConnection},
    state::Standing,
};
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![
    a_migration_that_fails_leaves_nothing_and_those_before_it_stay,
    a_table_is_made_anew_without_losing_what_refers_to_it,
    a_database_that_is_newer_is_left_alone,
    one_that_came_late_is_applied,
    the_record_is_repaired_without_running_anything,
    afresh_drops_all_of_ours_and_nothing_else,
];

const FIRST: (&str, &str, &str) =
    ("m1_first", "CREATE TABLE first (id bigint PRIMARY KEY NOT NULL)", "DROP TABLE first");
const SECOND: (&str, &str, &str) = (
    "m2_second",
    "CREATE TABLE second (id bigint PRIMARY KEY NOT NULL REFERENCES first (id) ON DELETE CASCADE)",
    "DROP TABLE second",
);

/// The connection of a database without our schema.
async fn empty(db: &TestDatabase) -> DatabaseConnection {
    let connection = db.db().migration_connection().clone();
    Runner::new(&connection).down(usize::MAX, &mut |_| ()).await.expect("taken back");
    connection
}

async fn applied(runner: &Runner<'_>) -> Vec<String> {
    let state = runner.state().await.expect("read");
    state.with(Standing::Applied).map(|entry| entry.name.clone()).collect()
}

async fn a_migration_that_fails_leaves_nothing_and_those_before_it_stay(db: TestDatabase) {
    let connection = empty(&db).await;
    let broken = (
        "m2_broken",
        "CREATE TABLE half (id bigint); INSERT INTO nowhere VALUES (1)",
        "DROP TABLE half; DROP TABLE nowhere",
    );
    let runner =
        Runner::of(&connection, texts(&[FIRST, broken, ("m3_never", "CREATE TABLE never (id bigint)", "")]));
    let mut steps = Vec::new();
    let failed = runner.up(None, &mut note(&mut steps)).await.expect_err("the second fails");
    assert_eq!(steps, ["+m1_first"]);
    let said = failed.to_string();
    assert_eq!(said, "applying the migration m2_broken failed and nothing of it was kept");
    let Error::Failed { cause, .. } = failed else { panic!("{said}") };
    assert!(cause.to_string().contains("nowhere"), "{cause}");
    assert_eq!(applied(&runner).await, ["m1_first"]);
    assert_eq!(described(&connection).await.owners().collect::<Vec<_>>(), ["table first"]);

    // The way back is the same.
    connection.execute_unprepared("CREATE TABLE half (id bigint)").await.expect("made");
    runner.stamp("m2_broken", &mut |_| ()).await.expect("recorded");
    let failed = runner.down(2, &mut note(&mut steps)).await.expect_err("there is no such table").to_string();
    assert_eq!(failed, "taking back the migration m2_broken failed and nothing of it was kept");
    assert_eq!(applied(&runner).await, ["m1_first", "m2_broken"]);
    assert_eq!(described(&connection).await.owners().collect::<Vec<_>>(), ["table first", "table half"]);

    // Repaired, it goes on where it stood.
    let repaired = ("m2_broken", "CREATE TABLE half (id bigint)", "DROP TABLE half");
    let runner = Runner::of(
        &connection,
        texts(&[FIRST, repaired, ("m3_never", "CREATE TABLE never (id bigint)", "DROP TABLE never")]),
    );
    assert_eq!(runner.up(None, &mut |_| ()).await.expect("up"), 1);
    assert_eq!(runner.down(usize::MAX, &mut |_| ()).await.expect("down"), 3);
    assert_eq!(described(&connection).await, Schema::default());
}

async fn a_table_is_made_anew_without_losing_what_refers_to_it(db: TestDatabase) {
    let connection = empty(&db).await;
    // As SQLite needs it for every change of a constraint; on PostgreSQL the key has to go first.
    let anew = if db.db().is_postgres() {
        "ALTER TABLE second DROP CONSTRAINT second_id_fkey; CREATE TABLE other (id bigint PRIMARY KEY NOT NULL CHECK (id > 0)); \
         INSERT INTO other SELECT id FROM first; DROP TABLE first; ALTER TABLE other RENAME TO first; \
         ALTER TABLE second ADD FOREIGN KEY (id) REFERENCES first (id) ON DELETE CASCADE"
    } else {
        "CREATE TABLE other (id bigint PRIMARY KEY NOT NULL CHECK (id > 0)); INSERT INTO other SELECT id FROM first; \
         DROP TABLE first; ALTER TABLE other RENAME TO first"
    };
    let before = Runner::of(&connection, texts(&[FIRST, SECOND]));
    before.up(None, &mut |_| ()).await.expect("up");
    connection
        .execute_unprepared("INSERT INTO first VALUES (1), (2); INSERT INTO second VALUES (1), (2)")
        .await
        .expect("rows");
    let lost = (
        "m3_lost",
        "DELETE FROM first WHERE id = 2; DELETE FROM second WHERE id = 2; DELETE FROM first WHERE id = 7",
        "",
    );
    let runner = Runner::of(&connection, texts(&[FIRST, SECOND, lost, ("m4_anew", anew, "")]));
    assert_eq!(runner.up(None, &mut |_| ()).await.expect("up"), 2);
    let count = async |table: &str| {
        let sql = format!("SELECT CAST(count(*) AS bigint) AS n FROM {table}");
        let statement =
            bifrost_migration::sea_orm::Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one(statement).await.expect("asked").expect("a row");
        row.try_get::<i64>("", "n").expect("a number")
    };
    assert_eq!((count("first").await, count("second").await), (1, 1), "nothing was taken along");
    assert!(
        connection.execute_unprepared("INSERT INTO second VALUES (9)").await.is_err(),
        "keys are enforced again"
    );

    // What would leave rows without the ones they refer to is not kept.
    let orphans = ("m5_orphans", "DELETE FROM first", "");
    let runner = Runner::of(&connection, texts(&[FIRST, SECOND, lost, ("m4_anew", anew, ""), orphans]));
    let outcome = runner.up(None, &mut |_| ()).await;
    if db.db().is_postgres() {
        // There the key itself acts, within the statement.
        assert_eq!(outcome.expect("up"), 1);
        assert_eq!((count("first").await, count("second").await), (0, 0));
    } else {
        let Err(Error::Failed { cause, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(cause.to_string().contains("rows of second would refer to rows of first"), "{cause}");
        assert_eq!((count("first").await, count("second").await), (1, 1));
        assert!(
            connection.execute_unprepared("INSERT INTO second VALUES (9)").await.is_err(),
            "still enforced"
        );
    }
}

async fn a_database_that_is_newer_is_left_alone(db: TestDatabase) {
    let connection = empty(&db).await;
    Runner::of(&connection, texts(&[FIRST, SECOND])).up(None, &mut |_| ()).await.expect("up");
    let older = Runner::of(
        &connection,
        texts(&[FIRST, ("m3_mine", "CREATE TABLE mine (id bigint)", "DROP TABLE mine")]),
    );
    let state = older.state().await.expect("it can be looked at");
    let seen: Vec<_> = state.entries.iter().map(|entry| (entry.name.as_str(), entry.standing)).collect();
    assert_eq!(
        seen,
        [("m1_first", Standing::Applied), ("m2_second", Standing::Unknown), ("m3_mine", Standing::Pending)]
    );
    for outcome in [
        older.up(None, &mut |_| ()).await.map(drop),
        older.down(1, &mut |_| ()).await.map(drop),
        older.stamp("m1_first", &mut |_| ()).await,
    ] {
        let said = outcome.expect_err("refused").to_string();
        assert_eq!(
            said,
            "the database is newer than this program: it has the migration m2_second; install the newer program"
        );
    }
    assert_eq!(described(&connection).await.tables().collect::<Vec<_>>(), ["first", "second"]);
}

async fn one_that_came_late_is_applied(db: TestDatabase) {
    let connection = empty(&db).await;
    let third = ("m3_third", "CREATE TABLE third (id bigint)", "DROP TABLE third");
    Runner::of(&connection, texts(&[FIRST, third])).up(None, &mut |_| ()).await.expect("up");
    let runner = Runner::of(&connection, texts(&[FIRST, SECOND, third]));
    let state = runner.state().await.expect("read");
    assert!(state.with(Standing::Pending).all(|entry| entry.late && entry.name == "m2_second"), "{state:?}");
    let mut steps = Vec::new();
    runner.up(None, &mut note(&mut steps)).await.expect("up");
    runner.down(2, &mut note(&mut steps)).await.expect("down");
    assert_eq!(steps, ["+late m2_second", "-m3_third", "-m2_second"], "taken back by name");
    assert_eq!(applied(&runner).await, ["m1_first"]);
}

async fn the_record_is_repaired_without_running_anything(db: TestDatabase) {
    let connection = empty(&db).await;
    let runner =
        Runner::of(&connection, texts(&[FIRST, SECOND, ("m3_third", "CREATE TABLE third (id bigint)", "")]));
    let mut steps = Vec::new();
    runner.stamp("m2_second", &mut note(&mut steps)).await.expect("recorded");
    assert_eq!(steps, ["recorded m1_first", "recorded m2_second"]);
    steps.clear();
    runner.stamp("m1_first", &mut note(&mut steps)).await.expect("recorded");
    runner.stamp("m1_first", &mut note(&mut steps)).await.expect("recorded");
    assert_eq!(steps, ["forgotten m2_second"], "said once");
    assert_eq!(applied(&runner).await, ["m1_first"]);
    assert_eq!(described(&connection).await, Schema::default(), "nothing was run");
    let said = runner.stamp("m9", &mut |_| ()).await.expect_err("unknown").to_string();
    assert!(said.contains("there is no migration m9"), "{said}");
}

async fn afresh_drops_all_of_ours_and_nothing_else(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let connection = bed.db.db().migration_connection();
    let runner = runner(&bed);
    let schema = described(connection).await;
    rows::fill(&bed, &schema).await;
    let postgres = bed.db.db().is_postgres();
    if postgres {
        let elsewhere = "CREATE SCHEMA theirs; CREATE TABLE theirs.users (id bigint); INSERT INTO theirs.users VALUES (7); \
            ALTER TABLE execution_logs DETACH PARTITION execution_logs_p20261120; \
            CREATE TYPE mood AS ENUM ('good'); CREATE VIEW theirs.people AS SELECT id FROM public.users";
        connection.execute_unprepared(elsewhere).await.expect("made");
    }
    connection.execute_unprepared("CREATE TABLE invoices (id bigint PRIMARY KEY)").await.expect("made");

    // Somebody else's table is no reason to drop it, nor is a program's that is newer.
    let said = runner.fresh(false, &mut |_| ()).await.expect_err("there is a stranger").to_string();
    assert!(said.contains("table invoices") && said.contains("--drop-unknown"), "{said}");
    assert!(!said.contains("_p2026"), "a detached partition is ours: {said}");
    assert_eq!(
        rows::all(&bed, &Schema::parse("table organizations\n    column id: x\n")).await.len(),
        1,
        "nothing was dropped"
    );
    if postgres {
        let said = runner.fresh(true, &mut |_| ()).await.expect_err("a view depends on users").to_string();
        assert!(said.contains("view theirs.people"), "{said}");
        connection.execute_unprepared("DROP VIEW theirs.people").await.expect("dropped");
    }
    let mut steps = Vec::new();
    runner.fresh(true, &mut note(&mut steps)).await.expect("made anew");
    assert_eq!(described(connection).await, schema);
    let names: Vec<String> = runner.names().iter().map(|name| format!("+{name}")).collect();
    assert!(steps.ends_with(&names), "{steps:?}");
    let now = left(&bed).await;
    assert!(
        !now.iter().any(|line| line.contains("_p2026") || line.contains("invoices") || line.contains("mood")),
        "{now:?}"
    );
    rows::fill(&bed, &schema).await;
    if postgres {
        let kept = bed.query("SELECT id FROM theirs.users").await;
        assert_eq!(kept[0].try_get::<i64>("", "id").expect("a number"), 7);
    }
    // Without strangers it needs no word; and from any state.
    runner.down(2, &mut |_| ()).await.expect("down");
    connection.execute_unprepared("DROP TABLE schema_migrations").await.expect("dropped");
    runner.fresh(false, &mut |_| ()).await.expect("made anew");
    assert_eq!(described(connection).await, schema);
}

#[tokio::test]
async fn what_the_server_refuses_says_what_to_do() {
    let case = |db: TestDatabase| async move {
        let connection = empty(&db).await;
        for (raises, said) in [
            ("ERRCODE = '42501'", "GRANT CREATE ON SCHEMA public TO "),
            ("ERRCODE = '55P03'", "a table is in use by somebody else"),
            ("ERRCODE = '25006'", "the database is read-only"),
            ("ERRCODE = '53200'", "max_locks_per_transaction"),
            ("ERRCODE = '57P01'", "the database does not answer"),
            ("ERRCODE = '22012', DETAIL = 'once'", "told to: once"),
        ] {
            let up = format!("DO $$ BEGIN RAISE EXCEPTION 'told to' USING {raises}; END $$");
            let runner = Runner::of(&connection, texts(&[("m1_raises", &up, "")]));
            let failed = runner.up(None, &mut |_| ()).await.expect_err("told to fail");
            let Error::Failed { cause, .. } = failed else { panic!("{raises}: {failed}") };
            let cause = cause.to_string();
            assert!(cause.contains(said) && cause.contains("told to"), "{raises}: {cause}");
        }
    };
    TestDatabase::postgres().await.run(case).await;
}
