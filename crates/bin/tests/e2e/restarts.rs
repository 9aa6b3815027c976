//! Servers that end and start again in the middle of a load: nothing is lost, nothing is done twice, and nobody has to help.

use crate::support::{
    Backends, Client, Door, Mode, PATIENCE, Reply, Servers, World, follow, processes, unique, until,
};
use bifrost_test_support::{PrivateServer, Service};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

/// What the load runs: three lines and a trace outside.
const LOAD: &str = r#"
import socket

from bifrost import workflow


def _knock(port, word):
    for number in range(1, 4):
        print(f"{word}: line {number}")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(word.encode())
    return word


@workflow(execution_mode="sync")
def knock_and_wait(port: int, word: str):
    return _knock(port, word)


@workflow
def knock_later(port: int, word: str):
    return _knock(port, word)


@workflow
def answers(port: int):
    """Ends when it is told to."""
    print("begun")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        return connection.recv(64).decode()
"#;

/// Between two requests: ten a second.
const EVERY: Duration = Duration::from_millis(100);
/// A synchronous caller waits no longer than this (`SYNC_WAIT_MAX`, in seconds).
const SYNC_WAIT: u64 = 20;
/// No request takes longer, whatever is away: the wait of a synchronous caller, and as much again for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2 * SYNC_WAIT);
/// How long a server is away at least.
const AWAY: Duration = Duration::from_millis(1_500);

/// A request of the load and its answer.
struct Asked {
    word: String,
    is_sync: bool,
    reply: Reply,
    took: Duration,
}

/// Asks both APIs in turn, synchronously and not, until it is told to stop.
fn load(apis: [Client; 2], door: u16, mut stop: watch::Receiver<bool>) -> JoinHandle<Vec<Asked>> {
    tokio::spawn(async move {
        let mut asked = JoinSet::new();
        let mut ticks = tokio::time::interval(EVERY);
        for number in 0_usize.. {
            tokio::select! {
                _ = stop.changed() => break,
                _ = ticks.tick() => {}
            }
            let api = apis[number % 2].clone();
            asked.spawn(async move {
                let (word, is_sync) = (format!("word-{number}"), number % 4 < 2);
                let name = if is_sync { "knock_and_wait" } else { "knock_later" };
                let body = json!({"workflow_name": name, "input_data": {"port": door, "word": word}});
                let begun = Instant::now();
                let reply = if is_sync { api.execute(body).await } else { api.execute_async(body).await };
                Asked { word, is_sync, reply, took: begun.elapsed() }
            });
        }
        asked.join_all().await
    })
}

/// Waits until both APIs say this of a part (and of themselves).
async fn health_becomes(apis: &[Client; 2], what: &str, is_so: impl Fn(&Value) -> bool) {
    for api in apis {
        until(what, PATIENCE, async || {
            let health = api.get("/health/detailed").await.json();
            is_so(&health).then_some(())
        })
        .await;
    }
}

/// Ends a server, lets it be away while everybody notices, and starts it again; then all is well without anybody's help.
async fn restart(apis: &[Client; 2], server: &PrivateServer, part: &str, by_force: bool) {
    if by_force {
        server.kill().await;
    } else {
        server.stop().await;
    }
    let away = Instant::now();
    health_becomes(apis, &format!("that the {part} is away"), |health| {
        // Without the database there is no service; without the others there is.
        let whole = if part == "database" { "unhealthy" } else { "degraded" };
        health["components"][part]["status"] == "unhealthy" && health["status"] == whole
    })
    .await;
    sleep(AWAY.saturating_sub(away.elapsed())).await;
    server.start_again().await;
    health_becomes(apis, &format!("that all is well after the {part}"), |health| {
        health["status"] == "healthy"
    })
    .await;
}

