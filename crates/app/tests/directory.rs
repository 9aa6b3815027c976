//! People, roles, members and sessions when two act at the same time: what has to remain remains.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

use bifrost_app::{
    auth::{Auth, AuthSettings, Client, Environment, SignIn, TokenPair},
    members::Members,
    organizations::{NewOrganization, Organizations},
    roles::{NewRole, Roles},
    users::{NewUser, UserPatch, Users},
};
use bifrost_domain::{
    clock::{Clock, SystemIds},
    error::{Error, Kind},
    ids::{OrganizationId, UserId},
    organization::{Organization, OrganizationKind, OrganizationPatch},
    policy::{Action, Caller, Permit, actions::WriteUsers, authorize},
    rights::MembershipRole,
    user::User,
};
use bifrost_migration::sea_orm::ConnectionTrait;
use bifrost_storage::{Db, Store};
use bifrost_test_support::{MovableClock, TestDatabase, lines, on_both_databases};
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

on_both_databases![
    of_two_admins_who_delete_each_other_one_stays,
    of_two_admins_who_resign_one_stays,
    of_two_admins_who_dismiss_each_other_one_stays,
    who_lost_his_rights_takes_none_back_and_gives_none,
    of_two_owners_who_resign_one_stays,
    two_groups_do_not_stand_below_each_other,
    who_leaves_has_no_role_left,
    an_organization_is_deleted_or_has_the_person,
    a_switch_beside_a_refresh_leaves_one_living_token,
    who_is_purged_leaves_his_name,
    who_is_taken_back_is_not_purged,
];

const PASSWORD: &str = "a long password";
const TURNS: usize = 12;

/// One process over the database.
struct House {
    auth: Arc<Auth>,
    users: Users,
    roles: Roles,
    members: Members,
    organizations: Organizations,
    clock: Arc<MovableClock>,
    store: Store,
}

impl House {
    fn over(store: Store, clock: Arc<MovableClock>) -> Arc<Self> {
        let ids = Arc::new(SystemIds);
        let settings = AuthSettings {
            password_concurrency: 4,
            ..AuthSettings::new("q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e".into(), Environment::Testing)
        };
        let auth = Arc::new(Auth::new(store.clone(), clock.clone(), ids.clone(), settings));
        Arc::new(Self {
            users: Users::new(store.clone(), auth.clone(), clock.clone(), ids.clone(), Duration::days(30)),
            roles: Roles::new(store.clone(), clock.clone(), ids.clone()),
            members: Members::new(store.clone(), clock.clone(), ids.clone()),
            organizations: Organizations::new(store.clone(), clock.clone(), ids),
            auth,
            clock,
            store,
        })
    }

    fn new(db: &TestDatabase) -> Arc<Self> {
        Self::over(db.store(), Arc::default())
    }

    /// Another process over the same database.
    async fn another(&self, db: &TestDatabase) -> Arc<Self> {
        Self::over(Store::new(Db::connect(db.target()).await.expect("open")), self.clock.clone())
    }

    /// The first administrator, who is registered.
    async fn root(&self) -> User {
        let email = "root@localhost".to_owned();
        let account = bifrost_app::auth::NewAccount { email, password: PASSWORD.into(), name: None };
        self.auth.register(account, &Client::default()).await.expect("the first one")
    }

    async fn permit<A: Action>(&self, user: &User, place: Option<OrganizationId>) -> Permit<A> {
        let rights = self.store.reader().find_rights(user).await.expect("read");
        let caller = Caller::of_user(user, &Arc::new(rights), place, None).expect("a caller");
        authorize(&caller).expect("allowed")
    }

    async fn make(&self, by: &User, email: String, home: Option<OrganizationId>, is_superuser: bool) -> User {
        let new = NewUser {
            email,
            name: Some("Ann Ødegård".to_owned()),
            password: None,
            user_type: None,
            organization_id: home,
            is_superuser,
            is_active: true,
            is_verified: false,
        };
        let permit = self.permit(by, None).await;
        self.users.create(&permit, new, &Client::default()).await.expect("made").user
    }

    /// Another platform admin, who counts as one: registered. A hash is dear, so it is no password's.
    async fn admin(&self, by: &User, email: String) -> User {
        self.registered(self.make(by, email, None, true).await).await
    }

    async fn registered(&self, stub: User) -> User {
        let sql = format!(
            "UPDATE users SET is_registered = TRUE, password_hash = 'hash' WHERE email = '{}'",
            stub.email
        );
        self.store.db().migration_connection().execute_unprepared(&sql).await.expect("registered");
        User { is_registered: true, ..stub }
    }

