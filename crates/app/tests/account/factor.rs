//! Codes, recovery codes, challenges and trusted devices.

use crate::{World, code_of, permit, settings, way};
use bifrost_app::auth::{AuthSettings, Client, SignIn, mfa::Proof};
use bifrost_domain::{
    error::{Error, Kind},
    policy::{Caller, authorize},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

on_both_databases![
    a_code_opens_a_session_and_is_used_once,
    one_code_shown_by_many_opens_one_session,
    a_recovery_code_is_used_by_one_of_many,
    five_codes_are_looked_at_for_a_challenge_however_many_try,
    ten_wrong_codes_close_the_way_for_a_while,
    one_enrolment_of_many_counts,
    who_has_found_a_session_sets_up_no_factor,
    a_required_factor_is_set_up_on_the_way_in,
    a_trusted_device_needs_no_code_until_it_is_forgotten,
    removing_needs_a_proof,
];

async fn pass(world: &World, token: &SecretString, code: &str) -> Result<(), &'static str> {
    let passed = world.mfa.pass(token.expose_secret(), code, false, &Client::default()).await;
    passed.map(drop).map_err(|error| code_of(&error))
}

async fn a_code_opens_a_session_and_is_used_once(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (secret, _) = world.enrol().await;
    let token = world.challenge().await;
    assert_eq!(
        pass(&world, &token, &world.code(&secret)).await,
        Err("mfa_code_invalid"),
        "enrolling used it"
    );
    world.clock.advance(Duration::seconds(30));
    let code = world.code(&secret);
    let passed = world.mfa.pass(token.expose_secret(), &code, false, &Client::default()).await;
    assert!(world.holds(&passed.expect("in").pair).await);
    assert_eq!(pass(&world, &token, &code).await, Err("token_invalid"), "a challenge is answered once");
    let next = world.challenge().await;
    assert_eq!(pass(&world, &next, &code).await, Err("mfa_code_invalid"), "and a code counts once");
    world.clock.advance(Duration::seconds(300));
    assert_eq!(pass(&world, &next, &world.code(&secret)).await, Err("token_invalid"), "it ran out");
}

async fn one_code_shown_by_many_opens_one_session(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (secret, _) = world.enrol().await;
    world.clock.advance(Duration::seconds(30));
    let code = world.code(&secret);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (world, code, token) = (Arc::clone(&world), code.clone(), world.challenge().await);
        tries.spawn(async move { pass(&world, &token, &code).await });
    }
    let outcomes = tries.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}

async fn a_recovery_code_is_used_by_one_of_many(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (_, codes) = world.enrol().await;
    assert_eq!(codes.len(), 10);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (world, code, token) = (Arc::clone(&world), codes[3].clone(), world.challenge().await);
        tries.spawn(async move { pass(&world, &token, &code).await });
    }
    let mut outcomes = tries.join_all().await;
    outcomes.sort();
    assert_eq!(outcomes, [Ok(()), Err("mfa_code_invalid")]);
    let token = world.challenge().await;
    assert_eq!(pass(&world, &token, &codes[4].to_uppercase().replace('-', " ")).await, Ok(()));
    let token = world.challenge().await;
    let passed = world.mfa.pass(token.expose_secret(), &codes[5], false, &Client::default()).await;
    let state = world.state(&passed.expect("in").pair).await.expect("signed in");
    let way = authorize(&Caller::of_session(&state, None).expect("a caller")).expect("everybody may");
    let status = world.mfa.status(&way, &state.rights).await.expect("a status");
    assert_eq!((status.recovery_codes_left, status.recovery_codes), (7, 10));
}

async fn five_codes_are_looked_at_for_a_challenge_however_many_try(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (secret, _) = world.enrol().await;
    let token = Arc::new(world.challenge().await);
    let wrong = world.wrong(&secret);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (world, token, wrong) = (Arc::clone(&world), Arc::clone(&token), wrong.clone());
        tries.spawn(async move { pass(&world, &token, &wrong).await.expect_err("a wrong code") });
    }
    let outcomes = tries.join_all().await;
    let looked_at = outcomes.iter().filter(|code| **code == "mfa_code_invalid").count();
    assert_eq!(looked_at, 5, "{outcomes:?}");
    assert!(outcomes.iter().all(|code| ["mfa_code_invalid", "token_invalid"].contains(code)), "{outcomes:?}");
    world.clock.advance(Duration::seconds(60));
    assert_eq!(pass(&world, &token, &world.code(&secret)).await, Err("token_invalid"), "it has ended");
    let token = world.challenge().await;
    assert_eq!(pass(&world, &token, &world.code(&secret)).await, Ok(()), "another sign-in goes on");
}

