//! Configuration values, secrets and OAuth connections.

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
CREATE TABLE configs (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    scope varchar(36) NOT NULL,
    key varchar(255) NOT NULL,
    type varchar(16) NOT NULL CHECK (type IN ('string', 'int', 'bool', 'json', 'secret')),
    value {json},
    ciphertext {bytes},
    key_id varchar(64),
    description varchar(1000),
    updated_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    UNIQUE (scope, key),
    CHECK ((type = 'secret') = (ciphertext IS NOT NULL))
)
;;
CREATE TABLE secrets (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    scope varchar(36) NOT NULL,
    key varchar(255) NOT NULL,
    version integer NOT NULL,
    ciphertext {bytes} NOT NULL,
    key_id varchar(64) NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    UNIQUE (scope, key, version)
)
;;
CREATE TABLE oauth_providers (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    scope varchar(36) NOT NULL,
    connection_name varchar(100) NOT NULL,
    display_name varchar(255),
    oauth_flow_type varchar(32) NOT NULL
        CHECK (oauth_flow_type IN ('authorization_code', 'client_credentials', 'refresh_token')),
    client_id varchar(512) NOT NULL,
    client_secret {bytes},
    key_id varchar(64),
    authorization_url varchar(2048),
    token_url varchar(2048) NOT NULL,
    scopes varchar(4096) NOT NULL,
    status varchar(32) NOT NULL,
    status_message varchar(2000),
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    UNIQUE (scope, connection_name)
)
;;
CREATE TABLE oauth_tokens (
    id {uuid} PRIMARY KEY NOT NULL,
    provider_id {uuid} NOT NULL REFERENCES oauth_providers (id) ON DELETE CASCADE,
    access_token {bytes},
    refresh_token {bytes},
    key_id varchar(64) NOT NULL,
    expires_at {time},
    last_refresh_at {time},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE INDEX oauth_tokens_provider ON oauth_tokens (provider_id)
";

const DOWN: &str = r"
DROP TABLE oauth_tokens
;;
DROP TABLE oauth_providers
;;
DROP TABLE secrets
;;
DROP TABLE configs
";
