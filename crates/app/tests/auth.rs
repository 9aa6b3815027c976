//! Sign-in over a real store: passwords, rotation of refresh tokens, registration, accounts of the first start.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

use bifrost_app::{
    auth::{Auth, AuthSettings, Client, DevUser, Environment, NewAccount, SYSTEM_EMAIL, SignIn, TokenPair},
    organizations::{NewOrganization, Organizations},
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    error::{Error, Kind},
    ids::UserId,
    organization::{OrganizationKind, OrganizationPatch},
    policy::{Caller, actions::ReadAudit, authorize},
    user::{User, UserType},
};
use bifrost_migration::sea_orm::{ConnectionTrait, Statement};
use bifrost_storage::Store;
use bifrost_test_support::{MovableClock, TestDatabase, on_both_databases, password_hash};
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeSet, sync::Arc, time::Instant};

on_both_databases![
    a_hundred_refreshes_of_one_token_get_one_successor,
    the_first_registration_is_the_admin_and_only_one_is_first,
    replicas_that_start_at_once_make_the_first_accounts_once,
    a_sign_out_beside_a_refresh_leaves_nothing_that_holds,
    production_does_not_start_with_the_passwords_of_development,
];

const KEY: &str = "q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e";
const OTHER_KEY: &str = "e6Ap4Js9Df3GhYt5Km1NbV7cXwL2rZ8q";

struct World {
    auth: Arc<Auth>,
    clock: Arc<MovableClock>,
    store: Store,
}

fn settings() -> AuthSettings {
    AuthSettings {
        dev_user: Some(DevUser { email: "admin@localhost".into(), password: "admin".into() }),
        ..AuthSettings::new(KEY.into(), Environment::Development)
    }
}

fn world(db: &TestDatabase, settings: AuthSettings) -> World {
    let clock = Arc::new(MovableClock::default());
    let auth = Arc::new(Auth::new(db.store(), clock.clone(), Arc::new(SystemIds), settings));
    World { auth, clock, store: db.store() }
}

impl World {
    async fn signed_in(&self) -> TokenPair {
        self.auth.ensure_dev_user().await.expect("the development user");
        let signed_in = self.auth.login("admin@localhost", "admin".into(), None, &Client::default()).await;
        match signed_in.expect("sign in") {
            SignIn::Session(pair) => pair,
            SignIn::SecondFactor(challenge) => panic!("{challenge:?}"),
        }
    }

    /// The development user, as his session is seen.
    async fn first_admin(&self) -> Caller {
        let pair = self.signed_in().await;
        let state =
            self.auth.authenticate_bearer(pair.access_token.expose_secret()).await.expect("signed in");
        Caller::of_session(&state, None).expect("a caller")
    }

    async fn refresh(&self, token: &SecretString) -> Result<TokenPair, Error> {
        self.auth.refresh(token.expose_secret(), &Client::default()).await
    }

    async fn holds(&self, pair: &TokenPair) -> bool {
        match self.auth.authenticate_bearer(pair.access_token.expose_secret()).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind, Kind::Unauthenticated, "{error:?}");
                false
            }
        }
    }

    async fn register(&self, email: &str) -> Result<User, Error> {
        let account = NewAccount { email: email.into(), password: "a long password".into(), name: None };
        self.auth.register(account, &Client::default()).await
    }

    async fn audit(&self) -> Vec<(String, String)> {
        let admin = self.admin();
        let permit = authorize::<ReadAudit>(&admin).expect("an admin may");
        let lines = self.store.reader().list_audit(&permit, None, 100).await.expect("read");
        lines.into_iter().rev().map(|line| (line.action, line.outcome)).collect()
    }

    fn admin(&self) -> Caller {
        let now = self.clock.now();
        let user = User {
            id: UserId::from_uuid(SystemIds.next()),
            email: "admin@localhost".into(),
            name: None,
            user_type: UserType::Platform,
            organization_id: None,
            is_active: true,
            is_superuser: true,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        Caller::of_user(&user, &Arc::default(), None, None).expect("a caller")
    }

    fn organizations(&self) -> Organizations {
        Organizations::new(self.store.clone(), self.clock.clone(), Arc::new(SystemIds))
    }
}