async fn ten_wrong_codes_close_the_way_for_a_while(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (secret, codes) = world.enrol().await;
    for _ in 0..2 {
        let token = world.challenge().await;
        for _ in 0..5 {
            assert_eq!(pass(&world, &token, &world.wrong(&secret)).await, Err("mfa_code_invalid"));
        }
    }
    world.clock.advance(Duration::seconds(60));
    for code in [world.code(&secret), codes[0].clone()] {
        let token = world.challenge().await;
        let refused = world.mfa.pass(token.expose_secret(), &code, false, &Client::default()).await;
        let error = refused.expect_err("too often");
        assert_eq!(error.kind, Kind::TooMany { retry_after_seconds: 900 });
    }
    world.clock.advance(Duration::minutes(15));
    let token = world.challenge().await;
    assert_eq!(pass(&world, &token, &codes[0]).await, Ok(()), "nothing was used up");
}

async fn one_enrolment_of_many_counts(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let client = Client::default();
    let mut subjects = Vec::new();
    for _ in 0..4 {
        let state = world.state(&world.session().await).await.expect("signed in");
        subjects.push(world.mfa.signed_in(state.user, Some(state.session_id)).await.expect("a subject"));
    }
    let nothing = world.mfa.confirm(subjects.pop().expect("four"), "123456", &client).await;
    assert_eq!(code_of(&nothing.expect_err("nothing is set up")), "mfa_not_enrolled");
    let state = world.state(&world.session().await).await.expect("signed in");
    let (_, first) = world.set_up(&state).await.expect("set up");
    let (_, second) = world.set_up(&state).await.expect("set up again");
    assert_ne!(first, second);
    let code = world.code(&second);
    let mut tries = tokio::task::JoinSet::new();
    for subject in subjects {
        let (world, code) = (Arc::clone(&world), code.clone());
        tries.spawn(async move {
            let enrolled = world.mfa.confirm(subject, &code, &Client::default()).await;
            enrolled.map(|enrolled| enrolled.recovery_codes).map_err(|error| code_of(&error))
        });
    }
    let outcomes = tries.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err("mfa_enrolled")).count(), 2, "{outcomes:?}");
    let codes = outcomes.into_iter().find_map(Result::ok).expect("one");
    let token = world.challenge().await;
    assert_eq!(pass(&world, &token, &codes[0]).await, Ok(()), "the codes are those of the one that counts");
}

async fn a_required_factor_is_set_up_on_the_way_in(db: TestDatabase) {
    let world = World::new(&db, AuthSettings { mfa_required: true, ..settings() }).await;
    assert!(world.auth.status().await.expect("a status").mfa_required_for_password);
    let client = Client::default();
    let SignIn::SecondFactor(challenge) = world.sign_in(None).await else {
        panic!("no factor was asked for")
    };
    assert!(!challenge.is_enrolled);
    let token = challenge.token.expose_secret();
    assert_eq!(pass(&world, &challenge.token, "123456").await, Err("mfa_not_enrolled"));
    assert!(world.auth.authenticate_bearer(token).await.is_err(), "it is no access token");
    assert!(world.auth.refresh(token, &client).await.is_err(), "nor a refresh token");

    let subject = world.mfa.waiting(token).await.expect("a subject");
    let secret = world.mfa.set_up(&subject, None, &client).await.expect("set up").secret;
    let enrolled = world.mfa.confirm(subject, &world.code(secret.expose_secret()), &client).await;
    assert!(world.holds(&enrolled.expect("enrolled").pair).await);
    assert!(world.mfa.waiting(token).await.is_ok(), "the token is signed still");
    let subject = world.mfa.waiting(token).await.expect("a subject");
    let again = world.mfa.set_up(&subject, None, &client).await.expect_err("it was answered");
    assert_eq!(again.kind, Kind::Unauthenticated);

    // Who knows the password alone cannot put a factor of his in place of the one that is asked for.
    let other = world.challenge().await;
    let subject = world.mfa.waiting(other.expose_secret()).await.expect("a subject");
    let refused = world.mfa.set_up(&subject, None, &client).await.expect_err("there is one");
    assert_eq!(code_of(&refused), "mfa_enrolled");
    let refused = world.mfa.confirm(subject, &world.code(secret.expose_secret()), &client).await;
    assert_eq!(code_of(&refused.expect_err("there is one")), "mfa_enrolled");
}

