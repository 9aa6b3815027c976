//! Second factors, challenges and trusted devices: tries are counted, and a code is used once, however many show it.

use super::{Rivals, TURNS, at_once, both, within};
use bifrost_domain::{
    ids::{TrustedDeviceId, UserId},
    user::User,
};
use bifrost_storage::{mfa::TryLimit, trusted_devices::TrustedDevice};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

on_both_databases![
    one_of_two_has_the_last_try_of_a_challenge,
    one_of_two_uses_the_challenge,
    one_of_two_has_the_last_try_of_a_factor,
    one_of_two_uses_the_step,
    one_of_two_uses_the_recovery_code,
    one_of_two_confirms_the_factor,
    a_secret_is_one_of_the_two_that_were_set_up,
    a_confirmed_factor_has_the_secret_of_before_or_the_new_one,
    one_of_two_takes_the_factor_away,
    a_device_that_is_used_and_forgotten_is_forgotten,
    one_of_two_forgets_the_device,
];

/// Tries that are allowed.
const MOST: i32 = 3;

async fn challenge(rivals: &Rivals) -> (Uuid, UserId) {
    let (id, now) = (rivals.bed.uuid(), rivals.bed.now());
    let person = rivals.person().await;
    within!(rivals.bed, |tx| tx.insert_challenge(id, person.id, now + Duration::minutes(5), now));
    (id, person.id)
}

/// Somebody who set a factor up, with a code of step 1.
async fn with_factor(rivals: &Rivals) -> User {
    let (person, now) = (rivals.person().await, rivals.bed.now());
    assert!(within!(rivals.bed, |tx| tx.put_factor(person.id, b"old".to_vec(), "k1", now)));
    assert!(within!(rivals.bed, |tx| tx.confirm_factor(person.id, 1, now)));
    person
}

/// The row of a user's factor: the time of its confirmation, the last step and the tries.
async fn factor_row(rivals: &Rivals) -> (Option<DateTime<Utc>>, i64, i32) {
    let sql =
        "SELECT f.confirmed_at, f.last_step, f.tries FROM totp_factors f ORDER BY f.user_id DESC LIMIT 1";
    let row = &rivals.bed.query(sql).await[0];
    (
        row.try_get("", "confirmed_at").expect("a time"),
        row.try_get("", "last_step").expect("a step"),
        row.try_get("", "tries").expect("a number"),
    )
}

async fn is_asked_for(rivals: &Rivals, user: UserId) -> bool {
    rivals.bed.reader.find_account_facts(user).await.expect("read").expect("there").mfa_enabled
}

async fn one_of_two_has_the_last_try_of_a_challenge(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((id, user), now) = (challenge(&rivals).await, rivals.bed.now());
        for _ in 1..MOST {
            assert!(within!(rivals.bed, |tx| tx.try_challenge(id, user, MOST, now)));
        }
        let (one, other) = both!(rivals, turn, |tx| tx.try_challenge(id, user, MOST, now));
        assert!(one != other, "{one} and {other}");
        assert_eq!(rivals.last::<i32>("mfa_challenges", "tries").await, MOST);
    }
    rivals.agree().await;
}

async fn one_of_two_uses_the_challenge(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((id, user), now) = (challenge(&rivals).await, rivals.bed.now());
        let later = now + Duration::seconds(1);
        let (one, other) = rivals.sides();
        let (first, second) =
            at_once(turn, async move { within!(one, |tx| tx.use_challenge(id, now)) }, async move {
                within!(other, |tx| tx.use_challenge(id, later))
            })
            .await;
        assert!(first != second, "{first} and {second}");
        let used: Option<DateTime<Utc>> = rivals.last("mfa_challenges", "used_at").await;
        assert_eq!(used, Some(if first { now } else { later }));
        assert!(!within!(rivals.bed, |tx| tx.try_challenge(id, user, MOST, now)), "it was used");
    }
    rivals.agree().await;
}

async fn one_of_two_has_the_last_try_of_a_factor(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let limit = TryLimit { most: MOST, within: Duration::minutes(5) };
    for turn in 0..TURNS {
        let (user, now) = (with_factor(&rivals).await.id, rivals.bed.now());
        for _ in 1..MOST {
            assert!(within!(rivals.bed, |tx| tx.try_factor(user, limit, now)));
        }
        let (one, other) = both!(rivals, turn, |tx| tx.try_factor(user, limit, now));
        assert!(one != other, "{one} and {other}");
        assert_eq!(factor_row(&rivals).await.2, MOST);
    }
    rivals.agree().await;
}

async fn one_of_two_uses_the_step(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let user = with_factor(&rivals).await.id;
        let (one, other) = both!(rivals, turn, |tx| tx.use_step(user, 2));
        assert!(one != other, "{one} and {other}");
        assert_eq!(factor_row(&rivals).await.1, 2);
        // Of a step and a later one the later one counts, and the earlier one only before it.
        let (one, other) = rivals.sides();
        let (_, later) = at_once(turn, async move { within!(one, |tx| tx.use_step(user, 3)) }, async move {
            within!(other, |tx| tx.use_step(user, 4))
        })
        .await;
        assert!(later);
        assert_eq!(factor_row(&rivals).await.1, 4);
    }
    rivals.agree().await;
}

async fn one_of_two_uses_the_recovery_code(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (user, now) = (with_factor(&rivals).await.id, rivals.bed.now());
        let hashes = [b"one".to_vec(), b"two".to_vec()];
        within!(rivals.bed, |tx| tx.replace_recovery_codes(user, hashes, now));
        let (one, other) = both!(rivals, turn, |tx| tx.use_recovery_code(user, b"one", now));
        assert!(one != other, "{one} and {other}");
        assert_eq!(rivals.bed.reader.count_recovery_codes(user).await.expect("read"), (1, 2));
    }
    rivals.agree().await;
}

