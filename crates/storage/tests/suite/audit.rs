//! The audit log: what is found in it, by whom, and that nothing ever changes it.

use crate::support::{Bed, organization, rights_in, user, user_id};
use bifrost_domain::{
    ids::{AuditId, OrganizationId},
    policy::{Caller, Permit, actions::ReadAudit, authorize},
    scope::Scope,
};
use bifrost_storage::audit::{Actor, Entry, Filter, Outcome};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::json;
use std::path::Path;

on_both_databases![everything_given_must_hold, nobody_sees_lines_of_others, filters_take_any_text];

fn id_of(scope: Scope) -> Option<OrganizationId> {
    scope.organization()
}

async fn write(bed: &Bed, action: &'static str, about: Scope, outcome: Outcome) -> AuditId {
    let id = AuditId::from_uuid(bed.uuid());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_audit(Entry {
        id,
        at: bed.now(),
        organization_id: id_of(about),
        actor_id: Some(user_id(1)),
        actor_email: Some("ann@acme.example".to_owned()),
        actor_name: Some("Ann".to_owned()),
        application_id: None,
        on_behalf_of: Some(user_id(2)),
        action,
        resource_type: action.split('.').next().expect("a kind"),
        resource_id: Some("7".to_owned()),
        outcome,
        changes: Some(json!({"name": {"old": "a", "new": "b"}})),
        detail: None,
        request_id: Some(format!("request-{action}")),
        ip_address: Some("192.0.2.1".to_owned()),
    })
    .await
    .expect("insert");
    tx.commit().await.expect("commit");
    id
}

fn permit(bed: &Bed, scope: Scope, is_platform_admin: bool) -> Permit<ReadAudit> {
    let somebody =
        user(user_id(9), if is_platform_admin { Scope::Global } else { scope }, is_platform_admin, bed.now());
    let rights = rights_in(scope, &["audit.read"]);
    let caller = Caller::of_user(&somebody, &rights, id_of(scope), None).expect("a caller");
    authorize(&caller).expect("allowed")
}

async fn found(bed: &Bed, permit: &Permit<ReadAudit>, filter: Filter) -> Vec<AuditId> {
    let lines = bed.reader.list_audit(permit, filter, 100).await.expect("read");
    lines.into_iter().map(|line| line.id).collect()
}

async fn everything_given_must_hold(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let everything = permit(&bed, Scope::Global, true);
    let made = write(&bed, "thing.create", organization(1), Outcome::Success).await;
    bed.clock.advance(Duration::hours(1));
    let refused = write(&bed, "thing.delete", organization(2), Outcome::Denied).await;
    let at = bed.now();
    bed.clock.advance(Duration::hours(1));
    let last = write(&bed, "other.create", Scope::Global, Outcome::Failure).await;

    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    for (name, filter, expected) in [
        ("nothing", none(), vec![last, refused, made]),
        ("who", Filter { actor: Some(Actor::Id(user_id(1))), ..none() }, vec![last, refused, made]),
        ("somebody else", Filter { actor: Some(Actor::Id(user_id(2))), ..none() }, vec![]),
        (
            "address",
            Filter { actor: Some(Actor::Email("ann@acme.example".into())), ..none() },
            vec![last, refused, made],
        ),
        ("another address", Filter { actor: Some(Actor::Email("ann".into())), ..none() }, vec![]),
        ("action", Filter { action: text("thing.create"), ..none() }, vec![made]),
        ("kind", Filter { resource_type: text("thing"), ..none() }, vec![refused, made]),
        ("object", Filter { resource_type: text("other"), resource_id: text("7"), ..none() }, vec![last]),
        ("another object", Filter { resource_id: text("8"), ..none() }, vec![]),
        ("organization", Filter { organization_id: id_of(organization(2)), ..none() }, vec![refused]),
        ("outcome", Filter { outcome: Some(Outcome::Failure), ..none() }, vec![last]),
        ("request", Filter { request_id: text("request-thing.delete"), ..none() }, vec![refused]),
        ("from", Filter { from: Some(at), ..none() }, vec![last, refused]),
        ("to", Filter { to: Some(at), ..none() }, vec![made]),
        ("both", Filter { from: Some(at), to: Some(at + Duration::seconds(1)), ..none() }, vec![refused]),
        ("before", Filter { before: Some(refused), ..none() }, vec![made]),
        (
            "two that do not go together",
            Filter { action: text("thing.create"), outcome: Some(Outcome::Denied), ..none() },
            vec![],
        ),
    ] {
        assert_eq!(found(&bed, &everything, filter).await, expected, "{name}");
    }
    let line = bed.reader.list_audit(&everything, Some(refused), 1).await.expect("read").remove(0);
    assert_eq!((line.actor_name.as_deref(), line.on_behalf_of), (Some("Ann"), Some(user_id(2))));
    assert_eq!(line.changes, Some(json!({"name": {"old": "a", "new": "b"}})));
    assert_eq!((line.resource_type.as_str(), line.ip_address.as_deref()), ("thing", Some("192.0.2.1")));
}

async fn nobody_sees_lines_of_others(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let of_one = write(&bed, "thing.create", organization(1), Outcome::Success).await;
    let of_two = write(&bed, "thing.create", organization(2), Outcome::Success).await;
    let of_provider = write(&bed, "thing.create", Scope::Global, Outcome::Success).await;
    let all = [of_provider, of_two, of_one];
    assert_eq!(found(&bed, &permit(&bed, Scope::Global, true), Filter::default()).await, all);
    assert_eq!(found(&bed, &permit(&bed, organization(1), true), Filter::default()).await, [of_one]);
    let member = permit(&bed, organization(1), false);
    assert_eq!(found(&bed, &member, Filter::default()).await, [of_one]);
    let asked = Filter { organization_id: id_of(organization(2)), ..Filter::default() };
    assert_eq!(found(&bed, &member, asked).await, [], "asking for another one's shows nothing");
}

async fn filters_take_any_text(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let everything = permit(&bed, Scope::Global, true);
    for text in ["", "'", "%", "\\", "\"; DROP TABLE audit_logs", "Ødegård", "\u{1F600}"] {
        let filter = Filter {
            actor: Some(Actor::Email(text.to_owned())),
            action: Some(text.to_owned()),
            resource_type: Some(text.to_owned()),
            resource_id: Some(text.to_owned()),
            request_id: Some(text.to_owned()),
            ..Filter::default()
        };
        assert_eq!(found(&bed, &everything, filter).await, [], "{text}");
    }
}

/// Lines are added and read. A migration may change the table, and nothing else may.
#[test]
fn no_code_changes_or_deletes_a_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("crates"), root.join("migration/src")];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Tests may look for what must not be.
                if path.file_name().is_none_or(|name| name != "tests" && name != "target") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|kind| kind != "rs" && kind != "py" && kind != "sql") {
                continue;
            }
            checked += 1;
            let text = std::fs::read_to_string(&path).expect("a file");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            for way in [
                "update audit_logs",
                "delete from audit_logs",
                "truncate audit_logs",
                "insert or replace into audit_logs",
                "audit_logs::entity::update",
                "audit_logs::entity::delete",
                "audit_logs::entity::insert_many",
            ] {
                assert!(
                    !words.contains(way),
                    "{} has `{way}`: the audit log is added to, nothing else",
                    path.display()
                );
            }
            assert!(
                !words.contains("audit_logs::activemodel") || path.ends_with("storage/src/audit.rs"),
                "{} writes lines by itself: use `Tx::insert_audit`",
                path.display()
            );
        }
    }
    assert!(checked > 200, "{checked} files");
}
