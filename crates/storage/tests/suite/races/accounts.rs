//! Accounts, sessions, tickets and configuration values: what happens once happens once.

use super::{Rivals, Side, TURNS, at_once};
use crate::support::{user, user_id};
use bifrost_domain::{
    ids::{ConfigId, UserId},
    scope::Scope,
    user::User,
};
use bifrost_storage::{
    Error,
    sessions::RefreshToken,
    settings::{Config, ConfigValue},
    tickets::Ticket,
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::json;

on_both_databases![
    one_of_two_claims_the_stub,
    one_of_two_accounts_has_the_address,
    every_reason_to_end_older_sessions_counts,
    one_of_two_ends_the_session,
    a_session_that_is_ended_while_it_is_refreshed_is_ended,
    one_of_two_uses_the_refresh_token,
    one_of_two_takes_the_ticket,
    a_value_is_one_of_the_two_that_were_set,
    a_value_that_is_set_and_deleted_is_there_or_not,
];

async fn one_of_two_claims_the_stub(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let home = rivals.bed.add_organization(1).await;
    for turn in 0..TURNS {
        let id = UserId::from_uuid(rivals.bed.uuid());
        let stub = User { is_registered: false, ..user(id, home, false, rivals.bed.now()) };
        rivals.add(&stub).await;
        let (id, now) = (stub.id, rivals.bed.now());
        let claim = |side: Side, name: &'static str| async move {
            let tx = side.store.db().begin().await.expect("begin");
            let first = tx.claim_stub(id, Some(name), now).await.expect("asked");
            tx.commit().await.expect("commit");
            first
        };
        let (one, other) = rivals.sides();
        let (ann, bob) = at_once(turn, claim(one, "Ann"), claim(other, "Bob")).await;
        assert!(ann != bob, "{ann} and {bob}");
        let name = rivals.bed.reader.find_user(id).await.expect("read").expect("there").name;
        assert_eq!(name.as_deref(), Some(if ann { "Ann" } else { "Bob" }));
    }
    rivals.agree().await;
}

async fn one_of_two_accounts_has_the_address(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ann = user(UserId::from_uuid(rivals.bed.uuid()), Scope::Global, true, rivals.bed.now());
        let twin = User { id: UserId::from_uuid(rivals.bed.uuid()), ..ann.clone() };
        let insert = |side: Side, person: User| async move {
            let tx = side.store.db().begin().await?;
            tx.insert_user(&person, None).await?;
            tx.commit().await
        };
        let (one, other) = rivals.sides();
        match at_once(turn, insert(one, ann), insert(other, twin)).await {
            (Ok(()), Err(Error::Duplicate(_))) | (Err(Error::Duplicate(_)), Ok(())) => {}
            both => panic!("{both:?}"),
        }
    }
    rivals.agree().await;
}

async fn every_reason_to_end_older_sessions_counts(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let (id, now) = (ann.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        at_once(
            turn,
            async move {
                let tx = one.store.db().begin().await.expect("begin");
                assert!(tx.update_password(id, &"new".into(), now).await.expect("asked"));
                tx.commit().await.expect("commit");
            },
            async move {
                let tx = other.store.db().begin().await.expect("begin");
                assert!(tx.set_user_active(id, turn % 2 == 0, now).await.expect("asked"));
                tx.commit().await.expect("commit");
            },
        )
        .await;
        let found = rivals.bed.reader.find_user(id).await.expect("read").expect("there");
        assert_eq!(found.epoch, ann.epoch + 2 * (i64::from(turn) + 1));
    }
    rivals.agree().await;
}

async fn one_of_two_ends_the_session(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (id, now) = (rivals.signed_in().await.1.session_id, rivals.bed.now());
        let end = |side: Side, reason: &'static str| async move {
            let tx = side.store.db().begin().await.expect("begin");
            let first = tx.end_session(id, reason, now).await.expect("asked");
            tx.commit().await.expect("commit");
            first
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, end(one, "logout"), end(other, "refresh_reuse")).await;
        assert!(first != second, "{first} and {second}");
    }
    rivals.agree().await;
}

