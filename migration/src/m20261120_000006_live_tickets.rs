//! Single-use tickets that open a live connection (a browser cannot send headers with a WebSocket).

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
        dialect::run(manager, "DROP TABLE live_tickets").await
    }
}

const UP: &str = r"
CREATE TABLE live_tickets (
    hash {bytes} PRIMARY KEY NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id {uuid} REFERENCES sessions (id) ON DELETE CASCADE,
    organization_id {uuid},
    expires_at {time} NOT NULL
)
;;
CREATE INDEX live_tickets_expires ON live_tickets (expires_at)
";
