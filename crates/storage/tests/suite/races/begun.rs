//! What was begun and is ended once: sign-ins with a provider, programs that ask to be signed in, requests that may be sent again.

use super::{Rivals, Side, TURNS, at_once, permit, within};
use bifrost_domain::{
    identity_provider::{IdentityProvider, ProviderKind, ProviderRules},
    ids::{DeviceGrantId, IdentityProviderId},
    policy::actions::UseAccount,
    user::User,
};
use bifrost_storage::{
    device_grants::{Decision, DeviceGrant},
    idempotency::{Earlier, KEPT, Reply},
    identity_providers::{OidcState, Sealed},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;

on_both_databases![
    one_of_two_takes_the_sign_in,
    one_of_two_decides_about_the_program,
    one_of_two_gets_the_programs_tokens,
    one_of_two_claims_the_key,
    one_of_two_claims_the_key_of_another_day,
    an_answer_is_one_of_the_two_that_were_given,
    an_answered_request_is_not_forgotten,
];

/// A provider.
pub(super) async fn provider(rivals: &Rivals) -> IdentityProviderId {
    let (admin, now) = (rivals.person().await, rivals.bed.now());
    let provider = IdentityProvider {
        id: IdentityProviderId::from_uuid(rivals.bed.uuid()),
        name: rivals.bed.uuid().to_string(),
        display_name: "Acme".to_owned(),
        icon: None,
        kind: ProviderKind::Generic,
        issuer: "https://id.example".to_owned(),
        client_id: "c".to_owned(),
        has_secret: false,
        is_active: true,
        rules: ProviderRules::default(),
        created_by: None,
        created_at: now,
        updated_at: now,
    };
    within!(rivals.bed, |tx| tx.insert_identity_provider(&permit(&admin), &provider, None));
    provider.id
}

async fn one_of_two_takes_the_sign_in(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let provider_id = provider(&rivals).await;
    for turn in 0..TURNS {
        let now = rivals.bed.now();
        let state = OidcState {
            provider_id,
            nonce: format!("nonce {turn}"),
            verifier: Sealed { bytes: b"v".to_vec(), key_id: "k1".to_owned() },
            redirect_to: None,
            link_session_id: None,
            expires_at: now + Duration::minutes(10),
        };
        let hash = turn.to_be_bytes();
        rivals.bed.store.insert_oidc_state(&hash, b"browser", state.clone(), now).await.expect("kept");
        let take = |side: Side| async move {
            side.store.take_oidc_state(&hash, b"browser", now).await.expect("asked")
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, take(one), take(other)).await;
        assert_eq!(first.iter().chain(&second).collect::<Vec<_>>(), [&state]);
        assert_eq!(rivals.count("oidc_states").await, 0);
    }
    rivals.agree().await;
}

/// A program that asks, with its letters.
async fn program(rivals: &Rivals, turn: u32) -> (DeviceGrantId, String) {
    let now = rivals.bed.now();
    let grant = DeviceGrant {
        id: DeviceGrantId::from_uuid(rivals.bed.uuid()),
        user_code: format!("CODE{turn:04}"),
        client_id: None,
        user_agent: None,
        ip_address: None,
        created_at: now,
        expires_at: now + Duration::minutes(10),
        interval_seconds: 5,
        polled_at: None,
        decision: Decision::Pending,
        consumed_at: None,
    };
    rivals.bed.store.insert_device_grant(&turn.to_be_bytes(), &grant).await.expect("kept");
    (grant.id, grant.user_code)
}

async fn one_of_two_decides_about_the_program(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let (ann, bob) = (rivals.person().await, rivals.person().await);
    for turn in 0..TURNS {
        let (now, (id, letters)) = (rivals.bed.now(), program(&rivals, turn).await);
        let decide = |side: Side, person: User, approved| {
            let letters = letters.clone();
            async move {
                let may = permit::<UseAccount>(&person);
                within!(side, |tx| tx.decide_device_grant(&may, &letters, person.epoch, approved, now))
            }
        };
        let (one, other) = rivals.sides();
        let (yes, no) =
            at_once(turn, decide(one, ann.clone(), true), decide(other, bob.clone(), false)).await;
        let found = within!(rivals.bed, |tx| tx.lock_device_grant(&turn.to_be_bytes())).expect("there");
        let (told, expected) = match (yes, no) {
            (Some(told), None) => (
                told,
                Decision::Approved {
                    user: ann.id,
                    epoch: ann.epoch,
                    factor_at: None,
                    session: None,
                    ends_at: None,
                },
            ),
            (None, Some(told)) => (told, Decision::Denied),
            both => panic!("{both:?}"),
        };
        assert_eq!((told.id, told.decision), (id, expected));
        assert_eq!(found, told);
        let late = within!(rivals.bed, |tx| tx.consume_device_grant(id, now));
        assert_eq!(late, expected != Decision::Denied, "what was denied is not used");
    }
    rivals.agree().await;
}

async fn one_of_two_gets_the_programs_tokens(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let ann = rivals.person().await;
    for turn in 0..TURNS {
        let (now, (id, letters)) = (rivals.bed.now(), program(&rivals, turn).await);
        let may = permit::<UseAccount>(&ann);
        let decided = within!(rivals.bed, |tx| tx.decide_device_grant(&may, &letters, ann.epoch, true, now));
        assert!(decided.is_some());
        let later = now + Duration::seconds(1);
        let (one, other) = rivals.sides();
        let (first, second) =
            at_once(turn, async move { within!(one, |tx| tx.consume_device_grant(id, now)) }, async move {
                within!(other, |tx| tx.consume_device_grant(id, later))
            })
            .await;
        assert!(first != second, "{first} and {second}");
        let found = within!(rivals.bed, |tx| tx.lock_device_grant(&turn.to_be_bytes())).expect("there");
        assert_eq!(found.consumed_at, Some(if first { now } else { later }));
    }
    rivals.agree().await;
}

const WHAT: [u8; 32] = [1; 32];

fn key(turn: u32) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&turn.to_be_bytes());
    hash
}

