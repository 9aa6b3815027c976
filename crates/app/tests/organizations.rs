//! Organizations: what they may hold, and what keeps one from being deleted.

#![expect(clippy::expect_used, reason = "a case that cannot go on has failed")]

use bifrost_app::{
    auth::Client,
    organizations::{NewOrganization, Organizations},
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    error::{Error, Kind},
    ids::UserId,
    organization::{Organization, OrganizationKind},
    policy::{Caller, authorize},
    user::{User, UserType},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

on_both_databases![settings_are_kept_as_they_are, who_and_what_is_in_the_way_is_said];

struct Bed {
    organizations: Organizations,
    admin: Caller,
}

fn user(home: Option<&Organization>) -> User {
    let now = SystemClock.now();
    let id = UserId::from_uuid(SystemIds.next());
    User {
        id,
        email: format!("{id}@acme.example"),
        name: None,
        user_type: if home.is_some() { UserType::Org } else { UserType::Platform },
        organization_id: home.map(|organization| organization.id),
        is_active: true,
        is_superuser: home.is_none(),
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

impl Bed {
    async fn new(db: &TestDatabase) -> Self {
        let organizations = Organizations::new(db.store(), Arc::new(SystemClock), Arc::new(SystemIds));
        let user = user(None);
        let tx = db.store().db().begin().await.expect("begin");
        tx.insert_user(&user, None).await.expect("made");
        tx.commit().await.expect("commit");
        let admin = Caller::of_user(&user, &Arc::default(), None, None).expect("a caller");
        Self { organizations, admin }
    }

    async fn create(&self, settings: Value) -> Result<Organization, Error> {
        let new = NewOrganization {
            name: "Acme".into(),
            domain: None,
            is_active: true,
            kind: OrganizationKind::Company,
            parent_id: None,
            time_zone: "UTC".into(),
            settings,
        };
        let permit = authorize(&self.admin).expect("an admin may");
        self.organizations.create(&permit, &self.admin, new, &Client::default()).await
    }

    async fn delete(&self, organization: &Organization) -> Result<(), Error> {
        let permit = authorize(&self.admin).expect("an admin may");
        self.organizations.delete(&permit, &self.admin, organization.id, &Client::default()).await
    }
}

async fn settings_are_kept_as_they_are(db: TestDatabase) {
    let bed = Bed::new(&db).await;
    // A backslash before `u0000` is no NUL, however it is written down.
    let harmless = json!({"share": r"C:\u0000", "list": [{"x\\u0000": "\\\\u0000"}]});
    let made = bed.create(harmless.clone()).await.expect("made");
    let permit = authorize(&bed.admin).expect("an admin may");
    assert_eq!(bed.organizations.get(&permit, made.id).await.expect("read").settings, harmless);
    for bad in [json!({"a": "\0"}), json!({"a": [{"b\0": 1}]}), json!([]), json!({"a": "x".repeat(70_000)})] {
        let error = bed.create(bad).await.expect_err("refused");
        assert_eq!((error.kind, error.fields[0].path.as_str()), (Kind::Invalid, "settings"));
    }
}

async fn who_and_what_is_in_the_way_is_said(db: TestDatabase) {
    let bed = Bed::new(&db).await;
    let acme = bed.create(json!({})).await.expect("made");
    let ann = user(Some(&acme));
    let store = db.store();
    let tx = store.db().begin().await.expect("begin");
    tx.insert_user(&ann, None).await.expect("made");
    tx.insert_role(bifrost_storage::users::NewRole {
        id: bifrost_domain::ids::RoleId::from_uuid(SystemIds.next()),
        organization_id: Some(acme.id),
        name: "member".to_owned(),
        permissions: BTreeSet::new(),
        created_at: SystemClock.now(),
    })
    .await
    .expect("made");
    tx.commit().await.expect("commit");
    let error = bed.delete(&acme).await.expect_err("in use");
    assert_eq!((error.kind, error.code), (Kind::Conflict, Some("organization_in_use")));
    assert!(error.message.contains("people, roles"), "{error}");
    assert!(error.message.contains("is_active"), "what to do: {error}");

    let empty = bed.create(json!({})).await.expect("made");
    bed.delete(&empty).await.expect("nothing is in the way");
    assert_eq!(bed.delete(&empty).await.expect_err("gone").kind, Kind::NotFound);
}
