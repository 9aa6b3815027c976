//! Signed-in sessions and their refresh tokens. A session is a family of refresh tokens: each is used once and names its
//! successor; the second use of an old one ends the family.

use crate::{
    Error, Reader, Tx,
    audit::cut,
    dialect,
    entities::{refresh_tokens, sessions, users},
    memberships::rights_of,
};
use bifrost_domain::{
    ids::{OrganizationId, SessionId, UserId},
    user::{SessionState, User, UserType},
};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Set};
use std::sync::Arc;
use uuid::Uuid;

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// The user's epoch at sign-in: when it is raised the session has ended.
    pub epoch: i64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// When it ends however often it is refreshed.
    pub ends_at: DateTime<Utc>,
    /// When a second factor was shown for it.
    pub factor_at: Option<DateTime<Utc>>,
    /// When its person showed who he is; none when a program or a token did.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// The browser or program; cut to 512 bytes.
    pub user_agent: Option<String>,
    /// Where it came from.
    pub ip_address: Option<String>,
}

/// A session as it is now, with its user and the user's rights.
#[derive(Debug, Clone)]
pub struct Session {
    /// User and rights.
    pub state: SessionState,
    /// The epoch at sign-in.
    pub epoch: i64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// When it ends however often it is refreshed. One that began before there was such an end is not refreshed any further: it ends when
    /// it would have ended without a refresh.
    pub ends_at: DateTime<Utc>,
    /// When a second factor was shown for it.
    pub factor_at: Option<DateTime<Utc>>,
    /// When its person showed who he is; none when a program or a token did.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When it was ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Session {
    /// Whether it holds at `now`: not ended, not expired, the user a person, active and admitted somewhere, the epoch not raised.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none()
            && self.expires_at > now
            && self.ends_at > now
            && self.state.user.is_active
            && self.state.user.user_type != UserType::System
            && self.state.rights.admit(&self.state.user)
            && self.state.user.epoch == self.epoch
    }
}

/// A refresh token as it is kept: the token itself is signed, so its id is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The token's `jti`.
    pub id: Uuid,
    /// Its family.
    pub session_id: SessionId,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was used.
    pub used_at: Option<DateTime<Utc>>,
    /// What it was exchanged for.
    pub successor_id: Option<Uuid>,
}

impl From<refresh_tokens::Model> for RefreshToken {
    fn from(row: refresh_tokens::Model) -> Self {
        Self {
            id: row.id,
            session_id: SessionId::from_uuid(row.session_id),
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            used_at: row.used_at,
            successor_id: row.successor_id,
        }
    }
}

async fn find_session<C: ConnectionTrait>(connection: &C, id: SessionId) -> Result<Option<Session>, Error> {
    let Some(session) = sessions::Entity::find_by_id(id.as_uuid()).one(connection).await? else {
        return Ok(None);
    };
    let Some(user) = users::Entity::find_by_id(session.user_id).one(connection).await? else {
        return Ok(None);
    };
    let user = User::try_from(user)?;
    let rights = Arc::new(rights_of(connection, &user).await?);
    Ok(Some(Session {
        state: SessionState {
            session_id: id,
            user,
            organization_id: session.organization_id.map(OrganizationId::from_uuid),
            rights,
            // Until somebody who knows the rules says that none is asked for.
            owes_factor: session.factor_at.is_none(),
        },
        epoch: session.epoch,
        created_at: session.created_at,
        expires_at: session.expires_at,
        ends_at: session.ends_at.unwrap_or(session.expires_at),
        factor_at: session.factor_at,
        authenticated_at: session.authenticated_at,
        ended_at: session.ended_at,
    }))
}

impl Reader {
    /// A session with its user and rights.
    ///
    /// # Errors
    /// Away.
    pub async fn find_session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        find_session(self.db.reader(), id).await
    }
}

