//! Up, down and up again, step by step and with data.

use super::{described, left, note, rows, runner};
use crate::support::Bed;
use bifrost_migration::Schema;
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![every_step_down_and_up_keeps_what_was_before_it];

async fn every_step_down_and_up_keeps_what_was_before_it(db: TestDatabase) {
    let connection = db.db().migration_connection().clone();
    let bed = Bed::new(db).await;
    let runner = runner(&bed);
    let names = runner.names();
    runner.down(usize::MAX, &mut |_| ()).await.expect("down, with partitions in place");
    assert_eq!(left(&bed).await, Vec::<String>::new());

    // The schema after each migration, the empty one first.
    let mut schemas = vec![described(&connection).await];
    assert_eq!(schemas[0], Schema::default());
    for name in &names {
        let mut steps = Vec::new();
        assert_eq!(runner.up(Some(1), &mut note(&mut steps)).await.expect("one up"), 1);
        assert_eq!(steps, [format!("+{name}")]);
        let schema = described(&connection).await;
        assert_ne!(Some(&schema), schemas.last(), "{name} changes something");
        schemas.push(schema);
    }
    rows::fill(&bed, &schemas[names.len()]).await;

    for (before, name) in names.iter().enumerate().rev() {
        let kept = rows::all(&bed, &schemas[before]).await;
        let mut steps = Vec::new();
        runner.down(1, &mut note(&mut steps)).await.expect("down");
        assert_eq!(described(&connection).await, schemas[before], "{name} taken back");
        assert_eq!(rows::all(&bed, &schemas[before]).await, kept, "{name} taken back");
        runner.up(Some(1), &mut note(&mut steps)).await.expect("up");
        assert_eq!(described(&connection).await, schemas[before + 1], "{name} applied again");
        assert_eq!(rows::all(&bed, &schemas[before]).await, kept, "{name} applied again");
        runner.down(1, &mut note(&mut steps)).await.expect("down");
        assert_eq!(steps, [format!("-{name}"), format!("+{name}"), format!("-{name}")]);
    }
    assert_eq!(left(&bed).await, Vec::<String>::new());
    assert_eq!(runner.down(1, &mut |_| ()).await.expect("nothing to take back"), 0);

    assert_eq!(runner.up(None, &mut |_| ()).await.expect("up"), names.len());
    assert_eq!(described(&connection).await, schemas[names.len()]);
    assert_eq!(bed.store.applied_migrations().await.expect("read"), names);
    rows::fill(&bed, &schemas[names.len()]).await;
    assert_eq!(runner.up(None, &mut |_| ()).await.expect("nothing is pending"), 0);
}