fn reply(status: u16) -> Reply {
    Reply { status, body: Some(format!("{{\"status\":{status}}}")) }
}

async fn one_of_two_claims_the_key(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let (hash, now) = (key(turn), rivals.bed.now());
        let claim = |side: Side, what: [u8; 32]| async move {
            side.store.claim_request(&hash, &what, now).await.expect("asked")
        };
        let (one, other) = rivals.sides();
        match at_once(turn, claim(one, WHAT), claim(other, WHAT)).await {
            (Earlier::Nothing, Earlier::Begun) | (Earlier::Begun, Earlier::Nothing) => {}
            both => panic!("{both:?}"),
        }
        rivals.bed.store.forget_request(&hash).await.expect("forgotten");
        // Of two requests with the same key the one that was not first is another one.
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, claim(one, WHAT), claim(other, [2; 32])).await;
        let again = rivals.bed.store.claim_request(&hash, &WHAT, now).await.expect("asked");
        match (first, second) {
            (Earlier::Nothing, Earlier::Another) => assert_eq!(again, Earlier::Begun),
            (Earlier::Another, Earlier::Nothing) => assert_eq!(again, Earlier::Another),
            both => panic!("{both:?}"),
        }
        assert_eq!(rivals.count("idempotency_keys").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}

async fn one_of_two_claims_the_key_of_another_day(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let store = &rivals.bed.store;
    for turn in 0..TURNS {
        let (hash, now) = (key(turn), rivals.bed.now());
        assert_eq!(store.claim_request(&hash, &WHAT, now - KEPT).await.expect("claimed"), Earlier::Nothing);
        store.keep_reply(&hash, &reply(200)).await.expect("kept");
        let claim =
            |side: Side| async move { side.store.claim_request(&hash, &WHAT, now).await.expect("asked") };
        let (one, other) = rivals.sides();
        match at_once(turn, claim(one), claim(other)).await {
            (Earlier::Nothing, Earlier::Begun) | (Earlier::Begun, Earlier::Nothing) => {}
            both => panic!("{both:?}"),
        }
        assert_eq!(rivals.count("idempotency_keys").await, i64::from(turn) + 1);
    }
    rivals.agree().await;
}

async fn an_answer_is_one_of_the_two_that_were_given(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let store = &rivals.bed.store;
    for turn in 0..TURNS {
        let (hash, now) = (key(turn), rivals.bed.now());
        assert_eq!(store.claim_request(&hash, &WHAT, now).await.expect("claimed"), Earlier::Nothing);
        let keep = |side: Side, status| async move {
            side.store.keep_reply(&hash, &reply(status)).await.expect("kept");
            side.store.claim_request(&hash, &WHAT, now).await.expect("asked")
        };
        let (one, other) = rivals.sides();
        let (first, second) = at_once(turn, keep(one, 201), keep(other, 409)).await;
        assert_eq!(first, second, "whoever asks is told the same");
        let is_whole = [201, 409].map(|status| Earlier::Answered(reply(status))).contains(&first);
        assert!(is_whole, "{first:?}");
    }
    rivals.agree().await;
}

async fn an_answered_request_is_not_forgotten(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let store = &rivals.bed.store;
    for turn in 0..TURNS {
        let (hash, now) = (key(turn), rivals.bed.now());
        assert_eq!(store.claim_request(&hash, &WHAT, now).await.expect("claimed"), Earlier::Nothing);
        let (one, other) = rivals.sides();
        at_once(
            turn,
            async move { one.store.keep_reply(&hash, &reply(201)).await.expect("kept") },
            async move { other.store.forget_request(&hash).await.expect("forgotten") },
        )
        .await;
        let known = store.claim_request(&hash, &WHAT, now).await.expect("asked");
        let is_whole = [Earlier::Nothing, Earlier::Answered(reply(201))].contains(&known);
        assert!(is_whole, "{known:?}");
        let again = store.claim_request(&hash, &WHAT, now).await.expect("asked");
        assert_eq!(again, if known == Earlier::Nothing { Earlier::Begun } else { known });
    }
    rivals.agree().await;
}