fn same(a: &TokenPair, b: &TokenPair) -> bool {
    a.access_token.expose_secret() == b.access_token.expose_secret()
        && a.refresh_token.expose_secret() == b.refresh_token.expose_secret()
        && a.csrf_token == b.csrf_token
}

async fn a_hundred_refreshes_of_one_token_get_one_successor(db: TestDatabase) {
    let world = Arc::new(world(&db, settings()));
    let old = Arc::new(world.signed_in().await);
    let start = Arc::new(tokio::sync::Barrier::new(100));
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (world, old, start) = (Arc::clone(&world), Arc::clone(&old), Arc::clone(&start));
        tries.spawn(async move {
            start.wait().await;
            world.refresh(&old.refresh_token).await.expect("within 10 s everybody gets the pair")
        });
    }
    let pairs = tries.join_all().await;
    assert!(pairs.iter().all(|pair| same(pair, &pairs[0])), "one pair for all");
    assert!(!same(&pairs[0], &old), "and it is new");
    assert!(world.holds(&pairs[0]).await);
    assert!(world.refresh(&pairs[0].refresh_token).await.is_ok(), "the family goes on");
}

async fn the_first_registration_is_the_admin_and_only_one_is_first(db: TestDatabase) {
    let off = AuthSettings { registration_enabled: false, ..settings() };
    let world = Arc::new(world(&db, off));
    world.auth.ensure_system_user().await.expect("the system user");
    assert!(world.auth.status().await.expect("status").needs_setup, "the system user is nobody");
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..6 {
        let world = Arc::clone(&world);
        tries.spawn(async move { world.register(&format!("u{n}@acme.example")).await });
    }
    let (made, refused): (Vec<_>, Vec<_>) = tries.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 5));
    let admin = made.into_iter().next().expect("one").expect("made");
    assert_eq!((admin.is_superuser, admin.user_type), (true, UserType::Platform));
    assert!(refused.iter().all(|refusal| refusal.as_ref().is_err_and(|error| error.kind == Kind::Forbidden)));
    assert!(!world.auth.status().await.expect("status").needs_setup);
}

async fn replicas_that_start_at_once_make_the_first_accounts_once(db: TestDatabase) {
    let start = Arc::new(tokio::sync::Barrier::new(4));
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (replica, start) = (world(&db, settings()), Arc::clone(&start));
        starts.spawn(async move {
            start.wait().await;
            let system = replica.auth.ensure_system_user().await.expect("the system user");
            let pair = replica.signed_in().await;
            (system.id, replica, pair)
        });
    }
    let started = starts.join_all().await;
    assert_eq!(started.iter().map(|(id, ..)| *id).collect::<BTreeSet<_>>().len(), 1);
    for (_, replica, pair) in &started {
        assert!(
            replica.holds(pair).await,
            "whoever signed in first was signed out by a replica that came after"
        );
    }
}

async fn a_sign_out_beside_a_refresh_leaves_nothing_that_holds(db: TestDatabase) {
    let replicas = [(); 2].map(|()| Arc::new(world(&db, settings())));
    for turn in 0..10 {
        let pair = replicas[0].signed_in().await;
        let session = replicas[0].auth.authenticate_bearer(pair.access_token.expose_secret()).await;
        let session = session.expect("signed in");
        let refresh = {
            let (replica, token) = (Arc::clone(&replicas[0]), pair.refresh_token.clone());
            tokio::spawn(async move { replica.refresh(&token).await })
        };
        if turn % 2 == 1 {
            tokio::task::yield_now().await;
        }
        replicas[1].auth.logout(&session, &Client::default()).await.expect("signed out");
        let refreshed = refresh.await.expect("no panic");
        // What a replica knew for a second at most.
        for replica in &replicas {
            replica.clock.advance(chrono::Duration::seconds(1));
        }
        for replica in &replicas {
            assert!(!replica.holds(&pair).await);
            if let Ok(next) = &refreshed {
                assert!(!replica.holds(next).await);
                assert!(replica.refresh(&next.refresh_token).await.is_err());
            }
        }
    }
}

