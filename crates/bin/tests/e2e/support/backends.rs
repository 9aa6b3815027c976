//! The servers of the stack: where they are, and what a test leaves there none of.

use super::unique;
use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use sqlx::{Connection as _, Executor as _, PgConnection};

#[expect(
    clippy::disallowed_methods,
    reason = "tests are started with the servers' addresses in the environment"
)]
fn server(variable: &str, scheme: &str, default: &str) -> String {
    std::env::var(variable).ok().filter(|url| url.starts_with(scheme)).unwrap_or_else(|| default.to_owned())
}

/// Where the servers of one world are.
#[derive(Debug, Clone)]
pub(crate) struct Backends {
    /// Any database of the server, as a user who may make others.
    pub(crate) postgres: String,
    pub(crate) rabbitmq: String,
    pub(crate) redis: String,
}

impl Backends {
    /// Those that all tests share.
    pub(crate) fn shared() -> Self {
        Self { postgres: postgres_url(), rabbitmq: rabbitmq_url(), redis: redis_url() }
    }
}

/// RabbitMQ's address.
pub(crate) fn rabbitmq_url() -> String {
    server("RABBITMQ_URL", "amqp", "amqp://guest:guest@127.0.0.1:5672")
}

/// Redis' address.
pub(crate) fn redis_url() -> String {
    server("REDIS_URL", "redis", "redis://127.0.0.1:6379")
}

/// The address of a database that exists.
pub(crate) fn postgres_url() -> String {
    server("DATABASE_URL", "postgres", "postgres://root@127.0.0.1:5432/test")
}

/// A database of the test's own, empty: the processes bring the schema.
#[derive(Debug)]
pub(crate) struct PostgresDatabase {
    server: String,
    name: String,
    url: String,
}

impl PostgresDatabase {
    /// On the server of this address.
    pub(crate) async fn create(server: &str) -> Self {
        let name = unique("bifrost_e2e").replace('-', "_");
        let mut admin = PgConnection::connect(server).await.expect("the PostgreSQL server");
        admin.execute(format!("CREATE DATABASE {name}").as_str()).await.expect("create a database");
        let (address, query) = server.split_once('?').unwrap_or((server, ""));
        let (base, _) = address.rsplit_once('/').expect("the address names a database");
        let url = if query.is_empty() { format!("{base}/{name}") } else { format!("{base}/{name}?{query}") };
        Self { server: server.to_owned(), name, url }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the test's database")
    }

    pub(crate) async fn remove(self) {
        let mut admin = PgConnection::connect(&self.server).await.expect("the PostgreSQL server");
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        admin.execute(statement.as_str()).await.expect("drop the database");
    }
}

/// Removes the queues and the exchange under `prefix` from the RabbitMQ of this address.
pub(crate) async fn remove_queues(url: &str, prefix: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("RabbitMQ");
    let channel = connection.create_channel().await.expect("a channel");
    for queue in QUEUES {
        for name in [format!("{prefix}.{queue}"), format!("{prefix}.{queue}.dead")] {
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("delete a queue");
        }
    }
    let exchange = format!("{prefix}.dead");
    channel
        .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
        .await
        .expect("delete the exchange");
    connection.close(200, "done".into()).await.expect("close the connection");
}

/// One per kind of execution.
const QUEUES: &[&str] = &["workflows", "scripts", "data-providers"];
