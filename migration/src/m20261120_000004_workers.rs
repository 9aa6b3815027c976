//! Worker processes and the leases by which one of several is elected.

use crate::dialect;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DOWN).await
    }
}

const UP: &str = r"
CREATE TABLE workers (
    id {uuid} PRIMARY KEY NOT NULL,
    name varchar(255) NOT NULL,
    version varchar(64) NOT NULL,
    slots integer NOT NULL,
    info {json} NOT NULL,
    started_at {time} NOT NULL,
    lease_until {time} NOT NULL,
    stopped_at {time}
)
;;
CREATE INDEX workers_lease ON workers (lease_until)
;;
CREATE TABLE leases (
    name varchar(64) PRIMARY KEY NOT NULL,
    holder {uuid} NOT NULL,
    until {time} NOT NULL
)
";

const DOWN: &str = r"
DROP TABLE leases
;;
DROP TABLE workers
";