async fn production_does_not_start_with_the_passwords_of_development(db: TestDatabase) {
    let production = |dev_user: Option<DevUser>| {
        world(&db, AuthSettings { dev_user, ..AuthSettings::new(KEY.into(), Environment::Production) })
    };
    let refused = async |dev_user: Option<DevUser>| {
        let error = production(dev_user).auth.refuse_known_passwords().await.expect_err("a known password");
        assert_eq!(error.kind, Kind::Conflict);
        assert!(!error.message.contains('\n'), "one line: {error}");
        error.message.into_owned()
    };
    let dev_user = |email: &str, password: &str| {
        Some(DevUser { email: email.into(), password: password.to_owned().into() })
    };
    let developing = |dev_user| world(&db, AuthSettings { dev_user, ..settings() });
    production(None).auth.refuse_known_passwords().await.expect("an empty database");

    developing(dev_user("admin@localhost", "admin")).signed_in().await;
    let said = refused(None).await;
    assert!(said.contains("admin@localhost") && said.contains("DEV_USER_PASSWORD"), "{said}");
    refused(dev_user("ann@acme.example", "another")).await;

    // With another password in development the account is an account; unless production is given that password too.
    developing(dev_user("admin@localhost", "a good one")).auth.ensure_dev_user().await.expect("changed");
    production(None).auth.refuse_known_passwords().await.expect("nobody knows it");
    refused(dev_user("admin@localhost", "a good one")).await;

    // The same for the address that the settings name, and for no other.
    developing(dev_user("ann@acme.example", "admin")).auth.ensure_dev_user().await.expect("made");
    production(None).auth.refuse_known_passwords().await.expect("an address that is not known");
    assert!(refused(dev_user("Ann@acme.example", "x")).await.contains("ann@acme.example"));
    let elsewhere = AuthSettings::new(KEY.into(), Environment::Testing);
    world(&db, elsewhere).auth.refuse_known_passwords().await.expect("production alone");
}

#[tokio::test]
async fn a_refresh_token_used_again_later_ends_the_session() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let first = world.signed_in().await;
    let second = world.refresh(&first.refresh_token).await.expect("refresh");
    world.clock.advance(Duration::seconds(10));
    let repeated = world.refresh(&first.refresh_token).await.expect("a repeat within 10 s");
    assert!(same(&second, &repeated));
    assert!(world.holds(&second).await);
    world.clock.advance(Duration::milliseconds(1));
    let error = world.refresh(&first.refresh_token).await.expect_err("stolen");
    assert_eq!(error.kind, Kind::Unauthenticated);
    assert!(!world.holds(&second).await, "the whole family has ended, at once");
    assert!(world.refresh(&second.refresh_token).await.is_err());
    let audit = world.audit().await;
    assert!(audit.contains(&("session.refresh_reuse".into(), "denied".into())), "{audit:?}");
}

#[tokio::test]
async fn a_repeat_gets_the_token_that_is_unused_by_now() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let first = world.signed_in().await;
    let mut last = first.clone();
    for _ in 0..5 {
        world.clock.advance(Duration::seconds(1));
        last = world.refresh(&last.refresh_token).await.expect("refresh");
    }
    let repeated = world.refresh(&first.refresh_token).await.expect("a repeat within 10 s");
    assert!(same(&last, &repeated));
    world.refresh(&repeated.refresh_token).await.expect("unused until now");
    assert!(world.holds(&last).await);
}