/// It ended well, with the result and the lines of its word, whichever API is asked.
async fn ran_whole(apis: &[Client; 2], Asked { word, reply, .. }: &Asked) {
    let id = reply.json()["execution_id"].as_str().expect("an id").to_owned();
    let ended = apis[0].ended(&id).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("Success"), &json!(word)), "{ended}");
    let log = apis[1].log(&id).await;
    let lines: Vec<_> =
        log.iter().map(|line| json!({"sequence": line["sequence"], "message": line["message"]})).collect();
    let expected: Vec<_> = (1..=3)
        .map(|number| json!({"sequence": number, "message": format!("{word}: line {number}")}))
        .collect();
    assert_eq!(lines, expected);
}

async fn count(world: &World, sql: &str) -> i64 {
    let mut database = world.database().connect().await;
    sqlx::query_scalar(sql).fetch_one(&mut database).await.expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_restart_in_the_middle_of_a_load_lose_nothing() {
    let servers = Servers::start().await;
    World::on(Mode::Stack, servers.backends())
        .await
        .with("SYNC_WAIT_MAX", &SYNC_WAIT.to_string())
        // Longer than a server is away on a busy machine: no run may end by that here.
        .with("WORKER_LEASE_SECONDS", "60")
        .run(async |world: &mut World| {
            world.write("load.py", LOAD);
            world.start_jobs();
            let replica: SocketAddr = world.start_replica().await;
            for jobs in &mut world.jobs {
                jobs.says("ready to run workflows").await;
            }
            let here = world.admin().await;
            let apis = [here.clone(), here.at(replica)];
            until("the load's workflows", PATIENCE, async || {
                let list = here.get("/api/workflows").await.of(200);
                list.as_array()?.iter().any(|one| one["name"] == "knock_later").then_some(())
            })
            .await;
            // Accepted by one API and followed at the other, all the time.
            let long = here.begin("count", json!({"lines": 1_000_000, "pause": 0.05})).await;
            let whole = Duration::from_secs(600);
            let follower = tokio::spawn(follow(apis[1].clone(), long.clone(), whole));
            let door = Door::open().await;
            let (stop, stopped) = watch::channel(false);
            let asked = load(apis.clone(), door.port(), stopped);

            for round in 0..2 {
                for (at, (server, part)) in [
                    (&servers.postgres, "database"),
                    (&servers.rabbitmq, "broker"),
                    (&servers.redis, "redis"),
                ]
                .into_iter()
                .enumerate()
                {
                    restart(&apis, server, part, (round + at) % 2 == 0).await;
                }
            }
            stop.send(true).expect("the load runs");
            let asked = asked.await.expect("no panic");

            let mut accepted = 0;
            for Asked { word, is_sync, reply, took } in &asked {
                assert!(*took < ANSWERED_WITHIN, "{word}: {took:?}");
                let body = reply.json();
                match reply.status {
                    200 | 202 => {
                        assert_eq!(reply.status == 200, *is_sync, "{word}: {}", reply.text);
                        accepted += 1;
                    }
                    503 => assert!(body["detail"].is_string(), "{word}: {}", reply.text),
                    other => panic!("{word}: {other} {}", reply.text),
                }
            }
            assert!(accepted > 50, "{accepted} of {}", asked.len());
            let taken = asked.iter().filter(|one| one.reply.status < 300);
            stream::iter(taken).for_each_concurrent(8, |one| ran_whole(&apis, one)).await;
            // One that was answered with 503 may have been accepted all the same, but never twice.
            let knocks = door.knocks();
            for Asked { word, reply, .. } in &asked {
                let times = knocks.get(word).copied().unwrap_or(0);
                assert!(times == 1 || times == 0 && reply.status == 503, "{word} ran {times} times");
            }

            here.post(&format!("/api/executions/{long}/cancel"), json!({})).await.of(200);
            let followed = follower.await.expect("no panic");
            let stored = i64::try_from(here.log(&long).await.len()).expect("small");
            assert_eq!(followed.sequences(), (1..=stored).collect::<Vec<_>>(), "every line once, in order");
            assert_eq!((&followed.end["status"], followed.reopened), (&json!("Cancelled"), 0));

            // The timeline and the daily numbers know of one end each.
            const ENDED: &str = "status NOT IN ('Scheduled', 'Pending', 'Running', 'Cancelling')";
            let ends = count(world, &format!("SELECT count(*) FROM executions WHERE {ENDED}")).await;
            let told = count(world, "SELECT count(*) FROM execution_events WHERE event = 'finished'").await;
            let counted = count(
                world,
                "SELECT sum(success_count + cancelled_count)::bigint FROM execution_metrics_daily",
            )
            .await;
            assert_eq!((told, counted), (ends, ends));
            for process in world.api.iter_mut().chain(&mut world.replicas).chain(&mut world.jobs) {
                assert!(process.is_alive(), "{} ended", process.name());
                for back in ["rabbitmq is back", "redis is back"] {
                    assert!(process.count(back) >= 2, "{} says `{back}`", process.name());
                }
            }
        })
        .await;
}

/// Waits for an end while the API may still say that the database is away.
async fn ended_after_outage(client: &Client, id: &str) -> Value {
    until("an answer", PATIENCE, async || {
        (client.get(&format!("/api/executions/{id}")).await.status == 200).then_some(())
    })
    .await;
    client.ended(id).await
}

/// A worker that cannot renew its lease has to believe that others take its runs: it ends them. What had ended by then is kept, whoever
/// looks first when the database is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_longer_than_the_lease_ends_what_still_runs_and_no_more() {
    const LEASE: Duration = Duration::from_secs(6);
    let postgres = PrivateServer::start(Service::Postgres).await;
    let backends = Backends { postgres: postgres.url().to_owned(), ..Backends::shared() };
    World::on(Mode::Stack, backends)
        .await
        .with("WORKER_LEASE_SECONDS", &LEASE.as_secs().to_string())
        .run(async |world: &mut World| {
            world.write("load.py", LOAD);
            world.start_jobs();
            for jobs in &mut world.jobs {
                jobs.says("ready to run workflows").await;
            }
            let admin = world.admin().await;
            until("the load's workflows", PATIENCE, async || {
                let list = admin.get("/api/workflows").await.of(200);
                list.as_array()?.iter().any(|one| one["name"] == "answers").then_some(())
            })
            .await;
            let mark = &unique("lg")[..15];
            let stays = admin.begin("stay", json!({"mark": mark})).await;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let answers = admin.begin("answers", json!({"port": port})).await;
            let (mut asks, _) = listener.accept().await.expect("it asks");
            admin.line(&stays, "round 5").await;
            admin.line(&answers, "begun").await;

            postgres.stop().await;
            let away = Instant::now();
            tokio::io::AsyncWriteExt::write_all(&mut asks, b"in time").await.expect("told");
            drop(asks);
            until("the end of what still runs", PATIENCE, async || processes(mark).is_empty().then_some(()))
                .await;
            // The lease has ended, and the time after which the reaper acts is over too.
            sleep((LEASE + Duration::from_secs(3)).saturating_sub(away.elapsed())).await;
            postgres.start_again().await;

            let ended = ended_after_outage(&admin, &answers).await;
            assert_eq!(
                (&ended["status"], &ended["result"], &ended["attempt"]),
                (&json!("Success"), &json!("in time"), &json!(1)),
                "{ended}"
            );
            let ended = admin.ended(&stays).await;
            assert_eq!(
                (&ended["status"], &ended["error_type"], &ended["attempt"]),
                (&json!("Failed"), &json!("WorkerLost"), &json!(1)),
                "{ended}"
            );
            let log = admin.log(&stays).await;
            for (number, line) in log.iter().enumerate() {
                assert_eq!(line["sequence"], number + 1);
            }
            assert_eq!(log.last().map(|line| &line["level"]), Some(&json!("ERROR")));
            let added = until("a run as ever", PATIENCE, async || {
                let reply = admin.execute(json!({"workflow_name": "add", "input_data": {"a": 1}})).await;
                (reply.status == 200).then(|| reply.json())
            })
            .await;
            assert_eq!(added.0["result"], json!({"sum": 3}));
            for jobs in &mut world.jobs {
                assert!(jobs.is_alive(), "{} ended", jobs.name());
            }
        })
        .await;
}
