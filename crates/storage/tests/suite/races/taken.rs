//! What is given to somebody is given once, and what two take away one of them took.

use super::{Rivals, Side, TURNS, at_once, begun::provider, both, permit, within};
use crate::forms::form;
use bifrost_domain::{
    branding::LogoKind,
    identity_provider::{ExternalIdentity, IdentityProvider},
    ids::{OrganizationId, RoleId},
    rights::{MembershipRole, MembershipSource},
    scope::Scope,
};
use bifrost_storage::{accounts::Picture, memberships::Membership, users::NewRole};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;
use std::collections::BTreeSet;

on_both_databases![
    one_of_two_gives_the_role,
    one_of_two_gives_the_role_of_a_group,
    one_of_two_takes_the_role,
    one_of_two_opens_the_form,
    one_of_two_closes_the_form,
    one_of_two_ends_the_membership,
    one_of_two_unlinks_the_identity,
    one_of_two_deletes_the_provider,
    of_two_changes_of_a_provider_both_stay,
    one_of_two_takes_the_picture,
    one_of_two_takes_the_logo,
];

async fn role(rivals: &Rivals, organization: Option<OrganizationId>) -> RoleId {
    let id = rivals.bed.uuid();
    let role = NewRole {
        id: RoleId::from_uuid(id),
        organization_id: organization,
        name: id.to_string(),
        permissions: BTreeSet::new(),
        created_at: rivals.bed.now(),
    };
    within!(rivals.bed, |tx| tx.insert_role(role));
    RoleId::from_uuid(id)
}

