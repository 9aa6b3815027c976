//! Second factors: the secret that one-time codes are made of, recovery codes, and challenges (a sign-in that waits for a code).
//!
//! Tries are counted before a code is looked at, by guarded updates: however many callers try at once, no more codes are looked at than
//! are allowed. A step, a recovery code and a challenge are used by exactly one of them. Whoever looks at one holds [`Tx::lock_user`].

use crate::{
    Error, Reader, Tx,
    dialect::{self, get},
};
use bifrost_domain::ids::UserId;
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use uuid::Uuid;

const FACTOR: &str =
    "SELECT ciphertext, key_id, confirmed_at, last_step FROM totp_factors WHERE user_id = $1";

/// The secret of a user's one-time codes, sealed.
#[derive(Debug, Clone)]
pub struct Factor {
    /// The secret, sealed.
    pub ciphertext: Vec<u8>,
    /// The key that sealed it.
    pub key_id: String,
    /// When the first code proved that the user has the secret; none: it is being set up.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The last step (RFC 6238) whose code was used; 0: none.
    pub last_step: i64,
}

/// How often codes may be tried.
#[derive(Debug, Clone, Copy)]
pub struct TryLimit {
    /// Tries at most …
    pub most: i32,
    /// … within so long.
    pub within: Duration,
}

fn factor_of(row: &QueryResult) -> Result<Factor, Error> {
    Ok(Factor {
        ciphertext: get(row, "totp_factors", "ciphertext")?,
        key_id: get(row, "totp_factors", "key_id")?,
        confirmed_at: get(row, "totp_factors", "confirmed_at")?,
        last_step: get(row, "totp_factors", "last_step")?,
    })
}

impl Reader {
    /// The factor of a user.
    ///
    /// # Errors
    /// Away.
    pub async fn find_factor(&self, user: UserId) -> Result<Option<Factor>, Error> {
        let row = dialect::one(&self.db, FACTOR, [user.as_uuid().into()]).await?;
        row.map(|row| factor_of(&row)).transpose()
    }

    /// How many recovery codes of a user were not used yet, and how many there were.
    ///
    /// # Errors
    /// Away.
    pub async fn count_recovery_codes(&self, user: UserId) -> Result<(i64, i64), Error> {
        let sql = "SELECT COUNT(*) AS total, COUNT(used_at) AS used FROM recovery_codes WHERE user_id = $1";
        let Some(row) = dialect::one(&self.db, sql, [user.as_uuid().into()]).await? else {
            return Ok((0, 0));
        };
        let (total, used): (i64, i64) =
            (get(&row, "recovery_codes", "total")?, get(&row, "recovery_codes", "used")?);
        Ok((total - used, total))
    }
}

