//! Keys of programs: their use is noted once a while, there are no more than allowed, and one is revoked once.

use super::{Rivals, Side, TURNS, at_once, permit, within};
use bifrost_domain::{
    application::Application,
    ids::{ApplicationId, KeyId},
    user::User,
};
use bifrost_storage::machines::{Hash, Key, Keys, sdk_keys::SdkKey, workflow_keys::WorkflowKey};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{DateTime, Duration, Utc};

on_both_databases![
    one_of_two_notes_the_use,
    one_of_two_has_the_last_key_of_a_person,
    one_of_two_has_the_last_key_of_an_application,
    one_of_two_revokes_the_key_of_a_person,
    one_of_two_revokes_the_key_of_an_application,
    one_of_two_revokes_the_key_of_a_workflow,
];

/// Keys that one may have.
const MOST: i64 = 3;

fn key(rivals: &Rivals) -> (Key, Hash) {
    let id = rivals.bed.uuid();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    let key = Key {
        id: KeyId::from_uuid(id),
        name: None,
        prefix: "bf".to_owned(),
        created_by: None,
        created_at: rivals.bed.now(),
        expires_at: None,
        last_used_at: None,
    };
    (key, hash)
}

fn sdk_key(rivals: &Rivals, person: &User) -> SdkKey {
    let (key, hash) = key(rivals);
    let (key, hash) = (Key { created_by: Some(person.id), ..key }, hash.to_vec());
    SdkKey { key, user_id: person.id, organization_id: None, epoch: person.epoch, hash }
}

async fn application(rivals: &Rivals, admin: &User, number: u128) -> ApplicationId {
    let (scope, now) = (rivals.bed.add_organization(number).await, rivals.bed.now());
    let id = rivals.bed.uuid();
    let made = Application {
        id: ApplicationId::from_uuid(id),
        app_id: id.to_string(),
        name: "Nightly".to_owned(),
        description: None,
        organization_id: scope.organization().expect("an organization"),
        scopes: std::iter::empty().collect(),
        is_active: true,
        rate_limit_per_minute: None,
        allow_user_assertion: false,
        created_by: None,
        created_at: now,
        updated_at: now,
    };
    within!(rivals.bed, |tx| tx.insert_application(&permit(admin), &made));
    made.id
}

async fn one_of_two_notes_the_use(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    let made = sdk_key(&rivals, &ann);
    assert!(within!(rivals.bed, |tx| tx.insert_sdk_key(&permit(&ann), &made, MOST)));
    for turn in 0..TURNS {
        let now = rivals.bed.now() + Duration::minutes(turn.into());
        let id = made.key.id;
        let touch =
            |side: Side, at| async move { side.store.touch_key(Keys::Sdk, id, at).await.expect("asked") };
        let (one, other) = rivals.sides();
        let later = now + Duration::milliseconds(1);
        let (first, second) = at_once(turn, touch(one, now), touch(other, later)).await;
        assert!(first != second, "{first} and {second}");
        let used: Option<DateTime<Utc>> = rivals.last("sdk_keys", "last_used_at").await;
        assert_eq!(used, Some(if first { now } else { later }));
    }
    rivals.agree().await;
}

async fn one_of_two_has_the_last_key_of_a_person(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ann = rivals.person().await;
        let insert = |side: Side, key: SdkKey| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.insert_sdk_key(&permit(&ann), &key, MOST)) }
        };
        for _ in 1..MOST {
            assert!(insert(rivals.one.clone(), sdk_key(&rivals, &ann)).await);
        }
        let keys = (sdk_key(&rivals, &ann), sdk_key(&rivals, &ann));
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, insert(one, keys.0), insert(other, keys.1)).await;
        assert!(first != second, "{first} and {second}");
        let kept = rivals.bed.reader.list_sdk_keys(&permit(&ann)).await.expect("read");
        assert_eq!(kept.len() as i64, MOST);
    }
    rivals.agree().await;
}

/// The application is locked first, as whoever makes a key does.
async fn one_of_two_has_the_last_key_of_an_application(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let id = application(&rivals, &ann, turn.into()).await;
        let insert = |side: Side, (key, hash): (Key, Hash)| {
            let ann = ann.clone();
            async move {
                let tx = side.store.db().begin().await.expect("begin");
                assert!(tx.lock_application(&permit(&ann), id).await.expect("asked").is_some());
                let done =
                    tx.insert_application_key(&permit(&ann), id, &key, &hash, MOST).await.expect("asked");
                tx.commit().await.expect("commit");
                done
            }
        };
        for _ in 1..MOST {
            assert!(insert(rivals.one.clone(), key(&rivals)).await);
        }
        let keys = (key(&rivals), key(&rivals));
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, insert(one, keys.0), insert(other, keys.1)).await;
        assert!(first != second, "{first} and {second}");
        let kept = rivals.bed.reader.list_application_keys(&permit(&ann), id).await.expect("read");
        assert_eq!(kept.len() as i64, MOST);
    }
    rivals.agree().await;
}

async fn one_of_two_revokes_the_key_of_a_person(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let made = sdk_key(&rivals, &ann);
        assert!(within!(rivals.bed, |tx| tx.insert_sdk_key(&permit(&ann), &made, MOST)));
        let revoke = |side: Side| {
            let (ann, id) = (ann.clone(), made.key.id);
            async move { within!(side, |tx| tx.delete_sdk_key(&permit(&ann), id)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, revoke(one), revoke(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&made]);
        assert_eq!(rivals.count("sdk_keys").await, 0);
    }
    rivals.agree().await;
}

async fn one_of_two_revokes_the_key_of_an_application(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    let id = application(&rivals, &ann, 1).await;
    for turn in 0..TURNS {
        let (made, hash) = key(&rivals);
        assert!(within!(rivals.bed, |tx| tx.insert_application_key(&permit(&ann), id, &made, &hash, MOST)));
        let revoke = |side: Side| {
            let (ann, key) = (ann.clone(), made.id);
            async move { within!(side, |tx| tx.delete_application_key(&permit(&ann), id, key)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, revoke(one), revoke(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&made]);
        assert_eq!(rivals.count("application_keys").await, 0);
    }
    rivals.agree().await;
}

async fn one_of_two_revokes_the_key_of_a_workflow(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let (made, hash) = key(&rivals);
        let id = made.id;
        let kept = WorkflowKey {
            key: made,
            organization_id: None,
            workflow_name: Some("greet".to_owned()),
            hash: hash.to_vec(),
            is_open: true,
        };
        within!(rivals.bed, |tx| tx.insert_workflow_key(&permit(&ann), &kept));
        let revoke = |side: Side| {
            let ann = ann.clone();
            async move { within!(side, |tx| tx.delete_workflow_key(&permit(&ann), id)) }
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, revoke(one), revoke(other)).await;
        let gone: Vec<KeyId> = first.iter().chain(&second).map(|gone| gone.key.id).collect();
        assert_eq!(gone, [id]);
        assert_eq!(rivals.count("workflow_keys").await, 0);
    }
    rivals.agree().await;
}
