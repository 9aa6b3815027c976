//! The catalog follows what the workspace declares.

use crate::support::{Bed, everything};
use bifrost_domain::{
    definition::{Definition, DefinitionKind},
    policy::{self, Caller},
    scope::Scope,
};
use bifrost_storage::workflows::{Declared, Workflow};
use bifrost_test_support::{TestDatabase, on_both_databases};
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;

on_both_databases![
    the_catalog_through_its_life,
    two_syncs_at_once_write_one_catalog,
    what_cannot_be_kept_breaks_only_itself,
];

fn declared(kind: DefinitionKind, name: &str, hash: &str) -> Declared {
    let definition: Definition = serde_json::from_value(json!({
        "kind": kind, "name": name, "function": "run", "line": 3, "category": "General", "timeout_seconds": 60,
        "description": format!("{name} in Größe {hash}"),
    }))
    .expect("a definition");
    Declared { path: format!("{name}.py"), source_hash: hash.to_owned(), definition }
}

fn workflow(name: &str, hash: &str) -> Declared {
    declared(DefinitionKind::Workflow, name, hash)
}

async fn sync(bed: &Bed, declared: &[Declared]) -> u64 {
    let synced = bed.store.sync_catalog(declared, || bed.uuid(), bed.now()).await.expect("synced");
    assert!(synced.refused.is_empty(), "{:?}", synced.refused);
    synced.changed
}

async fn list(bed: &Bed) -> Vec<Workflow> {
    bed.reader.list_workflows(&everything(bed.now()), None, 100).await.expect("read")
}

async fn the_catalog_through_its_life(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let everyone = everything(bed.now());
    let (a, b) = (workflow("a", "1"), workflow("b", "1"));
    let provider = declared(DefinitionKind::DataProvider, "a", "1");
    assert_eq!(sync(&bed, &[a.clone(), b.clone(), provider.clone()]).await, 3);
    assert_eq!(sync(&bed, &[a.clone(), b.clone(), provider.clone()]).await, 0, "nothing changed");
    let first = list(&bed).await;
    assert_eq!(
        first.iter().map(|one| one.definition.clone()).collect::<Vec<_>>(),
        [a.definition, b.definition.clone()]
    );
    let after = bed.reader.list_workflows(&everyone, Some("a"), 100).await.expect("read");
    assert_eq!(after.iter().map(|one| one.id).collect::<Vec<_>>(), [first[1].id]);

    // A new text under the same name keeps the id.
    let changed = workflow("a", "2");
    assert_eq!(sync(&bed, &[changed.clone(), provider.clone()]).await, 2, "one updated, one deactivated");
    let found = bed.reader.find_workflow(first[0].id, &everyone).await.expect("read").expect("there");
    assert_eq!(found.definition, changed.definition);
    assert!(bed.reader.find_workflow(first[1].id, &everyone).await.expect("read").is_none());
    assert!(bed.reader.find_workflow_by_name("b", &everyone).await.expect("read").is_none());
    assert_eq!(list(&bed).await.len(), 1);

    assert_eq!(sync(&bed, &[changed, b, provider]).await, 1, "reactivated");
    let again = bed.reader.find_workflow_by_name("b", &everyone).await.expect("read").expect("there");
    assert_eq!(again.id, first[1].id);
    assert_eq!(sync(&bed, &[]).await, 3);
    assert!(list(&bed).await.is_empty());

    // A member sees what is global.
    sync(&bed, &[workflow("a", "1")]).await;
    let member = crate::support::user(crate::support::user_id(5), Scope::Global, false, bed.now());
    let caller = Caller::of_user(&member, &Arc::default(), None, None).expect("a caller");
    let seen = bed.reader.list_workflows(&policy::visible_workflows(&caller), None, 10).await.expect("read");
    assert_eq!(seen.len(), 1);
}

async fn what_cannot_be_kept_breaks_only_itself(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let good = workflow("good", "1");
    let changed = |change: &dyn Fn(&mut Declared)| {
        let mut one = workflow("odd", "1");
        change(&mut one);
        one
    };
    let cases = [
        changed(&|one| one.definition.function = "f".repeat(250)),
        changed(&|one| one.path = "p".repeat(1_025)),
        changed(&|one| one.definition.name = "n".repeat(201)),
        changed(&|one| one.definition.docstring = Some("A \0 b".to_owned())),
        changed(&|one| {
            one.definition.retry_policy = serde_json::from_value(json!({"retry_on": ["\0"]})).ok();
        }),
        changed(&|one| {
            let parameter =
                json!({"name": "a", "type": "json", "required": false, "default_value": {"\0": 1}});
            one.definition.parameters = vec![serde_json::from_value(parameter).expect("a parameter")];
        }),
        // Nothing here foresees this one but the database of PostgreSQL.
        changed(&|one| one.source_hash = "h".repeat(65)),
    ];
    let last = cases.len() - 1;
    for (at, odd) in cases.into_iter().enumerate() {
        let name = format!("good{at}");
        let declared = [good.clone(), odd.clone(), workflow(&name, "1")];
        let synced = bed.store.sync_catalog(&declared, || bed.uuid(), bed.now()).await.expect("synced");
        let names: Vec<String> = list(&bed).await.into_iter().map(|one| one.definition.name).collect();
        if at == last && !bed.db.db().is_postgres() {
            assert_eq!(names, ["good", &name, "odd"]);
            continue;
        }
        assert_eq!(names, ["good", &name], "case {at}");
        let refused: Vec<&str> = synced.refused.iter().map(|(one, _)| one.path.as_str()).collect();
        assert_eq!(refused, [odd.path.as_str()], "case {at}");
        let reason = &synced.refused[0].1;
        assert!(reason.contains("characters") || reason.contains("NUL") || at == last, "{reason}");
    }

    // A version that cannot be kept takes the former one away: the file no longer says it.
    assert_eq!(sync(&bed, &[workflow("odd", "2")]).await, 3, "two are gone");
    let broken = changed(&|one| one.definition.function = "f".repeat(201));
    let synced = bed.store.sync_catalog(&[broken], || bed.uuid(), bed.now()).await.expect("synced");
    assert_eq!((synced.changed, synced.refused.len(), list(&bed).await.len()), (1, 1, 0));
    let edge = changed(&|one| {
        (one.definition.function, one.path) = ("ü".repeat(200), "ü".repeat(1_024));
        one.definition.name = "ü".repeat(200);
    });
    assert_eq!(sync(&bed, &[edge]).await, 1, "at the bounds");
}

async fn two_syncs_at_once_write_one_catalog(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let versions = [
        (0..20).map(|n| workflow(&format!("w{n}"), "1")).collect::<Vec<_>>(),
        (10..30).map(|n| workflow(&format!("w{n}"), "2")).collect(),
    ];
    for _ in 0..5 {
        join_all(versions.iter().map(|version| sync(&bed, version))).await;
        let mut names: Vec<String> = list(&bed).await.into_iter().map(|one| one.definition.name).collect();
        names.sort();
        let whole = versions.iter().any(|version| {
            let mut expected: Vec<_> = version.iter().map(|one| one.definition.name.clone()).collect();
            expected.sort();
            expected == names
        });
        assert!(whole, "a mixture: {names:?}");
    }
}
