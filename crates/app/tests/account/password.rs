//! The own password: what changing it ends, and hashes of older parameters.

use crate::{World, code_of, permit, settings};
use bifrost_app::auth::{AuthSettings, Client, SignIn, TokenPair};
use bifrost_domain::error::{Error, Kind};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::ExposeSecret;
use std::sync::Arc;

on_both_databases![
    a_changed_password_ends_everything_else,
    of_two_changes_one_counts,
    a_hash_of_older_parameters_is_replaced_at_the_next_sign_in,
    a_hundred_sign_ins_at_once_are_all_answered,
];

const NEW: &str = "a long new password";

async fn change(world: &World, pair: &TokenPair, current: &str, new: &str) -> Result<TokenPair, Error> {
    let state = world.state(pair).await?;
    let client = Client::default();
    let permit = permit(&state);
    world.auth.change_password(&permit, &state.user, current.into(), new.into(), &client).await
}

async fn a_changed_password_ends_everything_else(db: TestDatabase) {
    let here = World::new(&db, settings()).await;
    let there = World::replica(&db, settings(), here.clock.clone());
    let (own, other) = (here.session().await, here.session().await);
    assert!(there.holds(&own).await && there.holds(&other).await);
    for (current, new, kind) in [
        ("wrong", NEW, Kind::BadRequest),
        ("admin", "short", Kind::Invalid),
        ("admin", "password123", Kind::Invalid),
        ("admin", "admin@localhost", Kind::Invalid),
        ("admin", "Developer1", Kind::Invalid),
        (&"p".repeat(1025), NEW, Kind::Invalid),
    ] {
        assert_eq!(change(&here, &own, current, new).await.expect_err(new).kind, kind, "{new}");
    }
    assert!(here.holds(&other).await, "a refusal ends nothing");

    let next = change(&here, &own, "admin", NEW).await.expect("changed");
    assert!(here.holds(&next).await, "the session goes on with the new pair");
    for (name, pair) in [("the old pair", &own), ("the other session", &other)] {
        assert!(!here.holds(pair).await, "{name} here at once");
        let refreshed = here.auth.refresh(pair.refresh_token.expose_secret(), &Client::default()).await;
        assert_eq!(refreshed.expect_err(name).kind, Kind::Unauthenticated);
    }
    there.clock.advance(Duration::seconds(1));
    assert!(!there.holds(&own).await && !there.holds(&other).await, "elsewhere within a second");
    assert!(there.holds(&next).await);
    let refreshed = here.auth.refresh(next.refresh_token.expose_secret(), &Client::default()).await;
    assert!(here.holds(&refreshed.expect("it goes on")).await);
    let old = here.auth.login("admin@localhost", "admin".into(), None, &Client::default()).await;
    assert_eq!(old.expect_err("the old one").kind, Kind::Unauthenticated);
    assert!(here.auth.login("admin@localhost", NEW.into(), None, &Client::default()).await.is_ok());
}

async fn of_two_changes_one_counts(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..2 {
        let (world, pair) = (Arc::clone(&world), world.session().await);
        tries.spawn(async move {
            let new = format!("{NEW} {number}");
            change(&world, &pair, "admin", &new).await.map(|_| new).map_err(|error| code_of(&error))
        });
    }
    let outcomes = tries.join_all().await;
    let counted: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(counted.len(), 1, "{outcomes:?}");
    let client = Client::default();
    assert!(world.auth.login("admin@localhost", counted[0].as_str().into(), None, &client).await.is_ok());
}

async fn a_hash_of_older_parameters_is_replaced_at_the_next_sign_in(db: TestDatabase) {
    let old = World::new(&db, settings()).await;
    let session = old.session().await;
    let id = old.state(&session).await.expect("signed in").user.id;
    let reader = db.store().reader();
    let hash = async || reader.find_password_hash(id).await.expect("read").expect("a hash");
    let before = hash().await;
    assert!(before.expose_secret().contains("$m=8192,t=1,p=1$"), "{}", before.expose_secret());

    let newer = AuthSettings { argon2_memory_kib: 9 * 1024, argon2_passes: 2, ..settings() };
    let new = World::replica(&db, newer, old.clock.clone());
    let wrong = new.auth.login("admin@localhost", "wrong".into(), None, &Client::default()).await;
    assert!(
        wrong.is_err() && hash().await.expose_secret() == before.expose_secret(),
        "a wrong one replaces nothing"
    );
    assert!(matches!(new.sign_in(None).await, SignIn::Session(_)), "the old hash fits still");
    let after = hash().await;
    assert!(after.expose_secret().contains("$m=9216,t=2,p=1$"), "{}", after.expose_secret());
    assert!(matches!(new.sign_in(None).await, SignIn::Session(_)));
    assert_eq!(hash().await.expose_secret(), after.expose_secret(), "once");
    assert!(new.holds(&session).await, "no session ends by it");
}

async fn a_hundred_sign_ins_at_once_are_all_answered(db: TestDatabase) {
    let world = World::new(&db, AuthSettings { password_concurrency: 2, ..settings() }).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..100 {
        let world = Arc::clone(&world);
        tries.spawn(async move {
            let password = if number % 2 == 0 { "admin" } else { "wrong" };
            world.auth.login("admin@localhost", password.into(), None, &Client::default()).await
        });
    }
    let outcomes = tries.join_all().await;
    let refused: Vec<&Error> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!((outcomes.len(), refused.len()), (100, 50));
    assert!(refused.iter().all(|error| error.kind == Kind::Unauthenticated), "{refused:?}");
}
