//! What was answered to requests that may be sent again, by the hash of who sent them with which key.

use crate::{
    Error, Store,
    dialect::{execute, execute_returning, get, statement},
};
use chrono::{DateTime, Duration, Utc};
use sea_orm::ConnectionTrait;

/// A hash of SHA-256.
pub type Hash = [u8; 32];

/// An answer is kept for so long.
pub const KEPT: Duration = Duration::hours(24);

/// What is known of an earlier request with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing: it is the caller's to do, and [`Store::keep_reply`] or [`Store::forget_request`] ends it.
    Nothing,
    /// It was another request.
    Another,
    /// It is being done, or its process has ended meanwhile.
    Begun,
    /// It was answered.
    Answered(Reply),
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON text; none when there was none, or it was not kept.
    pub body: Option<String>,
}

impl Store {
    /// Claims a key: of several callers one gets [`Earlier::Nothing`].
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn claim_request(
        &self,
        hash: &Hash,
        fingerprint: &Hash,
        now: DateTime<Utc>,
    ) -> Result<Earlier, Error> {
        const CLAIM: &str = "INSERT INTO idempotency_keys (hash, fingerprint, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (hash) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, reply = NULL, created_at = excluded.created_at \
             WHERE idempotency_keys.created_at <= $4 RETURNING hash";
        let values = [hash.to_vec().into(), fingerprint.to_vec().into(), now.into(), (now - KEPT).into()];
        if execute_returning(&self.db, CLAIM, values).await?.is_some() {
            return Ok(Earlier::Nothing);
        }
        // By the writing connection: what was just written is seen.
        let found = self
            .db
            .writer()
            .query_one(statement(
                &self.db,
                "SELECT fingerprint, status, reply FROM idempotency_keys WHERE hash = $1",
                [hash.to_vec().into()],
            ))
            .await?;
        // Forgotten between the two: whoever asks again gets it.
        let Some(row) = found else { return Ok(Earlier::Begun) };
        const TABLE: &str = "idempotency_keys";
        if get::<Vec<u8>>(&row, TABLE, "fingerprint")? != fingerprint {
            return Ok(Earlier::Another);
        }
        let Some(status) = get::<Option<i16>>(&row, TABLE, "status")? else { return Ok(Earlier::Begun) };
        let status = u16::try_from(status).map_err(|error| Error::Inconsistent {
            table: TABLE,
            column: "status",
            reason: error.to_string(),
        })?;
        Ok(Earlier::Answered(Reply { status, body: get(&row, TABLE, "reply")? }))
    }

    /// Keeps the answer for whoever asks again.
    ///
    /// # Errors
    /// Away.
    pub async fn keep_reply(&self, hash: &Hash, reply: &Reply) -> Result<(), Error> {
        let status = i16::try_from(reply.status).unwrap_or(i16::MAX);
        execute(
            &self.db,
            "UPDATE idempotency_keys SET status = $2, reply = $3 WHERE hash = $1 AND status IS NULL",
            [hash.to_vec().into(), status.into(), reply.body.clone().into()],
        )
        .await?;
        Ok(())
    }

    /// Forgets a request that changed nothing.
    ///
    /// # Errors
    /// Away.
    pub async fn forget_request(&self, hash: &Hash) -> Result<(), Error> {
        let sql = "DELETE FROM idempotency_keys WHERE hash = $1 AND status IS NULL";
        execute(&self.db, sql, [hash.to_vec().into()]).await?;
        Ok(())
    }

    /// Forgets the requests of long ago.
    ///
    /// # Errors
    /// Away.
    pub async fn forget_requests(&self, now: DateTime<Utc>) -> Result<(), Error> {
        let sql = "DELETE FROM idempotency_keys WHERE created_at <= $1";
        execute(&self.db, sql, [(now - KEPT).into()]).await?;
        Ok(())
    }
}
