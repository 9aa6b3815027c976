//! Who is seen by whom, what is inherited in the tree, and names that are unique.

use crate::support::{Bed, organization, user, user_id};
use bifrost_domain::{
    ids::{OrganizationId, RoleId, UserId},
    organization::{OrganizationKind, OrganizationPatch},
    policy::{Action, Caller, Permit, actions::ReadUsers, authorize},
    rights::{MembershipRole, MembershipSource, Rights},
    scope::Scope,
    user::{User, UserType},
};
use bifrost_storage::{Error, memberships::Membership, roles::Role, users::admin::PeopleFilter};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

on_both_databases![
    people_are_seen_where_they_belong,
    what_a_group_gives_is_inherited_and_taken_back,
    a_name_is_one_roles_also_on_the_platform,
    runs_keep_the_name_of_who_is_purged,
];

fn id(number: u128) -> OrganizationId {
    organization(number).organization().expect("an organization")
}

fn admin_permit<A: Action>(bed: &Bed) -> Permit<A> {
    let admin = user(user_id(0), Scope::Global, true, bed.now());
    authorize(&Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller")).expect("allowed")
}

/// What an admin of an organization may.
fn permit_in<A: Action>(bed: &Bed, place: OrganizationId) -> Permit<A> {
    let rights = Arc::new(Rights::of_member(place, MembershipRole::Admin, &[]));
    let admin = user(user_id(9), Scope::Organization(place), false, bed.now());
    authorize(&Caller::of_user(&admin, &rights, None, None).expect("a caller")).expect("allowed")
}

async fn add(bed: &Bed, number: u128, home: Option<u128>) -> User {
    let scope = home.map_or(Scope::Global, organization);
    let person = user(user_id(number), scope, home.is_none(), bed.now());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&person, None).await.expect("inserted");
    tx.commit().await.expect("commit");
    person
}

async fn join(bed: &Bed, user: UserId, place: OrganizationId, role: MembershipRole) {
    let membership = Membership {
        user_id: user,
        organization_id: place,
        via: place,
        role,
        source: MembershipSource::Direct,
        attributes: json!({}),
        created_by: None,
        created_at: bed.now(),
        updated_at: bed.now(),
    };
    let tx = bed.store.db().begin().await.expect("begin");
    tx.lock_tree().await.expect("locked");
    tx.write_membership(&membership).await.expect("written");
    tx.inherit(bed.now()).await.expect("inherited");
    tx.commit().await.expect("commit");
}

async fn people_are_seen_where_they_belong(db: TestDatabase) {
    let bed = Bed::new(db).await;
    bed.add_organization(1).await;
    bed.add_organization(2).await;
    let root = add(&bed, 1, None).await;
    let ann = add(&bed, 2, Some(1)).await;
    let bob = add(&bed, 3, Some(2)).await;
    join(&bed, bob.id, id(1), MembershipRole::Limited).await;
    let list = async |permit: &Permit<ReadUsers>, filter: PeopleFilter, after, limit| {
        let found = bed.reader.list_people(permit, &filter, after, limit).await.expect("read");
        found.into_iter().map(|person| person.user.id).collect::<Vec<_>>()
    };
    let all = admin_permit(&bed);
    let (first, second) = (permit_in(&bed, id(1)), permit_in(&bed, id(2)));
    let every = PeopleFilter::default;
    assert_eq!(list(&all, every(), None, 9).await, [root.id, ann.id, bob.id]);
    assert_eq!(list(&all, every(), Some(root.id), 1).await, [ann.id]);
    assert_eq!(list(&first, every(), None, 9).await, [ann.id, bob.id]);
    assert_eq!(list(&second, every(), None, 9).await, [bob.id]);
    let of = |place: Scope| PeopleFilter { place: Some(place), ..every() };
    assert_eq!(list(&all, of(Scope::Global), None, 9).await, [root.id]);
    assert_eq!(list(&second, of(organization(1)), None, 9).await, [bob.id], "a filter reaches no further");
    assert!(list(&second, of(Scope::Global), None, 9).await.is_empty());
    let kind = PeopleFilter { user_type: Some(UserType::Platform), ..every() };
    assert_eq!(list(&all, kind, None, 9).await, [root.id]);
    for (text, count) in [("ACME", 3), ("%", 0), ("_", 0), ("\\", 0), ("'", 0)] {
        let filter = PeopleFilter { text: Some(text.to_owned()), ..every() };
        assert_eq!(list(&all, filter, None, 9).await.len(), count, "{text}");
    }
    for (permit, seen) in
        [(&all, [true, true, true]), (&first, [false, true, true]), (&second, [false, false, true])]
    {
        for (person, seen) in [&root, &ann, &bob].into_iter().zip(seen) {
            let found = bed.reader.find_person(permit, person.id).await.expect("read");
            assert_eq!(found.is_some(), seen);
            let tx = bed.store.db().begin().await.expect("begin");
            assert_eq!(tx.lock_person(permit, person.id).await.expect("read").is_some(), seen);
        }
    }
}

