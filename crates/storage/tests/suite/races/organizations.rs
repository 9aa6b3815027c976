//! Nothing is left behind by an organization that is deleted while something begins to belong to it.

use super::{Rivals, TURNS, at_once};
use crate::support::{organization, organizations_permit, user, user_id};
use bifrost_domain::{
    ids::{ConfigId, UserId},
    organization::OrganizationPatch,
};
use bifrost_storage::{
    Error,
    organizations::Deletion,
    settings::{Config, ConfigValue},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;

on_both_databases![
    an_organization_is_deleted_or_has_the_run,
    an_organization_is_deleted_or_has_the_person,
    an_organization_is_deleted_or_has_the_value,
    one_of_two_deletes_an_organization,
    one_of_two_organizations_has_the_domain,
];

fn deletion(rivals: &Rivals, number: u128) -> impl Future<Output = Result<Deletion, Error>> + Send + 'static {
    let (store, permit) = (rivals.one.store.clone(), organizations_permit(rivals.bed.now()));
    let id = organization(number).organization().expect("an organization");
    async move {
        let tx = store.db().begin().await?;
        let deletion = tx.delete_organization(&permit, id).await?;
        tx.commit().await?;
        Ok(deletion)
    }
}

async fn an_organization_is_deleted_or_has_the_run(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let mut given = rivals.bed.pending();
        given.scope = rivals.bed.add_organization(turn.into()).await;
        let (id, other) = (given.id, rivals.other.clone());
        let (deleted, accepted) =
            at_once(turn, deletion(&rivals, turn.into()), async move { other.hot.submit(given).await }).await;
        let is_there = rivals.bed.reader.find_status(id).await.expect("read").is_some();
        match (deleted.expect("asked"), accepted) {
            (Deletion::Done { .. }, Err(Error::NoOrganization)) => assert!(!is_there),
            (Deletion::InUse(what), Ok(())) => {
                assert!(is_there);
                assert_eq!(what, ["executions"]);
            }
            other => panic!("{other:?}"),
        }
    }
    rivals.agree().await;
}

async fn an_organization_is_deleted_or_has_the_person(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let scope = rivals.bed.add_organization(turn.into()).await;
        let person = user(UserId::from_uuid(rivals.bed.uuid()), scope, false, rivals.bed.now());
        let other = rivals.other.clone();
        let (deleted, added) = at_once(turn, deletion(&rivals, turn.into()), async move {
            let tx = other.store.db().begin().await?;
            tx.insert_user(&person, None).await?;
            tx.commit().await
        })
        .await;
        match (deleted.expect("asked"), added) {
            (Deletion::Done { .. }, Err(Error::Reference(_))) => {}
            (Deletion::InUse(what), Ok(())) => assert_eq!(what, ["people"]),
            other => panic!("{other:?}"),
        }
    }
    rivals.agree().await;
}

async fn an_organization_is_deleted_or_has_the_value(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let scope = rivals.bed.add_organization(turn.into()).await;
        let value = ConfigValue::Plain { kind: "string".to_owned(), value: json!("v") };
        let config = Config { key: "url".to_owned(), scope, value };
        let (id, now, other) =
            (ConfigId::from_uuid(rivals.bed.uuid()), rivals.bed.now(), rivals.other.clone());
        let (deleted, put) = at_once(turn, deletion(&rivals, turn.into()), async move {
            other.store.put_config(id, &config, user_id(1), now).await
        })
        .await;
        match (deleted.expect("asked"), put) {
            (Deletion::Done { .. }, Err(Error::Reference(_))) => {}
            (Deletion::InUse(what), Ok(())) => assert_eq!(what, ["configuration values"]),
            other => panic!("{other:?}"),
        }
    }
    rivals.agree().await;
}

async fn one_of_two_deletes_an_organization(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        rivals.bed.add_organization(turn.into()).await;
        let (first, second) =
            at_once(turn, deletion(&rivals, turn.into()), deletion(&rivals, turn.into())).await;
        let mut outcomes = [first.expect("asked"), second.expect("asked")];
        outcomes.sort_by_key(|outcome| !matches!(outcome, Deletion::Done { .. }));
        assert_eq!(outcomes, [Deletion::Done { memberships: 0, keys: 0 }, Deletion::Unknown]);
    }
    rivals.agree().await;
}

async fn one_of_two_organizations_has_the_domain(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    rivals.bed.add_organization(1).await;
    rivals.bed.add_organization(2).await;
    let named = |side: super::Side, number: u128, domain: Option<String>| {
        let (permit, now) = (organizations_permit(rivals.bed.now()), rivals.bed.now());
        let id = organization(number).organization().expect("an organization");
        async move {
            let tx = side.store.db().begin().await?;
            let patch = OrganizationPatch { domain: Some(domain), ..OrganizationPatch::default() };
            tx.update_organization(&permit, id, patch, now).await?.expect("it is there");
            tx.commit().await
        }
    };
    for turn in 0..TURNS {
        let domain = Some(format!("d{turn}.example"));
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, named(one, 1, domain.clone()), named(other, 2, domain)).await;
        match (first, second) {
            (Ok(()), Err(Error::Duplicate(_))) | (Err(Error::Duplicate(_)), Ok(())) => {}
            other => panic!("{other:?}"),
        }
    }
    rivals.agree().await;
}
