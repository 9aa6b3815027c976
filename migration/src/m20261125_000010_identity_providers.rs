//! External identity providers, the identities of our users there, and sign-ins that are under way.

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
CREATE TABLE identity_providers (
    id {uuid} PRIMARY KEY NOT NULL,
    name varchar(64) NOT NULL UNIQUE,
    display_name varchar(255) NOT NULL,
    icon varchar(2048),
    kind varchar(16) NOT NULL CHECK (kind IN ('entra', 'google', 'generic')),
    issuer varchar(2048) NOT NULL,
    client_id varchar(512) NOT NULL,
    client_secret {bytes},
    key_id varchar(64),
    is_active boolean NOT NULL,
    rules {json} NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    CHECK ((client_secret IS NULL) = (key_id IS NULL))
)
;;
CREATE TABLE external_identities (
    provider_id {uuid} NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    subject varchar(512) NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email varchar(254),
    linked_at {time} NOT NULL,
    last_used_at {time} NOT NULL,
    PRIMARY KEY (provider_id, subject),
    UNIQUE (user_id, provider_id)
)
;;
CREATE TABLE oidc_states (
    hash {bytes} PRIMARY KEY NOT NULL,
    binding {bytes} NOT NULL,
    provider_id {uuid} NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    nonce varchar(64) NOT NULL,
    verifier {bytes} NOT NULL,
    key_id varchar(64) NOT NULL,
    redirect_to varchar(512),
    link_session_id {uuid} REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at {time} NOT NULL
)
;;
CREATE INDEX oidc_states_expires ON oidc_states (expires_at)
;;
CREATE INDEX oidc_states_provider ON oidc_states (provider_id)
;;
CREATE INDEX oidc_states_session ON oidc_states (link_session_id)
;;
-- postgres
CREATE TRIGGER set_updated_at BEFORE UPDATE ON identity_providers FOR EACH ROW EXECUTE FUNCTION set_updated_at()
";

const DOWN: &str = r"
DROP TABLE oidc_states
;;
DROP TABLE external_identities
;;
DROP TABLE identity_providers
";
