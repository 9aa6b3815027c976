//! Users, sessions, refresh tokens, organizations and the audit log, on both databases.

#![expect(clippy::expect_used, reason = "a case that cannot go on has failed")]

use bifrost_domain::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    ids::{AuditId, OrganizationId, RoleId, SessionId, UserId},
    organization::{Organization, OrganizationKind, OrganizationPatch},
    policy::{Action, Caller, Permit, authorize},
    rights::{Granted, MembershipRole, MembershipSource},
    user::{Email, User, UserType},
};
use bifrost_storage::{
    Error, Store,
    audit::{Entry, Outcome},
    memberships::Membership,
    organizations::Deletion,
    sessions::{NewSession, RefreshToken},
    users::NewRole,
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use secrecy::ExposeSecret;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

on_both_databases![
    a_user_comes_back_as_it_was_written,
    an_address_is_taken_once,
    a_stub_is_registered_once,
    only_one_registration_is_the_first,
    roles_of_other_organizations_give_nothing,
    a_session_ends_in_every_way,
    a_refresh_token_is_used_once_by_a_hundred,
    expired_sessions_of_the_user_are_deleted,
    an_organization_through_its_life,
    organizations_are_paged_without_holes,
    people_hold_their_organization,
    an_uncommitted_transaction_leaves_nothing,
    the_audit_log_takes_any_text,
];

fn user(email: &str, home: Option<OrganizationId>) -> User {
    let now = SystemClock.now();
    User {
        id: UserId::from_uuid(SystemIds.next()),
        email: email.to_owned(),
        name: Some("Ann Ødegård".to_owned()),
        user_type: if home.is_some() { UserType::Org } else { UserType::Platform },
        organization_id: home,
        is_active: true,
        is_superuser: home.is_none(),
        is_verified: false,
        is_registered: true,
        epoch: 3,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

fn organization(domain: Option<&str>) -> Organization {
    let now = SystemClock.now();
    Organization {
        id: OrganizationId::from_uuid(SystemIds.next()),
        name: "Acme".to_owned(),
        domain: domain.map(str::to_owned),
        is_active: true,
        kind: OrganizationKind::Company,
        parent_id: None,
        time_zone: "UTC".to_owned(),
        settings: json!({"theme": {"dark": true}}),
        created_by: None,
        created_at: now,
        updated_at: now,
    }
}

fn permit<A: Action>() -> Permit<A> {
    let admin =
        Caller::of_user(&user("admin@localhost", None), &Arc::default(), None, None).expect("a caller");
    authorize(&admin).expect("an admin may")
}

fn email(text: &str) -> Email {
    text.parse().expect("an address")
}

async fn add_user(store: &Store, user: &User) {
    let tx = store.db().begin().await.expect("begin");
    tx.insert_user(user, Some(&"hash".into())).await.expect("insert the user");
    if let Some(organization_id) = user.organization_id {
        let membership = Membership {
            user_id: user.id,
            organization_id,
            via: organization_id,
            role: MembershipRole::Member,
            source: MembershipSource::Direct,
            attributes: json!({}),
            created_by: None,
            created_at: user.created_at,
            updated_at: user.created_at,
        };
        tx.write_membership(&membership).await.expect("insert the membership");
    }
    tx.commit().await.expect("commit");
}

async fn add_organization(store: &Store, organization: &Organization) {
    let tx = store.db().begin().await.expect("begin");
    tx.insert_organization(&permit(), organization.clone()).await.expect("insert the organization");
    tx.commit().await.expect("commit");
}

fn session_of(user: &User) -> NewSession {
    let now = SystemClock.now();
    NewSession {
        id: SessionId::from_uuid(SystemIds.next()),
        user_id: user.id,
        epoch: user.epoch,
        created_at: now,
        expires_at: now + Duration::days(7),
        ends_at: now + Duration::days(30),
        factor_at: None,
        authenticated_at: None,
        user_agent: Some("é".repeat(600)),
        ip_address: Some("2001:db8::1".to_owned()),
    }
}

async fn add_session(store: &Store, session: &NewSession) -> RefreshToken {
    let token = RefreshToken {
        id: SystemIds.next(),
        session_id: session.id,
        issued_at: session.created_at,
        expires_at: session.expires_at,
        used_at: None,
        successor_id: None,
    };
    let tx = store.db().begin().await.expect("begin");
    tx.insert_session(session.clone()).await.expect("insert the session");
    tx.insert_refresh_token(token).await.expect("insert the token");
    tx.commit().await.expect("commit");
    token
}

async fn a_user_comes_back_as_it_was_written(db: TestDatabase) {
    let store = db.store();
    assert!(!store.reader().has_people().await.expect("read"));
    let ann = user("ann@acme.example", None);
    add_user(&store, &ann).await;
    assert!(store.reader().has_people().await.expect("read"));
    let found =
        store.reader().find_credentials(&email("Ann@Acme.example")).await.expect("read").expect("ann");
    assert_eq!(found.password_hash.expect("a hash").expose_secret(), "hash");
    assert_eq!(format!("{:?}", found.user), format!("{ann:?}"));
    let later = SystemClock.now() + Duration::seconds(5);
    let tx = store.db().begin().await.expect("begin");
    tx.touch_login(ann.id, later).await.expect("touch");
    assert!(tx.update_password(ann.id, &"other".into(), later).await.expect("update"));
    assert!(tx.set_user_active(ann.id, false, later).await.expect("update"));
    assert!(!tx.set_user_active(UserId::from_uuid(SystemIds.next()), false, later).await.expect("nobody"));
    tx.commit().await.expect("commit");
    let found = store.reader().find_user(ann.id).await.expect("read").expect("ann");
    assert_eq!(found.last_login, Some(later));
    assert_eq!((found.epoch, found.is_active, found.updated_at), (ann.epoch + 2, false, later));
    assert!(store.reader().find_user(UserId::from_uuid(SystemIds.next())).await.expect("read").is_none());
}

async fn an_address_is_taken_once(db: TestDatabase) {
    let store = db.store();
    add_user(&store, &user("ann@acme.example", None)).await;
    let tx = store.db().begin().await.expect("begin");
    let error = tx.insert_user(&user("ann@acme.example", None), None).await.expect_err("taken");
    assert!(matches!(error, Error::Duplicate(_)), "{error:?}");
}

async fn a_stub_is_registered_once(db: TestDatabase) {
    let store = db.store();
    let home = organization(None);
    add_organization(&store, &home).await;
    let stub = User { is_registered: false, ..user("ann@acme.example", Some(home.id)) };
    add_user(&store, &stub).await;
    for expected in [true, false] {
        let tx = store.db().begin().await.expect("begin");
        let done = tx.claim_stub(stub.id, Some("Ann"), SystemClock.now()).await.expect("update");
        assert_eq!(done, expected);
        tx.commit().await.expect("commit");
    }
    let found = store.reader().find_user(stub.id).await.expect("read").expect("ann");
    assert_eq!((found.is_registered, found.name), (true, stub.name), "the administrator's name stays");
}

async fn only_one_registration_is_the_first(db: TestDatabase) {
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = db.store();
        tries.spawn(async move {
            let tx = store.db().begin().await.expect("begin");
            tx.lock_registration().await.expect("lock");
            let first = !tx.has_people().await.expect("read");
            if first {
                tx.insert_user(&user(&format!("u{n}@acme.example"), None), None).await.expect("insert");
            }
            tx.commit().await.expect("commit");
            first
        });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|&first| first).count(), 1);
}

async fn roles_of_other_organizations_give_nothing(db: TestDatabase) {
    let store = db.store();
    let (home, other) = (organization(None), organization(None));
    add_organization(&store, &home).await;
    add_organization(&store, &other).await;
    let ann = user("ann@acme.example", Some(home.id));
    add_user(&store, &ann).await;
    let tx = store.db().begin().await.expect("begin");
    for (organization_id, name, permission) in [
        (Some(home.id), "runner", "executions.run"),
        (Some(other.id), "spy", "executions.read_all"),
        (None, "everywhere", "config.read"),
    ] {
        let id = RoleId::from_uuid(SystemIds.next());
        let permissions = BTreeSet::from([permission.to_owned()]);
        let role = NewRole {
            id,
            organization_id,
            name: name.to_owned(),
            permissions,
            created_at: SystemClock.now(),
        };
        tx.insert_role(role).await.expect("insert the role");
        tx.assign_role(ann.id, id, None, SystemClock.now()).await.expect("assign");
    }
    tx.commit().await.expect("commit");
    let rights = store.reader().find_rights(&ann).await.expect("read");
    let at_home = rights.granted(&ann, Some(home.id));
    assert_eq!(at_home.roles, BTreeSet::from(["everywhere".to_owned(), "runner".to_owned()]));
    assert_eq!(at_home.permissions, BTreeSet::from(["config.read".to_owned(), "executions.run".to_owned()]));
    assert_eq!(rights.granted(&ann, Some(other.id)), Granted::default(), "he is no member there");
}

async fn a_session_ends_in_every_way(db: TestDatabase) {
    let store = db.store();
    let home = organization(None);
    add_organization(&store, &home).await;
    let ann = user("ann@acme.example", Some(home.id));
    add_user(&store, &ann).await;
    let now = SystemClock.now();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let session = session_of(&ann);
        add_session(&store, &session).await;
        sessions.push(session.id);
    }
    let is_live = async |id| {
        let found = store.reader().find_session(id).await.expect("read").expect("a session");
        assert_eq!(found.state.user.id, ann.id);
        found.is_live(now)
    };
    assert!(is_live(sessions[0]).await);
    let expired = store.reader().find_session(sessions[0]).await.expect("read").expect("a session");
    assert!(!expired.is_live(now + Duration::days(8)), "expiry");

    let tx = store.db().begin().await.expect("begin");
    assert!(tx.end_session(sessions[0], "logout", now).await.expect("end"));
    assert!(!tx.end_session(sessions[0], "logout", now).await.expect("end"), "ended before");
    assert!(!tx.touch_session(sessions[0], now, now).await.expect("touch"), "an ended one is not prolonged");
    tx.commit().await.expect("commit");
    assert!(!is_live(sessions[0]).await, "logout");
    assert!(is_live(sessions[1]).await, "the other one goes on");

    let suspend =
        |is_active| OrganizationPatch { is_active: Some(is_active), ..OrganizationPatch::default() };
    let tx = store.db().begin().await.expect("begin");
    tx.update_organization(&permit(), home.id, suspend(false), now).await.expect("update").expect("there");
    tx.commit().await.expect("commit");
    assert!(!is_live(sessions[1]).await, "suspended organization");
    let tx = store.db().begin().await.expect("begin");
    tx.update_organization(&permit(), home.id, suspend(true), now).await.expect("update").expect("there");
    tx.commit().await.expect("commit");
    assert!(is_live(sessions[1]).await, "and back");

    let tx = store.db().begin().await.expect("begin");
    tx.update_password(ann.id, &"new".into(), now).await.expect("update");
    tx.commit().await.expect("commit");
    assert!(!is_live(sessions[1]).await, "raised epoch");
    let unknown = store.reader().find_session(SessionId::from_uuid(SystemIds.next())).await.expect("read");
    assert!(unknown.is_none());
}

