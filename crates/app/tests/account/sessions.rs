//! The own sessions, seen and ended on two replicas.

use crate::{World, permit, settings};
use bifrost_app::auth::{AuthSettings, Client, DevicePoll, SignIn};
use bifrost_domain::{error::Kind, policy::Caller};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::ExposeSecret;

on_both_databases![
    own_sessions_are_seen_and_ended,
    all_own_sessions_end_at_once,
    what_a_session_lets_in_ends_no_later_than_it,
    an_approval_ends_with_the_session_that_gave_it
];

async fn own_sessions_are_seen_and_ended(db: TestDatabase) {
    let here = World::new(&db, settings()).await;
    let there = World::replica(&db, settings(), here.clock.clone());
    let client =
        Client { user_agent: Some("x".repeat(600)), ip: Some([192, 0, 2, 7].into()), ..Client::default() };
    let (own, other) = (here.session().await, here.session().await);
    let signed_in = here.auth.login("admin@localhost", "admin".into(), None, &client).await.expect("in");
    assert!(matches!(signed_in, SignIn::Session(_)));
    let state = here.state(&own).await.expect("signed in");
    let caller = Caller::of_session(&state, None).expect("a caller");
    let list = async || here.auth.list_sessions(&permit(&state), None, 100).await.expect("a list").sessions;
    let sessions = list().await;
    assert_eq!(sessions.len(), 3);
    assert!(sessions.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    assert_eq!(sessions[0].ip_address.as_deref(), Some("192.0.2.7"));
    assert_eq!(sessions[0].user_agent.as_ref().map(String::len), Some(512), "cut");
    let page = here.auth.list_sessions(&permit(&state), Some(sessions[0].id), 1).await.expect("a page");
    assert_eq!((page.sessions.len(), page.sessions[0].id, page.more), (1, sessions[1].id, true));

    let ended = here.state(&other).await.expect("signed in").session_id;
    assert!(there.holds(&other).await);
    here.auth.end_session(&permit(&state), &caller, ended, &client).await.expect("ended");
    assert!(!here.holds(&other).await, "here at once");
    there.clock.advance(Duration::seconds(1));
    assert!(!there.holds(&other).await, "elsewhere within a second");
    assert!(here.auth.refresh(other.refresh_token.expose_secret(), &client).await.is_err());
    let again = here.auth.end_session(&permit(&state), &caller, ended, &client).await;
    assert_eq!(again.expect_err("it has ended").kind, Kind::NotFound);
    assert_eq!(list().await.len(), 2);
    here.clock.advance(Duration::days(7));
    assert!(list().await.is_empty(), "what ran out is not listed");
}

async fn all_own_sessions_end_at_once(db: TestDatabase) {
    let here = World::new(&db, settings()).await;
    let there = World::replica(&db, settings(), here.clock.clone());
    let (own, other) = (here.session().await, here.session().await);
    let state = here.state(&own).await.expect("signed in");
    let caller = Caller::of_session(&state, None).expect("a caller");
    assert!(there.holds(&own).await && there.holds(&other).await);
    let client = Client::default();
    let ended = here.auth.end_sessions(&permit(&state), &caller, &client).await.expect("ended");
    assert_eq!(ended, 2);
    assert!(!here.holds(&own).await && !here.holds(&other).await);
    there.clock.advance(Duration::seconds(1));
    assert!(!there.holds(&own).await && !there.holds(&other).await);
    let again = here.auth.end_sessions(&permit(&state), &caller, &client).await.expect("nothing to end");
    assert_eq!(again, 0);
    assert!(here.holds(&here.session().await).await, "signing in goes on");
}

async fn what_a_session_lets_in_ends_no_later_than_it(db: TestDatabase) {
    let settings = AuthSettings { session_ttl: std::time::Duration::from_secs(2 * 60 * 60), ..settings() };
    let world = World::new(&db, settings).await;
    let first = world.session().await;
    world.clock.advance(Duration::minutes(20));
    let device = world.device(&world.state(&first).await.expect("signed in")).await.expect("let in");
    let next = world.device(&world.state(&device).await.expect("signed in")).await;
    assert_eq!(next.expect_err("nobody is there").code, Some("sign_in_again"));
    world.clock.advance(Duration::minutes(95));
    let client = Client::default();
    let mut pairs = Vec::new();
    for pair in [&first, &device] {
        pairs.push(world.auth.refresh(pair.refresh_token.expose_secret(), &client).await.expect("goes on"));
    }
    assert!(world.holds(&pairs[1]).await);
    world.clock.advance(Duration::minutes(6));
    for pair in &pairs {
        assert!(!world.holds(pair).await);
        assert!(world.auth.refresh(pair.refresh_token.expose_secret(), &client).await.is_err());
    }
}

async fn an_approval_ends_with_the_session_that_gave_it(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let client = Client::default();
    let (first, second) = (world.session().await, world.session().await);
    let state = world.state(&first).await.expect("signed in");
    let asked = world.auth.request_device(None, &client).await.expect("asked");
    world
        .auth
        .decide_device(&permit(&state), &state.user, &asked.user_code, true, &client)
        .await
        .expect("approved");
    let caller = Caller::of_session(&state, None).expect("a caller");
    let other = world.state(&second).await.expect("signed in");
    world.auth.end_session(&permit(&other), &caller, state.session_id, &client).await.expect("ended");
    let answer = world.auth.poll_device(asked.device_code.expose_secret(), &client).await;
    assert!(matches!(answer, Ok(DevicePoll::Denied)), "{answer:?}");
}
