//! A second factor that is required: what a session without one may do, and how it gets one.

use crate::{World, code_of, permit, settings};
use bifrost_app::auth::{AuthSettings, Client, DevicePoll, SignIn, TokenPair};
use bifrost_domain::{
    error::{Error, Kind},
    policy::{
        Caller, Permit,
        actions::{ShowFactor, UseAccount},
        authorize,
    },
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::ExposeSecret;
use std::sync::Arc;

on_both_databases![
    a_session_without_a_factor_owes_it_when_it_is_required,
    a_browser_that_is_trusted_has_shown_a_factor,
    a_program_is_let_in_with_the_factor_of_who_let_it_in,
    a_session_of_before_there_were_ends_is_not_refreshed_for_ever,
];

/// A process that requires a factor, beside one that does not.
fn strict(world: &World, db: &TestDatabase) -> Arc<World> {
    World::replica(db, AuthSettings { mfa_required: true, ..settings() }, world.clock.clone())
}

/// Whether the session may do what everybody may; the answer to who may not.
async fn may(world: &World, pair: &TokenPair) -> Result<(), Error> {
    authorize::<UseAccount>(&caller(world, pair).await?).map(drop)
}

async fn caller(world: &World, pair: &TokenPair) -> Result<Caller, Error> {
    Caller::of_session(&world.state(pair).await?, None)
}

async fn owes(world: &World, pair: &TokenPair) -> bool {
    match may(world, pair).await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!((error.kind, code_of(&error)), (Kind::Forbidden, "mfa_required"));
            true
        }
    }
}

async fn a_session_without_a_factor_owes_it_when_it_is_required(db: TestDatabase) {
    let lax = World::new(&db, settings()).await;
    let (here, there) = (strict(&lax, &db), strict(&lax, &db));
    let client = Client::default();
    let (one, other) = (lax.session().await, lax.session().await);
    assert!(!owes(&lax, &one).await, "nobody asks for one");
    assert!(owes(&here, &one).await && owes(&there, &one).await && owes(&here, &other).await);
    let ticket = lax.auth.issue_ticket(&caller(&lax, &one).await.expect("a caller")).await.expect("a ticket");
    let redeemed = here.auth.redeem_ticket(&ticket).await.expect("a caller");
    assert!(redeemed.owes_factor, "a ticket brings nobody around it");
    let before = caller(&lax, &one).await.expect("a caller");
    assert!(!here.auth.has_rights_still(&before).await.expect("asked"), "a live connection ends");
    let refreshed = here.auth.refresh(one.refresh_token.expose_secret(), &client).await.expect("goes on");
    assert!(owes(&here, &refreshed).await, "a refresh shows no factor");

    // Enrolling shows one, for this session alone, and at once everywhere.
    let state = here.state(&refreshed).await.expect("signed in");
    let (subject, secret) = here.set_up(&state).await.expect("set up");
    let secret = secret.as_str();
    let enrolled = here.mfa.confirm(subject, &here.code(secret), &client).await.expect("enrolled");
    assert!(!owes(&here, &enrolled.pair).await && !owes(&there, &enrolled.pair).await);

    // The other session shows a code.
    let state = here.state(&other).await.expect("signed in");
    let way: Permit<ShowFactor> =
        authorize(&caller(&here, &other).await.expect("a caller")).expect("the way");
    let prove = async |code: &str| here.mfa.prove(&way, &state.user, code, &client).await;
    for wrong in [here.wrong(secret), here.code(secret), "nonsense".to_owned()] {
        assert_eq!(code_of(&prove(&wrong).await.expect_err("wrong, or used")), "mfa_code_invalid");
    }
    assert!(owes(&here, &other).await);
    here.clock.advance(Duration::seconds(30));
    prove(&here.code(secret)).await.expect("shown");
    assert!(!owes(&here, &other).await && !owes(&there, &other).await);
    let refreshed = here.auth.refresh(other.refresh_token.expose_secret(), &client).await.expect("goes on");
    assert!(!owes(&here, &refreshed).await, "and it stays shown");
    let changed = here
        .auth
        .change_password(
            &permit(&here.state(&refreshed).await.expect("signed in")),
            &state.user,
            "admin".into(),
            "a long new password".into(),
            &client,
        )
        .await
        .expect("changed");
    assert!(!owes(&here, &changed).await);
    let ended = prove(&enrolled.recovery_codes[0]).await;
    assert!(ended.is_ok(), "the session that goes on may show another one: {ended:?}");
    here.auth.logout(&here.state(&changed).await.expect("signed in"), &client).await.expect("signed out");
    let ended = prove(&enrolled.recovery_codes[1]).await.expect_err("it has ended");
    assert_eq!(ended.kind, Kind::Unauthenticated);
}