async fn one_of_two_confirms_the_factor(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (user, now) = (rivals.person().await.id, rivals.bed.now());
        assert!(within!(rivals.bed, |tx| tx.put_factor(user, b"secret".to_vec(), "k1", now)));
        let later = now + Duration::seconds(1);
        let (one, other) = rivals.sides();
        let (first, second) =
            at_once(turn, async move { within!(one, |tx| tx.confirm_factor(user, 7, now)) }, async move {
                within!(other, |tx| tx.confirm_factor(user, 8, later))
            })
            .await;
        assert!(first != second, "{first} and {second}");
        let expected = if first { (Some(now), 7, 0) } else { (Some(later), 8, 0) };
        assert_eq!(factor_row(&rivals).await, expected);
        assert!(is_asked_for(&rivals, user).await);
    }
    rivals.agree().await;
}

async fn a_secret_is_one_of_the_two_that_were_set_up(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (user, now) = (rivals.person().await.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let both = at_once(
            turn,
            async move { within!(one, |tx| tx.put_factor(user, b"a".to_vec(), "ka", now)) },
            async move { within!(other, |tx| tx.put_factor(user, b"b".to_vec(), "kb", now)) },
        )
        .await;
        assert_eq!(both, (true, true), "nothing was confirmed");
        let kept = rivals.bed.reader.find_factor(user).await.expect("read").expect("there");
        let is_whole =
            matches!((kept.ciphertext.as_slice(), kept.key_id.as_str()), (b"a", "ka") | (b"b", "kb"));
        assert!(is_whole, "{kept:?}");
        assert!(!is_asked_for(&rivals, user).await);
    }
    rivals.agree().await;
}

async fn a_confirmed_factor_has_the_secret_of_before_or_the_new_one(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (user, now) = (rivals.person().await.id, rivals.bed.now());
        assert!(within!(rivals.bed, |tx| tx.put_factor(user, b"old".to_vec(), "k1", now)));
        let (one, other) = rivals.sides();
        let (replaced, confirmed) = at_once(
            turn,
            async move { within!(one, |tx| tx.put_factor(user, b"new".to_vec(), "k2", now)) },
            async move { within!(other, |tx| tx.confirm_factor(user, 7, now)) },
        )
        .await;
        assert!(confirmed);
        let kept = rivals.bed.reader.find_factor(user).await.expect("read").expect("there");
        let expected: (&[u8], &str) = if replaced { (b"new", "k2") } else { (b"old", "k1") };
        assert_eq!((kept.ciphertext.as_slice(), kept.key_id.as_str()), expected);
        assert_eq!((kept.confirmed_at, kept.last_step), (Some(now), 7));
        assert!(!within!(rivals.bed, |tx| tx.put_factor(user, b"late".to_vec(), "k3", now)));
    }
    rivals.agree().await;
}

async fn one_of_two_takes_the_factor_away(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (user, now) = (with_factor(&rivals).await.id, rivals.bed.now());
        let (one, other) = both!(rivals, turn, |tx| tx.delete_factor(user, now));
        assert!(one != other, "{one} and {other}");
        assert!(rivals.bed.reader.find_factor(user).await.expect("read").is_none());
        assert!(!is_asked_for(&rivals, user).await);
    }
    rivals.agree().await;
}

async fn trusted(rivals: &Rivals) -> (User, TrustedDeviceId) {
    let (person, now) = (rivals.person().await, rivals.bed.now());
    let device = TrustedDevice {
        id: TrustedDeviceId::from_uuid(rivals.bed.uuid()),
        user_agent: None,
        ip_address: None,
        created_at: now,
        last_used_at: now,
        expires_at: now + Duration::days(30),
    };
    let id = device.id;
    within!(rivals.bed, |tx| tx.insert_trusted_device(
        person.id,
        person.epoch,
        id.as_uuid().as_bytes(),
        device
    ));
    (person, id)
}

async fn a_device_that_is_used_and_forgotten_is_forgotten(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((person, device), now) = (trusted(&rivals).await, rivals.bed.now());
        let (user, epoch, hash) = (person.id, person.epoch, device.as_uuid());
        let (one, other) = rivals.sides();
        let (_, gone) = at_once(
            turn,
            async move { within!(one, |tx| tx.use_trusted_device(user, epoch, hash.as_bytes(), now)) },
            async move { within!(other, |tx| tx.delete_trusted_devices(user, Some(device))) },
        )
        .await;
        assert_eq!(gone, 1);
        assert_eq!(rivals.count("trusted_devices").await, 0);
        assert!(!within!(rivals.bed, |tx| tx.use_trusted_device(user, epoch, hash.as_bytes(), now)));
    }
    rivals.agree().await;
}

async fn one_of_two_forgets_the_device(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (person, device) = trusted(&rivals).await;
        let (_, kept) = trusted(&rivals).await;
        let user = person.id;
        let (one, other) = rivals.sides();
        let both = at_once(
            turn,
            async move { within!(one, |tx| tx.delete_trusted_devices(user, Some(device))) },
            async move { within!(other, |tx| tx.delete_trusted_devices(user, None)) },
        )
        .await;
        assert!(matches!(both, (1, 0) | (0, 1)), "{both:?}");
        assert_eq!(rivals.last::<Uuid>("trusted_devices", "id").await, kept.as_uuid(), "another one's stays");
        assert_eq!(rivals.count("trusted_devices").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}