impl Tx {
    /// The factor of a user, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_factor(&self, user: UserId) -> Result<Option<Factor>, Error> {
        let backend = self.inner.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, FACTOR, [user.as_uuid().into()]);
        self.inner.query_one(statement).await?.map(|row| factor_of(&row)).transpose()
    }

    /// Keeps a secret that is being set up, in place of one that was being set up. Guarded: not in place of a confirmed one. What was
    /// tried before still counts.
    ///
    /// # Errors
    /// Away.
    pub async fn put_factor(
        &self,
        user: UserId,
        ciphertext: Vec<u8>,
        key_id: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "INSERT INTO totp_factors (user_id, ciphertext, key_id, confirmed_at, last_step, tries, tries_since, created_at) \
             VALUES ($1, $2, $3, NULL, 0, 0, $4, $4) ON CONFLICT (user_id) DO UPDATE SET ciphertext = excluded.ciphertext, \
             key_id = excluded.key_id, last_step = 0, created_at = excluded.created_at WHERE totp_factors.confirmed_at IS NULL",
            [user.as_uuid().into(), ciphertext.into(), key_id.into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Counts a try of a code of this user, before it is looked at; false when there are no more.
    ///
    /// # Errors
    /// Away.
    pub async fn try_factor(&self, user: UserId, limit: TryLimit, now: DateTime<Utc>) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE totp_factors SET tries = CASE WHEN tries_since <= $2 THEN 1 ELSE tries + 1 END, \
             tries_since = CASE WHEN tries_since <= $2 THEN $3 ELSE tries_since END \
             WHERE user_id = $1 AND (tries < $4 OR tries_since <= $2)",
            [user.as_uuid().into(), (now - limit.within).into(), now.into(), limit.most.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Uses the code of a step. Guarded: each step is used once, and none after a later one.
    ///
    /// # Errors
    /// Away.
    pub async fn use_step(&self, user: UserId, step: i64) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE totp_factors SET last_step = $2, tries = 0 \
             WHERE user_id = $1 AND last_step < $2 AND confirmed_at IS NOT NULL",
            [user.as_uuid().into(), step.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Begins to ask the user for codes: the first, of `step`, was right. Guarded: once.
    ///
    /// # Errors
    /// Away.
    pub async fn confirm_factor(&self, user: UserId, step: i64, now: DateTime<Utc>) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE totp_factors SET confirmed_at = $3, last_step = $2, tries = 0 \
             WHERE user_id = $1 AND confirmed_at IS NULL",
            [user.as_uuid().into(), step.into(), now.into()],
        )
        .await?;
        if changed == 1 {
            self.set_mfa_enabled(user, true, now).await?;
        }
        Ok(changed == 1)
    }

    /// Takes the factor, its recovery codes and the trusted devices of a user away; tells whether it was confirmed.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_factor(&self, user: UserId, now: DateTime<Utc>) -> Result<bool, Error> {
        let id = || [user.as_uuid().into()];
        let changed = dialect::execute_in(
            &self.inner,
            "DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL",
            id(),
        )
        .await?;
        dialect::execute_in(&self.inner, "DELETE FROM recovery_codes WHERE user_id = $1", id()).await?;
        dialect::execute_in(&self.inner, "DELETE FROM trusted_devices WHERE user_id = $1", id()).await?;
        self.set_mfa_enabled(user, false, now).await?;
        Ok(changed == 1)
    }

    async fn set_mfa_enabled(&self, user: UserId, enabled: bool, now: DateTime<Utc>) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE users SET mfa_enabled = $2, updated_at = $3 WHERE id = $1",
            [user.as_uuid().into(), enabled.into(), now.into()],
        )
        .await?;
        Ok(())
    }

    /// Keeps the hashes of new recovery codes in place of all older ones.
    ///
    /// # Errors
    /// Away.
    pub async fn replace_recovery_codes(
        &self,
        user: UserId,
        hashes: impl IntoIterator<Item = Vec<u8>>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let id = [user.as_uuid().into()];
        dialect::execute_in(&self.inner, "DELETE FROM recovery_codes WHERE user_id = $1", id).await?;
        for hash in hashes {
            dialect::execute_in(
                &self.inner,
                "INSERT INTO recovery_codes (user_id, hash, created_at) VALUES ($1, $2, $3)",
                [user.as_uuid().into(), hash.into(), now.into()],
            )
            .await?;
        }
        Ok(())
    }

    /// Uses a recovery code up. Guarded: one of any number of callers is told `true`.
    ///
    /// # Errors
    /// Away.
    pub async fn use_recovery_code(
        &self,
        user: UserId,
        hash: &[u8],
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL",
            [user.as_uuid().into(), hash.to_vec().into(), now.into()],
        )
        .await?;
        if changed == 1 {
            let id = [user.as_uuid().into()];
            dialect::execute_in(&self.inner, "UPDATE totp_factors SET tries = 0 WHERE user_id = $1", id)
                .await?;
        }
        Ok(changed == 1)
    }

    /// Keeps a challenge, and forgets those of the user that ran out.
    ///
    /// # Errors
    /// Reference when the user is gone.
    pub async fn insert_challenge(
        &self,
        id: Uuid,
        user: UserId,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "DELETE FROM mfa_challenges WHERE user_id = $1 AND expires_at <= $2",
            [user.as_uuid().into(), now.into()],
        )
        .await?;
        dialect::execute_in(
            &self.inner,
            "INSERT INTO mfa_challenges (id, user_id, tries, expires_at) VALUES ($1, $2, 0, $3)",
            [id.into(), user.as_uuid().into(), expires_at.into()],
        )
        .await?;
        Ok(())
    }

    /// Counts a try with a challenge, before the code is looked at; false when it ran out, was used, or was tried too often.
    ///
    /// # Errors
    /// Away.
    pub async fn try_challenge(
        &self,
        id: Uuid,
        user: UserId,
        most: i32,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE mfa_challenges SET tries = tries + 1 \
             WHERE id = $1 AND user_id = $2 AND tries < $3 AND used_at IS NULL AND expires_at > $4",
            [id.into(), user.as_uuid().into(), most.into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Whether a challenge may be answered still.
    ///
    /// # Errors
    /// Away.
    pub async fn is_challenge_open(
        &self,
        id: Uuid,
        user: UserId,
        most: i32,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT id FROM mfa_challenges WHERE id = $1 AND user_id = $2 AND tries < $3 AND used_at IS NULL AND expires_at > $4",
            [id.into(), user.as_uuid().into(), most.into(), now.into()],
        );
        Ok(self.inner.query_one(statement).await?.is_some())
    }

    /// Uses a challenge up.
    ///
    /// # Errors
    /// Away.
    pub async fn use_challenge(&self, id: Uuid, now: DateTime<Utc>) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE mfa_challenges SET used_at = $2 WHERE id = $1 AND used_at IS NULL",
            [id.into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }
}
