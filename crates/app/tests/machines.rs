//! Keys and programs that ask to be signed in, over a real store and as several replicas see them.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

use bifrost_app::{
    auth::{Auth, AuthSettings, Client, DevUser, DevicePoll, Environment, SYSTEM_EMAIL, TokenPair},
    machines::{ApplicationPatch, Machines, NewApplication, NewKey, NewWorkflowKey},
    organizations::{NewOrganization, Organizations},
};
use bifrost_domain::{
    application::Application,
    clock::{Clock, Ids, SystemIds},
    definition::Definition,
    error::{Error, Kind},
    ids::{OrganizationId, UserId},
    organization::{Organization, OrganizationKind, OrganizationPatch},
    policy::{Caller, actions::UseAccount, authorize},
    rights::{MembershipRole, MembershipSource, Rights},
    scope::Scope,
    user::{User, UserType},
};
use bifrost_migration::sea_orm::{ConnectionTrait, Statement};
use bifrost_storage::{Store, memberships::Membership, workflows::Declared};
use bifrost_test_support::{MovableClock, TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::sync::Arc;

on_both_databases![
    what_is_revoked_is_refused_by_every_replica_within_a_second,
    an_application_acts_for_a_member_with_what_both_have,
    the_log_names_the_application_and_the_person,
    an_application_has_ten_keys_at_most_however_many_ask,
    the_use_of_a_key_is_noted_once_a_minute,
    a_key_of_a_person_ends_with_the_account,
    a_workflow_key_opens_its_workflow,
    of_twenty_questions_one_gets_the_tokens,
    of_two_answers_the_first_counts,
    an_approval_ends_with_the_account,
];

struct Replica {
    auth: Arc<Auth>,
    machines: Machines,
}

struct World {
    db: TestDatabase,
    store: Store,
    clock: Arc<MovableClock>,
    one: Replica,
    other: Replica,
    admin: Caller,
}

fn replica(store: &Store, clock: &Arc<MovableClock>) -> Replica {
    let settings = AuthSettings {
        dev_user: Some(DevUser { email: "admin@localhost".into(), password: "admin".into() }),
        ..AuthSettings::new("q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e".into(), Environment::Testing)
    };
    let ids = Arc::new(SystemIds);
    let auth = Arc::new(Auth::new(store.clone(), clock.clone(), ids.clone(), settings));
    Replica { machines: Machines::new(store.clone(), clock.clone(), ids, auth.clone()), auth }
}

impl World {
    async fn new(db: TestDatabase) -> Self {
        let (store, clock) = (db.store(), Arc::new(MovableClock::default()));
        let (one, other) = (replica(&store, &clock), replica(&store, &clock));
        let admin = one.auth.ensure_dev_user().await.expect("made").expect("the development user");
        let admin = Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller");
        Self { db, store, clock, one, other, admin }
    }

    fn organizations(&self) -> Organizations {
        Organizations::new(self.store.clone(), self.clock.clone(), Arc::new(SystemIds))
    }

    async fn organization(&self) -> Organization {
        let new = NewOrganization {
            name: "Acme".into(),
            domain: None,
            is_active: true,
            kind: OrganizationKind::Company,
            parent_id: None,
            time_zone: "UTC".into(),
            settings: json!({}),
        };
        let permit = authorize(&self.admin).expect("an admin may");
        self.organizations().create(&permit, &self.admin, new, &Client::default()).await.expect("made")
    }

    async fn person(&self, home: OrganizationId, role: MembershipRole) -> User {
        let now = self.clock.now();
        let id = UserId::from_uuid(SystemIds.next());
        let user = User {
            id,
            email: format!("{id}@acme.example"),
            name: None,
            user_type: UserType::Org,
            organization_id: Some(home),
            is_active: true,
            is_superuser: false,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await.expect("begin");
        tx.insert_user(&user, None).await.expect("inserted");
        let membership = Membership {
            user_id: id,
            organization_id: home,
            via: home,
            role,
            source: MembershipSource::Direct,
            attributes: json!({}),
            created_by: None,
            created_at: now,
            updated_at: now,
        };
        tx.write_membership(&membership).await.expect("a membership");
        tx.commit().await.expect("commit");
        user
    }

    async fn caller(&self, user: &User) -> Caller {
        let rights = self.store.reader().find_rights(user).await.expect("read");
        Caller::of_user(user, &Arc::new(rights), None, None).expect("a caller")
    }

    async fn application(&self, home: OrganizationId, scopes: &[&str]) -> Application {
        let new = NewApplication {
            app_id: None,
            name: "Sync".into(),
            description: None,
            organization_id: Some(home),
            scopes: scopes.iter().map(|&one| one.to_owned()).collect(),
            is_active: true,
            rate_limit_per_minute: None,
            allow_user_assertion: true,
        };
        let permit = authorize(&self.admin).expect("an admin may");
        self.one.machines.create_application(&permit, new, &Client::default()).await.expect("made")
    }

    async fn key(&self, application: &Application, new: NewKey) -> SecretString {
        let permit = authorize(&self.admin).expect("an admin may");
        let client = Client::default();
        let made = self.one.machines.create_application_key(&permit, application.id, new, &client);
        made.await.expect("a key").text
    }

    async fn count(&self, sql: &str) -> i64 {
        let connection = self.db.db().migration_connection();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one(statement).await.expect("asked").expect("a row");
        row.try_get::<i64>("", "n").expect("a number")
    }
}

impl Replica {
    async fn acts(&self, key: &SecretString, asserted: Option<UserId>) -> Result<Caller, Error> {
        let identified = self.machines.identify(key.expose_secret()).await?;
        Ok(self.machines.act(&identified, None, asserted).await?.caller)
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (Kind, Option<&'static str>) {
    let error = outcome.expect_err("refused");
    (error.kind, error.code)
}

const INVALID: (Kind, Option<&str>) = (Kind::Unauthenticated, Some("key_invalid"));

async fn what_is_revoked_is_refused_by_every_replica_within_a_second(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let app = world.application(home.id, &["executions.run"]).await;
    let permit = authorize(&world.admin).expect("an admin may");
    let (first, second) =
        (world.key(&app, NewKey::default()).await, world.key(&app, NewKey::default()).await);
    for replica in [&world.one, &world.other] {
        for key in [&first, &second] {
            let caller = replica.acts(key, None).await.expect("it holds");
            assert_eq!((caller.scope, caller.application_id), (Scope::Organization(home.id), Some(app.id)));
            assert_eq!(caller.email, SYSTEM_EMAIL);
        }
    }

    let keys = world.one.machines.list_application_keys(&authorize(&world.admin).expect("may"), app.id).await;
    let keys = keys.expect("read");
    let client = Client::default();
    world.one.machines.delete_application_key(&permit, app.id, keys[0].id, &client).await.expect("revoked");
    assert_eq!(kind(world.one.acts(&first, None).await), INVALID, "here at once");
    world.one.acts(&second, None).await.expect("the other key holds");
    world.clock.advance(Duration::seconds(1));
    assert_eq!(kind(world.other.acts(&first, None).await), INVALID, "there within a second");
    let again = world.one.machines.delete_application_key(&permit, app.id, keys[0].id, &client).await;
    assert_eq!(kind(again).0, Kind::NotFound);

    let patch = |is_active| ApplicationPatch { is_active: Some(is_active), ..ApplicationPatch::default() };
    for (is_active, holds) in [(false, false), (true, true)] {
        world
            .one
            .machines
            .update_application(&permit, app.id, patch(is_active), &client)
            .await
            .expect("changed");
        world.clock.advance(Duration::seconds(1));
        assert_eq!(world.other.acts(&second, None).await.is_ok(), holds, "{is_active}");
    }
    let close = OrganizationPatch { is_active: Some(false), ..OrganizationPatch::default() };
    let organizations = world.organizations();
    let may = authorize(&world.admin).expect("an admin may");
    organizations.update(&may, &world.admin, home.id, close, &client).await.expect("closed");
    world.clock.advance(Duration::seconds(1));
    assert_eq!(kind(world.other.acts(&second, None).await), INVALID, "its organization is closed");
    assert_eq!(kind(world.other.machines.identify("bfak_nonsense").await), INVALID);

    let end = world.clock.now() + Duration::seconds(10);
    let open = OrganizationPatch { is_active: Some(true), ..OrganizationPatch::default() };
    organizations.update(&may, &world.admin, home.id, open, &client).await.expect("opened");
    let short = world.key(&app, NewKey { name: None, expires_at: Some(end) }).await;
    world.other.acts(&short, None).await.expect("it holds");
    world.clock.advance(Duration::milliseconds(9_999));
    world.other.acts(&short, None).await.expect("it still holds");
    world.clock.advance(Duration::milliseconds(1));
    assert_eq!(kind(world.other.acts(&short, None).await), INVALID, "it has expired");

    let in_use = organizations.delete(&may, &world.admin, home.id, &client).await.expect_err("in use");
    assert!(in_use.message.contains("applications"), "{in_use}");
    world.one.machines.delete_application(&permit, app.id, &client).await.expect("deleted");
    world.clock.advance(Duration::seconds(1));
    assert_eq!(kind(world.other.acts(&second, None).await), INVALID);
    assert_eq!(world.count("SELECT count(*) AS n FROM application_keys").await, 0);
}

async fn an_application_acts_for_a_member_with_what_both_have(db: TestDatabase) {
    let world = World::new(db).await;
    let (home, elsewhere) = (world.organization().await, world.organization().await);
    let app = world.application(home.id, &["executions.run", "executions.read"]).await;
    let key = world.key(&app, NewKey::default()).await;
    let member = world.person(home.id, MembershipRole::Member).await;
    let caller = world.one.acts(&key, Some(member.id)).await.expect("a member");
    assert_eq!((caller.user_id, caller.on_behalf_of), (member.id, Some(member.id)));
    assert!(caller.has("executions.read") && !caller.has("executions.run"));
    let owner = world.person(home.id, MembershipRole::Owner).await;
    let caller = world.one.acts(&key, Some(owner.id)).await.expect("an owner");
    assert!(caller.has("executions.run") && !caller.has("executions.read_all"));

    let stranger = world.person(elsewhere.id, MembershipRole::Owner).await;
    let nobody = UserId::from_uuid(SystemIds.next());
    let system = world.one.auth.ensure_system_user().await.expect("there").id;
    for id in [stranger.id, nobody, system, world.admin.user_id] {
        let refused = kind(world.one.acts(&key, Some(id)).await);
        assert_eq!(refused, (Kind::Forbidden, Some("assertion_user")), "the same for everybody");
    }
    let tx = world.store.db().begin().await.expect("begin");
    tx.set_user_active(member.id, false, world.clock.now()).await.expect("suspended");
    tx.commit().await.expect("commit");
    world.clock.advance(Duration::seconds(1));
    let refused = kind(world.one.acts(&key, Some(member.id)).await);
    assert_eq!(refused, (Kind::Forbidden, Some("assertion_user")));

    let permit = authorize(&world.admin).expect("an admin may");
    let patch = ApplicationPatch { allow_user_assertion: Some(false), ..ApplicationPatch::default() };
    world.one.machines.update_application(&permit, app.id, patch, &Client::default()).await.expect("changed");
    let refused = kind(world.one.acts(&key, Some(owner.id)).await);
    assert_eq!(refused, (Kind::Forbidden, Some("assertion_not_allowed")));
}

async fn the_log_names_the_application_and_the_person(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let app = world.application(home.id, &["workflow_keys.write"]).await;
    let key = world.key(&app, NewKey::default()).await;
    let owner = world.person(home.id, MembershipRole::Owner).await;
    for asserted in [None, Some(owner.id)] {
        let caller = world.one.acts(&key, asserted).await.expect("it acts");
        let permit = authorize(&caller).expect("its scope");
        let client = Client::default();
        let made = world.one.machines.create_workflow_key(&permit, NewWorkflowKey::default(), &client);
        assert_eq!(made.await.expect("made").kept.organization_id, Some(home.id));
    }
    let lines = "SELECT count(*) AS n FROM audit_logs WHERE action = 'workflow_key.create' AND application_id IS NOT NULL \
                 AND organization_id IS NOT NULL AND outcome = 'success'";
    assert_eq!(world.count(lines).await, 2);
    assert_eq!(world.count(&format!("{lines} AND on_behalf_of IS NULL AND actor_name = 'Sync'")).await, 1);
    assert_eq!(world.count(&format!("{lines} AND on_behalf_of = actor_id")).await, 1);
    for action in ["application.create", "application.key_create"] {
        let sql = format!(
            "SELECT count(*) AS n FROM audit_logs WHERE action = '{action}' AND application_id IS NULL"
        );
        assert_eq!(world.count(&sql).await, 1, "{action}");
    }
    let text = key.expose_secret();
    for (column, prefixes) in [("changes", 1), ("detail", 0)] {
        let shown = format!("SELECT count(*) AS n FROM audit_logs WHERE CAST({column} AS text) LIKE");
        let count = async |part: &str| world.count(&format!("{shown} '%{part}%'")).await;
        assert_eq!(count(&text[..13]).await, prefixes, "the prefix is told once");
        assert_eq!(count(&text[13..]).await, 0, "the rest is not");
    }
}

async fn an_application_has_ten_keys_at_most_however_many_ask(db: TestDatabase) {
    let world = Arc::new(World::new(db).await);
    let home = world.organization().await;
    let app = world.application(home.id, &[]).await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (world, id) = (Arc::clone(&world), app.id);
        tries.spawn(async move {
            let permit = authorize(&world.admin).expect("an admin may");
            world
                .one
                .machines
                .create_application_key(&permit, id, NewKey::default(), &Client::default())
                .await
        });
    }
    let (made, refused): (Vec<_>, Vec<_>) = tries.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (10, 10));
    for one in refused {
        assert_eq!(kind(one), (Kind::Conflict, Some("too_many_keys")));
    }
}

async fn the_use_of_a_key_is_noted_once_a_minute(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let app = world.application(home.id, &[]).await;
    let key = world.key(&app, NewKey::default()).await;
    let permit = authorize(&world.admin).expect("an admin may");
    let used = async || {
        let keys = world.one.machines.list_application_keys(&permit, app.id).await.expect("read");
        keys[0].last_used_at
    };
    let becomes = async |wanted| {
        for _ in 0..500 {
            if used().await == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{wanted:?} is not noted");
    };
    assert_eq!(used().await, None);
    let first = world.clock.now();
    world.one.acts(&key, None).await.expect("it holds");
    becomes(Some(first)).await;
    world.clock.advance(Duration::seconds(59));
    world.one.acts(&key, None).await.expect("it holds");
    world.other.acts(&key, None).await.expect("it holds");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(used().await, Some(first), "neither replica writes before the minute is over");
    world.clock.advance(Duration::seconds(1));
    world.one.acts(&key, None).await.expect("it holds");
    becomes(Some(first + Duration::seconds(60))).await;
}

async fn a_key_of_a_person_ends_with_the_account(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let make = async |user: &User, new: NewKey| {
        let caller = world.caller(user).await;
        let permit = authorize::<UseAccount>(&caller).expect("a person may");
        world.one.machines.create_sdk_key(&permit, user, new, &Client::default()).await
    };
    let ann = world.person(home.id, MembershipRole::Member).await;
    let made = make(&ann, NewKey::default()).await.expect("made");
    let key = made.text.clone();
    let caller = world.other.acts(&key, None).await.expect("it holds");
    assert_eq!(
        (caller.user_id, caller.scope, caller.key_id),
        (ann.id, Scope::Organization(home.id), Some(made.kept.key.id))
    );
    assert!(world.other.machines.has_rights_still(&caller).await.expect("asked"));
    let refused = kind(world.other.acts(&key, Some(ann.id)).await);
    assert_eq!(refused, (Kind::Forbidden, Some("assertion_not_allowed")));

    // Nobody else's, and not by the key itself.
    let bob = world.person(home.id, MembershipRole::Owner).await;
    let bobs = world.caller(&bob).await;
    let permit = authorize::<UseAccount>(&bobs).expect("a person may");
    let id = made.kept.key.id;
    let foreign = world.one.machines.delete_sdk_key(&permit, id, &Client::default()).await;
    assert_eq!(kind(foreign).0, Kind::NotFound);
    assert!(authorize::<UseAccount>(&caller).is_err());

    let change = async |sql: &str| {
        let connection = world.db.db().migration_connection();
        connection.execute_unprepared(sql).await.expect("changed");
        world.clock.advance(Duration::seconds(1));
    };
    change("UPDATE memberships SET role = 'admin' WHERE role = 'member'").await;
    assert!(!world.other.machines.has_rights_still(&caller).await.expect("asked"), "he has more now");
    assert!(world.other.acts(&key, None).await.expect("it holds").has("users.read"));
    change("UPDATE users SET epoch = epoch + 1").await;
    assert_eq!(kind(world.other.acts(&key, None).await), INVALID, "the password was changed");
    assert_eq!(kind(world.other.machines.has_rights_still(&caller).await), INVALID);
    change("UPDATE users SET epoch = epoch - 1, is_active = FALSE WHERE user_type = 'ORG'").await;
    assert_eq!(kind(world.other.acts(&key, None).await), INVALID, "suspended");
    change("UPDATE users SET is_active = TRUE").await;
    world.other.acts(&key, None).await.expect("it holds again");
    change("DELETE FROM memberships").await;
    assert_eq!(kind(world.other.acts(&key, None).await), INVALID, "no member any more");

    let eve = world.person(home.id, MembershipRole::Member).await;
    for _ in 0..50 {
        make(&eve, NewKey::default()).await.expect("made");
    }
    assert_eq!(kind(make(&eve, NewKey::default()).await), (Kind::Conflict, Some("too_many_keys")));
    let nameless = NewKey { name: Some(String::new()), expires_at: None };
    let joe = world.person(home.id, MembershipRole::Member).await;
    assert_eq!(kind(make(&joe, nameless).await).0, Kind::Invalid);
}

async fn a_workflow_key_opens_its_workflow(db: TestDatabase) {
    let world = World::new(db).await;
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "greet", "function": "run", "line": 3, "category": "General", "timeout_seconds": 60,
    }))
    .expect("a definition");
    let declared = Declared { path: "greet.py".into(), source_hash: "h".into(), definition };
    let synced = world.store.sync_catalog(&[declared], || SystemIds.next(), world.clock.now()).await;
    synced.expect("synced");
    let home = world.organization().await;
    let owner = world.caller(&world.person(home.id, MembershipRole::Owner).await).await;
    let permit = authorize(&owner).expect("an owner may");
    let client = Client::default();
    let make = async |workflow: Option<&str>, expires_at| {
        let key = NewKey { name: None, expires_at };
        let new = NewWorkflowKey { workflow_name: workflow.map(str::to_owned), key };
        world.one.machines.create_workflow_key(&permit, new, &client).await
    };
    let (narrow, wide) =
        (make(Some("greet"), None).await.expect("made"), make(None, None).await.expect("made"));
    let check =
        async |workflow: &str, key: &str| world.other.machines.check_workflow_key(workflow, key).await;
    let opened = check("greet", narrow.text.expose_secret()).await.expect("it opens");
    assert_eq!((opened.key.id, opened.organization_id), (narrow.kept.key.id, Some(home.id)));
    assert_eq!(kind(check("other", narrow.text.expose_secret()).await), INVALID);
    check("other", wide.text.expose_secret()).await.expect("it opens every one");

    let text = wide.text.expose_secret();
    let turned = format!("{}{}", &text[..47], if text.ends_with('A') { 'B' } else { 'A' });
    for bad in ["", "bfwk_", &text[..47], &format!("{text}A"), &turned, &text.replacen("bfwk_", "bfak_", 1)] {
        assert_eq!(kind(check("greet", bad).await), INVALID, "{bad}");
    }
    assert_eq!(kind(world.one.machines.identify(text).await), INVALID, "it says not who calls");
    for unknown in ["no_such", "", "a\0b", &"x".repeat(300)] {
        let error = make(Some(unknown), None).await.expect_err("unknown");
        assert_eq!(
            (error.kind, error.fields[0].path.as_str()),
            (Kind::Invalid, "workflow_name"),
            "{unknown}"
        );
    }

    let short = make(None, Some(world.clock.now() + Duration::seconds(1))).await.expect("made");
    world.clock.advance(Duration::seconds(1));
    assert_eq!(kind(check("greet", short.text.expose_secret()).await), INVALID, "it has expired");
    let elsewhere = world.organization().await;
    let stranger = world.caller(&world.person(elsewhere.id, MembershipRole::Owner).await).await;
    let strange = authorize(&stranger).expect("an owner may");
    let foreign = world.one.machines.delete_workflow_key(&strange, wide.kept.key.id, &client).await;
    assert_eq!(kind(foreign).0, Kind::NotFound);
    let seen = world.one.machines.list_workflow_keys(&authorize(&stranger).expect("may"), None, 10).await;
    assert!(seen.expect("read").0.is_empty());
    world.one.machines.delete_workflow_key(&permit, wide.kept.key.id, &client).await.expect("revoked");
    assert_eq!(kind(check("greet", text).await), INVALID);
    let left =
        world.one.machines.list_workflow_keys(&authorize(&owner).expect("may"), None, 1).await.expect("read");
    assert_eq!((left.0.len(), left.1), (1, true));
}

