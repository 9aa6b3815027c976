//! The numbers of the running programs: complete as documented, moved by what happens, and for whom they are.

use crate::{
    in_both_modes,
    support::{Client, Mode, PATIENCE, Proxy, Reply, World, until},
};
use bifrost_domain::metric::{Metric, Process};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

in_both_modes!(what_is_documented_is_shown_and_moves);

/// One scrape, read as Prometheus reads it.
struct Scrape {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    /// Name, labels, value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text);
        let media_type = reply.headers.get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!(media_type, Some("text/plain; version=0.0.4; charset=utf-8"));
        let mut scrape = Self { kinds: BTreeMap::new(), helps: BTreeMap::new(), samples: Vec::new() };
        for line in reply.text.lines().filter(|line| !line.is_empty()) {
            let (into, rest) = if let Some(rest) = line.strip_prefix("# HELP ") {
                (Some(&mut scrape.helps), rest)
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                (Some(&mut scrape.kinds), rest)
            } else {
                (None, line)
            };
            match into {
                Some(into) => {
                    let (name, text) = rest.split_once(' ').expect("a name and a text");
                    assert!(into.insert(name.to_owned(), text.to_owned()).is_none(), "{name} comes twice");
                }
                None => scrape.samples.push(sample(rest)),
            }
        }
        scrape
    }

    /// The sum over every sample whose labels have these values.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| own.get(*label).is_some_and(|own| own == value))
        };
        let mut found = self.samples.iter().filter(|(known, own, _)| known == name && fits(own)).peekable();
        assert!(found.peek().is_some(), "there is no {name} {labels:?}");
        found.map(|(_, _, value)| value).sum()
    }

    /// Holds it to the documented metrics, the other way round as well.
    fn check(&self, documented: &[&Metric]) {
        let names: BTreeSet<&str> = documented.iter().map(|metric| metric.name).collect();
        let shown: BTreeSet<&str> = self.kinds.keys().map(String::as_str).collect();
        assert_eq!(shown, names);
        for metric in documented {
            assert_eq!(self.kinds[metric.name], metric.kind.as_str(), "{}", metric.name);
            assert_eq!(self.helps[metric.name], metric.help, "{}", metric.name);
        }
        for (name, labels, _) in &self.samples {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let base = base.filter(|base| self.kinds.get(*base).is_some_and(|kind| kind == "histogram"));
            let base = base.unwrap_or(name);
            let metric = documented.iter().find(|metric| metric.name == base);
            let metric = metric.unwrap_or_else(|| panic!("{name} is not documented"));
            let known: BTreeSet<&str> = metric.labels.iter().map(|(label, _)| *label).collect();
            let own: BTreeSet<&str> =
                labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(own, known, "{name}");
        }
    }
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("an end").split("\",").filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (name, value) = label.split_once("=\"").expect("a label");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect(), value.parse().expect("a number"))
}

fn documented(mode: Mode, process: Process) -> Vec<&'static Metric> {
    let is_shown = |metric: &&Metric| {
        mode == Mode::Embedded || metric.process == process || metric.process == Process::Both
    };
    bifrost_bin::metrics::all().filter(is_shown).collect()
}

