//! The servers of the stack: where they are, and what a test leaves there none of.

use super::{PATIENCE, Process, unique, until};
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

/// A Redis of the test's own that wants a password.
pub(crate) struct PrivateRedis {
    process: Process,
    port: u16,
}

impl PrivateRedis {
    /// The password of its only user.
    pub(crate) const PASSWORD: &str = "geheim";

    /// Starts it on a free port. Another process may take the port between the look and the start: then another one is tried.
    pub(crate) async fn start() -> Self {
        for _ in 0..5 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("an address").port();
            drop(free);
            let number = port.to_string();
            let arguments =
                ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--requirepass", Self::PASSWORD];
            let process = Process::spawn("redis-server", "redis-server", &arguments, &[]);
            let (is_up, _) = until("redis-server is up, or has ended", PATIENCE, async || {
                let said = process.said().join("\n");
                if said.contains("Ready to accept connections") {
                    return Some(true);
                }
                said.contains("Failed listening").then_some(false)
            })
            .await;
            if is_up {
                return Self { process, port };
            }
        }
        panic!("no free port for redis-server");
    }

    /// Its address, with this password.
    pub(crate) fn url(&self, password: Option<&str>) -> String {
        let credentials = password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{credentials}127.0.0.1:{}", self.port)
    }

    pub(crate) async fn stop(self) {
        self.process.stop().await.expect("stopped");
    }
}

/// One per kind of execution.
const QUEUES: &[&str] = &["workflows", "scripts", "data-providers"];
