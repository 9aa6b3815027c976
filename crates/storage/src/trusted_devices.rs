//! Browsers that are trusted without a second factor: known by the hash of a random secret that they keep, for a while, and until the
//! user's epoch is raised.

use crate::{
    Error, Reader, Tx,
    audit::cut,
    dialect::{self, get},
};
use bifrost_domain::ids::{TrustedDeviceId, UserId};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Statement};

/// Devices of a user; the one that was not used for longest makes room.
const MOST: i64 = 20;

/// A device as its owner sees it.
#[derive(Debug, Clone)]
pub struct TrustedDevice {
    /// The device.
    pub id: TrustedDeviceId,
    /// The browser, when it was trusted; cut to 512 bytes.
    pub user_agent: Option<String>,
    /// Where it came from.
    pub ip_address: Option<String>,
    /// When it was trusted.
    pub created_at: DateTime<Utc>,
    /// The last sign-in that asked for no code.
    pub last_used_at: DateTime<Utc>,
    /// Until when it is trusted.
    pub expires_at: DateTime<Utc>,
}

fn device_of(row: &QueryResult) -> Result<TrustedDevice, Error> {
    const TABLE: &str = "trusted_devices";
    Ok(TrustedDevice {
        id: TrustedDeviceId::from_uuid(get(row, TABLE, "id")?),
        user_agent: get(row, TABLE, "user_agent")?,
        ip_address: get(row, TABLE, "ip_address")?,
        created_at: get(row, TABLE, "created_at")?,
        last_used_at: get(row, TABLE, "last_used_at")?,
        expires_at: get(row, TABLE, "expires_at")?,
    })
}

impl Reader {
    /// The devices that are trusted for `user` now, the one used last first; there are at most 20.
    ///
    /// # Errors
    /// Away.
    pub async fn list_trusted_devices(
        &self,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Vec<TrustedDevice>, Error> {
        let rows = dialect::all(
            &self.db,
            "SELECT d.id, d.user_agent, d.ip_address, d.created_at, d.last_used_at, d.expires_at FROM trusted_devices d \
             JOIN users u ON u.id = d.user_id AND u.epoch = d.epoch \
             WHERE d.user_id = $1 AND d.expires_at > $2 ORDER BY d.last_used_at DESC, d.id",
            [user.as_uuid().into(), now.into()],
        )
        .await?;
        rows.iter().map(device_of).collect()
    }
}

impl Tx {
    /// Trusts a device under the hash of its secret, until `expires_at` or until the user's epoch is another one.
    ///
    /// # Errors
    /// Reference when the user is gone.
    pub async fn insert_trusted_device(
        &self,
        user: UserId,
        epoch: i64,
        hash: &[u8],
        device: TrustedDevice,
    ) -> Result<(), Error> {
        let now = device.created_at;
        dialect::execute_in(
            &self.inner,
            "DELETE FROM trusted_devices WHERE user_id = $1 AND (expires_at <= $2 OR epoch <> $3)",
            [user.as_uuid().into(), now.into(), epoch.into()],
        )
        .await?;
        dialect::execute_in(
            &self.inner,
            "DELETE FROM trusted_devices WHERE user_id = $1 AND id NOT IN \
             (SELECT id FROM trusted_devices WHERE user_id = $1 ORDER BY last_used_at DESC, id LIMIT $2)",
            [user.as_uuid().into(), (MOST - 1).into()],
        )
        .await?;
        dialect::execute_in(
            &self.inner,
            "INSERT INTO trusted_devices (id, user_id, hash, epoch, user_agent, ip_address, created_at, last_used_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)",
            [
                device.id.as_uuid().into(),
                user.as_uuid().into(),
                hash.to_vec().into(),
                epoch.into(),
                device.user_agent.map(|text| cut(text, 512)).into(),
                device.ip_address.map(|text| cut(text, 64)).into(),
                now.into(),
                device.expires_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Notes that a device was used; tells whether it is trusted for this user now.
    ///
    /// # Errors
    /// Away.
    pub async fn use_trusted_device(
        &self,
        user: UserId,
        epoch: i64,
        hash: &[u8],
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE trusted_devices SET last_used_at = $4 WHERE user_id = $1 AND epoch = $2 AND hash = $3 AND expires_at > $4",
            [user.as_uuid().into(), epoch.into(), hash.to_vec().into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Trusts a device of `user` no longer, or (without an id) none of them; tells how many that were.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_trusted_devices(
        &self,
        user: UserId,
        id: Option<TrustedDeviceId>,
    ) -> Result<u64, Error> {
        let mut sql = "DELETE FROM trusted_devices WHERE user_id = $1".to_owned();
        let mut values = vec![user.as_uuid().into()];
        if let Some(id) = id {
            sql.push_str(" AND id = $2");
            values.push(id.as_uuid().into());
        }
        let statement = Statement::from_sql_and_values(self.inner.get_database_backend(), sql, values);
        Ok(self.inner.execute(statement).await?.rows_affected())
    }
}