async fn what_is_documented_is_shown_and_moves(world: &mut World) {
    let admin = world.admin().await;
    let (api, jobs) = doors(world).await;
    let nobody = world.nobody();
    nobody.login("admin@localhost", "wrong").await.of(401);
    let id = admin.begin("count", json!({"lines": 40})).await;
    let ended = admin.ended(&id).await;
    assert_eq!(ended["status"], "Success");
    assert_eq!(admin.run("refuse", json!({})).await["status"], "Failed");
    nobody.get(&format!("/nothing/{id}")).await.of(404);
    let mut open = admin.events(&format!("/api/executions/{id}/stream"), &[]).await.expect("open");
    open.event().await.expect("an event");
    let held = admin.begin("stay", json!({"mark": "metrics", "seconds": 60.0})).await;
    admin.line(&held, "started").await;
    let mut live = admin.events(&format!("/api/executions/{held}/stream"), &[]).await.expect("open");
    live.event().await.expect("an event");

    let shown = Scrape::of(&api.get("/metrics").await);
    shown.check(&documented(world.mode, Process::Api));
    assert!(shown.sum("bifrost_sign_ins_total", &[("outcome", "ok")]) >= 1.0);
    assert!((shown.sum("bifrost_sign_ins_total", &[("outcome", "refused")]) - 1.0).abs() < 0.1);
    assert!(shown.sum("bifrost_executions_submitted_total", &[("kind", "workflow")]) >= 3.0);
    let route = ("route", "/api/executions/{id}");
    assert!(shown.sum("bifrost_http_requests_total", &[("method", "GET"), route, ("status", "2xx")]) >= 1.0);
    assert!(shown.sum("bifrost_http_request_duration_seconds_count", &[("method", "GET"), route]) >= 1.0);
    assert!(shown.sum("bifrost_http_requests_total", &[("route", "none"), ("status", "4xx")]) >= 1.0);
    assert!(shown.sum("bifrost_live_connections", &[("transport", "sse")]) >= 1.0);
    assert!(shown.sum("bifrost_batch_rows_count", &[("writer", "submit")]) >= 1.0);
    for name in
        ["bifrost_broker_connected", "bifrost_bus_connected", "bifrost_database_up", "bifrost_build_info"]
    {
        assert!((shown.sum(name, &[]) - 1.0).abs() < 0.1, "{name}");
    }
    assert!(shown.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(shown.sum("process_cpu_seconds_total", &[]) > 0.0);
    // No time series for each execution, person or organization.
    let values: Vec<&String> = shown.samples.iter().flat_map(|(_, labels, _)| labels.values()).collect();
    assert!(!values.iter().any(|value| value.contains(&id) || value.contains('@')), "{values:?}");

    let work = Scrape::of(&jobs.get("/metrics").await);
    work.check(&documented(world.mode, Process::Jobs));
    assert!(
        work.sum("bifrost_executions_finished_total", &[("kind", "workflow"), ("status", "Success")]) >= 1.0
    );
    assert!(
        work.sum("bifrost_executions_finished_total", &[("kind", "workflow"), ("status", "Failed")]) >= 1.0
    );
    assert!(work.sum("bifrost_execution_duration_seconds_count", &[("kind", "workflow")]) >= 2.0);
    assert!(work.sum("bifrost_execution_wait_seconds_count", &[("kind", "workflow")]) >= 3.0);
    assert!(work.sum("bifrost_log_lines_total", &[("outcome", "stored")]) >= 40.0);
    assert!(work.sum("bifrost_claims_total", &[("outcome", "won")]) >= 3.0);
    assert!((work.sum("bifrost_worker_running", &[]) - 1.0).abs() < 0.1);
    assert!((work.sum("bifrost_worker_slots", &[]) - 4.0).abs() < 0.1);
    assert!(work.sum("bifrost_python_forks_total", &[("outcome", "ok")]) >= 3.0);
    for duty in ["relay", "upkeep"] {
        until(&format!("the duty {duty}"), PATIENCE, async || {
            let work = Scrape::of(&jobs.get("/metrics").await);
            (work.sum("bifrost_worker_duty", &[("duty", duty)]) > 0.5).then_some(())
        })
        .await;
    }
    admin.post(&format!("/api/executions/{held}/cancel"), json!({})).await.of(200);
    admin.ended(&held).await;
    until("nothing runs, and it is counted", PATIENCE, async || {
        let work = Scrape::of(&jobs.get("/metrics").await);
        let cancelled = work.sum("bifrost_executions_finished_total", &[("status", "Cancelled")]);
        (work.sum("bifrost_worker_running", &[]) < 0.5 && cancelled > 0.5).then_some(())
    })
    .await;
}

/// Where the API's and the worker's numbers are read. With a port of its own for each process in the stack, and at the API's in embedded
/// mode, where nothing is set.
async fn doors(world: &mut World) -> (Client, Client) {
    if world.mode == Mode::Embedded {
        return (world.nobody(), world.nobody());
    }
    let (api, jobs) = {
        let api = world.api.as_mut().expect("it runs").address_of("metrics and health").await;
        let jobs = world.jobs[0].address_of("metrics and health").await;
        (Client::new(api), Client::new(jobs))
    };
    for door in [&api, &jobs] {
        assert_eq!(door.get("/health/live").await.of(200)["status"], "healthy");
        until("it is ready", PATIENCE, async || {
            (door.get("/health/ready").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(door.get("/auth/me").await.status, 404, "nothing else is there");
    }
    (api, jobs)
}

#[tokio::test]
async fn at_the_port_of_the_api_they_are_for_this_machine() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let nobody = world.nobody();
            Scrape::of(&nobody.get("/metrics").await);
            for header in [
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=192.0.2.1"),
                ("host", "bifrost.example"),
            ] {
                let refused = nobody.get_with("/metrics", &[header]).await;
                assert_eq!(refused.of(404)["code"], "not_found", "{header:?}");
            }
            assert_eq!(nobody.get("/metrics/").await.status, 404);
            assert_eq!(nobody.post("/metrics", json!({})).await.status, 404);
        })
        .await;
}

#[tokio::test]
async fn with_a_token_they_are_for_whoever_shows_it() {
    World::new(Mode::Embedded)
        .await
        .with("METRICS_TOKEN", "a-token-for-the-scraper")
        .run(async |world: &mut World| {
            let nobody = world.nobody();
            for shown in [None, Some("another-token-of-its-kind"), Some("a-token-for-the-scrape"), Some("")] {
                let client = shown.map_or_else(|| nobody.clone(), |token| nobody.with_token(token));
                let refused = client.get("/metrics").await;
                assert_eq!(refused.status, 401, "{shown:?}");
                assert_eq!(
                    refused.headers.get("www-authenticate").map(reqwest::header::HeaderValue::as_bytes),
                    Some(&b"Bearer"[..])
                );
            }
            let scraper = nobody.with_token("a-token-for-the-scraper");
            Scrape::of(&scraper.get("/metrics").await);
            Scrape::of(&scraper.get_with("/metrics", &[("x-forwarded-for", "192.0.2.1")]).await);
        })
        .await;
}

/// A scrape is answered while the database is away, without what only the database knows.
#[tokio::test]
async fn they_are_there_while_the_database_is_away() {
    let world = World::new(Mode::Stack).await;
    let (proxy, url) = Proxy::before(world.database().url()).await;
    world
        .with("DATABASE_URL", &url)
        .run(async |world: &mut World| {
            let address = world.jobs[0].address_of("metrics and health").await;
            let door = Client::new(address);
            let scrape = async || Scrape::of(&door.get("/metrics").await);
            assert!(scrape().await.sum("bifrost_database_up", &[]) > 0.5);
            proxy.cut();
            let (away, _) = until("it is known to be away", PATIENCE, async || {
                let scrape = scrape().await;
                (scrape.sum("bifrost_database_up", &[]) < 0.5).then_some(scrape)
            })
            .await;
            assert!(!away.kinds.contains_key("bifrost_queue_executions"), "nobody knows how much waits");
            assert!(away.sum("bifrost_worker_slots", &[]) > 0.5 && away.sum("process_threads", &[]) > 0.5);
            let ready = door.get("/health/ready").await.of(503);
            assert!(ready["detail"].as_str().is_some_and(|text| text.contains("database")), "{ready}");
            assert_eq!(door.get("/health/live").await.status, 200);
            proxy.mend();
            until("it is back", PATIENCE, async || {
                (scrape().await.sum("bifrost_database_up", &[]) > 0.5).then_some(())
            })
            .await;
        })
        .await;
}
