//! What was answered to requests that may be sent again (`Idempotency-Key`).

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
        dialect::run(manager, "DROP TABLE idempotency_keys").await
    }
}

// The key itself is kept by its hash: the fingerprint covers bodies that may hold a password, and so cannot be guessed from the row.
const UP: &str = r"
CREATE TABLE idempotency_keys (
    hash {bytes} PRIMARY KEY NOT NULL,
    fingerprint {bytes} NOT NULL,
    status smallint,
    reply text,
    created_at {time} NOT NULL
)
;;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at)
";
