//! Programs that ask a person to sign them in (RFC 8628): each is asked for once, decided once and used once.

use crate::{Error, Reader, Store, Tx, audit::cut, dialect, machines::rows};
use bifrost_domain::{
    ids::{DeviceGrantId, SessionId, UserId},
    policy::{Permit, actions::UseAccount},
};
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use uuid::Uuid;

const TABLE: &str = "device_grants";
const COLUMNS: &str = "id, user_code, client_id, user_agent, ip_address, created_at, expires_at, interval_seconds, polled_at, user_id, \
     epoch, factor_at, ends_at, session_id, approved, consumed_at";
/// What ended so long ago is removed when the next program asks.
const KEPT_AFTER_END: Duration = Duration::hours(1);

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Pending,
    /// Yes.
    Approved {
        /// Who said it.
        user: UserId,
        /// His epoch at that time.
        epoch: i64,
        /// When a second factor was shown for the session that said it.
        factor_at: Option<DateTime<Utc>>,
        /// That session; none when the development bypass or a provider's token said it.
        session: Option<SessionId>,
        /// When that session ends however often it is refreshed.
        ends_at: Option<DateTime<Utc>>,
    },
    /// No.
    Denied,
}

/// A program that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceGrant {
    /// The request.
    pub id: DeviceGrantId,
    /// What the person types, eight letters.
    pub user_code: String,
    /// What the program calls itself.
    pub client_id: Option<String>,
    /// What the program says it is.
    pub user_agent: Option<String>,
    /// Where it asks from.
    pub ip_address: Option<String>,
    /// When it asked.
    pub created_at: DateTime<Utc>,
    /// Until when it may be decided and used.
    pub expires_at: DateTime<Utc>,
    /// How many seconds it has to wait between two questions.
    pub interval_seconds: i32,
    /// When it last asked how it stands.
    pub polled_at: Option<DateTime<Utc>>,
    /// What the person said.
    pub decision: Decision,
    /// When it got its tokens.
    pub consumed_at: Option<DateTime<Utc>>,
}

fn grant_of(row: &QueryResult) -> Result<DeviceGrant, Error> {
    let user: Option<Uuid> = dialect::get(row, TABLE, "user_id")?;
    let epoch: Option<i64> = dialect::get(row, TABLE, "epoch")?;
    let approved: Option<bool> = dialect::get(row, TABLE, "approved")?;
    let decision = match (approved, user, epoch) {
        (None, ..) => Decision::Pending,
        (Some(true), Some(user), Some(epoch)) => Decision::Approved {
            user: UserId::from_uuid(user),
            epoch,
            factor_at: dialect::get(row, TABLE, "factor_at")?,
            session: dialect::get::<Option<Uuid>>(row, TABLE, "session_id")?.map(SessionId::from_uuid),
            ends_at: dialect::get(row, TABLE, "ends_at")?,
        },
        _ => Decision::Denied,
    };
    Ok(DeviceGrant {
        id: DeviceGrantId::from_uuid(dialect::get(row, TABLE, "id")?),
        user_code: dialect::get(row, TABLE, "user_code")?,
        client_id: dialect::get(row, TABLE, "client_id")?,
        user_agent: dialect::get(row, TABLE, "user_agent")?,
        ip_address: dialect::get(row, TABLE, "ip_address")?,
        created_at: dialect::get(row, TABLE, "created_at")?,
        expires_at: dialect::get(row, TABLE, "expires_at")?,
        interval_seconds: dialect::get(row, TABLE, "interval_seconds")?,
        polled_at: dialect::get(row, TABLE, "polled_at")?,
        decision,
        consumed_at: dialect::get(row, TABLE, "consumed_at")?,
    })
}

