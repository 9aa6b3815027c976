//! One role of a name without an organization, and people whose grace period ends.

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

// `UNIQUE (organization_id, name)` holds nothing where there is no organization: both databases take two nulls for different.
const UP: &str = r"
CREATE UNIQUE INDEX roles_platform_name ON roles (name) WHERE organization_id IS NULL
;;
CREATE INDEX users_purge ON users (purge_at) WHERE purge_at IS NOT NULL
";

const DOWN: &str = r"
DROP INDEX users_purge
;;
DROP INDEX roles_platform_name
";