#[tokio::test]
async fn used_tokens_are_forgotten_and_still_end_their_session() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let first = world.signed_in().await;
    let mut last = first.clone();
    for _ in 0..20 {
        last = world.refresh(&last.refresh_token).await.expect("refresh");
        world.clock.advance(Duration::minutes(10));
    }
    let connection = world.store.db().migration_connection();
    let sql = Statement::from_string(connection.get_database_backend(), "SELECT id FROM refresh_tokens");
    let kept = connection.query_all(sql).await.expect("asked").len();
    assert!((2..=8).contains(&kept), "those of the last hour, and not {kept}");
    assert!(world.refresh(&first.refresh_token).await.is_err(), "used, long ago");
    assert!(world.refresh(&last.refresh_token).await.is_err(), "the whole family has ended");
    let audit = world.audit().await;
    assert!(audit.contains(&("session.refresh_reuse".into(), "denied".into())), "{audit:?}");
}

#[tokio::test]
async fn tokens_end_when_they_say() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let pair = world.signed_in().await;
    assert_eq!((pair.expires_in, pair.refresh_expires_in), (1800, 7 * 24 * 3600));
    world.clock.advance(Duration::seconds(1799));
    assert!(world.holds(&pair).await);
    world.clock.advance(Duration::seconds(1));
    assert!(!world.holds(&pair).await);
    world.clock.advance(Duration::days(7) - Duration::seconds(1801));
    let next = world.refresh(&pair.refresh_token).await.expect("a second before its end");
    world.clock.advance(Duration::days(7));
    assert!(world.refresh(&next.refresh_token).await.is_err());
}

#[tokio::test]
async fn a_changed_key_keeps_older_tokens_for_a_while() {
    let db = TestDatabase::sqlite().await;
    let old = world(&db, settings());
    let pair = old.signed_in().await;
    let rotated =
        AuthSettings { signing_key: OTHER_KEY.into(), previous_key: Some(KEY.into()), ..settings() };
    assert!(world(&db, rotated).holds(&pair).await);
    let replaced = AuthSettings { signing_key: OTHER_KEY.into(), ..settings() };
    assert!(!world(&db, replaced).holds(&pair).await);
}

#[tokio::test]
async fn what_ends_a_session_elsewhere_is_seen_within_a_second() {
    let db = TestDatabase::sqlite().await;
    let here = world(&db, settings());
    let pair = here.signed_in().await;
    let state = here.auth.authenticate_bearer(pair.access_token.expose_secret()).await.expect("holds");
    let elsewhere = world(&db, settings());
    elsewhere.auth.logout(&state, &Client::default()).await.expect("sign out");
    assert!(!elsewhere.holds(&pair).await, "there at once");
    here.clock.advance(Duration::seconds(1));
    assert!(!here.holds(&pair).await, "here after a second");

    let pair = here.signed_in().await;
    assert!(here.holds(&pair).await);
    let tx = here.store.db().begin().await.expect("begin");
    tx.set_user_active(state.user.id, false, here.clock.now()).await.expect("suspend");
    tx.commit().await.expect("commit");
    here.clock.advance(Duration::seconds(1));
    assert!(!here.holds(&pair).await);
    assert!(here.refresh(&pair.refresh_token).await.is_err());
    let error = here
        .auth
        .login("admin@localhost", "admin".into(), None, &Client::default())
        .await
        .expect_err("suspended");
    assert_eq!((error.kind, error.code), (Kind::Unauthenticated, Some("account_inactive")));
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_look_alike() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    world.auth.ensure_dev_user().await.expect("the development user");
    world.auth.ensure_system_user().await.expect("the system user");
    let mut took = Vec::new();
    for username in ["admin@localhost", "nobody@localhost", SYSTEM_EMAIL, "not an address", "a\0b@localhost"]
    {
        let started = Instant::now();
        let error =
            world.auth.login(username, "wrong".into(), None, &Client::default()).await.expect_err(username);
        took.push(started.elapsed());
        assert_eq!(error.kind, Kind::Unauthenticated, "{username:?}");
        assert_eq!(error.message, "incorrect email or password", "{username:?}");
    }
    // The hash is what takes long: none of them may go without it.
    let (least, most) = (took.iter().min().expect("some"), took.iter().max().expect("some"));
    assert!(*least * 10 > *most, "{took:?}");
    let audit = world.audit().await;
    assert_eq!(audit.iter().filter(|line| **line == ("session.begin".into(), "failure".into())).count(), 5);
    for (username, password) in [("u".repeat(1025), "p".to_owned()), ("u".to_owned(), "p".repeat(1025))] {
        let error = world
            .auth
            .login(&username, password.into(), None, &Client::default())
            .await
            .expect_err("too long");
        assert_eq!(error.kind, Kind::Invalid);
    }
}