    async fn organization(&self, by: &User, kind: OrganizationKind) -> Organization {
        let new = NewOrganization {
            name: "Acme".into(),
            domain: None,
            is_active: true,
            kind,
            parent_id: None,
            time_zone: "UTC".into(),
            settings: serde_json::json!({}),
        };
        let permit = self.permit(by, None).await;
        self.organizations.create(&permit, permit.caller(), new, &Client::default()).await.expect("made")
    }

    async fn find(&self, id: UserId) -> Option<User> {
        self.store.reader().find_user(id).await.expect("read")
    }

    async fn patch(&self, by: &User, id: UserId, patch: UserPatch) -> Result<User, Error> {
        let permit = self.permit(by, None).await;
        Ok(self.users.update(&permit, id, patch, &Client::default()).await?.user)
    }
}

/// Two at the same moment.
async fn at_once<A: Send + 'static, B: Send + 'static>(
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let start = Arc::new(tokio::sync::Barrier::new(2));
    let also = Arc::clone(&start);
    let one = tokio::spawn(async move {
        start.wait().await;
        one.await
    });
    let other = tokio::spawn(async move {
        also.wait().await;
        other.await
    });
    let (one, other) = tokio::join!(one, other);
    (one.expect("no panic"), other.expect("no panic"))
}

/// One of the two was refused, as a conflict with this code.
fn one_is_refused<T: std::fmt::Debug>(outcomes: (Result<T, Error>, Result<T, Error>), code: &str) {
    match outcomes {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => {
            let kind = match code {
                "account_inactive" => Kind::Unauthenticated,
                "rights_changed" => Kind::Forbidden,
                _ => Kind::Conflict,
            };
            assert_eq!((error.kind, error.code), (kind, Some(code)), "{error:?}");
        }
        both => panic!("{both:?}"),
    }
}

async fn of_two_admins_who_delete_each_other_one_stays(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let mut last = house.root().await;
    for turn in 0..TURNS {
        let rival = house.admin(&last, format!("a{turn}@localhost")).await;
        let (mine, theirs) = (house.permit(&last, None).await, other.permit(&rival, None).await);
        let (one, two) = (Arc::clone(&house), Arc::clone(&other));
        let (first, second) = (last.id, rival.id);
        let outcomes =
            at_once(async move { one.users.delete(&mine, second, &Client::default()).await }, async move {
                two.users.delete(&theirs, first, &Client::default()).await
            })
            .await;
        one_is_refused(outcomes, "account_inactive");
        let (first, second) = (house.find(first).await, house.find(second).await);
        let active: Vec<User> = [first, second].into_iter().flatten().filter(|user| user.is_active).collect();
        assert_eq!(active.len(), 1, "turn {turn}");
        last = active.into_iter().next().expect("one");
    }
    other.store.db().close().await;
}

async fn of_two_admins_who_resign_one_stays(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let mut last = house.root().await;
    for turn in 0..TURNS {
        let rival = house.admin(&last, format!("a{turn}@localhost")).await;
        let resign = |house: &Arc<House>, user: &User| {
            let (house, user) = (Arc::clone(house), user.clone());
            let patch = UserPatch { is_superuser: Some(false), ..UserPatch::default() };
            async move { house.patch(&user, user.id, patch).await }
        };
        one_is_refused(at_once(resign(&house, &last), resign(&other, &rival)).await, "last_admin");
        let (first, second) = (house.find(last.id).await, house.find(rival.id).await);
        let left: Vec<User> =
            [first, second].into_iter().flatten().filter(|user| user.is_superuser).collect();
        assert_eq!(left.len(), 1, "turn {turn}");
        last = left.into_iter().next().expect("one");
    }
    other.store.db().close().await;
}

async fn of_two_admins_who_dismiss_each_other_one_stays(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let mut last = house.root().await;
    for turn in 0..TURNS {
        let rival = house.admin(&last, format!("a{turn}@localhost")).await;
        let (mine, theirs) = (house.permit(&last, None).await, other.permit(&rival, None).await);
        let (one, two, first, second) = (Arc::clone(&house), Arc::clone(&other), last.id, rival.id);
        let dismissed = || UserPatch { is_superuser: Some(false), ..UserPatch::default() };
        let outcomes = at_once(
            async move { one.users.update(&mine, second, dismissed(), &Client::default()).await },
            async move { two.users.update(&theirs, first, dismissed(), &Client::default()).await },
        )
        .await;
        one_is_refused(outcomes, "rights_changed");
        let (first, second) = (house.find(first).await, house.find(second).await);
        let left: Vec<User> =
            [first, second].into_iter().flatten().filter(|user| user.is_superuser).collect();
        assert_eq!(left.len(), 1, "turn {turn}");
        last = left.into_iter().next().expect("one");
    }
    other.store.db().close().await;
}

