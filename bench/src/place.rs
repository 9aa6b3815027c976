//! What a measurement has to itself: a database, a prefix for queues and channels, and a folder with the workspace and the
//! data. All of it is gone afterwards.

use crate::{Mode, Options};
use anyhow::{Context as _, Result, bail};
use lapin::{
    Connection as Amqp, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use url::Url;

/// Names of the queues behind the prefix: the servers' own, one per kind of execution, and ours.
const QUEUES: [&str; 4] = ["workflows", "scripts", "data-providers", OWN_QUEUE];
/// Where the publishes go that are measured by themselves.
const OWN_QUEUE: &str = "bench-parts";
const NOOP: &str = include_str!("../python/noop.py");

/// The place.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) mode: Mode,
    /// First part of queue names and channels; also the name of the database.
    pub(crate) name: String,
    /// The database's address; empty when embedded.
    pub(crate) database_url: String,
    folder: TempDir,
    server_url: String,
    rabbitmq_url: String,
}

/// A connection of our own to the server's database.
#[derive(Debug)]
pub(crate) enum Sql {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Place {
    pub(crate) async fn make(options: &Options) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("bifrost-bench-").tempdir().context("a temporary folder")?;
        let workspace = folder.path().join("workspace");
        fs::create_dir(&workspace)?;
        fs::write(workspace.join("bench_noop.py"), NOOP)?;
        // Runs may be handed to another user than ours, who has to be able to reach the workspace.
        for path in [folder.path(), workspace.as_path()] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        // The folder's name is unique on this machine, so what is named after it is too.
        let suffix = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let suffix: String = suffix.chars().rev().take_while(char::is_ascii_alphanumeric).collect();
        let name = format!("bifrost_bench_{}_{}", std::process::id(), suffix.to_ascii_lowercase());
        let mut database_url = String::new();
        if options.mode == Mode::Stack {
            let mut url = Url::parse(&options.database_url).context("--database-url")?;
            if !matches!(url.scheme(), "postgres" | "postgresql") {
                bail!("--database-url is not postgres://…");
            }
            let mut server = PgConnection::connect(&options.database_url).await.context("PostgreSQL")?;
            sqlx::query(&format!("CREATE DATABASE {name}")).execute(&mut server).await?;
            server.close().await?;
            url.set_path(&name);
            database_url = url.into();
        }
        Ok(Self {
            mode: options.mode,
            name,
            database_url,
            folder,
            server_url: options.database_url.clone(),
            rabbitmq_url: options.rabbitmq_url.clone(),
        })
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where a process of this name writes its log.
    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.folder.path().join(format!("{process}.log"))
    }

    /// A file for the commits that are measured by themselves (embedded).
    pub(crate) fn commits(&self) -> PathBuf {
        self.folder.path().join("commits.db")
    }

    /// Connects to the database of the server under measurement.
    pub(crate) async fn sql(&self) -> Result<Sql> {
        Ok(match self.mode {
            Mode::Stack => Sql::Postgres(PgConnection::connect(&self.database_url).await?),
            Mode::Embedded => {
                let options =
                    SqliteConnectOptions::new().filename(self.data().join("bifrost.db")).read_only(true);
                Sql::Sqlite(SqliteConnection::connect_with(&options).await?)
            }
        })
    }

    /// Name of the queue for the publishes that are measured by themselves.
    pub(crate) fn own_queue(&self) -> String {
        format!("{}.{OWN_QUEUE}", self.name)
    }

    /// Connects to RabbitMQ.
    pub(crate) async fn rabbitmq(&self) -> Result<Amqp> {
        Amqp::connect(&self.rabbitmq_url, ConnectionProperties::default()).await.context("RabbitMQ")
    }

    /// Removes everything; the servers have to be stopped before.
    pub(crate) async fn remove(self) -> Result<()> {
        if self.mode == Mode::Embedded {
            return Ok(self.folder.close()?);
        }
        let mut server = PgConnection::connect(&self.server_url).await?;
        sqlx::query(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
            .execute(&mut server)
            .await?;
        server.close().await?;
        let connection = self.rabbitmq().await?;
        let channel = connection.create_channel().await?;
        for queue in QUEUES {
            for name in [format!("{}.{queue}", self.name), format!("{}.{queue}.dead", self.name)] {
                // One that was never declared is no error.
                channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
            }
        }
        let exchange = format!("{}.dead", self.name);
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        self.folder.close()?;
        Ok(())
    }
}
