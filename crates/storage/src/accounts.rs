//! The own account: name, password, picture.

use crate::{
    Error, Reader, Tx,
    dialect::{self, get},
};
use bifrost_domain::ids::UserId;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Statement};
use secrecy::{ExposeSecret, SecretString};

/// A picture as it is served: PNG.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The file.
    pub content: Vec<u8>,
    /// Another content has another one.
    pub etag: String,
    /// When it was set.
    pub updated_at: DateTime<Utc>,
}

/// What a profile shows beside the user.
#[derive(Debug, Clone)]
pub struct AccountFacts {
    /// Name of the home organization.
    pub organization_name: Option<String>,
    /// Whether a second factor is asked for.
    pub mfa_enabled: bool,
    /// Whether there is a password.
    pub has_password: bool,
    /// The tag of the picture, when there is one.
    pub avatar_etag: Option<String>,
}

impl Reader {
    /// What a profile shows beside the user.
    ///
    /// # Errors
    /// Away.
    pub async fn find_account_facts(&self, user: UserId) -> Result<Option<AccountFacts>, Error> {
        let row = dialect::one(
            &self.db,
            "SELECT o.name AS organization_name, u.mfa_enabled, a.etag, u.password_hash IS NOT NULL AS has_password FROM users u \
             LEFT JOIN organizations o ON o.id = u.organization_id LEFT JOIN avatars a ON a.user_id = u.id WHERE u.id = $1",
            [user.as_uuid().into()],
        )
        .await?;
        row.map(|row| {
            Ok(AccountFacts {
                organization_name: get(&row, "organizations", "organization_name")?,
                mfa_enabled: get(&row, "users", "mfa_enabled")?,
                has_password: get(&row, "users", "has_password")?,
                avatar_etag: get(&row, "avatars", "etag")?,
            })
        })
        .transpose()
    }

    /// The hash of a user's password.
    ///
    /// # Errors
    /// Away.
    pub async fn find_password_hash(&self, user: UserId) -> Result<Option<SecretString>, Error> {
        let sql = "SELECT password_hash FROM users WHERE id = $1";
        let Some(row) = dialect::one(&self.db, sql, [user.as_uuid().into()]).await? else { return Ok(None) };
        Ok(get::<Option<String>>(&row, "users", "password_hash")?.map(SecretString::from))
    }

    /// A user's picture.
    ///
    /// # Errors
    /// Away.
    pub async fn find_avatar(&self, user: UserId) -> Result<Option<Picture>, Error> {
        let sql = "SELECT content, etag, updated_at FROM avatars WHERE user_id = $1";
        let row = dialect::one(&self.db, sql, [user.as_uuid().into()]).await?;
        row.map(|row| {
            Ok(Picture {
                content: get(&row, "avatars", "content")?,
                etag: get(&row, "avatars", "etag")?,
                updated_at: get(&row, "avatars", "updated_at")?,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Sets a display name.
    ///
    /// # Errors
    /// Away.
    pub async fn update_own_name(
        &self,
        user: UserId,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let sql = "UPDATE users SET name = $2, updated_at = $3 WHERE id = $1";
        Ok(dialect::execute_in(&self.inner, sql, [user.as_uuid().into(), name.into(), now.into()]).await?
            == 1)
    }

    /// Sets a password in place of the one whose hash is `old`, and raises the epoch: every session ends. Guarded: the new epoch, or
    /// none when the password was changed meanwhile.
    ///
    /// # Errors
    /// Away.
    pub async fn change_password(
        &self,
        user: UserId,
        old: &SecretString,
        new: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "UPDATE users SET password_hash = $3, epoch = epoch + 1, updated_at = $4 WHERE id = $1 AND password_hash = $2 \
             RETURNING epoch",
            [user.as_uuid().into(), old.expose_secret().into(), new.expose_secret().into(), now.into()],
        );
        let row = self.inner.query_one(statement).await?;
        row.map(|row| get(&row, "users", "epoch")).transpose()
    }

    /// Keeps the same password under another hash. Guarded: false when it was changed meanwhile.
    ///
    /// # Errors
    /// Away.
    pub async fn replace_password_hash(
        &self,
        user: UserId,
        old: &SecretString,
        new: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE users SET password_hash = $3, updated_at = $4 WHERE id = $1 AND password_hash = $2",
            [user.as_uuid().into(), old.expose_secret().into(), new.expose_secret().into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Sets a user's picture.
    ///
    /// # Errors
    /// Reference when the user is gone.
    pub async fn put_avatar(&self, user: UserId, picture: &Picture) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO avatars (user_id, content, etag, updated_at) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) \
             DO UPDATE SET content = excluded.content, etag = excluded.etag, updated_at = excluded.updated_at",
            [
                user.as_uuid().into(),
                picture.content.clone().into(),
                picture.etag.as_str().into(),
                picture.updated_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Takes a user's picture away; false when there was none.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_avatar(&self, user: UserId) -> Result<bool, Error> {
        let sql = "DELETE FROM avatars WHERE user_id = $1";
        Ok(dialect::execute_in(&self.inner, sql, [user.as_uuid().into()]).await? == 1)
    }
}