async fn a_trusted_device_needs_no_code_until_it_is_forgotten(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let (_, codes) = world.enrol().await;
    let client = Client { user_agent: Some("a browser".into()), ..Client::default() };
    let trust = async |code: &str| {
        let token = world.challenge().await;
        let passed = world.mfa.pass(token.expose_secret(), code, true, &client).await.expect("in");
        (passed.device.expect("a secret").expose_secret().to_owned(), passed.pair)
    };
    let is_trusted = async |device: &str| matches!(world.sign_in(Some(device)).await, SignIn::Session(_));
    let (first, pair) = trust(&codes[0]).await;
    assert!(is_trusted(&first).await && is_trusted(&first).await, "every time");
    for other in ["", "a browser", &first[1..], &"A".repeat(43)] {
        assert!(!is_trusted(other).await, "{other}");
    }
    let state = world.state(&pair).await.expect("signed in");
    let devices = world.mfa.list_devices(&permit(&state)).await.expect("a list");
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0].user_agent.as_deref(), Some("a browser"));
    let forget = async |id| world.mfa.forget_devices(&permit(&state), &state.user, id, &client).await;
    assert_eq!(forget(Some(devices[0].id)).await.expect("forgotten"), 1);
    assert_eq!(forget(Some(devices[0].id)).await.expect_err("gone").kind, Kind::NotFound);
    assert!(!is_trusted(&first).await);

    let (second, _) = trust(&codes[1]).await;
    world.clock.advance(Duration::days(30) - Duration::seconds(1));
    assert!(is_trusted(&second).await);
    world.clock.advance(Duration::seconds(1));
    assert!(!is_trusted(&second).await, "thirty days are over");

    let (third, pair) = trust(&codes[2]).await;
    let state = world.state(&pair).await.expect("signed in");
    let tx = db.store().db().begin().await.expect("begin");
    tx.set_user_active(state.user.id, true, state.user.updated_at).await.expect("the epoch is raised");
    tx.commit().await.expect("commit");
    assert!(!is_trusted(&third).await, "the account had an incident");
}

async fn removing_needs_a_proof(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let client = Client::default();
    let state = world.state(&world.session().await).await.expect("signed in");
    let remove = async |proof| world.mfa.remove(&permit(&state), &state.user, proof, &client).await;
    let none = remove(Proof::Password("admin".into())).await.expect_err("there is none");
    assert_eq!(code_of(&none), "mfa_not_enrolled");
    let (secret, codes) = world.enrol().await;
    for (proof, expected) in [
        (Proof::Password("wrong".into()), "password_wrong"),
        (Proof::Code(world.wrong(&secret)), "mfa_code_invalid"),
        (Proof::Code("nonsense".into()), "mfa_code_invalid"),
    ] {
        assert_eq!(code_of(&remove(proof).await.expect_err(expected)), expected);
    }
    let (own, proof) = (permit(&state), Proof::Code(codes[0].clone()));
    let renewed = world.mfa.renew_recovery_codes(&own, &state.user, proof, &client).await.expect("renewed");
    assert_eq!(code_of(&remove(Proof::Code(codes[1].clone())).await.expect_err("old")), "mfa_code_invalid");
    remove(Proof::Code(renewed[0].clone())).await.expect("removed");
    assert!(matches!(world.sign_in(None).await, SignIn::Session(_)), "no code is asked for");
    world.enrol().await;
    remove(Proof::Password("admin".into())).await.expect("removed");
    assert!(matches!(world.sign_in(None).await, SignIn::Session(_)));
}

async fn who_has_found_a_session_sets_up_no_factor(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let client = Client::default();
    let old = world.state(&world.session().await).await.expect("signed in");
    world.clock.advance(Duration::minutes(9));
    let device = world.state(&world.device(&old).await.expect("let in")).await.expect("signed in");
    world.set_up(&old).await.expect("its person was there nine minutes ago");
    let refused = world.set_up(&device).await.expect_err("nobody was there when it began");
    assert_eq!(code_of_field(&refused), "password required");
    world.clock.advance(Duration::minutes(1));
    let later = world.state(&world.device(&old).await.expect("let in")).await.expect("signed in");
    for state in [&old, &device, &later] {
        assert_eq!(code_of_field(&world.set_up(state).await.expect_err("too long ago")), "password required");
        let subject = world.mfa.signed_in(state.user.clone(), Some(state.session_id)).await.expect("one");
        let shown = world.mfa.set_up(&subject, None, &client).await;
        assert_eq!(code_of(&shown.expect_err("nothing was shown")), "sign_in_again");
    }
    let show = async |password: &str| {
        world.mfa.freshen_to_enrol(&way(&old), &old, Some(password.into()), &client).await
    };
    assert_eq!(code_of(&show("wrong").await.expect_err("it is another")), "password_wrong");
    let fresh = show("admin").await.expect("it is");
    let others = world.mfa.signed_in(later.user.clone(), Some(later.session_id)).await.expect("one");
    let refused = world.mfa.set_up(&others, Some(&fresh), &client).await;
    assert_eq!(code_of(&refused.expect_err("that was another session")), "sign_in_again");
    let subject = world.mfa.signed_in(old.user.clone(), Some(old.session_id)).await.expect("one");
    world.mfa.set_up(&subject, Some(&fresh), &client).await.expect("set up");
    let nobody = world.mfa.signed_in(old.user.clone(), None).await;
    assert_eq!(code_of(&nobody.expect_err("no session")), "session_required");
}

/// Path and code of the one field that is wrong.
fn code_of_field(error: &Error) -> String {
    match &error.kind {
        Kind::Invalid => error.fields.iter().map(|field| format!("{} {}", field.path, field.code)).collect(),
        _ => format!("{error:?}"),
    }
}
