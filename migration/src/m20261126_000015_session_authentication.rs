//! When a person last showed who he is for a session, and which session let a program in.

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
ALTER TABLE sessions ADD COLUMN authenticated_at {time}
;;
ALTER TABLE device_grants ADD COLUMN authenticated_at {time}
;;
ALTER TABLE device_grants ADD COLUMN ends_at {time}
;;
ALTER TABLE device_grants ADD COLUMN session_id {uuid}
";

const DOWN: &str = r"
ALTER TABLE device_grants DROP COLUMN session_id
;;
ALTER TABLE device_grants DROP COLUMN ends_at
;;
ALTER TABLE device_grants DROP COLUMN authenticated_at
;;
ALTER TABLE sessions DROP COLUMN authenticated_at
";
