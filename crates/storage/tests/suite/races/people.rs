//! Accounts: a stub, a password, a grace period and an identity at a provider have one outcome each.

use super::{Rivals, Side, TURNS, at_once, begun::provider, within};
use crate::support::user;
use bifrost_domain::{
    identity_provider::ExternalIdentity,
    ids::{IdentityProviderId, UserId},
    scope::Scope,
    user::User,
};
use bifrost_storage::Error;
use bifrost_test_support::{TestDatabase, on_both_databases};
use secrecy::{ExposeSecret, SecretString};

on_both_databases![
    one_of_two_registers_the_stub,
    a_stub_is_registered_or_claimed,
    one_of_two_changes_the_password,
    a_password_is_changed_or_kept_under_another_hash,
    somebody_is_purged_or_taken_back,
    one_of_two_purges_somebody,
    one_of_two_has_the_identity,
];

async fn stub(rivals: &Rivals, home: Scope) -> User {
    let id = UserId::from_uuid(rivals.bed.uuid());
    let stub = User { is_registered: false, ..user(id, home, false, rivals.bed.now()) };
    within!(rivals.bed, |tx| tx.insert_user(&stub, None));
    stub
}

/// A user as he is now, and the hash of his password.
async fn found(rivals: &Rivals, person: &User) -> Option<(User, Option<String>)> {
    let email = person.email.parse().expect("an address");
    let found = rivals.bed.reader.find_credentials(&email).await.expect("read")?;
    Some((found.user, found.password_hash.map(|hash| hash.expose_secret().to_owned())))
}

fn hash(text: &str) -> SecretString {
    text.into()
}

async fn one_of_two_registers_the_stub(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let home = rivals.bed.add_organization(1).await;
    for turn in 0..TURNS {
        let (stub, now) = (stub(&rivals, home).await, rivals.bed.now());
        let register = |side: Side, name: &'static str| async move {
            let secret = hash(name);
            within!(side, |tx| tx.register_stub(stub.id, Some(name), &secret, now))
        };
        let (one, other) = rivals.sides();
        let (ann, bob) = at_once(turn, register(one, "Ann"), register(other, "Bob")).await;
        assert!(ann != bob, "{ann} and {bob}");
        let (user, password) = found(&rivals, &stub).await.expect("there");
        let winner = Some(if ann { "Ann" } else { "Bob" });
        assert_eq!((user.name.as_deref(), password.as_deref()), (winner, winner));
        assert!(user.is_registered);
    }
    rivals.agree().await;
}

async fn a_stub_is_registered_or_claimed(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let home = rivals.bed.add_organization(1).await;
    for turn in 0..TURNS {
        let (stub, now) = (stub(&rivals, home).await, rivals.bed.now());
        let (id, secret) = (stub.id, hash("new"));
        let (one, other) = rivals.sides();
        let (registered, claimed) = at_once(
            turn,
            async move { within!(one, |tx| tx.register_stub(id, Some("Ann"), &secret, now)) },
            async move { within!(other, |tx| tx.claim_stub(id, Some("Bob"), now)) },
        )
        .await;
        assert!(registered != claimed, "{registered} and {claimed}");
        let (user, password) = found(&rivals, &stub).await.expect("there");
        let expected = if registered { (Some("Ann"), Some("new")) } else { (Some("Bob"), None) };
        assert_eq!((user.name.as_deref(), password.as_deref()), expected);
        assert!(user.is_registered);
    }
    rivals.agree().await;
}

async fn one_of_two_changes_the_password(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (person, now) = (rivals.person().await, rivals.bed.now());
        let change = |side: Side, new: &'static str| async move {
            let (old, new) = (hash("hash"), hash(new));
            within!(side, |tx| tx.change_password(person.id, &old, &new, now))
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, change(one, "a"), change(other, "b")).await;
        let epochs: Vec<i64> = first.into_iter().chain(second).collect();
        assert_eq!(epochs, [person.epoch + 1]);
        let (user, password) = found(&rivals, &person).await.expect("there");
        assert_eq!(password.as_deref(), Some(if first.is_some() { "a" } else { "b" }));
        assert_eq!(user.epoch, person.epoch + 1);
    }
    rivals.agree().await;
}

