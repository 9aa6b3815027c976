//! Organizations, users, roles, sessions and the audit log.

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
-- postgres: acts only when a statement left the column as it was (edits by hand)
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$
;;
CREATE TABLE organizations (
    id {uuid} PRIMARY KEY NOT NULL,
    name varchar(255) NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    domain varchar(253) UNIQUE,
    is_active boolean NOT NULL,
    settings {json} NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE TABLE users (
    id {uuid} PRIMARY KEY NOT NULL,
    email varchar(254) NOT NULL UNIQUE CHECK (email = lower(email)),
    name varchar(255),
    password_hash varchar(255),
    user_type varchar(16) NOT NULL CHECK (user_type IN ('PLATFORM', 'ORG', 'SYSTEM')),
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    is_active boolean NOT NULL,
    is_superuser boolean NOT NULL,
    is_verified boolean NOT NULL,
    is_registered boolean NOT NULL,
    mfa_enabled boolean NOT NULL,
    epoch bigint NOT NULL,
    last_login {time},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    CHECK (user_type <> 'ORG' OR organization_id IS NOT NULL)
)
;;
CREATE INDEX users_organization ON users (organization_id)
;;
CREATE TABLE roles (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    name varchar(100) NOT NULL,
    description varchar(1000),
    permissions {json} NOT NULL,
    is_active boolean NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    UNIQUE (organization_id, name)
)
;;
CREATE TABLE user_roles (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id {uuid} NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    assigned_by {uuid},
    assigned_at {time} NOT NULL,
    PRIMARY KEY (user_id, role_id)
)
;;
CREATE INDEX user_roles_role ON user_roles (role_id)
;;
CREATE TABLE sessions (
    id {uuid} PRIMARY KEY NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch bigint NOT NULL,
    created_at {time} NOT NULL,
    last_used_at {time} NOT NULL,
    expires_at {time} NOT NULL,
    ended_at {time},
    end_reason varchar(32),
    user_agent varchar(512),
    ip_address varchar(64)
)
;;
CREATE INDEX sessions_user ON sessions (user_id)
;;
CREATE TABLE refresh_tokens (
    id {uuid} PRIMARY KEY NOT NULL,
    session_id {uuid} NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    issued_at {time} NOT NULL,
    expires_at {time} NOT NULL,
    used_at {time},
    successor_id {uuid}
)
;;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id)
;;
CREATE TABLE audit_logs (
    id {uuid} PRIMARY KEY NOT NULL,
    at {time} NOT NULL,
    organization_id {uuid},
    actor_id {uuid},
    actor_email varchar(254),
    action varchar(64) NOT NULL,
    resource_type varchar(64) NOT NULL,
    resource_id varchar(128),
    outcome varchar(16) NOT NULL CHECK (outcome IN ('success', 'denied', 'failure')),
    detail {json},
    request_id varchar(64),
    ip_address varchar(64)
)
;;
CREATE INDEX audit_logs_organization ON audit_logs (organization_id, id)
;;
CREATE INDEX audit_logs_actor ON audit_logs (actor_id, id)
;;
-- postgres
CREATE TRIGGER set_updated_at BEFORE UPDATE ON organizations FOR EACH ROW EXECUTE FUNCTION set_updated_at()
;;
-- postgres
CREATE TRIGGER set_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION set_updated_at()
";

const DOWN: &str = r"
-- postgres
DROP TRIGGER set_updated_at ON users
;;
-- postgres
DROP TRIGGER set_updated_at ON organizations
;;
DROP TABLE audit_logs
;;
DROP TABLE refresh_tokens
;;
DROP TABLE sessions
;;
DROP TABLE user_roles
;;
DROP TABLE roles
;;
DROP TABLE users
;;
DROP TABLE organizations
;;
-- postgres
DROP FUNCTION set_updated_at()
";
