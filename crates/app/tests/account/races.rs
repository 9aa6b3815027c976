//! What is done to one account at the same time: nobody waits for one who waits for him.

use crate::{World, permit, settings};
use bifrost_app::{
    auth::{AuthSettings, Client, SignIn, TokenPair, mfa::Proof},
    users::{UserPatch, Users},
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    error::{Error, Kind},
    ids::UserId,
    policy::{
        Caller,
        actions::{RevokeSessions, WriteUsers},
        authorize,
    },
    user::{User, UserType},
};
use bifrost_test_support::{TestDatabase, on_both_databases, password_hash};
use chrono::Duration;
use secrecy::ExposeSecret;
use std::sync::Arc;
use tokio::{sync::Barrier, task::JoinSet};

on_both_databases![changes_of_one_account_wait_for_each_other_in_one_order];

const PASSWORD: &str = "a long password";

/// All of them begin together; each succeeds or is refused for a reason of its own. A deadlock would be neither.
struct Together {
    tries: JoinSet<()>,
    start: Arc<Barrier>,
}

impl Together {
    fn add(&mut self, name: &'static str, attempt: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let start = Arc::clone(&self.start);
        self.tries.spawn(async move {
            start.wait().await;
            if let Err(error) = attempt.await {
                assert!(!matches!(error.kind, Kind::Internal | Kind::Unavailable), "{name}: {error:?}");
            }
        });
    }
}

fn person(world: &World, number: u32) -> User {
    let now = world.clock.now();
    User {
        id: UserId::from_uuid(SystemIds.next()),
        email: format!("p{number}@acme.example"),
        name: None,
        user_type: UserType::Platform,
        organization_id: None,
        is_active: true,
        is_superuser: false,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

async fn sign_in(world: &World, email: &str) -> Result<SignIn, Error> {
    world.auth.login(email, PASSWORD.into(), None, &Client::default()).await
}

async fn session(world: &World, email: &str) -> TokenPair {
    match sign_in(world, email).await.expect("the right password") {
        SignIn::Session(pair) => pair,
        SignIn::SecondFactor(challenge) => panic!("{challenge:?}"),
    }
}

async fn changes_of_one_account_wait_for_each_other_in_one_order(db: TestDatabase) {
    let world = World::new(&db, AuthSettings { argon2_memory_kib: 8, ..settings() }).await;
    let (clock, ids) = (world.clock.clone(), Arc::new(SystemIds));
    let users = Users::new(db.store(), Arc::clone(&world.auth), clock, ids, Duration::days(30));
    let admin = world.state(&world.session().await).await.expect("signed in");
    let admin = Caller::of_session(&admin, None).expect("a caller");
    let hash = password_hash(PASSWORD);
    // On SQLite there is one writer: nothing to find, but that all of it goes together.
    let rounds = if db.db().is_postgres() { 200 } else { 10 };
    for round in 0..rounds {
        let user = person(&world, round);
        let tx = db.store().db().begin().await.expect("begin");
        tx.insert_user(&user, Some(&hash)).await.expect("a person");
        tx.commit().await.expect("commit");
        let (one, other) = (session(&world, &user.email).await, session(&world, &user.email).await);
        let state = world.state(&one).await.expect("signed in");
        let (subject, secret) = world.set_up(&state).await.expect("set up");
        let code = world.code(&secret);

        let enrolled = round % 2 == 1;
        let count = if enrolled { 8 } else { 7 };
        let mut together = Together { tries: JoinSet::new(), start: Arc::new(Barrier::new(count)) };
        if enrolled {
            let codes = world.mfa.confirm(subject, &code, &Client::default()).await.expect("enrolled");
            let SignIn::SecondFactor(challenge) = sign_in(&world, &user.email).await.expect("right") else {
                panic!("no code was asked for")
            };
            let (here, [remove, pass]) =
                (Arc::clone(&world), [0, 1].map(|n| codes.recovery_codes[n].clone()));
            let (own, somebody) = (permit(&state), user.clone());
            together.add("remove", async move {
                here.mfa.remove(&own, &somebody, Proof::Code(remove), &Client::default()).await
            });
            let here = Arc::clone(&world);
            together.add("pass", async move {
                let token = challenge.token.expose_secret();
                here.mfa.pass(token, &pass, true, &Client::default()).await.map(drop)
            });
        } else {
            let here = Arc::clone(&world);
            together.add("confirm", async move {
                here.mfa.confirm(subject, &code, &Client::default()).await.map(drop)
            });
        }
        let (here, own, somebody) = (Arc::clone(&world), permit(&state), user.clone());
        together.add("change the password", async move {
            let new = "another long password".into();
            here.auth
                .change_password(&own, &somebody, PASSWORD.into(), new, &Client::default())
                .await
                .map(drop)
        });
        let (here, own) = (Arc::clone(&world), permit(&state));
        together.add("end the own sessions", async move {
            here.auth.end_sessions(&own, own.caller(), &Client::default()).await.map(drop)
        });
        let (here, email) = (Arc::clone(&world), user.email.clone());
        together.add("sign in", async move { sign_in(&here, &email).await.map(drop) });
        let here = Arc::clone(&world);
        together.add("refresh", async move {
            here.auth.refresh(other.refresh_token.expose_secret(), &Client::default()).await.map(drop)
        });
        let (here, may) = (users.clone(), authorize::<RevokeSessions>(&admin).expect("an admin may"));
        together.add("revoke", async move {
            here.revoke_sessions(&may, user.id, &Client::default()).await.map(drop)
        });
        let (here, may) = (users.clone(), authorize::<WriteUsers>(&admin).expect("an admin may"));
        together.add("change the address", async move {
            let patch = UserPatch { email: Some(format!("q{round}@acme.example")), ..UserPatch::default() };
            here.update(&may, user.id, patch, &Client::default()).await.map(drop)
        });
        together.tries.join_all().await;
    }
}
