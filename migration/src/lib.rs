//! The schema of Bifrost: the only place that changes it.
//!
//! One SQL text serves both databases; `dialect` replaces the words in braces that differ. Every migration has a way up and a
//! way down. To add one: a file `m<date>_<number>_<subject>.rs` with one subject, that works while the previous binary
//! is still running, and a line in [`Migrator::migrations`].
//!
//! Callers hold a lock while they run [`Migrator`] (`boot::migrate`), so that several replicas may start together.

mod dialect;
mod m20261120_000001_identity;
mod m20261120_000002_catalog;
mod m20261120_000003_executions;
mod m20261120_000004_workers;
mod m20261120_000005_settings;
mod m20261120_000006_live_tickets;

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::{DbErr, MigratorTrait, sea_orm};

/// Applies and takes back the migrations, in order.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_000001_identity::Migration),
            Box::new(m20261120_000002_catalog::Migration),
            Box::new(m20261120_000003_executions::Migration),
            Box::new(m20261120_000004_workers::Migration),
            Box::new(m20261120_000005_settings::Migration),
            Box::new(m20261120_000006_live_tickets::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        Alias::new("schema_migrations").into_iden()
    }
}
