//! What is looked up when somebody asks: how much waits, and how the database is. Asked at most once a second, whoever scrapes, and given
//! up after a second.

use super::text::Text;
use crate::Opened;
use bifrost_domain::{
    clock::SharedClock,
    execution::Kind as Runs,
    metric::{Kind, Metric, Process},
};
use bifrost_storage::{
    Reader,
    executions::depth::{Depth, Stage},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// So long an answer of the database is given again.
const KEPT: Duration = Duration::from_secs(1);
/// The database is asked for so long.
const PATIENCE: Duration = Duration::from_secs(1);

const QUEUES: &str = "workflows, scripts, data-providers";

const UP: Metric = Metric {
    name: "bifrost_database_up",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Both,
    help: "1 when the database answered within a second, else 0",
};
const ANSWER: Metric = Metric {
    name: "bifrost_database_answer_seconds",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Both,
    help: "Time that the database took for the last look at the queues, with the wait for a connection; absent while it is away",
};
const CONNECTIONS: Metric = Metric {
    name: "bifrost_database_connections",
    kind: Kind::Gauge,
    labels: &[("pool", "main (PostgreSQL); write, read (SQLite)"), ("state", "used, idle")],
    process: Process::Both,
    help: "Connections of the pool; the batch writers' own four are not of it",
};
const MOST_CONNECTIONS: Metric = Metric {
    name: "bifrost_database_connections_max",
    kind: Kind::Gauge,
    labels: &[("pool", "as above")],
    process: Process::Both,
    help: "Connections that the pool may have",
};
const QUEUE: Metric = Metric {
    name: "bifrost_queue_executions",
    kind: Kind::Gauge,
    labels: &[("queue", QUEUES), ("stage", "later, waiting, dispatched")],
    process: Process::Both,
    help: "Executions that no worker has yet: not due, due, or given to the broker; the oldest 100,000 are counted. Every process says the same: take the maximum",
};
const OLDEST: Metric = Metric {
    name: "bifrost_queue_oldest_seconds",
    kind: Kind::Gauge,
    labels: &[("queue", QUEUES)],
    process: Process::Both,
    help: "How long the oldest execution that is due has waited for a worker, 0 when none does. Every process says the same: take the maximum",
};

/// See the module.
pub(super) const METRICS: &[Metric] = &[UP, ANSWER, CONNECTIONS, MOST_CONNECTIONS, QUEUE, OLDEST];

/// What the database said.
#[derive(Debug, Clone)]
struct Answer {
    took: Duration,
    depths: Vec<Depth>,
    at: chrono::DateTime<chrono::Utc>,
}

pub(super) struct Samples {
    reader: Reader,
    clock: SharedClock,
    last: Mutex<Option<(Instant, Option<Answer>)>>,
}

impl Samples {
    pub(super) fn of(opened: &Opened) -> Self {
        Self { reader: opened.store.reader(), clock: opened.clock.clone(), last: Mutex::default() }
    }

    pub(super) async fn write(&self, text: &mut Text) {
        let pools = self.reader.db().pool_use();
        let answer = self.answer().await;
        text.value(&UP, Some(f64::from(u8::from(answer.is_some()))));
        text.value(&ANSWER, answer.as_ref().map(|answer| answer.took.as_secs_f64()));
        text.metric(
            &CONNECTIONS,
            pools.iter().flat_map(|pool| {
                [("used", pool.used), ("idle", pool.idle)]
                    .map(|(state, count)| (vec![pool.pool.to_owned(), state.to_owned()], f64::from(count)))
            }),
        );
        text.metric(
            &MOST_CONNECTIONS,
            pools.iter().map(|pool| (vec![pool.pool.to_owned()], f64::from(pool.most))),
        );
        if let Some(answer) = answer {
            write_depths(text, &answer);
        }
    }

    /// Those who ask meanwhile wait here and get the same answer.
    async fn answer(&self) -> Option<Answer> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < KEPT
        {
            return answer.clone();
        }
        let (started, now) = (Instant::now(), self.clock.now());
        let asked = tokio::time::timeout(PATIENCE, self.reader.queue_depths(now)).await;
        let answer = match asked {
            Ok(Ok(depths)) => Some(Answer { took: started.elapsed(), depths, at: now }),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the queues were not looked at");
                None
            }
            Err(_) => {
                tracing::debug!("the database did not say in time how much waits");
                None
            }
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

fn write_depths(text: &mut Text, answer: &Answer) {
    let stages = [(Stage::Later, "later"), (Stage::Waiting, "waiting"), (Stage::Dispatched, "dispatched")];
    let find = |kind, stage| answer.depths.iter().find(|depth| depth.kind == kind && depth.stage == stage);
    text.metric(
        &QUEUE,
        Runs::ALL.iter().flat_map(|kind| {
            stages.map(|(stage, name)| {
                let count = find(*kind, stage).map_or(0, |depth| depth.count);
                (vec![kind.queue().to_owned(), name.to_owned()], count as f64)
            })
        }),
    );
    text.metric(
        &OLDEST,
        Runs::ALL.iter().map(|kind| {
            let due = [Stage::Waiting, Stage::Dispatched].into_iter().filter_map(|stage| find(*kind, stage));
            let longest = due.map(|depth| (answer.at - depth.oldest).num_milliseconds()).max();
            (vec![kind.queue().to_owned()], longest.unwrap_or(0).max(0) as f64 / 1e3)
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};

    #[test]
    fn every_queue_is_shown_and_the_oldest_of_what_is_due() {
        let at = SystemClock.now();
        let depth = |stage, count, seconds| Depth {
            kind: Runs::Script,
            stage,
            count,
            oldest: at - chrono::Duration::seconds(seconds),
        };
        let depths =
            vec![depth(Stage::Waiting, 3, 5), depth(Stage::Dispatched, 2, 9), depth(Stage::Later, 1, -60)];
        let mut text = Text::new();
        write_depths(&mut text, &Answer { took: Duration::ZERO, depths, at });
        let text = text.into_string();
        for line in [
            "bifrost_queue_executions{queue=\"scripts\",stage=\"later\"} 1\n",
            "bifrost_queue_executions{queue=\"scripts\",stage=\"waiting\"} 3\n",
            "bifrost_queue_executions{queue=\"scripts\",stage=\"dispatched\"} 2\n",
            "bifrost_queue_executions{queue=\"workflows\",stage=\"waiting\"} 0\n",
            "bifrost_queue_oldest_seconds{queue=\"scripts\"} 9\n",
            "bifrost_queue_oldest_seconds{queue=\"data-providers\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let queues: Vec<&str> = Runs::ALL.iter().map(|kind| kind.queue()).collect();
        assert_eq!(QUEUES, queues.join(", "));
    }
}