async fn a_browser_that_is_trusted_has_shown_a_factor(db: TestDatabase) {
    let lax = World::new(&db, settings()).await;
    let here = strict(&lax, &db);
    let (_, codes) = lax.enrol().await;
    let token = lax.challenge().await;
    let passed = lax.mfa.pass(token.expose_secret(), &codes[0], true, &Client::default()).await.expect("in");
    assert!(!owes(&here, &passed.pair).await, "a code was shown before one was required");
    let device = passed.device.expect("a secret");
    let SignIn::Session(pair) = here.sign_in(Some(device.expose_secret())).await else {
        panic!("a code was asked for")
    };
    assert!(!owes(&here, &pair).await);
}

async fn a_program_is_let_in_with_the_factor_of_who_let_it_in(db: TestDatabase) {
    let lax = World::new(&db, settings()).await;
    let here = strict(&lax, &db);
    let client = Client::default();
    let let_in = async |pair: &TokenPair| {
        let state = lax.state(pair).await.expect("signed in");
        let asked = lax.auth.request_device(None, &client).await.expect("asked");
        let letters = asked.user_code.as_str();
        lax.auth.decide_device(&permit(&state), &state.user, letters, true, &client).await.expect("approved");
        match lax.auth.poll_device(asked.device_code.expose_secret(), &client).await.expect("answered") {
            DevicePoll::SignedIn(pair) => pair,
            answer => panic!("{answer:?}"),
        }
    };
    let program = let_in(&lax.session().await).await;
    assert!(!owes(&lax, &program).await && owes(&here, &program).await, "nobody has shown one");
    let (_, codes) = lax.enrol().await;
    let token = lax.challenge().await;
    let passed = lax.mfa.pass(token.expose_secret(), &codes[0], false, &client).await.expect("in");
    let program = let_in(&passed.pair).await;
    assert!(!owes(&here, &program).await);
}

async fn a_session_of_before_there_were_ends_is_not_refreshed_for_ever(db: TestDatabase) {
    use bifrost_migration::sea_orm::ConnectionTrait;

    let world = World::new(&db, settings()).await;
    let mut pair = world.session().await;
    let sql = "UPDATE sessions SET ends_at = NULL";
    db.db().migration_connection().execute_unprepared(sql).await.expect("as an older program wrote it");
    let state = world.state(&pair).await.expect("it holds");
    let end = async || {
        let found = db.store().reader().find_session(state.session_id).await.expect("read").expect("there");
        (found.expires_at, found.ends_at)
    };
    let (expires_at, ends_at) = end().await;
    assert_eq!(expires_at, ends_at);
    let client = Client::default();
    for _ in 0..6 {
        world.clock.advance(Duration::days(1));
        pair = world.auth.refresh(pair.refresh_token.expose_secret(), &client).await.expect("goes on");
        assert!(world.holds(&pair).await);
        assert_eq!(end().await, (expires_at, ends_at), "its end stays where it was");
    }
    world.clock.advance(Duration::days(1));
    assert!(!world.holds(&pair).await, "seven days are over");
    let late = world.auth.refresh(pair.refresh_token.expose_secret(), &client).await;
    assert_eq!(late.expect_err("it has ended").kind, Kind::Unauthenticated);
}
