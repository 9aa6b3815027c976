//! A fresh database per test: a SQLite file in its own folder, or a PostgreSQL database of its own. Both have the schema
//! applied and both are gone after the test, whether it passed or not.
//!
//! A storage test is an `async fn(TestDatabase)`; [`on_both_databases!`](crate::on_both_databases) makes two tests of it,
//! `<name>::sqlite` and `<name>::postgres`, so a failure says which database it was.

use bifrost_domain::clock::{Ids, SystemIds};
use bifrost_migration::{
    Runner,
    sea_orm::{ConnectionTrait, Statement},
};
use bifrost_storage::{Db, Store, Target};
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, path::PathBuf, sync::Arc};
use tempfile::TempDir;

/// Where PostgreSQL is when `DATABASE_URL` is not set.
const DEFAULT_SERVER: &str = "postgres://root@127.0.0.1:5432/test";

/// An open database with the schema applied. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    db: Db,
    target: Target,
    kept: Arc<Kept>,
}

/// The texts of the column `line` that a query finds: for what no code of ours reads.
///
/// # Panics
/// When it cannot be asked: the test cannot go on.
#[expect(clippy::expect_used, reason = "a test that cannot look has failed")]
pub async fn lines(db: &Db, sql: &str) -> Vec<String> {
    let connection = db.migration_connection();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all(statement).await.expect("asked");
    rows.iter().map(|row| row.try_get("", "line").expect("a text")).collect()
}

#[derive(Debug)]
enum Kept {
    Folder(#[expect(dead_code, reason = "held so that the folder lives as long as the database")] TempDir),
    Database { server: String, name: String },
}

impl TestDatabase {
    /// A SQLite file in a folder of its own.
    ///
    /// # Panics
    /// When it cannot be made: the test cannot go on.
    #[expect(clippy::expect_used, reason = "a test that has no database has failed")]
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path: PathBuf = folder.path().join("bifrost.db");
        Self::open(Target::Sqlite { path }, Kept::Folder(folder)).await
    }

    /// A PostgreSQL database of its own on the server of `DATABASE_URL`.
    ///
    /// # Panics
    /// When it cannot be made: the test cannot go on.
    #[expect(clippy::expect_used, reason = "a test that has no database has failed")]
    pub async fn postgres() -> Self {
        let server = server();
        let name = format!("bifrost_test_{}", SystemIds.next().simple());
        let admin = Db::connect(&postgres_target(&server, 1)).await.expect("the PostgreSQL server");
        admin
            .migration_connection()
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("create a database");
        admin.close().await;
        let target = postgres_target(&with_database(&server, &name), 16);
        Self::open(target, Kept::Database { server, name }).await
    }

    #[expect(clippy::expect_used, reason = "a test that has no database has failed")]
    async fn open(target: Target, kept: Kept) -> Self {
        let db = Db::connect(&target).await.expect("open the database");
        Runner::new(db.migration_connection()).up(None, &mut |_| ()).await.expect("apply the schema");
        Self { db, target, kept: Arc::new(kept) }
    }

    /// A store over it.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(self.db.clone())
    }

    /// The database itself.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// Where it is, to open it a second time.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Runs a test and removes the database, also when the test panics.
    ///
    /// # Panics
    /// When the test panicked, or the database cannot be removed.
    #[expect(clippy::expect_used, reason = "a database that stays behind is a failure")]
    pub async fn run<F: Future<Output = ()>>(self, case: impl FnOnce(Self) -> F) {
        let outcome = AssertUnwindSafe(Box::pin(case(self.clone()))).catch_unwind().await;
        self.remove().await.expect("remove the database");
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    /// Closes and removes it.
    ///
    /// # Errors
    /// When a PostgreSQL database cannot be dropped.
    pub async fn remove(self) -> Result<(), bifrost_storage::Error> {
        self.db.close().await;
        self.remove_in_use().await
    }

    /// Removes it while somebody still has connections to it: PostgreSQL cuts them.
    ///
    /// # Errors
    /// When a PostgreSQL database cannot be dropped.
    pub async fn remove_in_use(self) -> Result<(), bifrost_storage::Error> {
        if let Kept::Database { server, name } = &*self.kept {
            let admin = Db::connect(&postgres_target(server, 1)).await?;
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.migration_connection().execute_unprepared(&drop).await?;
            admin.close().await;
        }
        Ok(())
    }
}

fn postgres_target(url: &str, pool_max: u32) -> Target {
    Target::Postgres { url: url.into(), pool_min: 0, pool_max }
}

/// The server that tests use, as `postgres://…/database`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are started with the server's address in the environment"
)]
fn server() -> String {
    match std::env::var("DATABASE_URL") {
        Ok(url) if url.starts_with("postgres") => url,
        _ => DEFAULT_SERVER.to_owned(),
    }
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(a, q)| (a, Some(q)));
    let scheme = address.find("://").map_or(0, |at| at + 3);
    let base = address[scheme..].find('/').map_or(address, |slash| &address[..scheme + slash]);
    query.map_or_else(|| format!("{base}/{name}"), |query| format!("{base}/{name}?{query}"))
}

/// Makes two tests of each `async fn(TestDatabase)`: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! on_both_databases {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::database::TestDatabase::sqlite().await.run(super::$case).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::database::TestDatabase::postgres().await.run(super::$case).await;
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_is_replaced() {
        assert_eq!(with_database("postgres://a:b@h:1/x", "y"), "postgres://a:b@h:1/y");
        assert_eq!(with_database("postgres://h/x?sslmode=disable", "y"), "postgres://h/y?sslmode=disable");
        assert_eq!(with_database("postgres://h", "y"), "postgres://h/y");
    }
}