async fn of_twenty_questions_one_gets_the_tokens(db: TestDatabase) {
    let world = Arc::new(World::new(db).await);
    let home = world.organization().await;
    let ann = world.person(home.id, MembershipRole::Member).await;
    let caller = world.caller(&ann).await;
    let permit = authorize::<UseAccount>(&caller).expect("a person may");
    let client = Client::default();
    for _ in 0..5 {
        let asked = world.one.auth.request_device(Some("cli".into()), &client).await.expect("asked");
        let code = asked.device_code.expose_secret().to_owned();
        assert!(matches!(world.other.auth.poll_device(&code, &client).await, Ok(DevicePoll::Pending)));
        let letters = asked.user_code.to_lowercase();
        world.other.auth.decide_device(&permit, &ann, &letters, true, &client).await.expect("approved");
        let start = Arc::new(tokio::sync::Barrier::new(20));
        let mut questions = tokio::task::JoinSet::new();
        for n in 0..20 {
            let (world, start, code) = (Arc::clone(&world), Arc::clone(&start), code.clone());
            questions.spawn(async move {
                let replica = if n % 2 == 0 { &world.one } else { &world.other };
                start.wait().await;
                replica.auth.poll_device(&code, &Client::default()).await.expect("answered")
            });
        }
        let answers = questions.join_all().await;
        let pairs: Vec<&TokenPair> = answers
            .iter()
            .filter_map(|answer| match answer {
                DevicePoll::SignedIn(pair) => Some(pair),
                DevicePoll::Unknown => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(pairs.len(), 1);
        let session = world.one.auth.authenticate_bearer(pairs[0].access_token.expose_secret()).await;
        assert_eq!(session.expect("it holds").user.id, ann.id);
    }
    let lines = "SELECT count(*) AS n FROM audit_logs WHERE action =";
    assert_eq!(world.count(&format!("{lines} 'device.approve'")).await, 5);
    assert_eq!(world.count(&format!("{lines} 'session.begin'")).await, 5);
}

async fn of_two_answers_the_first_counts(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let ann = world.person(home.id, MembershipRole::Member).await;
    let caller = world.caller(&ann).await;
    let permit = authorize::<UseAccount>(&caller).expect("a person may");
    let client = Client::default();
    for _ in 0..10 {
        let asked = world.one.auth.request_device(None, &client).await.expect("asked");
        let (yes, no) = tokio::join!(
            world.one.auth.decide_device(&permit, &ann, &asked.user_code, true, &client),
            world.other.auth.decide_device(&permit, &ann, &asked.user_code, false, &client),
        );
        assert_ne!(yes.is_ok(), no.is_ok());
        let answer =
            world.one.auth.poll_device(asked.device_code.expose_secret(), &client).await.expect("answered");
        match answer {
            DevicePoll::SignedIn(_) => assert!(yes.is_ok()),
            DevicePoll::Denied => assert!(no.is_ok()),
            other => panic!("{other:?}"),
        }
    }
    let asked = world.one.auth.request_device(None, &client).await.expect("asked");
    world.clock.advance(Duration::seconds(600));
    let late = world.one.auth.decide_device(&permit, &ann, &asked.user_code, true, &client).await;
    assert_eq!(kind(late).0, Kind::NotFound);
    let answer = world.one.auth.poll_device(asked.device_code.expose_secret(), &client).await;
    assert!(matches!(answer, Ok(DevicePoll::Expired)), "{answer:?}");
    // Those that ended long ago are gone with the next one.
    world.clock.advance(Duration::hours(2));
    world.one.auth.request_device(None, &client).await.expect("asked");
    assert_eq!(world.count("SELECT count(*) AS n FROM device_grants").await, 1);
    for bad in ["x".repeat(101), "a\nb".to_owned()] {
        assert_eq!(kind(world.one.auth.request_device(Some(bad), &client).await).0, Kind::Invalid);
    }
}

async fn an_approval_ends_with_the_account(db: TestDatabase) {
    let world = World::new(db).await;
    let home = world.organization().await;
    let client = Client::default();
    for sql in [
        "UPDATE users SET is_active = FALSE WHERE user_type = 'ORG'",
        "UPDATE users SET epoch = epoch + 1 WHERE user_type = 'ORG'",
        "DELETE FROM memberships",
    ] {
        let ann = world.person(home.id, MembershipRole::Member).await;
        let rights = Arc::new(Rights::of_member(home.id, MembershipRole::Member, &[]));
        let caller = Caller::of_user(&ann, &rights, None, None).expect("a caller");
        let permit = authorize::<UseAccount>(&caller).expect("a person may");
        let asked = world.one.auth.request_device(None, &client).await.expect("asked");
        world.one.auth.decide_device(&permit, &ann, &asked.user_code, true, &client).await.expect("approved");
        world.db.db().migration_connection().execute_unprepared(sql).await.expect("changed");
        let answer = world.one.auth.poll_device(asked.device_code.expose_secret(), &client).await;
        assert!(matches!(answer, Ok(DevicePoll::Denied)), "{sql}: {answer:?}");
    }
}
