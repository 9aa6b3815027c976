//! API clients and their keys, keys of people and of workflow endpoints, and programs that ask to be signed in.

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
CREATE TABLE applications (
    id {uuid} PRIMARY KEY NOT NULL,
    app_id varchar(100) NOT NULL UNIQUE,
    name varchar(255) NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    description varchar(1000),
    organization_id {uuid} NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    scopes {json} NOT NULL,
    is_active boolean NOT NULL,
    rate_limit_per_minute integer CHECK (rate_limit_per_minute > 0),
    allow_user_assertion boolean NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE INDEX applications_organization ON applications (organization_id, id)
;;
CREATE TABLE application_keys (
    id {uuid} PRIMARY KEY NOT NULL,
    application_id {uuid} NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    name varchar(100),
    hash {bytes} NOT NULL UNIQUE,
    prefix varchar(16) NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    expires_at {time},
    last_used_at {time}
)
;;
CREATE INDEX application_keys_application ON application_keys (application_id, id)
;;
CREATE TABLE sdk_keys (
    id {uuid} PRIMARY KEY NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE CASCADE,
    epoch bigint NOT NULL,
    name varchar(100),
    hash {bytes} NOT NULL UNIQUE,
    prefix varchar(16) NOT NULL,
    created_at {time} NOT NULL,
    expires_at {time},
    last_used_at {time}
)
;;
CREATE INDEX sdk_keys_user ON sdk_keys (user_id, id)
;;
CREATE INDEX sdk_keys_organization ON sdk_keys (organization_id)
;;
CREATE TABLE workflow_keys (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    workflow_name varchar(255),
    name varchar(100),
    hash {bytes} NOT NULL UNIQUE,
    prefix varchar(16) NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    expires_at {time},
    last_used_at {time}
)
;;
CREATE INDEX workflow_keys_organization ON workflow_keys (organization_id, id)
;;
CREATE TABLE device_grants (
    id {uuid} PRIMARY KEY NOT NULL,
    device_hash {bytes} NOT NULL UNIQUE,
    user_code varchar(8) NOT NULL UNIQUE,
    client_id varchar(100),
    user_agent varchar(512),
    ip_address varchar(64),
    created_at {time} NOT NULL,
    expires_at {time} NOT NULL,
    interval_seconds integer NOT NULL,
    polled_at {time},
    user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
    epoch bigint,
    approved boolean,
    consumed_at {time}
)
;;
CREATE INDEX device_grants_user ON device_grants (user_id)
;;
CREATE INDEX device_grants_expires ON device_grants (expires_at)
;;
-- postgres
CREATE TRIGGER set_updated_at BEFORE UPDATE ON applications FOR EACH ROW EXECUTE FUNCTION set_updated_at()
";

const DOWN: &str = r"
-- postgres
DROP TRIGGER set_updated_at ON applications
;;
DROP TABLE device_grants
;;
DROP TABLE workflow_keys
;;
DROP TABLE sdk_keys
;;
DROP TABLE application_keys
;;
DROP TABLE applications
";