async fn a_password_is_changed_or_kept_under_another_hash(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (person, now) = (rivals.person().await, rivals.bed.now());
        let (id, [old, also_old, again, new]) = (person.id, ["hash", "hash", "same", "new"].map(hash));
        let (one, other) = rivals.sides();
        let (replaced, changed) = at_once(
            turn,
            async move { within!(one, |tx| tx.replace_password_hash(id, &old, &again, now)) },
            async move { within!(other, |tx| tx.change_password(id, &also_old, &new, now)) },
        )
        .await;
        assert!(replaced != changed.is_some(), "{replaced} and {changed:?}");
        let (user, password) = found(&rivals, &person).await.expect("there");
        let expected = if replaced { ("same", person.epoch) } else { ("new", person.epoch + 1) };
        assert_eq!((password.as_deref(), user.epoch), (Some(expected.0), expected.1));
    }
    rivals.agree().await;
}

/// Somebody whose grace period has ended.
async fn leaving(rivals: &Rivals) -> User {
    let now = rivals.bed.now();
    let id = UserId::from_uuid(rivals.bed.uuid());
    let person = User { is_active: false, purge_at: Some(now), ..user(id, Scope::Global, true, now) };
    rivals.add(&person).await;
    person
}

async fn somebody_is_purged_or_taken_back(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (person, now) = (leaving(&rivals).await, rivals.bed.now());
        let id = person.id;
        let (one, other) = rivals.sides();
        let (purged, back) =
            at_once(turn, async move { within!(one, |tx| tx.purge_user(id, now)) }, async move {
                within!(other, |tx| tx.set_user_active(id, true, now))
            })
            .await;
        assert!(purged.is_some() != back, "{purged:?} and {back}");
        let kept = found(&rivals, &person).await;
        assert_eq!(kept.map(|(user, _)| user.is_active), back.then_some(true));
    }
    rivals.agree().await;
}

async fn one_of_two_purges_somebody(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (person, now) = (leaving(&rivals).await, rivals.bed.now());
        let purge = |side: Side| async move { within!(side, |tx| tx.purge_user(person.id, now)) };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, purge(one), purge(other)).await;
        let purged: Vec<UserId> = first.into_iter().chain(second).map(|user| user.id).collect();
        assert_eq!(purged, [person.id]);
        assert!(found(&rivals, &person).await.is_none());
    }
    rivals.agree().await;
}

fn identity(
    provider_id: IdentityProviderId,
    subject: &str,
    rivals: &Rivals,
    user: &User,
) -> ExternalIdentity {
    ExternalIdentity {
        provider_id,
        subject: subject.to_owned(),
        user_id: user.id,
        email: None,
        linked_at: rivals.bed.now(),
        last_used_at: rivals.bed.now(),
    }
}

async fn one_of_two_has_the_identity(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let provider = provider(&rivals).await;
    for turn in 0..TURNS {
        let (ann, bob) = (rivals.person().await, rivals.person().await);
        let subject = format!("subject {turn}");
        let link = |side: Side, identity: ExternalIdentity| async move {
            let tx = side.store.db().begin().await?;
            tx.insert_external_identity(&identity).await?;
            tx.commit().await
        };
        let anns = identity(provider, &subject, &rivals, &ann);
        let bobs = identity(provider, &subject, &rivals, &bob);
        let (one, other) = rivals.sides();
        let winner = match at_once(turn, link(one, anns), link(other, bobs)).await {
            (Ok(()), Err(Error::Duplicate(_))) => ann.id,
            (Err(Error::Duplicate(_)), Ok(())) => bob.id,
            both => panic!("{both:?}"),
        };
        let found = rivals.bed.reader.find_user_of_identity(provider, &subject).await.expect("read");
        assert_eq!(found.map(|user| user.id), Some(winner));
    }
    rivals.agree().await;
}
