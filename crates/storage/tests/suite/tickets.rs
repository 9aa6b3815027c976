//! A ticket lets in once.

use crate::support::{Bed, user, user_id};
use bifrost_domain::scope::Scope;
use bifrost_storage::tickets::Ticket;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![one_of_ten_takers_gets_in];

async fn one_of_ten_takers_gets_in(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let person = user(user_id(1), Scope::Global, true, bed.now());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&person, Some(&"hash".into())).await.expect("inserted");
    tx.commit().await.expect("commit");
    let ticket = Ticket {
        user_id: person.id,
        session_id: None,
        organization_id: None,
        expires_at: bed.now() + Duration::seconds(30),
    };
    for round in 0..5_u8 {
        let hash = [round; 32];
        bed.store.insert_ticket(&hash, &ticket, bed.now()).await.expect("kept");
        let now = bed.now();
        let taken = join_all((0..10).map(|_| bed.store.take_ticket(&hash, now))).await;
        let taken: Vec<Ticket> = taken.into_iter().filter_map(|taken| taken.expect("asked")).collect();
        assert_eq!(taken, [ticket]);
    }
    assert_eq!(bed.store.take_ticket(&[99; 32], bed.now()).await.expect("asked"), None);
    bed.store.insert_ticket(&[7; 32], &ticket, bed.now()).await.expect("kept");
    assert!(bed.store.insert_ticket(&[7; 32], &ticket, bed.now()).await.is_err(), "a hash is given once");
    let late = bed.store.take_ticket(&[7; 32], ticket.expires_at).await;
    assert_eq!(late.expect("asked"), None, "it has run out");
    // The next ticket sweeps it away.
    let now = ticket.expires_at + Duration::microseconds(1);
    let fresh = Ticket { expires_at: now + Duration::seconds(30), ..ticket };
    bed.store.insert_ticket(&[8; 32], &fresh, now).await.expect("kept");
    let rows = bed.query("SELECT count(*) AS n FROM live_tickets").await;
    assert_eq!(rows[0].try_get::<i64>("", "n").expect("a number"), 1);
}
