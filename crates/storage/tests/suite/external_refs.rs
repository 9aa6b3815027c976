//! Names in other systems.

use crate::support::Bed;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;

on_both_databases![a_name_is_of_one_object];

async fn a_name_is_of_one_object(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (ann, bob) = (bed.uuid(), bed.uuid());
    let put = async |kind: &str, external_id: &str, internal_id| {
        let tx = bed.store.db().begin().await.expect("begin");
        tx.put_external_ref("entra", kind, external_id, internal_id, bed.now()).await.expect("put");
        tx.commit().await.expect("commit");
    };
    let find = async |kind: &str, external_id: &str| {
        bed.reader.find_external_ref("entra", kind, external_id).await.expect("read")
    };
    put("user", "Ø'1", ann).await;
    put("user", "2", ann).await;
    put("group", "2", bob).await;
    let first = find("user", "Ø'1").await.expect("there");
    assert_eq!((first.internal_id, first.created_at, first.updated_at), (ann, bed.now(), bed.now()));
    assert!(find("user", "3").await.is_none());
    assert!(bed.reader.find_external_ref("google", "user", "2").await.expect("read").is_none());

    bed.clock.advance(Duration::seconds(1));
    put("user", "2", ann).await;
    put("user", "Ø'1", bob).await;
    let kept = find("user", "2").await.expect("there");
    assert_eq!(kept.updated_at, first.updated_at, "it stayed where it was");
    let moved = find("user", "Ø'1").await.expect("there");
    assert_eq!(
        (moved.internal_id, moved.created_at, moved.updated_at),
        (bob, first.created_at, bed.now()),
        "a name moves"
    );
    let names = bed.reader.list_external_refs(bob).await.expect("read");
    let names: Vec<_> = names.iter().map(|one| (one.kind.as_str(), one.external_id.as_str())).collect();
    assert_eq!(names, [("group", "2"), ("user", "Ø'1")]);
    assert_eq!(bed.reader.list_external_refs(bed.uuid()).await.expect("read"), []);
}
