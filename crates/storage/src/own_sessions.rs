//! Sessions as their user sees them: which there are, and ending them.

use crate::{
    Error, Reader, Tx,
    dialect::{self, get},
};
use bifrost_domain::ids::{SessionId, UserId};
use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use uuid::Uuid;

/// What makes a session of `$1` live at `$2`, as far as it is about the session.
const LIVE: &str = "user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND (ends_at IS NULL OR ends_at > $2) \
                    AND epoch = (SELECT u.epoch FROM users u WHERE u.id = $1)";

/// A live session.
#[derive(Debug, Clone)]
pub struct OwnSession {
    /// The session.
    pub id: SessionId,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was refreshed last.
    pub last_used_at: DateTime<Utc>,
    /// When it ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// Where it came from.
    pub ip_address: Option<String>,
    /// The browser or program.
    pub user_agent: Option<String>,
}

fn session_of(row: &QueryResult) -> Result<OwnSession, Error> {
    const TABLE: &str = "sessions";
    Ok(OwnSession {
        id: SessionId::from_uuid(get(row, TABLE, "id")?),
        created_at: get(row, TABLE, "created_at")?,
        last_used_at: get(row, TABLE, "last_used_at")?,
        expires_at: get(row, TABLE, "expires_at")?,
        ip_address: get(row, TABLE, "ip_address")?,
        user_agent: get(row, TABLE, "user_agent")?,
    })
}

impl Reader {
    /// The live sessions of a user, newest first, older than `before`. At most `limit`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_own_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<OwnSession>, Error> {
        let mut values = vec![user.as_uuid().into(), now.into(), dialect::limit_of(limit)];
        let mut older = "";
        if let Some(before) = before {
            older = " AND id < $4";
            values.push(before.as_uuid().into());
        }
        let sql = format!(
            "SELECT id, created_at, last_used_at, expires_at, ip_address, user_agent FROM sessions \
             WHERE {LIVE}{older} ORDER BY id DESC LIMIT $3"
        );
        let rows = dialect::all(&self.db, &sql, values).await?;
        rows.iter().map(session_of).collect()
    }
}

impl Tx {
    /// Ends a live session of `user`; false when he has none of this id.
    ///
    /// # Errors
    /// Away.
    pub async fn end_own_session(
        &self,
        user: UserId,
        id: SessionId,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE sessions SET ended_at = $2, end_reason = 'ended_by_user' WHERE id = $3 AND {LIVE}"
        );
        let values = [user.as_uuid().into(), now.into(), id.as_uuid().into()];
        Ok(dialect::execute_in(&self.inner, &sql, values).await? == 1)
    }

    /// Ends the live sessions of `user`, but `except`; tells how many that were.
    ///
    /// # Errors
    /// Away.
    pub async fn end_own_sessions(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: &'static str,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        // No session has the id of all zeros.
        let except = except.map_or(Uuid::nil(), SessionId::as_uuid);
        let sql = format!("UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE id <> $4 AND {LIVE}");
        let values = [user.as_uuid().into(), now.into(), reason.into(), except.into()];
        dialect::execute_in(&self.inner, &sql, values).await
    }

    /// Lets a session go on after its user's epoch was raised; false when it was ended.
    ///
    /// # Errors
    /// Away.
    pub async fn move_session_epoch(&self, id: SessionId, epoch: i64) -> Result<bool, Error> {
        let sql = "UPDATE sessions SET epoch = $2 WHERE id = $1 AND ended_at IS NULL";
        Ok(dialect::execute_in(&self.inner, sql, [id.as_uuid().into(), epoch.into()]).await? == 1)
    }
}