/// What is known of a caller may be a second old: in it he gives nobody what he was just deprived of, himself least of all.
async fn who_lost_his_rights_takes_none_back_and_gives_none(db: TestDatabase) {
    let house = House::new(&db);
    let client = Client::default();
    let root = house.root().await;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    let rival = house.admin(&root, "rival@localhost".into()).await;
    let ann = house.make(&root, "ann@acme.example".into(), Some(acme), false).await;
    let bob = house.make(&root, "bob@acme.example".into(), Some(acme), false).await;
    let put = async |permit, user: &User, role| {
        house.members.put(&permit, acme, user.id, role, None, &client).await.map_err(|error| error.code)
    };
    put(house.permit(&root, None).await, &ann, MembershipRole::Owner).await.expect("named");

    // Permits from before.
    let (users, members) = (house.permit(&rival, None).await, house.permit(&rival, None).await);
    let organizations = house.permit(&rival, None).await;
    let of_ann = house.permit(&ann, None).await;
    let patch = |is_superuser| UserPatch { is_superuser: Some(is_superuser), ..UserPatch::default() };
    house.patch(&root, rival.id, patch(false)).await.expect("dismissed");
    put(house.permit(&root, None).await, &ann, MembershipRole::Member).await.expect("lowered");

    let back = house.users.update(&users, rival.id, patch(true), &client).await.map_err(|error| error.code);
    assert_eq!(back.map(drop), Err(Some("rights_changed")));
    let new = NewUser {
        email: "puppet@localhost".into(),
        name: None,
        password: Some(SecretString::from(PASSWORD)),
        user_type: None,
        organization_id: None,
        is_superuser: true,
        is_active: true,
        is_verified: false,
    };
    let made = house.users.create(&users, new, &client).await.map_err(|error| error.code);
    assert_eq!(made.map(drop), Err(Some("rights_changed")));
    assert_eq!(put(members, &rival, MembershipRole::Owner).await.map(drop), Err(Some("rights_changed")));
    assert_eq!(put(of_ann, &bob, MembershipRole::Admin).await.map(drop), Err(Some("rights_changed")));
    let gone = house.organizations.delete(&organizations, organizations.caller(), acme, &client).await;
    assert_eq!(gone.map_err(|error| error.code), Err(Some("rights_changed")));
    // Who was given more since then is not refused.
    put(house.permit(&root, None).await, &ann, MembershipRole::Admin).await.expect("raised");
    let of_ann = house.permit(&ann, None).await;
    put(house.permit(&root, None).await, &ann, MembershipRole::Owner).await.expect("raised");
    put(of_ann, &bob, MembershipRole::Limited).await.expect("an admin's to do");
}

async fn of_two_owners_who_resign_one_stays(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    let ann = house.make(&root, "ann@acme.example".into(), Some(acme), false).await;
    let bob = house.make(&root, "bob@acme.example".into(), Some(acme), false).await;
    let (ann, bob) = (house.registered(ann).await, house.registered(bob).await);
    let put = |house: &Arc<House>, by: &User, user: &User, role: MembershipRole| {
        let (house, by, user) = (Arc::clone(house), by.clone(), user.id);
        async move {
            let permit = house.permit(&by, None).await;
            house.members.put(&permit, acme, user, role, None, &Client::default()).await
        }
    };
    for _ in 0..TURNS {
        for user in [&ann, &bob] {
            put(&house, &root, user, MembershipRole::Owner).await.expect("named");
        }
        let outcomes = at_once(
            put(&house, &ann, &ann, MembershipRole::Member),
            put(&other, &bob, &bob, MembershipRole::Member),
        )
        .await;
        one_is_refused(outcomes, "last_owner");
    }
    other.store.db().close().await;
}

