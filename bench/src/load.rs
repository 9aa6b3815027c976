//! Synchronous runs over HTTP, so and so many in flight, each on its own connection; and the books that are kept of them.

use crate::{
    http::{Client, request},
    servers::{Servers, WORKFLOW},
    stats::{Distribution, Samples},
};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers that are quoted when runs fail.
const QUOTED: usize = 5;

/// What the API has accepted, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The id of each run that was answered with one.
    pub(crate) accepted: Vec<String>,
    /// Requests that were not answered with a run that ended in success.
    pub(crate) failed: usize,
    /// Some of the answers to those.
    pub(crate) quotes: Vec<String>,
}

/// One stretch of load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) in_flight: usize,
    pub(crate) seconds: f64,
    pub(crate) runs: usize,
    pub(crate) runs_per_second: f64,
    pub(crate) latency: Distribution,
}

#[derive(Deserialize)]
struct Answer {
    execution_id: String,
    status: String,
}

impl Ledger {
    fn merge(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.failed += other.failed;
        self.quotes.extend(other.quotes);
        self.quotes.truncate(QUOTED);
    }

    fn fail(&mut self, quote: String) {
        self.failed += 1;
        if self.quotes.len() < QUOTED {
            self.quotes.push(quote);
        }
    }
}

/// Keeps `in_flight` synchronous runs going for `time`; a run that has begun is waited for.
pub(crate) async fn load(
    servers: &Servers,
    in_flight: usize,
    time: Duration,
    ledger: &mut Ledger,
) -> Result<LoadReport> {
    let body = format!(r#"{{"workflow_name":"{WORKFLOW}","input_data":{{}}}}"#);
    let body = ("application/json", body.as_str());
    let request: Arc<[u8]> =
        request("POST", "/api/workflows/execute", Some(&servers.token), Some(body)).into();
    let mut clients = Vec::new();
    for _ in 0..in_flight {
        clients.push(Client::connect(servers.address).await?);
    }
    let begin = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(one_caller(client, request.clone(), begin + time)))
        .collect();
    let mut samples = Samples::default();
    for task in tasks {
        let (taken, books) = task.await.context("a caller stopped")?;
        samples.extend(taken);
        ledger.merge(books);
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(LoadReport {
        in_flight,
        seconds,
        runs: samples.len(),
        runs_per_second: samples.len() as f64 / seconds,
        latency: samples.distribution(),
    })
}

/// Samples are of runs that ended in success; everything else is in the books.
async fn one_caller(mut client: Client, request: Arc<[u8]>, until: Instant) -> (Samples, Ledger) {
    let (mut samples, mut ledger) = (Samples::default(), Ledger::default());
    while Instant::now() < until {
        let begin = Instant::now();
        let reply = match client.send(&request).await {
            Ok(reply) => reply,
            Err(error) => {
                // The connection is of no more use, and whether the run was accepted is not known.
                ledger.fail(format!("{error:#}"));
                break;
            }
        };
        let took = begin.elapsed();
        match reply.ok::<Answer>() {
            Ok(answer) => {
                if answer.status == "Success" {
                    samples.push(took);
                } else {
                    ledger.fail(reply.text());
                }
                ledger.accepted.push(answer.execution_id);
            }
            Err(error) => ledger.fail(format!("{error:#}")),
        }
    }
    (samples, ledger)
}
