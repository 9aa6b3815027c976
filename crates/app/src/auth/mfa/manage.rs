//! The own second factor, for who is signed in: what there is, removing it, new recovery codes, trusted devices.

use super::{Mfa, codes, codes::Code, not_enrolled, wrong_code};
use crate::{
    audit::{changes, with_secret},
    auth::{Client, tokens::invalid},
};
use bifrost_domain::{
    error::{Error, Result},
    ids::TrustedDeviceId,
    policy::{
        Permit,
        actions::{ShowFactor, UseAccount},
    },
    rights::Rights,
    user::User,
};
use bifrost_storage::{Tx, audit::Outcome, trusted_devices::TrustedDevice};
use secrecy::SecretString;
use serde_json::json;

/// What there is of the own second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MfaStatus {
    /// Whether codes are asked for.
    pub is_enrolled: bool,
    /// Whether a factor is required of this person.
    pub is_required: bool,
    /// Recovery codes that were not used yet …
    pub recovery_codes_left: i64,
    /// … of so many.
    pub recovery_codes: i64,
}

/// What shows that it is really the person, and not somebody who found the browser open.
#[derive(Debug)]
pub enum Proof {
    /// The current password.
    Password(SecretString),
    /// A one-time code or a recovery code.
    Code(String),
}

impl Mfa {
    /// What there is of the caller's second factor.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn status(&self, permit: &Permit<ShowFactor>, rights: &Rights) -> Result<MfaStatus> {
        let (user, reader) = (permit.user_id(), &self.auth.reader);
        let factor = reader.find_factor(user).await?;
        let (recovery_codes_left, recovery_codes) = reader.count_recovery_codes(user).await?;
        Ok(MfaStatus {
            is_enrolled: factor.is_some_and(|factor| factor.confirmed_at.is_some()),
            is_required: self.auth.requires_factor(rights),
            recovery_codes_left,
            recovery_codes,
        })
    }

    /// Shows a code for the caller's session, which began without one: a required factor is owed no longer.
    ///
    /// # Errors
    /// Bad request when the code is not right, no factor is enrolled or there is no session; too many after ten wrong codes;
    /// unauthenticated when the session has ended.
    pub async fn prove(
        &self,
        permit: &Permit<ShowFactor>,
        user: &User,
        code: &str,
        client: &Client,
    ) -> Result<()> {
        let session = permit.caller().session_id.ok_or_else(|| {
            Error::bad_request("there is no session to show a code for; sign in").with_code("no_session")
        })?;
        let code = Code::read(code)?;
        let now = self.auth.clock.now();
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        let Some(used) = self.use_code(&tx, user, &code, client).await? else {
            self.note_wrong(tx, user, "mfa.prove", client).await?;
            return Err(wrong_code());
        };
        if !tx.note_factor(session, now).await? {
            return Err(invalid());
        }
        let mut entry = self.entry("mfa.prove", Outcome::Success, user, client);
        entry.detail = Some(json!({"method": used.as_str()}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.auth.cache.forget(session);
        Ok(())
    }

    /// Removes the caller's factor, with its recovery codes and trusted devices. Where one is required, the next sign-in asks for a new
    /// one: that is how an authenticator is replaced.
    ///
    /// # Errors
    /// Bad request when the proof is not right or there is none; too many after ten wrong codes.
    pub async fn remove(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        proof: Proof,
        client: &Client,
    ) -> Result<()> {
        let tx = self.proved(permit, user, proof, "mfa.remove", client).await?;
        if !tx.delete_factor(user.id, self.auth.clock.now()).await? {
            return Err(not_enrolled());
        }
        let mut entry = self.entry("mfa.remove", Outcome::Success, user, client);
        entry.changes = changes([("mfa_enabled", true.into(), false.into())]);
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// New recovery codes; the old ones are no good any more.
    ///
    /// # Errors
    /// As [`Mfa::remove`].
    pub async fn renew_recovery_codes(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        proof: Proof,
        client: &Client,
    ) -> Result<Vec<String>> {
        let tx = self.proved(permit, user, proof, "mfa.recovery_codes", client).await?;
        let (codes, hashes) = codes::recovery_codes();
        tx.replace_recovery_codes(user.id, hashes, self.auth.clock.now()).await?;
        let mut entry = self.entry("mfa.recovery_codes", Outcome::Success, user, client);
        entry.changes = Some(with_secret(None, "recovery_codes", true));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(codes)
    }

    /// A transaction of an enrolled user who has shown that it is he.
    async fn proved(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        proof: Proof,
        action: &'static str,
        client: &Client,
    ) -> Result<Tx> {
        match proof {
            Proof::Password(password) => {
                self.auth.prove_password(permit.caller(), password, "password", client).await?;
                let tx = self.auth.store.db().begin().await?;
                tx.lock_user(user.id).await?;
                let factor = tx.find_factor(user.id).await?;
                factor.filter(|factor| factor.confirmed_at.is_some()).ok_or_else(not_enrolled)?;
                Ok(tx)
            }
            Proof::Code(code) => self.proved_by_code(user, &code, action, client).await,
        }
    }

    /// A transaction of an enrolled user, in which a code of his is used up.
    pub(super) async fn proved_by_code(
        &self,
        user: &User,
        code: &str,
        action: &'static str,
        client: &Client,
    ) -> Result<Tx> {
        let code = Code::read(code)?;
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        if self.use_code(&tx, user, &code, client).await?.is_none() {
            self.note_wrong(tx, user, action, client).await?;
            return Err(wrong_code());
        }
        Ok(tx)
    }

    /// The browsers that are trusted for the caller.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list_devices(&self, permit: &Permit<UseAccount>) -> Result<Vec<TrustedDevice>> {
        Ok(self.auth.reader.list_trusted_devices(permit.user_id(), self.auth.clock.now()).await?)
    }

    /// Trusts a browser of the caller no longer, or (without an id) none; tells how many that were.
    ///
    /// # Errors
    /// Not found when he has no such one.
    pub async fn forget_devices(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        id: Option<TrustedDeviceId>,
        client: &Client,
    ) -> Result<u64> {
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(permit.user_id()).await?;
        let count = tx.delete_trusted_devices(permit.user_id(), id).await?;
        if id.is_some() && count == 0 {
            return Err(Error::not_found("trusted device"));
        }
        let mut entry = self.entry("mfa.forget_device", Outcome::Success, user, client);
        entry.detail = Some(json!({"device": id, "count": count}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(count)
    }
}
