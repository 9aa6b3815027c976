//! A key is claimed once, and answers for a day.

use crate::support::Bed;
use bifrost_storage::idempotency::{Earlier, KEPT, Reply};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![one_of_ten_claims_a_key, an_answer_is_kept_for_a_day, what_was_forgotten_is_claimed_again];

const WHAT: [u8; 32] = [1; 32];

fn reply() -> Reply {
    Reply { status: 201, body: Some("{\"id\":1}".into()) }
}

async fn one_of_ten_claims_a_key(db: TestDatabase) {
    let bed = Bed::new(db).await;
    for round in 0..5_u8 {
        let (hash, now) = ([round; 32], bed.now());
        let claims = join_all((0..10).map(|_| bed.store.claim_request(&hash, &WHAT, now))).await;
        let claims: Vec<Earlier> = claims.into_iter().map(|claim| claim.expect("asked")).collect();
        assert_eq!(claims.iter().filter(|known| **known == Earlier::Nothing).count(), 1, "{claims:?}");
        assert_eq!(claims.iter().filter(|known| **known == Earlier::Begun).count(), 9, "{claims:?}");
        let other = bed.store.claim_request(&hash, &[2; 32], now).await.expect("asked");
        assert_eq!(other, Earlier::Another);
    }
}

async fn an_answer_is_kept_for_a_day(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (hash, now) = ([7; 32], bed.now());
    assert_eq!(bed.store.claim_request(&hash, &WHAT, now).await.expect("claimed"), Earlier::Nothing);
    bed.store.keep_reply(&hash, &reply()).await.expect("kept");
    let late = Reply { status: 500, body: None };
    bed.store.keep_reply(&hash, &late).await.expect("a second answer changes nothing");
    bed.store.forget_request(&hash).await.expect("what was answered is not forgotten");
    let almost = now + KEPT - Duration::seconds(1);
    bed.store.forget_requests(almost).await.expect("swept");
    let again = bed.store.claim_request(&hash, &WHAT, almost).await.expect("asked");
    assert_eq!(again, Earlier::Answered(reply()));
    let other = bed.store.claim_request(&hash, &[2; 32], almost).await.expect("asked");
    assert_eq!(other, Earlier::Another);

    let later = now + KEPT;
    assert_eq!(
        bed.store.claim_request(&hash, &[2; 32], later).await.expect("asked"),
        Earlier::Nothing,
        "a new day"
    );
    assert_eq!(bed.store.claim_request(&hash, &[2; 32], later).await.expect("asked"), Earlier::Begun);
    bed.store.forget_requests(later + KEPT).await.expect("swept");
    let rows = bed.query("SELECT count(*) AS n FROM idempotency_keys").await;
    assert_eq!(rows[0].try_get::<i64>("", "n").expect("a number"), 0);
}

async fn what_was_forgotten_is_claimed_again(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (hash, now) = ([9; 32], bed.now());
    assert_eq!(bed.store.claim_request(&hash, &WHAT, now).await.expect("claimed"), Earlier::Nothing);
    bed.store.forget_request(&hash).await.expect("forgotten");
    assert_eq!(bed.store.claim_request(&hash, &[2; 32], now).await.expect("claimed"), Earlier::Nothing);
}