async fn a_refresh_token_is_used_once_by_a_hundred(db: TestDatabase) {
    let store = db.store();
    let ann = user("ann@acme.example", None);
    add_user(&store, &ann).await;
    let session = session_of(&ann);
    let token = add_session(&store, &session).await;
    let start = Arc::new(tokio::sync::Barrier::new(100));
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (store, start) = (store.clone(), Arc::clone(&start));
        tries.spawn(async move {
            start.wait().await;
            let successor = SystemIds.next();
            let tx = store.db().begin().await.expect("begin");
            let first = tx.use_refresh_token(token.id, successor, SystemClock.now()).await.expect("use");
            let seen = tx.find_refresh_token(token.id).await.expect("read").expect("the token");
            tx.commit().await.expect("commit");
            assert_eq!(first, seen.successor_id == Some(successor));
            (first, seen.successor_id.expect("used by now"))
        });
    }
    let outcomes = tries.join_all().await;
    assert_eq!(outcomes.iter().filter(|(first, _)| *first).count(), 1);
    assert_eq!(outcomes.iter().map(|(_, successor)| successor).collect::<BTreeSet<_>>().len(), 1);
}

async fn expired_sessions_of_the_user_are_deleted(db: TestDatabase) {
    let store = db.store();
    let (ann, bob) = (user("ann@acme.example", None), user("bob@acme.example", None));
    let mut tokens = Vec::new();
    for user in [&ann, &bob] {
        add_user(&store, user).await;
        tokens.push(add_session(&store, &session_of(user)).await);
    }
    let tx = store.db().begin().await.expect("begin");
    let now = SystemClock.now();
    assert_eq!(tx.delete_expired_sessions(ann.id, now).await.expect("delete"), 0);
    assert_eq!(tx.delete_expired_sessions(ann.id, now + Duration::days(8)).await.expect("delete"), 1);
    assert!(tx.find_refresh_token(tokens[0].id).await.expect("read").is_none(), "with its tokens");
    assert!(tx.find_refresh_token(tokens[1].id).await.expect("read").is_some(), "bob's stays");
    tx.commit().await.expect("commit");
}