/// The statements of a refresh beside those of a sign-out.
async fn a_session_that_is_ended_while_it_is_refreshed_is_ended(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (_, token) = rivals.signed_in().await;
        let (id, now) = (token.session_id, rivals.bed.now());
        let successor = RefreshToken { id: rivals.bed.uuid(), ..token };
        let (one, other) = rivals.sides();
        let (refreshed, ended) = at_once(
            turn,
            async move {
                let tx = one.store.db().begin().await.expect("begin");
                assert!(tx.use_refresh_token(token.id, successor.id, now).await.expect("asked"));
                tx.insert_refresh_token(successor).await.expect("inserted");
                let live = tx.touch_session(id, now, now + Duration::days(9)).await.expect("asked");
                if live {
                    tx.commit().await.expect("commit");
                }
                live
            },
            async move {
                let tx = other.store.db().begin().await.expect("begin");
                let first = tx.end_session(id, "logout", now).await.expect("asked");
                tx.commit().await.expect("commit");
                first
            },
        )
        .await;
        assert!(ended);
        let session = rivals.bed.reader.find_session(id).await.expect("read").expect("there");
        assert!(!session.is_live(now));
        let tx = rivals.bed.store.db().begin().await.expect("begin");
        let kept = tx.find_refresh_token(successor.id).await.expect("read");
        assert_eq!(kept.is_some(), refreshed, "a refresh that was too late leaves no token");
    }
    rivals.agree().await;
}

async fn one_of_two_uses_the_refresh_token(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (id, now) = (rivals.signed_in().await.1.id, rivals.bed.now());
        let exchange = |side: Side, successor| async move {
            let tx = side.store.db().begin().await.expect("begin");
            let first = tx.use_refresh_token(id, successor, now).await.expect("asked");
            let seen = tx.find_refresh_token(id).await.expect("read").expect("there");
            tx.commit().await.expect("commit");
            (first, seen.successor_id)
        };
        let (one, other) = rivals.sides();
        let ids = [rivals.bed.uuid(), rivals.bed.uuid()];
        let (first, second) = at_once(turn, exchange(one, ids[0]), exchange(other, ids[1])).await;
        assert!(first.0 != second.0);
        let winner = Some(if first.0 { ids[0] } else { ids[1] });
        assert_eq!((first.1, second.1), (winner, winner));
    }
    rivals.agree().await;
}

async fn one_of_two_takes_the_ticket(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let now = rivals.bed.now();
        let ticket = Ticket {
            user_id: ann.id,
            session_id: None,
            organization_id: None,
            expires_at: now + Duration::seconds(30),
        };
        let hash = turn.to_be_bytes();
        rivals.bed.store.insert_ticket(&hash, &ticket, now).await.expect("kept");
        let take = |side: Side| async move { side.store.take_ticket(&hash, now).await.expect("asked") };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, take(one), take(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&ticket]);
    }
    rivals.agree().await;
}

fn config(value: &str) -> Config {
    let value = ConfigValue::Plain { kind: "string".to_owned(), value: json!(value) };
    Config { key: "url".to_owned(), scope: Scope::Global, value }
}

async fn a_value_is_one_of_the_two_that_were_set(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let now = rivals.bed.now();
        let put = |side: Side, id, value: &'static str| async move {
            side.store.put_config(id, &config(value), user_id(1), now).await.expect("stored");
        };
        let ids = [(); 2].map(|()| ConfigId::from_uuid(rivals.bed.uuid()));
        let (one, other) = rivals.sides();
        at_once(turn, put(one, ids[0], "a"), put(other, ids[1], "b")).await;
        let kept = rivals.bed.reader.list_configs(Scope::Global).await.expect("read");
        assert!(kept == [config("a")] || kept == [config("b")], "{kept:?}");
        if turn % 2 == 0 {
            assert!(rivals.bed.store.delete_config(Scope::Global, "url").await.expect("asked"));
        }
    }
    rivals.agree().await;
}

async fn a_value_that_is_set_and_deleted_is_there_or_not(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let now = rivals.bed.now();
        let (id, new) = (ConfigId::from_uuid(rivals.bed.uuid()), ConfigId::from_uuid(rivals.bed.uuid()));
        rivals.bed.store.put_config(id, &config("old"), user_id(1), now).await.expect("stored");
        let (one, other) = rivals.sides();
        let ((), deleted) = at_once(
            turn,
            async move { one.store.put_config(new, &config("new"), user_id(1), now).await.expect("stored") },
            async move { other.store.delete_config(Scope::Global, "url").await },
        )
        .await;
        assert!(deleted.expect("asked"), "there was one at any time");
        let kept = rivals.bed.reader.list_configs(Scope::Global).await.expect("read");
        assert!(kept.is_empty() || kept == [config("new")], "{kept:?}");
        rivals.bed.store.delete_config(Scope::Global, "url").await.expect("asked");
    }
    rivals.agree().await;
}
