//! Live connections: lines in order, once, from any point; what a client may say; who gets in.

use crate::{
    in_both_modes,
    support::{Heard, Live, Mode, Refused, World},
};
use serde_json::{Value, json};

in_both_modes!(a_run_is_followed, a_subscription_that_has_ended_says_nothing_more);

fn sequences(lines: &[Value]) -> Vec<i64> {
    lines.iter().filter_map(|line| line["sequence"].as_i64()).collect()
}

/// Three connections join one run: before its first lines, in the middle, and after its end. Each gets every line after the
/// number it named, in order, once, and then the end.
async fn a_run_is_followed(world: &mut World) {
    let admin = world.admin().await;
    let lines = 120;
    let id = admin.begin("count", json!({"lines": lines, "pause": 0.02})).await;
    let open = async |after: i64| {
        let path = format!("/ws/execution/{id}?ticket={}&after={after}", admin.ticket().await);
        let mut live = Live::open(world.address(), &path, &[]).await.expect("open");
        let hello = live.message().await;
        assert_eq!(hello["type"], "connected", "{hello}");
        assert_eq!(hello["channels"], json!([format!("execution:{id}")]));
        live
    };
    let early = open(0).await;
    admin.line(&id, "line 30").await;
    let (mut middle, mut from_20) = (open(0).await, open(20).await);
    let mut early = early;
    let ((first, end), (second, _), (third, _)) =
        tokio::join!(early.follow(), middle.follow(), from_20.follow());
    assert_eq!((&end["status"], &end["executionId"]), (&json!("Success"), &json!(id)));
    assert_eq!(end["result"], json!({"lines": lines}));
    let all: Vec<i64> = (1..=lines).collect();
    assert_eq!(sequences(&first), all);
    assert_eq!(sequences(&second), all);
    assert_eq!(sequences(&third), all[20..]);
    for (number, line) in first.iter().enumerate() {
        assert_eq!(line["message"], format!("line {}", number + 1));
    }
    // After the end the same, and the same as the stored log.
    let (late, _) = open(0).await.follow().await;
    assert_eq!(late, first);
    let stored = admin.log(&id).await;
    assert_eq!(sequences(&stored), all);
    assert_eq!(stored[0]["message"], first[0]["message"]);
    assert_eq!(stored[0]["timestamp"], first[0]["timestamp"]);
}

/// A channel that is followed again begins where it is told, without what the subscription before left behind; one that is
/// followed no more is silent.
async fn a_subscription_that_has_ended_says_nothing_more(world: &mut World) {
    let admin = world.admin().await;
    let lines = 3_000;
    let done = admin.run("flood", json!({"lines": lines})).await;
    let id = done["execution_id"].as_str().expect("an id");
    admin.ended(id).await;
    let channel = format!("execution:{id}");
    let subscribe = |after: i64| {
        json!({"type": "subscribe", "channels": [channel], "after": {(channel.clone()): after}}).to_string()
    };
    let path = format!("/ws/connect?ticket={}", admin.ticket().await);
    let mut live = Live::open(world.address(), &path, &[]).await.expect("open");
    live.message_of("connected").await;
    for round in 0..20 {
        live.send(&subscribe(0)).await;
        live.message_of("execution_log").await;
        live.send(&subscribe(lines - 5)).await;
        // The answer to the first was read on the way to its first line.
        live.message_of("subscribed").await;
        let (rest, _) = live.follow().await;
        let expected: Vec<i64> = (lines - 4..=lines).collect();
        assert_eq!(sequences(&rest), expected, "round {round}");

        live.send(&subscribe(0)).await;
        live.message_of("execution_log").await;
        live.send(&json!({"type": "unsubscribe", "channels": [channel]}).to_string()).await;
        live.message_of("unsubscribed").await;
        live.send("{\"type\":\"ping\"}").await;
        assert_eq!(live.message().await, json!({"type": "pong"}), "round {round}");
    }
}

