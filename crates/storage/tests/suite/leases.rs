//! Of several processes one is elected for a duty.

use crate::support::Bed;
use bifrost_domain::ids::WorkerId;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![one_of_ten_is_elected_and_another_after_it];

async fn one_of_ten_is_elected_and_another_after_it(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let holders: Vec<_> = (0..10).map(|_| WorkerId::from_uuid(bed.uuid())).collect();
    let hold = async |name: &'static str, holder| {
        let now = bed.now();
        bed.store.hold_lease(name, holder, now + Duration::seconds(6), now).await.expect("asked")
    };
    let won = join_all(holders.iter().map(|&holder| hold("relay", holder))).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let winner = holders[won.iter().position(|won| *won).expect("a winner")];
    let rival = *holders.iter().find(|holder| **holder != winner).expect("a rival");
    assert!(hold("upkeep", rival).await, "another duty is another lease");
    bed.clock.advance(Duration::seconds(5));
    assert!(hold("relay", winner).await, "renewed");
    bed.clock.advance(Duration::seconds(6));
    assert!(!hold("relay", rival).await, "until then it is held");
    bed.clock.advance(Duration::microseconds(1));
    let won = join_all(holders.iter().map(|&holder| hold("relay", holder))).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "one takes over");
    let winner = holders[won.iter().position(|won| *won).expect("a winner")];
    let other = *holders.iter().find(|holder| ![winner, rival].contains(holder)).expect("a rival");
    assert!(!hold("relay", other).await);
    bed.store.release_leases(winner).await.expect("given back");
    assert!(hold("relay", other).await, "who gives back is not waited for");
}