async fn one_of_two_gives_the_role(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (ann, now) = (rivals.person().await, rivals.bed.now());
    for turn in 0..TURNS {
        let role = role(&rivals, None).await;
        let give = |side: Side| {
            let (ann, to) = (ann.clone(), BTreeSet::from([ann.id]));
            async move { within!(side, |tx| tx.give_role(&permit(&ann), role, &to, now)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, give(one), give(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&ann.id]);
        assert_eq!(rivals.count("user_roles").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}

async fn one_of_two_gives_the_role_of_a_group(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let place = rivals.bed.add_organization(1).await.organization().expect("an organization");
    let (user, now) = (rivals.person().await.id, rivals.bed.now());
    for turn in 0..TURNS {
        let role = role(&rivals, Some(place)).await;
        let (one, other) = both!(rivals, turn, |tx| tx.give_mapped_role(user, role, place, now));
        assert!(one != other, "{one} and {other}");
        assert_eq!(rivals.count("user_roles").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}

async fn one_of_two_takes_the_role(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (user, role, now) = (rivals.person().await.id, role(&rivals, None).await, rivals.bed.now());
    for turn in 0..TURNS {
        within!(rivals.bed, |tx| tx.assign_role(user, role, None, now));
        let (one, other) = both!(rivals, turn, |tx| tx.take_role(user, role));
        assert!(one != other, "{one} and {other}");
        assert_eq!(rivals.count("user_roles").await, 0);
    }
    rivals.agree().await;
}

async fn one_of_two_opens_the_form(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (ann, role, now) = (rivals.person().await, role(&rivals, None).await, rivals.bed.now());
    for turn in 0..TURNS {
        let form = form(&rivals.bed, Scope::Global, true).await;
        let open = |side: Side| {
            let (ann, forms) = (ann.clone(), BTreeSet::from([form]));
            async move { within!(side, |tx| tx.open_forms(&permit(&ann), role, &forms, now)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, open(one), open(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&form]);
        assert_eq!(rivals.count("form_roles").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}

async fn one_of_two_closes_the_form(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (ann, role, now) = (rivals.person().await, role(&rivals, None).await, rivals.bed.now());
    let form = form(&rivals.bed, Scope::Global, true).await;
    let forms = BTreeSet::from([form]);
    for turn in 0..TURNS {
        within!(rivals.bed, |tx| tx.open_forms(&permit(&ann), role, &forms, now));
        let close = |side: Side| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.close_form(&permit(&ann), role, form)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, close(one), close(other)).await;
        assert!(first != second, "{first} and {second}");
        assert_eq!(rivals.count("form_roles").await, 0);
    }
    rivals.agree().await;
}

async fn one_of_two_ends_the_membership(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let place = rivals.bed.add_organization(1).await.organization().expect("an organization");
    let (ann, now) = (rivals.person().await, rivals.bed.now());
    let role = role(&rivals, Some(place)).await;
    for turn in 0..TURNS {
        let membership = Membership {
            user_id: ann.id,
            organization_id: place,
            via: place,
            role: MembershipRole::Member,
            source: MembershipSource::Direct,
            attributes: json!({}),
            created_by: None,
            created_at: now,
            updated_at: now,
        };
        within!(rivals.bed, |tx| tx.write_membership(&membership));
        within!(rivals.bed, |tx| tx.assign_role(ann.id, role, None, now));
        let end = |side: Side| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.delete_membership(&permit(&ann), ann.id, place)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, end(one), end(other)).await;
        assert!(first != second, "{first} and {second}");
        assert_eq!((rivals.count("memberships").await, rivals.count("user_roles").await), (0, 0));
    }
    rivals.agree().await;
}

async fn one_of_two_unlinks_the_identity(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (user, now) = (rivals.person().await.id, rivals.bed.now());
    let provider_id = provider(&rivals).await;
    for turn in 0..TURNS {
        let identity = ExternalIdentity {
            provider_id,
            subject: "ann".to_owned(),
            user_id: user,
            email: None,
            linked_at: now,
            last_used_at: now,
        };
        within!(rivals.bed, |tx| tx.insert_external_identity(&identity));
        let (one, other) = both!(rivals, turn, |tx| tx.delete_external_identity(user, provider_id));
        assert!(one != other, "{one} and {other}");
        assert_eq!(rivals.bed.reader.list_external_identities(user).await.expect("read"), []);
    }
    rivals.agree().await;
}

async fn one_of_two_deletes_the_provider(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let id = provider(&rivals).await;
        let delete = |side: Side| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.delete_identity_provider(&permit(&ann), id)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, delete(one), delete(other)).await;
        assert!(first != second, "{first} and {second}");
        assert_eq!(rivals.bed.reader.list_identity_providers().await.expect("read"), []);
    }
    rivals.agree().await;
}

/// A change writes the whole provider, so it reads it first: one that was switched off in between must not come back.
async fn of_two_changes_of_a_provider_both_stay(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let id = provider(&rivals).await;
        let change = |side: Side, what: fn(&mut IdentityProvider)| {
            let ann = ann.clone();
            async move {
                let tx = side.store.db().begin().await.expect("begin");
                let mut provider =
                    tx.lock_identity_provider(&permit(&ann), id).await.expect("asked").expect("there");
                what(&mut provider);
                assert!(tx.update_identity_provider(&permit(&ann), &provider, None).await.expect("asked"));
                tx.commit().await.expect("commit");
            }
        };
        let (one, other) = rivals.sides();
        at_once(
            turn,
            change(one, |provider| provider.is_active = false),
            change(other, |provider| provider.display_name = "New".to_owned()),
        )
        .await;
        let all = rivals.bed.reader.list_identity_providers().await.expect("read");
        let found = all.iter().find(|provider| provider.id == id).expect("there");
        assert_eq!((found.is_active, found.display_name.as_str()), (false, "New"));
    }
    rivals.agree().await;
}

fn picture(rivals: &Rivals) -> Picture {
    Picture { content: b"png".to_vec(), etag: "tag".to_owned(), updated_at: rivals.bed.now() }
}

async fn one_of_two_takes_the_picture(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (user, picture) = (rivals.person().await.id, picture(&rivals));
    for turn in 0..TURNS {
        within!(rivals.bed, |tx| tx.put_avatar(user, &picture));
        let (one, other) = both!(rivals, turn, |tx| tx.delete_avatar(user));
        assert!(one != other, "{one} and {other}");
        assert!(rivals.bed.reader.find_avatar(user).await.expect("read").is_none());
    }
    rivals.agree().await;
}

async fn one_of_two_takes_the_logo(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (ann, picture) = (rivals.person().await, picture(&rivals));
    for turn in 0..TURNS {
        within!(rivals.bed, |tx| tx.put_logo(&permit(&ann), LogoKind::Square, &picture));
        let take = |side: Side| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.delete_logo(&permit(&ann), LogoKind::Square)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, take(one), take(other)).await;
        assert!(first != second, "{first} and {second}");
        assert!(rivals.bed.reader.find_logo(LogoKind::Square).await.expect("read").is_none());
    }
    rivals.agree().await;
}