#[tokio::test]
async fn what_a_client_says_is_answered() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let bearer = format!("Bearer {}", admin.token.as_deref().expect("a token"));
            let mut live = Live::open(world.address(), "/ws/connect", &[("authorization", &bearer)])
                .await
                .expect("open");
            let hello = live.message().await;
            assert_eq!((&hello["type"], &hello["channels"]), (&json!("connected"), &json!([])));

            live.send("{\"type\":\"ping\"}").await;
            assert_eq!(live.message().await, json!({"type": "pong"}));
            // What makes no sense is answered, and the connection lives.
            for nonsense in
                ["{not json", "[]", "{\"type\":\"dance\"}", "{\"type\":\"subscribe\",\"channels\":7}", "null"]
            {
                live.send(nonsense).await;
                let error = live.message().await;
                assert_eq!(error["type"], "error", "{nonsense}: {error}");
                assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
            }
            live.send("{\"type\":\"ping\"}").await;
            assert_eq!(live.message().await["type"], "pong");

            // An execution is followed from a number on.
            let done = admin.run("greet", json!({"name": "Ann", "times": 3})).await;
            let id = done["execution_id"].as_str().expect("an id");
            let channel = format!("execution:{id}");
            live.send(
                &json!({"type": "subscribe", "channels": [channel], "after": {(channel.clone()): 1}})
                    .to_string(),
            )
            .await;
            let subscribed = live.message_of("subscribed").await;
            assert_eq!(subscribed["channels"], json!([channel]));
            assert_eq!(subscribed["next_after"][&channel], 1);
            let (lines, end) = live.follow().await;
            assert_eq!(sequences(&lines), [2, 3]);
            assert_eq!(end["status"], "Success");
            live.send(&json!({"type": "unsubscribe", "channels": [channel]}).to_string()).await;
            assert_eq!(live.message_of("unsubscribed").await["channels"], json!([channel]));

            // Channels that do not exist, or are another person's, are refused one by one.
            for unknown in [
                "execution:nonsense",
                "execution:01900000-0000-7000-8000-000000000000",
                "nowhere",
                "user:01900000-0000-7000-8000-000000000000",
            ] {
                live.send(&json!({"type": "subscribe", "channels": [unknown]}).to_string()).await;
                assert_eq!(live.message_of("error").await["channel"], unknown);
            }
            live.send("{\"type\":\"ping\"}").await;
            live.message_of("pong").await;
        })
        .await;
}

#[tokio::test]
async fn strangers_stay_outside() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let address = world.address();
            let done = admin.run("add", json!({"a": 1})).await;
            let execution = format!("/ws/execution/{}", done["execution_id"].as_str().expect("an id"));
            for path in ["/ws/connect", execution.as_str(), "/ws/connect?ticket=made-up"] {
                let mut live = Live::open(address, path, &[]).await.expect("open");
                assert!(matches!(live.hear().await, Heard::Closed(4001)), "{path}");
            }
            // A ticket opens one connection.
            let path = format!("/ws/connect?ticket={}", admin.ticket().await);
            assert_eq!(
                Live::open(address, &path, &[]).await.expect("open").message().await["type"],
                "connected"
            );
            let mut again = Live::open(address, &path, &[]).await.expect("open");
            assert!(matches!(again.hear().await, Heard::Closed(4001)));

            // A page of another site may not connect, whatever it shows.
            let bearer = format!("Bearer {}", admin.token.as_deref().expect("a token"));
            let foreign = [("origin", "https://elsewhere.example"), ("authorization", bearer.as_str())];
            assert_eq!(Live::open(address, "/ws/connect", &foreign).await.err(), Some(Refused(403)));
            let own = format!("http://{address}");
            let own = [("origin", own.as_str()), ("authorization", bearer.as_str())];
            assert!(Live::open(address, "/ws/connect", &own).await.is_ok());
        })
        .await;
}

#[tokio::test]
async fn a_connection_has_so_many_channels() {
    const MOST: usize = 100;
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let mut channels = Vec::new();
            for number in 0..=MOST {
                channels.push(format!("execution:{}", admin.begin("add", json!({"a": number})).await));
            }
            // All at once, in the address or in one message, or one after another: the last is refused.
            let path = format!("/ws/connect?channels={}&ticket={}", channels.join(","), admin.ticket().await);
            let mut live = Live::open(world.address(), &path, &[]).await.expect("open");
            let hello = live.message().await;
            assert_eq!(hello["channels"].as_array().map(Vec::len), Some(MOST));
            assert_eq!(live.message_of("error").await["channel"], channels[MOST]);
            live.send(&json!({"type": "subscribe", "channels": [channels[MOST]]}).to_string()).await;
            assert_eq!(live.message_of("error").await["channel"], channels[MOST]);
            live.send(&json!({"type": "unsubscribe", "channels": [channels[0]]}).to_string()).await;
            live.message_of("unsubscribed").await;
            live.send(&json!({"type": "subscribe", "channels": [channels[MOST]]}).to_string()).await;
            assert_eq!(live.message_of("subscribed").await["channels"], json!([channels[MOST]]));

            let path = format!("/ws/connect?ticket={}", admin.ticket().await);
            let mut live = Live::open(world.address(), &path, &[]).await.expect("open");
            live.send(&json!({"type": "subscribe", "channels": channels}).to_string()).await;
            let subscribed = live.message_of("subscribed").await;
            assert_eq!(subscribed["channels"].as_array().map(Vec::len), Some(MOST));
            assert_eq!(live.message_of("error").await["channel"], channels[MOST]);
        })
        .await;
}
