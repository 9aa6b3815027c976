//! Two API processes and two workers over the same servers behave as one.

use crate::support::{Client, Door, Mode, PATIENCE, Reply, World, follow, processes, unique, until};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

/// Runs a case with two of each; it gets the development user at either API, signed in once.
async fn with_two_of_each(case: impl AsyncFnOnce(&mut World, Client, Client)) {
    World::new(Mode::Stack)
        .await
        .run(async |world: &mut World| {
            world.start_jobs();
            let replica = world.start_replica().await;
            world.jobs[1].says("ready to run workflows").await;
            let here = world.admin().await;
            let there = here.at(replica);
            case(world, here, there).await;
        })
        .await;
}

#[tokio::test]
async fn two_workers_run_each_execution_of_two_apis_once() {
    const RUNS: usize = 60;
    with_two_of_each(async |world, here, there| {
        let door = Door::open().await;
        let words: Vec<String> = (0..RUNS).map(|number| format!("word-{number}")).collect();
        let begun = words.iter().enumerate().map(|(at, word)| {
            let api = if at % 2 == 0 { &here } else { &there };
            api.begin("knock", json!({"port": door.port(), "word": word}))
        });
        let ids = futures::future::join_all(begun).await;
        for (at, (id, word)) in ids.iter().zip(&words).enumerate() {
            // Asked of the other one.
            let api = if at % 2 == 0 { &there } else { &here };
            let ended = api.ended(id).await;
            assert_eq!(
                (&ended["status"], &ended["result"], &ended["attempt"]),
                (&json!("Success"), &json!(word), &json!(1)),
                "{ended}"
            );
            assert_eq!(api.log(id).await.len(), 1);
        }
        until("every word outside", PATIENCE, async || (door.knocks().len() >= RUNS).then_some(())).await;
        assert_eq!(door.knocks(), words.into_iter().map(|word| (word, 1)).collect::<HashMap<_, _>>());
        let mut database = world.database().connect().await;
        let workers: i64 = sqlx::query_scalar("SELECT count(DISTINCT worker_id) FROM executions")
            .fetch_one(&mut database)
            .await
            .expect("a number");
        assert_eq!(workers, 2, "both work");
        for api in [&here, &there] {
            let health = api.get("/health/detailed").await.of(200);
            assert_eq!(health["components"]["worker"]["detail"], "2 running, 8 slots", "{health}");
            let added = api.run("add", json!({"a": 1})).await;
            assert_eq!(added["result"], json!({"sum": 3}), "a synchronous caller of either hears of the end");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_of_one_api_is_followed_and_cancelled_at_the_other() {
    with_two_of_each(async |_, here, there| {
        let mark = &unique("rp")[..15];
        let id = here.begin("stay", json!({"mark": mark})).await;
        let followers = [
            tokio::spawn(follow(there.clone(), id.clone(), PATIENCE)),
            tokio::spawn(follow(here.clone(), id.clone(), PATIENCE)),
        ];
        there.line(&id, "round 5").await;
        assert_eq!(processes(mark).len(), 2);
        let path = format!("/api/executions/{id}/cancel");
        there.post(&path, json!({})).await.of(200);
        let ended = here.ended(&id).await;
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("Cancelled"), &json!(1)), "{ended}");
        until("the end of its processes", PATIENCE, async || processes(mark).is_empty().then_some(())).await;
        let log = here.log(&id).await;
        let numbers: Vec<i64> = (1..=i64::try_from(log.len()).expect("small")).collect();
        for follower in followers {
            let followed = follower.await.expect("no panic");
            assert_eq!(followed.sequences(), numbers, "every line once, in order");
            assert_eq!(followed.end["status"], "Cancelled");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_is_the_same_at_both_apis() {
    with_two_of_each(async |_, here, there| {
        there.get("/auth/me").await.of(200);
        // A refresh token that is shown to both at once has one successor.
        let token = json!({"refresh_token": here.refresh_token});
        let (one, other) = tokio::join!(
            here.post("/auth/refresh", token.clone()),
            there.post("/auth/refresh", token.clone())
        );
        let (one, other) = (one.of(200), other.of(200));
        assert_eq!(one["refresh_token"], other["refresh_token"]);
        let here = here.with_token(one["access_token"].as_str().expect("a token"));
        let there = there.with_token(other["access_token"].as_str().expect("a token"));
        there.get("/auth/me").await.of(200);
        here.post("/auth/logout", json!({})).await.of(200);
        until("401 at the other one", Duration::from_secs(2), async || {
            (there.get("/auth/me").await.status == 401).then_some(())
        })
        .await;
        for api in [&here, &there] {
            api.post("/auth/refresh", json!({"refresh_token": one["refresh_token"]})).await.of(401);
        }
    })
    .await;
}

#[tokio::test]
async fn both_apis_know_the_same_workflows() {
    const FIRST: &str = "from bifrost import workflow\n\n@workflow(execution_mode='sync')\ndef shared(n: int):\n    return n\n";
    const SECOND: &str = "from bifrost import workflow\n\n@workflow(execution_mode='sync')\ndef shared(text: str):\n    return text\n";
    with_two_of_each(async |world, here, there| {
        let declared = async |api: &Client| -> Vec<Value> {
            let list = api.get("/api/workflows").await.of(200);
            list.as_array().expect("a list").clone()
        };
        let find = |list: &[Value]| list.iter().find(|one| one["name"] == "shared").cloned();
        let mut ids = Vec::new();
        for (source, input, result) in
            [(FIRST, json!({"n": 7}), json!(7)), (SECOND, json!({"text": "t"}), json!("t"))]
        {
            world.write("shared.py", source);
            for api in [&here, &there] {
                until("the new version", PATIENCE, async || {
                    let body = json!({"workflow_name": "shared", "input_data": input});
                    let reply = api.execute(body).await;
                    // Until then it is not there, or asks for the other parameter.
                    (reply.status == 200).then(|| assert_eq!(reply.json()["result"], result))
                })
                .await;
            }
            assert_eq!(declared(&here).await, declared(&there).await);
            ids.push(find(&declared(&here).await).expect("declared")["id"].clone());
        }
        assert_eq!(ids[0], ids[1], "the id stays the same while the name does");
    })
    .await;
}

#[tokio::test]
async fn who_failed_too_often_at_one_api_is_refused_by_the_other() {
    World::new(Mode::Stack)
        .await
        .with("RATE_LIMIT_ACCOUNT_FAILURES", "8")
        .run(async |world: &mut World| {
            let replica = world.start_replica().await;
            let (here, there) = (world.nobody(), world.nobody().at(replica));
            let login = async |api: &Client| api.login("ann@acme.example", "wrong").await;
            // An eighth of a quarter of an hour.
            refused_within(16, 113, 401, async || login(&here).await).await;
            refused_within(4, 113, 401, async || login(&there).await).await;
            assert_eq!(there.login("bob@acme.example", "wrong").await.status, 401, "nobody else is");
        })
        .await;
}

/// An API client has one limit, and so has an address that asks for codes, however many replicas there are.
#[tokio::test]
async fn what_calls_too_often_at_one_api_is_refused_by_the_other() {
    with_two_of_each(async |_, here, there| {
        let home = here.post("/api/organizations", json!({"name": "Acme"})).await.of(201);
        let body = json!({
            "name": "Sync", "organization_id": home["id"], "scopes": ["workflows.read"], "rate_limit_per_minute": 8,
        });
        let made = here.post("/api/applications", body).await.of(201);
        let path = format!("/api/applications/{}/keys", made["id"].as_str().expect("an id"));
        let key = async || {
            let made = here.post(&path, json!({})).await.of(201);
            made["key"].as_str().expect("a key").to_owned()
        };
        let (one, other) = (here.with_token(&key().await), there.with_token(&key().await));
        refused_within(16, 8, 200, async || one.get("/api/workflows").await).await;
        refused_within(4, 8, 200, async || other.get("/api/workflows").await).await;

        let code = async |api: &Client| api.post("/auth/device/code", json!({})).await;
        refused_within(70, 2, 200, async || code(&here).await).await;
        refused_within(15, 2, 200, async || code(&there).await).await;
    })
    .await;
}

/// Asks until the answer is 429 and says to come back within so many seconds; until then it is `allowed`. More tries than the limit at
/// the first replica, as a call to Redis that takes too long on a busy machine is counted elsewhere; fewer at the second, which would
/// allow as many if it counted for itself.
async fn refused_within(tries: usize, seconds: u64, allowed: u16, ask: impl AsyncFn() -> Reply) {
    for _ in 0..tries {
        let reply = ask().await;
        if reply.status == 429 {
            let wait: u64 = reply.headers["retry-after"].to_str().expect("text").parse().expect("a number");
            assert!((1..=seconds).contains(&wait), "{wait}");
            return;
        }
        assert_eq!(reply.status, allowed, "{}", reply.text);
    }
    panic!("not refused after {tries} tries");
}