async fn two_groups_do_not_stand_below_each_other(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    let one = house.organization(&root, OrganizationKind::Group).await.id;
    let two = house.organization(&root, OrganizationKind::Group).await.id;
    let place = |house: &Arc<House>, id: OrganizationId, parent: Option<OrganizationId>| {
        let (house, root) = (Arc::clone(house), root.clone());
        async move {
            let permit = house.permit(&root, None).await;
            let patch = OrganizationPatch { parent_id: Some(parent), ..OrganizationPatch::default() };
            house.organizations.update(&permit, permit.caller(), id, patch, &Client::default()).await
        }
    };
    for _ in 0..TURNS {
        match at_once(place(&house, one, Some(two)), place(&other, two, Some(one))).await {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => {
                assert_eq!((error.kind, error.fields[0].path.as_str()), (Kind::Invalid, "parent_id"));
            }
            both => panic!("{both:?}"),
        }
        for id in [one, two] {
            place(&house, id, None).await.expect("at the root again");
        }
    }
    other.store.db().close().await;
}

async fn who_leaves_has_no_role_left(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    let home = house.organization(&root, OrganizationKind::Company).await.id;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    let ann = house.make(&root, "ann@acme.example".into(), Some(home), false).await.id;
    let permit = house.permit(&root, None).await;
    let new = NewRole {
        name: "ops".into(),
        description: None,
        organization_id: Some(acme),
        permissions: Vec::new(),
    };
    let role = house.roles.create(&permit, new, &Client::default()).await.expect("made").id;
    for _ in 0..TURNS {
        let permit = house.permit(&root, None).await;
        let named =
            house.members.put(&permit, acme, ann, MembershipRole::Member, None, &Client::default()).await;
        named.expect("a member");
        let (one, two, by) = (Arc::clone(&house), Arc::clone(&other), root.clone());
        let also = root.clone();
        let (given, left) = at_once(
            async move {
                let permit = one.permit(&by, None).await;
                one.roles.give(&permit, role, vec![ann], &Client::default()).await
            },
            async move {
                let permit = two.permit(&also, None).await;
                two.members.remove(&permit, acme, ann, &Client::default()).await
            },
        )
        .await;
        left.expect("left");
        if let Err(error) = given {
            assert_eq!(error.kind, Kind::NotFound, "{error:?}");
        }
        let left = lines(house.store.db(), "SELECT 'a role' AS line FROM user_roles").await;
        assert!(left.is_empty(), "{left:?}");
    }
    other.store.db().close().await;
}

async fn an_organization_is_deleted_or_has_the_person(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    for turn in 0..TURNS {
        let acme = house.organization(&root, OrganizationKind::Company).await.id;
        let (one, two) = (Arc::clone(&house), Arc::clone(&other));
        let permit: Permit<WriteUsers> = house.permit(&root, None).await;
        let deleting = house.permit(&root, None).await;
        let new = NewUser {
            email: format!("a{turn}@acme.example"),
            name: None,
            password: None,
            user_type: None,
            organization_id: Some(acme),
            is_superuser: false,
            is_active: true,
            is_verified: false,
        };
        let (made, deleted) =
            at_once(async move { one.users.create(&permit, new, &Client::default()).await }, async move {
                two.organizations.delete(&deleting, deleting.caller(), acme, &Client::default()).await
            })
            .await;
        match (made, deleted) {
            (Ok(_), Err(error)) => assert_eq!(error.code, Some("organization_in_use"), "{error:?}"),
            (Err(error), Ok(())) => {
                assert_eq!((error.kind, error.fields[0].path.as_str()), (Kind::Invalid, "organization_id"));
            }
            both => panic!("{both:?}"),
        }
    }
    other.store.db().close().await;
}

async fn a_switch_beside_a_refresh_leaves_one_living_token(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    let client = Client::default();
    let signed_in = house.auth.login("root@localhost", PASSWORD.into(), None, &client).await;
    let SignIn::Session(signed_in) = signed_in.expect("sign in") else { panic!("no second factor is asked") };
    let mut token: SecretString = signed_in.refresh_token;
    let access = signed_in.access_token;
    for turn in 0..TURNS * 2 {
        let (one, two) = (Arc::clone(&house), Arc::clone(&other));
        let (old, access) = (token.clone(), access.clone());
        let target = (turn % 2 == 0).then_some(acme);
        let (refreshed, switched): (Result<TokenPair, Error>, Result<TokenPair, Error>) = at_once(
            async move { one.auth.refresh(old.expose_secret(), &Client::default()).await },
            async move {
                let state = two.auth.authenticate_bearer(access.expose_secret()).await?;
                let permit = authorize(&Caller::of_session(&state, None)?)?;
                two.auth.switch_organization(&permit, target, &Client::default()).await
            },
        )
        .await;
        let (refreshed, switched) = (refreshed.expect("refreshed"), switched.expect("switched"));
        let living =
            lines(house.store.db(), "SELECT 'one' AS line FROM refresh_tokens WHERE used_at IS NULL").await;
        assert_eq!(living.len(), 1, "turn {turn}");
        // Who came first was overtaken within 10 s: both go on, to the same end.
        let next =
            house.auth.refresh(switched.refresh_token.expose_secret(), &client).await.expect("goes on");
        house.auth.refresh(refreshed.refresh_token.expose_secret(), &client).await.expect("a repeat");
        token = next.refresh_token;
        let living =
            lines(house.store.db(), "SELECT 'one' AS line FROM refresh_tokens WHERE used_at IS NULL").await;
        assert_eq!(living.len(), 1, "turn {turn}");
    }
    other.store.db().close().await;
}