impl Tx {
    /// A session as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        find_session(&self.inner, id).await
    }

    /// Adds a session.
    ///
    /// # Errors
    /// Reference when the user is gone.
    pub async fn insert_session(&self, session: NewSession) -> Result<(), Error> {
        sessions::ActiveModel {
            id: Set(session.id.as_uuid()),
            user_id: Set(session.user_id.as_uuid()),
            epoch: Set(session.epoch),
            created_at: Set(session.created_at),
            last_used_at: Set(session.created_at),
            expires_at: Set(session.expires_at),
            ended_at: Set(None),
            end_reason: Set(None),
            user_agent: Set(session.user_agent.map(|text| cut(text, 512))),
            ip_address: Set(session.ip_address.map(|text| cut(text, 64))),
            organization_id: Set(None),
            ends_at: Set(Some(session.ends_at)),
            factor_at: Set(session.factor_at),
            authenticated_at: Set(session.authenticated_at),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// Keeps others who exchange tokens of this session out until this transaction ends, so that a family has one living token. (On SQLite
    /// there is one writer anyway.)
    ///
    /// # Errors
    /// Away.
    pub async fn lock_session(&self, id: SessionId) -> Result<(), Error> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            let sql = "SELECT id FROM sessions WHERE id = $1 FOR NO KEY UPDATE";
            dialect::execute_in(&self.inner, sql, [id.as_uuid().into()]).await?;
        }
        Ok(())
    }

    /// Has a session act in an organization, or at home. Guarded: tells whether it had not been ended.
    ///
    /// # Errors
    /// Away.
    pub async fn switch_session(
        &self,
        id: SessionId,
        organization: Option<OrganizationId>,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE sessions SET organization_id = $2, last_used_at = $3, expires_at = $4 WHERE id = $1 AND ended_at IS NULL",
            [
                id.as_uuid().into(),
                organization.map(OrganizationId::as_uuid).into(),
                now.into(),
                expires_at.into(),
            ],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Uses up what is unused of a family, under [`Tx::lock_session`]: whoever still shows it counts as one who repeats himself.
    ///
    /// # Errors
    /// Away.
    pub async fn succeed_refresh_tokens(
        &self,
        session: SessionId,
        successor_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE refresh_tokens SET used_at = $2, successor_id = $3 WHERE session_id = $1 AND used_at IS NULL",
            [session.as_uuid().into(), now.into(), successor_id.into()],
        )
        .await?;
        Ok(())
    }

    /// Moves a session's end after a refresh. Guarded: tells whether it had not been ended.
    ///
    /// # Errors
    /// Away.
    pub async fn touch_session(
        &self,
        id: SessionId,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE sessions SET last_used_at = $2, expires_at = $3 WHERE id = $1 AND ended_at IS NULL",
            [id.as_uuid().into(), now.into(), expires_at.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Notes that a second factor was shown for a session. Guarded: tells whether it had not been ended.
    ///
    /// # Errors
    /// Away.
    pub async fn note_factor(&self, id: SessionId, now: DateTime<Utc>) -> Result<bool, Error> {
        let sql = "UPDATE sessions SET factor_at = $2 WHERE id = $1 AND ended_at IS NULL";
        Ok(dialect::execute_in(&self.inner, sql, [id.as_uuid().into(), now.into()]).await? == 1)
    }

    /// Ends a session. Tells whether it had not been ended before.
    ///
    /// # Errors
    /// Away.
    pub async fn end_session(
        &self,
        id: SessionId,
        reason: &'static str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL",
            [id.as_uuid().into(), now.into(), reason.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Deletes what is left of a user's sessions that expired before `before`, so that they cannot pile up.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_expired_sessions(
        &self,
        user_id: UserId,
        before: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let done = sessions::Entity::delete_many()
            .filter(sessions::Column::UserId.eq(user_id.as_uuid()))
            .filter(sessions::Column::ExpiresAt.lt(before))
            .exec(&self.inner)
            .await?;
        Ok(done.rows_affected)
    }

    /// Forgets tokens of a family that were used before `before`, so that they cannot pile up: nobody who shows one is told more than that
    /// it is not known.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_used_refresh_tokens(
        &self,
        session: SessionId,
        before: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let done = refresh_tokens::Entity::delete_many()
            .filter(refresh_tokens::Column::SessionId.eq(session.as_uuid()))
            .filter(refresh_tokens::Column::UsedAt.lt(before))
            .exec(&self.inner)
            .await?;
        Ok(done.rows_affected)
    }

    /// Adds a refresh token.
    ///
    /// # Errors
    /// Reference when the session is gone.
    pub async fn insert_refresh_token(&self, token: RefreshToken) -> Result<(), Error> {
        refresh_tokens::ActiveModel {
            id: Set(token.id),
            session_id: Set(token.session_id.as_uuid()),
            issued_at: Set(token.issued_at),
            expires_at: Set(token.expires_at),
            used_at: Set(token.used_at),
            successor_id: Set(token.successor_id),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// A refresh token.
    ///
    /// # Errors
    /// Away.
    pub async fn find_refresh_token(&self, id: Uuid) -> Result<Option<RefreshToken>, Error> {
        Ok(refresh_tokens::Entity::find_by_id(id).one(&self.inner).await?.map(RefreshToken::from))
    }

    /// Uses a refresh token up. Guarded: exactly one of any number of callers is told `true`; the others wait for the
    /// first one's transaction and then see what it did.
    ///
    /// # Errors
    /// Away.
    pub async fn use_refresh_token(
        &self,
        id: Uuid,
        successor_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE refresh_tokens SET used_at = $2, successor_id = $3 WHERE id = $1 AND used_at IS NULL",
            [id.into(), now.into(), successor_id.into()],
        )
        .await?;
        Ok(changed == 1)
    }
}