async fn an_organization_through_its_life(db: TestDatabase) {
    let store = db.store();
    let acme = organization(Some("acme.example"));
    add_organization(&store, &acme).await;
    let tx = store.db().begin().await.expect("begin");
    let found = tx.find_organization_by_domain("acme.example").await.expect("read").expect("acme");
    assert_eq!(format!("{found:?}"), format!("{acme:?}"));
    let now = SystemClock.now() + Duration::seconds(1);
    let patch =
        OrganizationPatch { name: Some("Acme 2".into()), domain: Some(None), ..OrganizationPatch::default() };
    let changed =
        tx.update_organization(&permit(), acme.id, patch, now).await.expect("update").expect("acme");
    assert_eq!((changed.name.as_str(), changed.domain, changed.updated_at), ("Acme 2", None, now));
    assert_eq!(changed.settings, acme.settings, "what was not named stays");
    assert!(tx.find_organization_by_domain("acme.example").await.expect("read").is_none());
    assert_eq!(
        tx.delete_organization(&permit(), acme.id).await.expect("delete"),
        Deletion::Done { memberships: 0, keys: 0 }
    );
    assert_eq!(tx.delete_organization(&permit(), acme.id).await.expect("delete"), Deletion::Unknown);
    let patch = OrganizationPatch { name: Some("Nobody".into()), ..OrganizationPatch::default() };
    assert!(tx.update_organization(&permit(), acme.id, patch, now).await.expect("update").is_none());
    tx.commit().await.expect("commit");

    add_organization(&store, &organization(Some("acme.example"))).await;
    let tx = store.db().begin().await.expect("begin");
    let error =
        tx.insert_organization(&permit(), organization(Some("acme.example"))).await.expect_err("taken");
    assert!(matches!(error, Error::Duplicate(_)), "{error:?}");
}