async fn who_is_purged_leaves_his_name(db: TestDatabase) {
    let house = House::new(&db);
    let root = house.root().await;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    let ann = house.make(&root, "ann@acme.example".into(), Some(acme), false).await;
    let boss = house.make(&root, "boss@acme.example".into(), Some(acme), false).await;
    let permit = house.permit(&root, None).await;
    let client = Client::default();
    house.members.put(&permit, acme, ann.id, MembershipRole::Admin, None, &client).await.expect("named");
    let patch = UserPatch { name: Some(Some("Boss".into())), ..UserPatch::default() };
    house.patch(&ann, boss.id, patch).await.expect("renamed by her");
    let permit = house.permit(&root, None).await;
    house.users.delete(&permit, ann.id, &client).await.expect("deleted");

    let due = |house: Arc<House>| async move {
        house.store.list_due_people(None, 10, house.clock.now()).await.expect("read")
    };
    house.clock.advance(Duration::days(30) - Duration::microseconds(1));
    assert!(due(Arc::clone(&house)).await.is_empty(), "not before its time");
    house.clock.advance(Duration::microseconds(1));
    assert_eq!(due(Arc::clone(&house)).await, [ann.id]);
    assert!(house.store.list_due_people(Some(ann.id), 10, house.clock.now()).await.expect("read").is_empty());
    let tx = house.store.db().begin().await.expect("begin");
    let purged = tx.purge_user(ann.id, house.clock.now()).await.expect("asked").expect("purged");
    assert!(tx.purge_user(boss.id, house.clock.now()).await.expect("asked").is_none(), "nobody deleted him");
    tx.commit().await.expect("commit");
    assert_eq!(purged.email, "ann@acme.example");
    assert!(house.find(ann.id).await.is_none());
    let kept = lines(
        house.store.db(),
        "SELECT actor_name AS line FROM audit_logs WHERE action = 'user.update' AND actor_email = 'ann@acme.example'",
    )
    .await;
    assert_eq!(kept, ["Ann Ødegård"]);
    house.make(&root, "ann@acme.example".into(), Some(acme), false).await;
}

async fn who_is_taken_back_is_not_purged(db: TestDatabase) {
    let house = House::new(&db);
    let other = house.another(&db).await;
    let root = house.root().await;
    let acme = house.organization(&root, OrganizationKind::Company).await.id;
    for turn in 0..TURNS {
        let ann = house.make(&root, format!("a{turn}@acme.example"), Some(acme), false).await;
        let permit = house.permit(&root, None).await;
        house.users.delete(&permit, ann.id, &Client::default()).await.expect("deleted");
        house.clock.advance(Duration::days(31));
        let (one, two, by) = (Arc::clone(&house), Arc::clone(&other), root.clone());
        let (back, purged) = at_once(
            async move {
                let patch = UserPatch { is_active: Some(true), ..UserPatch::default() };
                one.patch(&by, ann.id, patch).await
            },
            async move {
                let tx = two.store.db().begin().await.expect("begin");
                let purged = tx.purge_user(ann.id, two.clock.now()).await.expect("asked");
                tx.commit().await.expect("commit");
                purged.is_some()
            },
        )
        .await;
        let found = house.find(ann.id).await;
        match (back, purged) {
            (Ok(_), false) => assert!(found.is_some_and(|user| user.is_active && user.purge_at.is_none())),
            (Err(error), true) => {
                assert_eq!(error.kind, Kind::NotFound, "{error:?}");
                assert!(found.is_none());
            }
            both => panic!("{both:?}"),
        }
    }
    other.store.db().close().await;
}
