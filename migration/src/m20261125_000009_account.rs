//! Second factors, devices that are trusted without one, pictures of people, and the platform's branding.

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
CREATE TABLE totp_factors (
    user_id {uuid} PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    ciphertext {bytes} NOT NULL,
    key_id varchar(64) NOT NULL,
    confirmed_at {time},
    last_step bigint NOT NULL,
    tries integer NOT NULL,
    tries_since {time} NOT NULL,
    created_at {time} NOT NULL
)
;;
CREATE TABLE recovery_codes (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash {bytes} NOT NULL,
    created_at {time} NOT NULL,
    used_at {time},
    PRIMARY KEY (user_id, hash)
)
;;
CREATE TABLE mfa_challenges (
    id {uuid} PRIMARY KEY NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tries integer NOT NULL,
    expires_at {time} NOT NULL,
    used_at {time}
)
;;
CREATE INDEX mfa_challenges_user ON mfa_challenges (user_id)
;;
CREATE TABLE trusted_devices (
    id {uuid} PRIMARY KEY NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash {bytes} NOT NULL UNIQUE,
    epoch bigint NOT NULL,
    user_agent varchar(512),
    ip_address varchar(64),
    created_at {time} NOT NULL,
    last_used_at {time} NOT NULL,
    expires_at {time} NOT NULL
)
;;
CREATE INDEX trusted_devices_user ON trusted_devices (user_id)
;;
CREATE TABLE avatars (
    user_id {uuid} PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    content {bytes} NOT NULL,
    etag varchar(64) NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE TABLE branding (
    id integer PRIMARY KEY NOT NULL CHECK (id = 1),
    name varchar(100),
    primary_color varchar(7),
    updated_by {uuid},
    updated_at {time} NOT NULL
)
;;
CREATE TABLE branding_logos (
    kind varchar(16) PRIMARY KEY NOT NULL CHECK (kind IN ('square', 'rectangle')),
    content {bytes} NOT NULL,
    etag varchar(64) NOT NULL,
    updated_at {time} NOT NULL
)
";

const DOWN: &str = r"
DROP TABLE branding_logos
;;
DROP TABLE branding
;;
DROP TABLE avatars
;;
DROP TABLE trusted_devices
;;
DROP TABLE mfa_challenges
;;
DROP TABLE recovery_codes
;;
DROP TABLE totp_factors
";
