//! Trusted devices are bounded, branding is changed field by field, and some accounts are nobody's to register or to sign in with.

use crate::support::{Bed, user, user_id};
use bifrost_domain::{
    branding::BrandingPatch,
    ids::{SessionId, TrustedDeviceId},
    policy::{Caller, authorize},
    scope::Scope,
    user::{User, UserType},
};
use bifrost_storage::{sessions::NewSession, trusted_devices::TrustedDevice};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use std::sync::Arc;

on_both_databases![
    twenty_devices_are_trusted_at_most,
    two_changes_of_the_branding_do_not_undo_each_other,
    a_stub_of_the_platform_is_nobodys_to_claim,
    a_session_of_the_system_user_is_none,
];

async fn twenty_devices_are_trusted_at_most(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let person = user(user_id(1), Scope::Global, true, bed.now());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&person, None).await.expect("inserted");
    tx.commit().await.expect("commit");
    for number in 0..25_u8 {
        let now = bed.now() + Duration::seconds(i64::from(number));
        let device = TrustedDevice {
            id: TrustedDeviceId::from_uuid(bed.uuid()),
            user_agent: Some("b\0".repeat(400)),
            ip_address: None,
            created_at: now,
            last_used_at: now,
            expires_at: now + Duration::days(30),
        };
        let tx = bed.store.db().begin().await.expect("begin");
        tx.insert_trusted_device(person.id, person.epoch, &[number; 32], device).await.expect("inserted");
        tx.commit().await.expect("commit");
    }
    let now = bed.now() + Duration::seconds(25);
    let devices = bed.reader.list_trusted_devices(person.id, now).await.expect("a list");
    assert_eq!(devices.len(), 20);
    assert!(devices.iter().all(|device| device.user_agent.as_ref().is_some_and(|text| text.len() <= 512)));
    let is_trusted = async |number: u8, epoch: i64| {
        let tx = bed.store.db().begin().await.expect("begin");
        let used = tx.use_trusted_device(person.id, epoch, &[number; 32], now).await.expect("asked");
        tx.commit().await.expect("commit");
        used
    };
    assert!(!is_trusted(4, person.epoch).await, "the oldest made room");
    assert!(is_trusted(5, person.epoch).await && is_trusted(24, person.epoch).await);
    assert!(!is_trusted(24, person.epoch + 1).await, "of an older epoch");
}

async fn two_changes_of_the_branding_do_not_undo_each_other(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let admin = user(user_id(1), Scope::Global, true, bed.now());
    let caller = Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller");
    let permit = authorize(&caller).expect("an admin may");
    let set = |text: &str| Some(Some(text.to_owned()));
    for turn in 0..10 {
        let (name, color) = (format!("Acme {turn}"), format!("#{turn:06x}"));
        let patches = [
            BrandingPatch { name: set(&name), primary_color: None },
            BrandingPatch { name: None, primary_color: set(&color) },
        ];
        let change = async |patch: &BrandingPatch| {
            let tx = bed.store.db().begin().await.expect("begin");
            tx.update_branding(&permit, patch, bed.now()).await.expect("changed");
            tx.commit().await.expect("commit");
        };
        tokio::join!(change(&patches[0]), change(&patches[1]));
        let found = bed.reader.find_branding().await.expect("read");
        assert_eq!((found.name, found.primary_color), (Some(name), Some(color)));
    }
}

async fn a_stub_of_the_platform_is_nobodys_to_claim(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let home = bed.add_organization(1).await;
    let stub = |number, scope, is_superuser| User {
        is_registered: false,
        ..user(user_id(number), scope, is_superuser, bed.now())
    };
    for (one, expected) in [
        (stub(1, Scope::Global, true), false),
        (User { user_type: UserType::Platform, ..stub(2, Scope::Global, false) }, false),
        (User { is_superuser: true, ..stub(3, home, false) }, false),
        (User { is_active: false, ..stub(4, home, false) }, false),
        (stub(5, home, false), true),
    ] {
        let tx = bed.store.db().begin().await.expect("begin");
        tx.insert_user(&one, None).await.expect("inserted");
        let done = tx.register_stub(one.id, Some("Ann"), &"new".into(), bed.now()).await.expect("asked");
        tx.commit().await.expect("commit");
        let found = bed.reader.find_credentials(&one.email.parse().expect("an address")).await;
        let found = found.expect("read").expect("there");
        let is_claimed = (done, found.user.is_registered, found.password_hash.is_some());
        assert_eq!(is_claimed, (expected, expected, expected), "{}", one.id);
    }
}

async fn a_session_of_the_system_user_is_none(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let system = |user_type| User { user_type, ..user(user_id(1), Scope::Global, true, bed.now()) };
    let id = SessionId::from_uuid(bed.uuid());
    let session = NewSession {
        id,
        user_id: user_id(1),
        epoch: 0,
        created_at: bed.now(),
        expires_at: bed.now() + Duration::days(7),
        ends_at: bed.now() + Duration::days(30),
        factor_at: None,
        authenticated_at: None,
        user_agent: None,
        ip_address: None,
    };
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&system(UserType::System), None).await.expect("inserted");
    tx.insert_session(session).await.expect("inserted");
    tx.commit().await.expect("commit");
    let mut found = bed.reader.find_session(id).await.expect("read").expect("there");
    assert!(!found.is_live(bed.now()));
    found.state.user = system(UserType::Platform);
    assert!(found.is_live(bed.now()), "it is for that alone");
}