impl Store {
    /// Keeps a request, and forgets those that ended long ago.
    ///
    /// # Errors
    /// Duplicate when the letters are somebody else's.
    pub async fn insert_device_grant(&self, hash: &[u8], grant: &DeviceGrant) -> Result<(), Error> {
        let sweep = "DELETE FROM device_grants WHERE expires_at < $1";
        dialect::execute(&self.db, sweep, [(grant.created_at - KEPT_AFTER_END).into()]).await?;
        let values: [Value; 9] = [
            grant.id.as_uuid().into(),
            hash.to_vec().into(),
            grant.user_code.as_str().into(),
            grant.client_id.clone().into(),
            grant.user_agent.clone().map(|text| cut(text, 512)).into(),
            grant.ip_address.clone().map(|text| cut(text, 64)).into(),
            grant.created_at.into(),
            grant.expires_at.into(),
            grant.interval_seconds.into(),
        ];
        let sql = "INSERT INTO device_grants (id, device_hash, user_code, client_id, user_agent, ip_address, created_at, expires_at, \
             interval_seconds) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        dialect::execute(&self.db, sql, values).await?;
        Ok(())
    }
}

impl Reader {
    /// The request with these letters that waits for an answer, for a person who was shown them.
    ///
    /// # Errors
    /// Away.
    pub async fn find_pending_device_grant(
        &self,
        _permit: &Permit<UseAccount>,
        user_code: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<DeviceGrant>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM device_grants WHERE user_code = $1 AND approved IS NULL AND expires_at > $2"
        );
        let row = dialect::one(&self.db, &sql, [user_code.into(), now.into()]).await?;
        row.as_ref().map(grant_of).transpose()
    }
}

impl Tx {
    /// Decides a request that waits for an answer; `None` when there is none. Of several answers the first one counts. When the person had
    /// shown who he is is kept for who looks into it later: the program's session has none of it.
    ///
    /// # Errors
    /// Away.
    pub async fn decide_device_grant(
        &self,
        permit: &Permit<UseAccount>,
        user_code: &str,
        epoch: i64,
        approved: bool,
        now: DateTime<Utc>,
    ) -> Result<Option<DeviceGrant>, Error> {
        let sql = format!(
            "UPDATE device_grants SET user_id = $2, epoch = $3, approved = $4, session_id = $6, \
             factor_at = (SELECT s.factor_at FROM sessions s WHERE s.id = $6), \
             authenticated_at = (SELECT s.authenticated_at FROM sessions s WHERE s.id = $6), \
             ends_at = (SELECT COALESCE(s.ends_at, s.expires_at) FROM sessions s WHERE s.id = $6) \
             WHERE user_code = $1 AND approved IS NULL AND expires_at > $5 RETURNING {COLUMNS}"
        );
        let values = [
            user_code.into(),
            permit.user_id().as_uuid().into(),
            epoch.into(),
            approved.into(),
            now.into(),
            permit.caller().session_id.map(SessionId::as_uuid).into(),
        ];
        rows(&self.inner, &sql, values).await?.first().map(grant_of).transpose()
    }

    /// The request of the program that has the text with this hash, kept as it is until this transaction ends.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_device_grant(&self, hash: &[u8]) -> Result<Option<DeviceGrant>, Error> {
        let lock = if self.inner.get_database_backend() == DbBackend::Postgres { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT {COLUMNS} FROM device_grants WHERE device_hash = $1{lock}");
        rows(&self.inner, &sql, [hash.to_vec().into()]).await?.first().map(grant_of).transpose()
    }

    /// Notes that the program asked how it stands, and how long it has to wait now.
    ///
    /// # Errors
    /// Away.
    pub async fn poll_device_grant(
        &self,
        id: DeviceGrantId,
        interval_seconds: i32,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let sql = "UPDATE device_grants SET polled_at = $2, interval_seconds = $3 WHERE id = $1";
        dialect::execute_in(&self.inner, sql, [id.as_uuid().into(), now.into(), interval_seconds.into()])
            .await?;
        Ok(())
    }

    /// Uses an approved request up. Guarded: exactly one of any number of callers is told `true`.
    ///
    /// # Errors
    /// Away.
    pub async fn consume_device_grant(&self, id: DeviceGrantId, now: DateTime<Utc>) -> Result<bool, Error> {
        let sql =
            "UPDATE device_grants SET consumed_at = $2 WHERE id = $1 AND approved AND consumed_at IS NULL";
        Ok(dialect::execute_in(&self.inner, sql, [id.as_uuid().into(), now.into()]).await? == 1)
    }
}
