//! The parts that a run cannot do without, each by itself and one at a time: a durable commit, a confirmed publish, a fork.
//!
//! They are measured beside each scenario, before and after it, because single round trips vary two- to threefold with
//! what else the machine does; a ratio to parts of the same minute says more than milliseconds.

use crate::{
    Mode, Options,
    place::Place,
    stats::{Distribution, Samples},
};
use anyhow::{Context as _, Result, bail};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use sqlx::{
    Connection as _, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::time::Instant;
use tokio::process::Command;

/// How many of each per measurement.
const ROUNDS: usize = 200;
/// As large as the message that names a run.
const BODY: &[u8] = &[b'x'; 96];
const FORK: &str = include_str!("../python/fork.py");

/// Connections that are kept through all measurements: connecting is not what is measured.
#[derive(Debug)]
pub(crate) struct Parts {
    commits: Commits,
    broker: Option<(lapin::Connection, Channel, String)>,
    python: String,
}

#[derive(Debug)]
enum Commits {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// What was measured around one scenario.
#[derive(Debug, Default, Clone)]
pub(crate) struct Measured {
    commit: Samples,
    publish: Samples,
    fork: Samples,
    fork_whole: Samples,
}

/// What is told of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PartsReport {
    /// One row inserted and committed.
    pub(crate) commit: Distribution,
    /// A persistent message until its confirm; absent when embedded.
    pub(crate) publish: Option<Distribution>,
    /// From `os.fork` of a bare Python until a byte of the child has been read.
    pub(crate) fork: Distribution,
    /// The same until the child has ended and been waited for.
    pub(crate) fork_whole: Distribution,
    /// Medians added up.
    pub(crate) sum_p50_ms: f64,
    /// On one connection, one after the other.
    pub(crate) commits_per_second: f64,
}

#[derive(Deserialize)]
struct Forks {
    first_byte: Vec<u64>,
    whole: Vec<u64>,
}

impl Parts {
    pub(crate) async fn open(options: &Options, place: &Place) -> Result<Self> {
        const TABLE: &str = "CREATE TABLE bench_commits (body text NOT NULL)";
        let commits = match place.mode {
            Mode::Stack => {
                let mut connection = PgConnection::connect(&place.database_url).await?;
                sqlx::query(TABLE).execute(&mut connection).await?;
                Commits::Postgres(connection)
            }
            Mode::Embedded => {
                // As durable as the server's own file.
                let options = SqliteConnectOptions::new()
                    .filename(place.commits())
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full);
                let mut connection = SqliteConnection::connect_with(&options).await?;
                sqlx::query(TABLE).execute(&mut connection).await?;
                Commits::Sqlite(connection)
            }
        };
        let broker = match place.mode {
            Mode::Embedded => None,
            Mode::Stack => {
                let connection = place.rabbitmq().await?;
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                let queue = place.own_queue();
                let mut arguments = FieldTable::default();
                // The kind that the server's own queues have.
                arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
                channel
                    .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments)
                    .await?;
                Some((connection, channel, queue))
            }
        };
        Ok(Self { commits, broker, python: options.python.clone() })
    }

    /// Measures each part once more.
    pub(crate) async fn measure(&mut self, into: &mut Measured) -> Result<()> {
        for round in 0..ROUNDS + 20 {
            let begin = Instant::now();
            match &mut self.commits {
                Commits::Postgres(connection) => {
                    sqlx::query("INSERT INTO bench_commits VALUES ($1)")
                        .bind("x")
                        .execute(connection)
                        .await?;
                }
                Commits::Sqlite(connection) => {
                    sqlx::query("INSERT INTO bench_commits VALUES ($1)")
                        .bind("x")
                        .execute(connection)
                        .await?;
                }
            }
            if round >= 20 {
                into.commit.push(begin.elapsed());
            }
        }
        if let Some((_, channel, queue)) = &self.broker {
            for round in 0..ROUNDS + 20 {
                let begin = Instant::now();
                publish(channel, queue).await?;
                if round >= 20 {
                    into.publish.push(begin.elapsed());
                }
            }
        }
        let output = Command::new(&self.python).args(["-c", FORK, &ROUNDS.to_string()]).output().await;
        let output = output.with_context(|| format!("start {}", self.python))?;
        if !output.status.success() {
            bail!("the fork script failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let forks: Forks = serde_json::from_slice(&output.stdout).context("the fork script's answer")?;
        forks.first_byte.iter().for_each(|nanos| into.fork.push_nanos(*nanos));
        forks.whole.iter().for_each(|nanos| into.fork_whole.push_nanos(*nanos));
        Ok(())
    }

    /// Closes; the queue goes with the place.
    pub(crate) async fn close(self) -> Result<()> {
        match self.commits {
            Commits::Postgres(connection) => connection.close().await?,
            Commits::Sqlite(connection) => connection.close().await?,
        }
        if let Some((connection, _, _)) = self.broker {
            connection.close(200, "done".into()).await?;
        }
        Ok(())
    }
}

async fn publish(channel: &Channel, queue: &str) -> Result<()> {
    const PERSISTENT: u8 = 2;
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let sent =
        channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), BODY, properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("RabbitMQ did not confirm: {other:?}"),
    }
}

impl Measured {
    pub(crate) fn extend(&mut self, other: Self) {
        self.commit.extend(other.commit);
        self.publish.extend(other.publish);
        self.fork.extend(other.fork);
        self.fork_whole.extend(other.fork_whole);
    }

    pub(crate) fn report(&self) -> PartsReport {
        let publish = (self.publish.len() > 0).then(|| self.publish.distribution());
        let (commit, fork) = (self.commit.distribution(), self.fork.distribution());
        PartsReport {
            commit,
            publish,
            fork,
            fork_whole: self.fork_whole.distribution(),
            sum_p50_ms: commit.p50_ms + publish.map_or(0.0, |publish| publish.p50_ms) + fork.p50_ms,
            commits_per_second: if commit.mean_ms > 0.0 { 1000.0 / commit.mean_ms } else { 0.0 },
        }
    }
}
