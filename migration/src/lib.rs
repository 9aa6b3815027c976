//! The schema of Bifrost: the only place that changes it.
//!
//! One SQL text serves both databases; `dialect` replaces the words in braces that differ. Every migration has a way up and a
//! way down, and is applied in a transaction of its own ([`runner`]). What all of them make together is written down in
//! `schema/postgres.txt` and `schema/sqlite.txt` ([`schema`]).
//!
//! # How to add one
//!
//! 1. `cargo run -p migration -- generate add_phone_to_users` writes `m<date>_<number>_<name>.rs` and its two lines below.
//! 2. Fill in `UP` and `DOWN`: one subject, statements apart by `;;`. It has to work while the previous program still runs
//!    (docs/migrations.md, "Expand, then contract").
//! 3. `UPDATE_SCHEMA=1 cargo test -p bifrost-storage --test suite written_down` writes down what the schema becomes; the change of
//!    the two files belongs to the commit.
//! 4. A new table gets its row in `crates/storage/tests/suite/schema/rows.rs`, and its columns an entity or statements in `storage`.
//!
//! A migration that was applied anywhere is never edited: add another one.

pub mod cli;
mod dialect;
pub mod error;
mod fresh;
pub mod generate;
mod lock;
mod m20261120_000001_identity;
mod m20261120_000002_catalog;
mod m20261120_000003_executions;
mod m20261120_000004_workers;
mod m20261120_000005_settings;
mod m20261120_000006_live_tickets;
mod m20261125_000007_tenancy;
mod m20261125_000008_directory;
mod m20261125_000009_account;
mod m20261125_000010_identity_providers;
mod m20261125_000011_machines;
mod m20261125_000012_audit;
mod m20261126_000013_session_factor;
mod m20261126_000014_idempotency;
mod m20261126_000015_session_authentication;
pub mod place;
mod report;
pub mod runner;
pub mod schema;
pub mod state;

use sea_orm_migration::prelude::*;

pub use error::Error;
pub use runner::{Runner, Step};
pub use schema::Schema;
pub use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, MigratorTrait, SchemaManager, sea_orm};

/// A migration and the text of its file.
macro_rules! migration {
    ($module:ident) => {
        (Box::new($module::Migration), include_str!(concat!(stringify!($module), ".rs")))
    };
}

/// All migrations, in order, each with its text.
fn all() -> Vec<(Box<dyn MigrationTrait>, &'static str)> {
    vec![
        migration!(m20261120_000001_identity),
        migration!(m20261120_000002_catalog),
        migration!(m20261120_000003_executions),
        migration!(m20261120_000004_workers),
        migration!(m20261120_000005_settings),
        migration!(m20261120_000006_live_tickets),
        migration!(m20261125_000007_tenancy),
        migration!(m20261125_000008_directory),
        migration!(m20261125_000009_account),
        migration!(m20261125_000010_identity_providers),
        migration!(m20261125_000011_machines),
        migration!(m20261125_000012_audit),
        migration!(m20261126_000013_session_factor),
        migration!(m20261126_000014_idempotency),
        migration!(m20261126_000015_session_authentication),
    ]
}

/// All migrations, in order. They are applied by a [`Runner`].
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        all().into_iter().map(|(migration, _)| migration).collect()
    }

    fn migration_table_name() -> DynIden {
        Alias::new(state::RECORD).into_iden()
    }
}

/// The names of all migrations, in order.
#[must_use]
pub fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// What a migration is about: the first line of its file.
fn subject(name: &str) -> Option<&'static str> {
    let (_, text) = all().into_iter().find(|(migration, _)| migration.name() == name)?;
    text.lines().next().map(|line| line.trim_start_matches("//!").trim())
}
