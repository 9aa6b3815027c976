//! What is written of a session counts only while it has not ended; it ends once.

use super::{Rivals, TURNS, at_once, within};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{DateTime, Duration, Utc};

on_both_databases![
    a_factor_is_noted_before_the_session_ends_or_not_at_all,
    a_session_is_switched_before_it_ends_or_not_at_all,
    a_session_keeps_up_with_the_epoch_before_it_ends_or_not_at_all,
    a_session_is_ended_by_its_user_or_by_a_sign_out,
    a_session_is_ended_with_the_others_or_by_a_sign_out,
];

async fn end_reason(rivals: &Rivals) -> Option<String> {
    rivals.last("sessions", "end_reason").await
}

async fn a_factor_is_noted_before_the_session_ends_or_not_at_all(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((_, token), now) = (rivals.signed_in().await, rivals.bed.now());
        let id = token.session_id;
        let (one, other) = rivals.sides();
        let (noted, ended) =
            at_once(turn, async move { within!(one, |tx| tx.note_factor(id, now)) }, async move {
                within!(other, |tx| tx.end_session(id, "logout", now))
            })
            .await;
        assert!(ended);
        let found = rivals.bed.reader.find_session(id).await.expect("read").expect("there");
        assert_eq!((found.factor_at, found.ended_at), (noted.then_some(now), Some(now)));
        assert!(!within!(rivals.bed, |tx| tx.note_factor(id, now)), "it has ended");
    }
    rivals.agree().await;
}

async fn a_session_is_switched_before_it_ends_or_not_at_all(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    let place = rivals.bed.add_organization(1).await.organization();
    for turn in 0..TURNS {
        let ((_, token), now) = (rivals.signed_in().await, rivals.bed.now());
        let (id, end) = (token.session_id, now + Duration::days(9));
        let (one, other) = rivals.sides();
        let (switched, ended) = at_once(
            turn,
            async move { within!(one, |tx| tx.switch_session(id, place, now, end)) },
            async move { within!(other, |tx| tx.end_session(id, "logout", now)) },
        )
        .await;
        assert!(ended);
        let found = rivals.bed.reader.find_session(id).await.expect("read").expect("there");
        let expected = if switched { (place, end) } else { (None, token.expires_at) };
        assert_eq!((found.state.organization_id, found.expires_at), expected);
        assert_eq!(found.ended_at, Some(now));
        assert!(!within!(rivals.bed, |tx| tx.switch_session(id, None, now, end)), "it has ended");
    }
    rivals.agree().await;
}

async fn a_session_keeps_up_with_the_epoch_before_it_ends_or_not_at_all(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((person, token), now) = (rivals.signed_in().await, rivals.bed.now());
        let (id, epoch) = (token.session_id, person.epoch + 1);
        let (one, other) = rivals.sides();
        let (moved, ended) =
            at_once(turn, async move { within!(one, |tx| tx.move_session_epoch(id, epoch)) }, async move {
                within!(other, |tx| tx.end_session(id, "logout", now))
            })
            .await;
        assert!(ended);
        let found = rivals.bed.reader.find_session(id).await.expect("read").expect("there");
        assert_eq!((found.epoch, found.ended_at), (if moved { epoch } else { person.epoch }, Some(now)));
        assert!(!within!(rivals.bed, |tx| tx.move_session_epoch(id, epoch)), "it has ended");
    }
    rivals.agree().await;
}

async fn a_session_is_ended_by_its_user_or_by_a_sign_out(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((person, token), now) = (rivals.signed_in().await, rivals.bed.now());
        let (user, id, later) = (person.id, token.session_id, now + Duration::seconds(1));
        let (one, other) = rivals.sides();
        let (own, out) =
            at_once(turn, async move { within!(one, |tx| tx.end_own_session(user, id, now)) }, async move {
                within!(other, |tx| tx.end_session(id, "logout", later))
            })
            .await;
        assert!(own != out, "{own} and {out}");
        let ended: Option<DateTime<Utc>> = rivals.last("sessions", "ended_at").await;
        let expected = if own { ("ended_by_user", now) } else { ("logout", later) };
        assert_eq!((end_reason(&rivals).await.as_deref(), ended), (Some(expected.0), Some(expected.1)));
    }
    rivals.agree().await;
}

async fn a_session_is_ended_with_the_others_or_by_a_sign_out(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let ((person, token), now) = (rivals.signed_in().await, rivals.bed.now());
        let (user, id) = (person.id, token.session_id);
        let (one, other) = rivals.sides();
        let (all, out) = at_once(
            turn,
            async move { within!(one, |tx| tx.end_own_sessions(user, None, "all", now)) },
            async move { within!(other, |tx| tx.end_session(id, "logout", now)) },
        )
        .await;
        assert!(matches!((all, out), (1, false) | (0, true)), "{all} and {out}");
        assert_eq!(end_reason(&rivals).await.as_deref(), Some(if out { "logout" } else { "all" }));
    }
    rivals.agree().await;
}
