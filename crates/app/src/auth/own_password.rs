//! The own password: everything but the session that changed it ends.

use super::{
    Auth, Client, TokenPair,
    login::How,
    passwords::{self, PasswordRule},
};
use crate::audit::{About, with_secret};
use bifrost_domain::{
    error::{Error, Result},
    policy::{Caller, Permit, actions::UseAccount},
    user::User,
};
use bifrost_storage::audit::Outcome;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

/// Longer ones are refused before any work.
const MAX_INPUT_BYTES: usize = 1024;

impl Auth {
    /// Whether `password` is the user's present one. A refusal is noted.
    ///
    /// # Errors
    /// Bad request when it is not, or when there is none; invalid when it is longer than 1024 bytes.
    pub(super) async fn prove_password(
        &self,
        caller: &Caller,
        password: SecretString,
        path: &str,
        client: &Client,
    ) -> Result<SecretString> {
        if password.expose_secret().len() > MAX_INPUT_BYTES {
            return Err(Error::invalid(path, "too_long", format!("must be at most {MAX_INPUT_BYTES} bytes")));
        }
        let hash = self.reader.find_password_hash(caller.user_id).await?;
        if self.passwords.verify(password, hash.clone()).await?
            && let Some(hash) = hash
        {
            return Ok(hash);
        }
        let mut entry = self.scribe.line("account.prove_password", caller, client);
        entry = entry.about(caller.user_id, caller.scope.organization());
        entry.outcome = Outcome::Failure;
        let tx = self.store.db().begin().await?;
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        // Not 401: the session is as good as before, and clients would refresh it and try again.
        Err(Error::bad_request("the current password is not right").with_code("password_wrong"))
    }

    /// Changes the caller's password. All sessions end but this one, which goes on with the pair that is returned; trusted devices
    /// are trusted no longer.
    ///
    /// # Errors
    /// Bad request when the current password is not right; invalid when the new one is not good enough; conflict when it was changed
    /// meanwhile.
    pub async fn change_password(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        current: SecretString,
        new: SecretString,
        client: &Client,
    ) -> Result<TokenPair> {
        let caller = permit.caller();
        let rule = PasswordRule {
            min_length: self.settings.password_min_length,
            email: &user.email,
            name: user.name.as_deref(),
        };
        passwords::check(new.expose_secret(), "new_password", &rule)
            .map_err(|field| Error::invalid_fields(vec![field]))?;
        let same = current.expose_secret() == new.expose_secret();
        let old = self.prove_password(caller, current, "current_password", client).await?;
        if same {
            return Err(Error::invalid("new_password", "unchanged", "must be another one than the present"));
        }
        let hash = self.passwords.hash(new).await?;
        let rights = self.reader.find_rights(user).await?;

        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        let ended = tx.end_own_sessions(user.id, caller.session_id, "password_change", now).await?;
        let epoch = tx.change_password(user.id, &old, &hash, now).await?.ok_or_else(|| {
            Error::conflict("the password was changed meanwhile; sign in again").with_code("password_changed")
        })?;
        tx.delete_trusted_devices(user.id, None).await?;
        let pair = match caller.session_id {
            Some(id) => {
                tx.move_session_epoch(id, epoch).await?;
                self.renew_session(&tx, id).await?
            }
            None => {
                let user = User { epoch, ..user.clone() };
                self.open_session(&tx, user, rights, How::default(), client).await?
            }
        };
        let mut entry = self.scribe.line("account.password_change", caller, client);
        entry = entry.about(user.id, caller.scope.organization());
        entry.changes = Some(with_secret(None, "password", true));
        entry.detail = Some(json!({"sessions_revoked": ended}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.cache.forget_user(user.id);
        Ok(pair)
    }
}
