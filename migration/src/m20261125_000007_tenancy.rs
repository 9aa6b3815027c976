//! The tree of organizations, memberships, and what a session and the audit log know of them.

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

// The new columns that must have a value have a default for the rows and the programs of before. SQLite cannot take away a column that
// refers to another table, so there the statements that write `parent_id` hold the reference.
const UP: &str = r"
ALTER TABLE organizations ADD COLUMN kind varchar(16) NOT NULL DEFAULT 'company' CHECK (kind IN ('provider', 'group', 'company'))
;;
ALTER TABLE organizations ADD COLUMN parent_id {uuid}
;;
-- postgres
ALTER TABLE organizations ADD CONSTRAINT organizations_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES organizations (id) ON DELETE RESTRICT
;;
ALTER TABLE organizations ADD COLUMN time_zone varchar(64) NOT NULL DEFAULT 'UTC'
;;
CREATE INDEX organizations_parent ON organizations (parent_id)
;;
CREATE TABLE memberships (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    organization_id {uuid} NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    via {uuid} NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    role varchar(16) NOT NULL CHECK (role IN ('limited', 'member', 'admin', 'owner')),
    source varchar(16) NOT NULL CHECK (source IN ('direct', 'inherited', 'provider')),
    attributes {json} NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    PRIMARY KEY (user_id, organization_id, via),
    CHECK ((source = 'inherited') = (via <> organization_id))
)
;;
CREATE INDEX memberships_organization ON memberships (organization_id, user_id)
;;
CREATE INDEX memberships_via ON memberships (via)
;;
INSERT INTO memberships (user_id, organization_id, via, role, source, attributes, created_at, updated_at)
SELECT id, organization_id, organization_id, 'member', 'direct', '{}', created_at, updated_at FROM users
WHERE organization_id IS NOT NULL AND user_type = 'ORG'
;;
CREATE TABLE external_refs (
    source varchar(64) NOT NULL,
    kind varchar(64) NOT NULL,
    external_id varchar(255) NOT NULL,
    internal_id {uuid} NOT NULL,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    PRIMARY KEY (source, kind, external_id)
)
;;
CREATE INDEX external_refs_internal ON external_refs (internal_id)
;;
ALTER TABLE users ADD COLUMN purge_at {time}
;;
ALTER TABLE sessions ADD COLUMN organization_id {uuid}
;;
ALTER TABLE sessions ADD COLUMN ends_at {time}
;;
ALTER TABLE audit_logs ADD COLUMN actor_name varchar(255)
;;
ALTER TABLE audit_logs ADD COLUMN application_id {uuid}
;;
ALTER TABLE audit_logs ADD COLUMN on_behalf_of {uuid}
;;
ALTER TABLE audit_logs ADD COLUMN changes {json}
;;
CREATE INDEX audit_logs_action ON audit_logs (action, id)
;;
CREATE INDEX audit_logs_resource ON audit_logs (resource_type, resource_id, id)
;;
-- postgres
CREATE TRIGGER set_updated_at BEFORE UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION set_updated_at()
";

const DOWN: &str = r"
-- postgres
DROP TRIGGER set_updated_at ON roles
;;
DROP INDEX audit_logs_resource
;;
DROP INDEX audit_logs_action
;;
ALTER TABLE audit_logs DROP COLUMN changes
;;
ALTER TABLE audit_logs DROP COLUMN on_behalf_of
;;
ALTER TABLE audit_logs DROP COLUMN application_id
;;
ALTER TABLE audit_logs DROP COLUMN actor_name
;;
ALTER TABLE sessions DROP COLUMN ends_at
;;
ALTER TABLE sessions DROP COLUMN organization_id
;;
ALTER TABLE users DROP COLUMN purge_at
;;
DROP TABLE external_refs
;;
DROP TABLE memberships
;;
DROP INDEX organizations_parent
;;
ALTER TABLE organizations DROP COLUMN time_zone
;;
-- postgres
ALTER TABLE organizations DROP CONSTRAINT organizations_parent_id_fkey
;;
ALTER TABLE organizations DROP COLUMN parent_id
;;
ALTER TABLE organizations DROP COLUMN kind
";