async fn organizations_are_paged_without_holes(db: TestDatabase) {
    let store = db.store();
    let mut expected = Vec::new();
    for _ in 0..7 {
        let organization = organization(None);
        add_organization(&store, &organization).await;
        expected.push(organization.id);
    }
    expected.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.reader().list_organizations(&permit(), after, 3).await.expect("read");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.into_iter().map(|organization| organization.id));
    }
    assert_eq!(seen, expected);
}

async fn people_hold_their_organization(db: TestDatabase) {
    let store = db.store();
    let home = organization(None);
    add_organization(&store, &home).await;
    add_user(&store, &user("ann@acme.example", Some(home.id))).await;
    let tx = store.db().begin().await.expect("begin");
    let deletion = tx.delete_organization(&permit(), home.id).await.expect("asked");
    assert_eq!(deletion, Deletion::InUse(vec!["people".to_owned()]));
}

async fn an_uncommitted_transaction_leaves_nothing(db: TestDatabase) {
    let store = db.store();
    let tx = store.db().begin().await.expect("begin");
    tx.insert_user(&user("ann@acme.example", None), None).await.expect("insert");
    drop(tx);
    assert!(store.reader().find_credentials(&email("ann@acme.example")).await.expect("read").is_none());
    add_user(&store, &user("ann@acme.example", None)).await;
}

async fn the_audit_log_takes_any_text(db: TestDatabase) {
    let store = db.store();
    let mut ids = Vec::new();
    for text in ["a\0b", &"ü".repeat(500)] {
        let id = AuditId::from_uuid(SystemIds.next());
        let tx = store.db().begin().await.expect("begin");
        tx.insert_audit(Entry {
            id,
            at: SystemClock.now(),
            organization_id: None,
            actor_id: None,
            actor_email: Some(text.to_owned()),
            actor_name: Some(text.to_owned()),
            application_id: None,
            on_behalf_of: None,
            changes: Some(json!({"name": {"old": text, "new": [text]}, text: {"old": null}})),
            action: "session.begin",
            resource_type: "session",
            resource_id: Some(text.to_owned()),
            outcome: Outcome::Failure,
            detail: Some(json!({"channel": text})),
            request_id: Some(text.to_owned()),
            ip_address: Some(text.to_owned()),
        })
        .await
        .expect("insert");
        tx.commit().await.expect("commit");
        ids.push(id);
    }
    let lines = store.reader().list_audit(&permit(), None, 10).await.expect("read");
    assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert_eq!((lines[1].actor_email.as_deref(), lines[1].outcome.as_str()), (Some("a\u{fffd}b"), "failure"));
    assert_eq!(lines[1].detail, Some(json!({"channel": "a\u{fffd}b"})));
    let changed = json!({"name": {"old": "a\u{fffd}b", "new": ["a\u{fffd}b"]}, "a\u{fffd}b": {"old": null}});
    assert_eq!(lines[1].changes, Some(changed));
    let older = store.reader().list_audit(&permit(), Some(ids[1]), 10).await.expect("read");
    assert_eq!(older.len(), 1);
}