async fn what_a_group_gives_is_inherited_and_taken_back(db: TestDatabase) {
    let bed = Bed::new(db).await;
    for number in 1..=4 {
        bed.add_organization(number).await;
    }
    let change = async |number: u128, patch: OrganizationPatch| {
        let tx = bed.store.db().begin().await.expect("begin");
        tx.lock_tree().await.expect("locked");
        let permit = admin_permit(&bed);
        tx.update_organization(&permit, id(number), patch, bed.now()).await.expect("changed").expect("there");
        tx.inherit(bed.now()).await.expect("inherited");
        tx.commit().await.expect("commit");
    };
    let place = |kind, parent: Option<u128>| OrganizationPatch {
        kind: Some(kind),
        parent_id: Some(parent.map(id)),
        ..OrganizationPatch::default()
    };
    // Provider 1 over group 2 over company 3; 4 is loose.
    change(1, place(OrganizationKind::Provider, None)).await;
    change(2, place(OrganizationKind::Group, Some(1))).await;
    change(3, place(OrganizationKind::Company, Some(2))).await;
    let ann = add(&bed, 5, Some(1)).await;
    let held = async || {
        let rights = bed.reader.find_rights(&ann).await.expect("read");
        rights.held.iter().map(|(id, held)| (*id, held.role)).collect::<Vec<_>>()
    };
    use MembershipRole::{Admin, Limited, Member, Owner};
    join(&bed, ann.id, id(1), Member).await;
    assert_eq!(held().await, [(id(1), Member)], "a member inherits nothing");
    join(&bed, ann.id, id(1), Admin).await;
    assert_eq!(held().await, [(id(1), Admin), (id(2), Admin), (id(3), Admin)], "down to the last level");
    join(&bed, ann.id, id(3), Limited).await;
    assert_eq!(held().await[2], (id(3), Admin), "the highest counts");
    join(&bed, ann.id, id(2), Owner).await;
    assert_eq!(held().await, [(id(1), Admin), (id(2), Owner), (id(3), Owner)]);
    change(4, place(OrganizationKind::Company, Some(2))).await;
    assert_eq!(held().await.len(), 4, "what comes below");
    change(3, place(OrganizationKind::Company, None)).await;
    assert_eq!(held().await[2], (id(3), Limited), "what is not below any more");
    join(&bed, ann.id, id(1), Member).await;
    join(&bed, ann.id, id(2), Member).await;
    assert_eq!(held().await, [(id(1), Member), (id(2), Member), (id(3), Limited)]);
    let rows = bed.reader.list_memberships(ann.id).await.expect("read");
    assert!(rows.iter().all(|row| row.source == MembershipSource::Direct), "nothing stays behind");
}

async fn a_name_is_one_roles_also_on_the_platform(db: TestDatabase) {
    let bed = Bed::new(db).await;
    bed.add_organization(1).await;
    bed.add_organization(2).await;
    let role = |organization_id, name: &str| Role {
        id: RoleId::from_uuid(bed.uuid()),
        organization_id,
        name: name.to_owned(),
        description: Some("d".to_owned()),
        permissions: BTreeSet::from(["executions.run".to_owned()]),
        is_active: true,
        created_by: Some(user_id(0)),
        created_at: bed.now(),
        updated_at: bed.now(),
    };
    let add = async |role: &Role| {
        let tx = bed.store.db().begin().await?;
        tx.add_role(&admin_permit(&bed), role).await?;
        tx.commit().await
    };
    for place in [None, Some(id(1)), Some(id(2))] {
        let first = role(place, "ops");
        add(&first).await.expect("made");
        let read = bed.reader.find_role(&admin_permit(&bed), first.id).await.expect("read");
        assert_eq!(read, Some(first));
        assert!(matches!(add(&role(place, "ops")).await, Err(Error::Duplicate(_))), "{place:?}");
        let second = role(place, "dev");
        add(&second).await.expect("another name");
        let tx = bed.store.db().begin().await.expect("begin");
        let renamed = Role { name: "ops".to_owned(), ..second };
        let outcome = tx.update_role(&admin_permit(&bed), &renamed).await;
        assert!(matches!(outcome, Err(Error::Duplicate(_))), "{outcome:?}");
    }
    let mine = bed.reader.list_roles(&permit_in(&bed, id(1)), None, None, 9).await.expect("read");
    assert!(mine.len() == 2 && mine.iter().all(|role| role.organization_id == Some(id(1))), "{mine:?}");
    let all = bed.reader.list_roles(&admin_permit(&bed), None, None, 9).await.expect("read");
    assert_eq!(all.len(), 6);
    let platform =
        bed.reader.list_roles(&admin_permit(&bed), Some(Scope::Global), None, 9).await.expect("read");
    assert_eq!(platform.len(), 2);
}

async fn runs_keep_the_name_of_who_is_purged(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let ann = add(&bed, 1, None).await;
    let run = bed.submit(&bed.pending()).await;
    let tx = bed.store.db().begin().await.expect("begin");
    let gone = User { is_active: false, purge_at: Some(bed.now()), ..ann.clone() };
    tx.update_user(&admin_permit(&bed), &gone, true).await.expect("written");
    tx.commit().await.expect("commit");
    bed.clock.advance(Duration::seconds(1));
    let tx = bed.store.db().begin().await.expect("begin");
    let purged = tx.purge_user(ann.id, bed.now()).await.expect("asked").expect("purged");
    tx.commit().await.expect("commit");
    assert_eq!((purged.id, purged.epoch), (ann.id, 1));
    let rows = bed.query("SELECT executed_by_name AS name FROM executions").await;
    assert_eq!(rows[0].try_get::<String>("", "name").expect("a text"), "Ann Ødegård");
    assert!(bed.reader.find_status(run).await.expect("read").is_some());
}