#[tokio::test]
async fn who_may_register_later() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    world.auth.ensure_dev_user().await.expect("the development user");
    assert!(!world.auth.status().await.expect("status").needs_setup, "the development user is somebody");
    let refused = world.register("ann@acme.example").await.expect_err("nobody expects ann");
    assert_eq!((refused.kind, refused.code), (Kind::BadRequest, Some("no_organization")));

    let admin = world.first_admin().await;
    let permit = authorize(&admin).expect("an admin may");
    let new = NewOrganization {
        name: "Acme".into(),
        domain: Some(" ACME.example ".into()),
        kind: OrganizationKind::Company,
        parent_id: None,
        time_zone: "Europe/Oslo".to_owned(),
        is_active: true,
        settings: serde_json::json!({}),
    };
    let organizations = world.organizations();
    let acme = organizations.create(&permit, &admin, new, &Client::default()).await.expect("acme");
    assert_eq!(acme.domain.as_deref(), Some("acme.example"));
    let ann = world.register("Ann@acme.example").await.expect("acme's people may");
    assert_eq!((ann.organization_id, ann.is_superuser, ann.user_type), (Some(acme.id), false, UserType::Org));
    let again = world.register("ann@acme.example").await.expect_err("registered");
    assert_eq!((again.kind, again.code), (Kind::BadRequest, Some("already_registered")));

    let in_use = organizations
        .delete(&authorize(&admin).expect("may"), &admin, acme.id, &Client::default())
        .await
        .expect_err("ann belongs to it");
    assert_eq!((in_use.kind, in_use.code), (Kind::Conflict, Some("organization_in_use")));
    let suspend = OrganizationPatch { is_active: Some(false), ..OrganizationPatch::default() };
    organizations.update(&permit, &admin, acme.id, suspend, &Client::default()).await.expect("suspend");
    let error =
        world.auth.login("ann@acme.example", "a long password".into(), None, &Client::default()).await;
    assert_eq!(error.expect_err("suspended").code, Some("account_inactive"));
    assert!(world.register("bob@acme.example").await.is_err(), "and nobody joins it");
}

#[tokio::test]
async fn nobody_registers_later_when_it_is_off() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, AuthSettings { registration_enabled: false, ..settings() });
    world.auth.ensure_dev_user().await.expect("the development user");
    assert!(!world.auth.status().await.expect("status").needs_setup, "the development user is somebody");
    let admin = world.first_admin().await;
    let permit = authorize(&admin).expect("an admin may");
    let new = NewOrganization {
        name: "Acme".into(),
        domain: Some(" ACME.example ".into()),
        kind: OrganizationKind::Company,
        parent_id: None,
        time_zone: "Europe/Oslo".to_owned(),
        is_active: true,
        settings: serde_json::json!({}),
    };
    let organizations = world.organizations();
    let acme = organizations.create(&permit, &admin, new, &Client::default()).await.expect("acme");
    assert_eq!(acme.domain.as_deref(), Some("acme.example"));

    let store = db.store();
    let now = world.clock.now();
    let ann = User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "ann@acme.example".to_owned(),
        name: None,
        user_type: UserType::Org,
        organization_id: Some(acme.id),
        is_active: true,
        is_superuser: false,
        is_verified: false,
        is_registered: false,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    };
    let tx = store.db().begin().await.expect("begin");
    tx.insert_user(&ann, None).await.expect("a stub");
    tx.commit().await.expect("commit");
    for (email, who) in [
        ("Ann@acme.example", "a stub"),
        ("bob@acme.example", "an address of an organization's domain"),
        ("admin@localhost", "somebody registered"),
        ("eve@nowhere.example", "nobody"),
    ] {
        let refused = world.register(email).await.expect_err(who);
        assert_eq!((refused.kind, refused.code), (Kind::Forbidden, Some("registration_off")), "{who}");
    }
    let kept = store.reader().find_user(ann.id).await.expect("read").expect("ann");
    assert!(!kept.is_registered, "nobody claimed her");
    let bob = store.reader().find_credentials(&"bob@acme.example".parse().expect("an address")).await;
    assert!(bob.expect("read").is_none(), "nobody joined");

    // Who belongs to an organization that is suspended does not sign in, and it is not deleted under him.
    let tx = store.db().begin().await.expect("begin");
    let hash = password_hash("a long password");
    let zoe = User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "zoe@acme.example".into(),
        is_registered: true,
        ..ann
    };
    tx.insert_user(&zoe, Some(&hash)).await.expect("zoe");
    tx.commit().await.expect("commit");
    let in_use = organizations
        .delete(&authorize(&admin).expect("may"), &admin, acme.id, &Client::default())
        .await
        .expect_err("people belong to it");
    assert_eq!((in_use.kind, in_use.code), (Kind::Conflict, Some("organization_in_use")));
    let suspend = OrganizationPatch { is_active: Some(false), ..OrganizationPatch::default() };
    organizations.update(&permit, &admin, acme.id, suspend, &Client::default()).await.expect("suspend");
    let error =
        world.auth.login("zoe@acme.example", "a long password".into(), None, &Client::default()).await;
    assert_eq!(error.expect_err("suspended").code, Some("account_inactive"));
}

