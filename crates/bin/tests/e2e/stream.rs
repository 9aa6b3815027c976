//! One execution over Server-Sent Events: every line once and in order, from any point; who may follow; with the bus and without it.

use crate::{
    in_both_modes,
    support::{Client, Event, Mode, Sse, World},
};
use serde_json::json;

in_both_modes!(a_run_is_followed_and_taken_up_again, the_ways_in_are_guarded);

fn sequences(events: &[Event]) -> Vec<i64> {
    events
        .iter()
        .filter(|event| event.name == "execution_log")
        .filter_map(|e| e.data["sequence"].as_i64())
        .collect()
}

async fn follow(client: &Client, id: &str, last_id: Option<&str>) -> Sse {
    let headers: Vec<(&str, &str)> = last_id.map(|id| ("last-event-id", id)).into_iter().collect();
    client.events(&format!("/api/executions/{id}/stream"), &headers).await.expect("open")
}

/// The whole of a run that has ended, or ends meanwhile: checked to be complete.
fn check(events: &[Event], lines: std::ops::RangeInclusive<i64>) {
    assert_eq!(sequences(events), lines.collect::<Vec<_>>());
    for event in events {
        assert_eq!(event.name, event.data["type"].as_str().expect("a type"));
        if event.name == "execution_log" {
            assert_eq!(event.last_id, event.data["sequence"].to_string());
        }
    }
    let last = events.last().expect("the end");
    assert_eq!((last.name.as_str(), last.last_id.as_str()), ("execution_update", "end"));
    assert_eq!(last.data["status"], "Success");
    let ends = events.iter().filter(|event| event.last_id == "end").count();
    assert_eq!(ends, 1, "it is the last one");
}

async fn a_run_is_followed_and_taken_up_again(world: &mut World) {
    let admin = world.admin().await;
    let lines = 120;
    let id = admin.begin("count", json!({"lines": lines, "pause": 0.02})).await;
    let mut whole = follow(&admin, &id, None).await;
    // One that loses its connection in the middle, and comes back with the last id it has seen; twice.
    let mut broken = follow(&admin, &id, None).await;
    let mut seen = Vec::new();
    for until in [20, 55] {
        loop {
            let event = broken.event().await.expect("it goes on");
            let is_enough = event.last_id == until.to_string();
            seen.push(event);
            if is_enough {
                break;
            }
        }
        drop(broken);
        broken = follow(&admin, &id, Some(&until.to_string())).await;
    }
    let (events, rest) = tokio::join!(whole.rest(), broken.rest());
    seen.extend(rest);
    check(&events, 1..=lines);
    check(&seen, 1..=lines);
    assert!(whole.retry.is_some_and(|millis| (500..10_000).contains(&millis)), "{:?}", whole.retry);

    // After the end: the same again, from any point, and nothing for who has heard it.
    let again = follow(&admin, &id, None).await.rest().await;
    let of_lines = |events: &[Event]| -> Vec<Event> {
        events.iter().filter(|event| event.name == "execution_log").cloned().collect()
    };
    assert_eq!(of_lines(&again), of_lines(&events));
    let mut part = admin.events(&format!("/api/executions/{id}/stream?after=100"), &[]).await.expect("open");
    check(&part.rest().await, 101..=lines);
    let compressed =
        [("accept-encoding", "gzip, br"), ("accept", "text/event-stream"), ("last-event-id", "110")];
    let path = format!("/api/executions/{id}/stream?after=3");
    check(&admin.events(&path, &compressed).await.expect("open").rest().await, 111..=lines);
    let beyond = follow(&admin, &id, Some("9223372036854775807")).await.rest().await;
    assert_eq!(
        (sequences(&beyond), beyond.last().map(|event| event.last_id.as_str())),
        (vec![], Some("end"))
    );
    let done = admin.events(&path, &[("last-event-id", "end")]).await.err().expect("nothing to hear");
    assert_eq!((done.status, done.text.as_str()), (204, ""), "an EventSource stays away");
}

async fn the_ways_in_are_guarded(world: &mut World) {
    let admin = world.admin().await;
    let id = admin.begin("stay", json!({"mark": "sse", "seconds": 60.0})).await;
    admin.line(&id, "round").await;
    let path = format!("/api/executions/{id}/stream");
    for (query, header, field) in [
        ("", Some("x"), "Last-Event-ID"),
        ("", Some("-1"), "Last-Event-ID"),
        ("", Some("1e3"), "Last-Event-ID"),
        ("", Some("99999999999999999999"), "Last-Event-ID"),
        ("", Some("end"), "Last-Event-ID"),
        ("?after=-1", None, "after"),
        ("?after=x", None, "after"),
        ("?after=99999999999999999999", None, "after"),
        ("?after=1&after=2", None, "after"),
    ] {
        let headers: Vec<_> = header.map(|id| ("last-event-id", id)).into_iter().collect();
        let refused = admin.events(&format!("{path}{query}"), &headers).await.err().expect("refused");
        let problem = refused.of(422);
        assert_eq!(problem["errors"][0]["path"], field, "{query} {header:?}: {problem}");
    }
    let nobody = world.nobody();
    assert_eq!(nobody.events(&path, &[]).await.err().map(|reply| reply.status), Some(401));
    let unknown = "/api/executions/01900000-0000-7000-8000-000000000000/stream";
    assert_eq!(admin.events(unknown, &[]).await.err().map(|reply| reply.status), Some(404));
    // Once with a ticket, as a browser of another origin comes; and with a cookie, as one of ours does.
    let ticket = admin.ticket().await;
    let mut by_ticket = nobody.events(&format!("{path}?ticket={ticket}"), &[]).await.expect("open");
    assert_eq!(by_ticket.event().await.expect("a line").name, "execution_log");
    let again = nobody.events(&format!("{path}?ticket={ticket}"), &[]).await;
    assert_eq!(again.err().map(|reply| reply.status), Some(401), "a ticket is valid once");
    let cookie = format!("access_token={}", admin.token.as_deref().expect("a token"));
    let mut by_cookie = nobody.events(&path, &[("cookie", &cookie)]).await.expect("open");
    assert_eq!(by_cookie.event().await.expect("a line").name, "execution_log");
    admin.post(&format!("/api/executions/{id}/cancel"), json!({})).await.of(200);
    let end = by_cookie.rest().await;
    assert_eq!(end.last().map(|event| event.data["status"].clone()), Some(json!("Cancelled")));
}

/// Without Redis the store is looked at once a second: lines come later, and all of them.
#[tokio::test]
async fn it_works_while_the_bus_is_away() {
    World::new(Mode::Stack)
        .await
        // Nothing listens there.
        .with("REDIS_URL", "redis://127.0.0.1:1")
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let id = admin.begin("count", json!({"lines": 30, "pause": 0.05})).await;
            check(&follow(&admin, &id, None).await.rest().await, 1..=30);
            check(&follow(&admin, &id, Some("12")).await.rest().await, 13..=30);
        })
        .await;
}