#[tokio::test]
async fn the_bounds_of_an_account() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let cases = [
        ("no address", "a long password", None, "email"),
        ("ann@acme.example", "7 chars", None, "password"),
        ("ann@acme.example", &"p".repeat(257), None, "password"),
        ("ann@acme.example", "a long password", Some("n".repeat(256)), "name"),
        ("ann@acme.example", "a long password", Some("a\0b".to_owned()), "name"),
    ];
    for (email, password, name, path) in cases {
        let account = NewAccount { email: email.into(), password: password.into(), name };
        let error = world.auth.register(account, &Client::default()).await.expect_err(path);
        assert_eq!(error.fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>(), [path]);
    }
    let account = NewAccount {
        email: "ann@acme.example".into(),
        password: "üé".repeat(128).into(),
        name: Some("n".repeat(255)),
    };
    world.auth.register(account, &Client::default()).await.expect("at the bounds");
}

#[tokio::test]
async fn accounts_of_the_first_start_are_made_once() {
    let db = TestDatabase::sqlite().await;
    let world = world(&db, settings());
    let first = world.auth.ensure_system_user().await.expect("made");
    assert_eq!(world.auth.ensure_system_user().await.expect("found").id, first.id);
    let dev = world.auth.ensure_dev_user().await.expect("made").expect("development");
    let found = world.auth.ensure_dev_user().await.expect("found").expect("development");
    assert_eq!((found.id, found.epoch), (dev.id, dev.epoch));

    let dev_user = Some(DevUser { email: "admin@localhost".into(), password: "x".into() });
    let changed = self::world(&db, AuthSettings { dev_user: dev_user.clone(), ..settings() });
    changed.auth.ensure_dev_user().await.expect("a new password");
    assert!(changed.auth.login("admin@localhost", "x".into(), None, &Client::default()).await.is_ok());
    assert!(changed.auth.login("admin@localhost", "admin".into(), None, &Client::default()).await.is_err());

    let fresh = TestDatabase::sqlite().await;
    let production = AuthSettings { dev_user, ..AuthSettings::new(KEY.into(), Environment::Production) };
    let production = self::world(&fresh, production);
    assert!(production.auth.ensure_dev_user().await.expect("nothing").is_none());
    assert!(production.auth.status().await.expect("status").needs_setup);
    assert!(production.auth.dev_user().await.is_err());
}

#[test]
fn nothing_secret_is_printed() {
    let printed = format!("{:?}", settings());
    assert!(!printed.contains(KEY) && !printed.contains("\"admin\""), "{printed}");
}
