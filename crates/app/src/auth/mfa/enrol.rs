//! Setting up a factor: a secret first, which counts for nothing until a code has shown that it arrived.

use super::{Mfa, already, challenge::MAX_TRIES, codes, fresh::FreshSession, place, totp, wrong_code};
use crate::{
    audit::{changes, with_secret},
    auth::{Client, TokenPair, login::How, mfa::codes::Code, tokens::invalid},
};
use bifrost_domain::{
    error::{Error, Result},
    ids::SessionId,
    rights::Rights,
    user::User,
};
use bifrost_storage::audit::Outcome;
use secrecy::SecretString;
use std::fmt;
use uuid::Uuid;

/// Who sets a factor up.
#[derive(Debug)]
pub struct Subject {
    user: User,
    rights: Rights,
    by: By,
}

#[derive(Debug, Clone, Copy)]
enum By {
    /// Somebody signed in.
    Session(SessionId),
    /// Somebody whose sign-in waits for it.
    Challenge(Uuid),
}

/// A secret that is to be brought into an authenticator.
pub struct Enrolment {
    /// The secret, as people type it.
    pub secret: SecretString,
    /// The `otpauth` URI.
    pub provisioning_uri: SecretString,
    /// The same as a picture: a `data:` URI.
    pub qr_code_uri: SecretString,
    /// Who issues the codes.
    pub issuer: &'static str,
    /// Whom they are for.
    pub account_name: String,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").field("account_name", &self.account_name).finish_non_exhaustive()
    }
}

/// A factor that is asked for from now on.
pub struct Enrolled {
    /// Shown once.
    pub recovery_codes: Vec<String>,
    /// The session goes on, or begins, with it.
    pub pair: TokenPair,
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolled").finish_non_exhaustive()
    }
}

impl Mfa {
    /// Somebody signed in. Neither a provider's token nor the development bypass has a session.
    ///
    /// # Errors
    /// Forbidden when there is no session; unavailable when the store is away.
    pub async fn signed_in(&self, user: User, session: Option<SessionId>) -> Result<Subject> {
        let session = session.ok_or_else(|| {
            Error::forbidden("a second factor is set up from a session: sign in with `POST /auth/login`")
                .with_code("session_required")
        })?;
        let rights = self.auth.reader.find_rights(&user).await?;
        Ok(Subject { user, rights, by: By::Session(session) })
    }

    /// Somebody whose sign-in waits for a factor.
    ///
    /// # Errors
    /// Unauthenticated when the token does not hold.
    pub async fn waiting(&self, token: &str) -> Result<Subject> {
        let (claims, user, rights) = self.challenged(token).await?;
        Ok(Subject { user, rights, by: By::Challenge(claims.jti) })
    }

    /// A new secret, in place of one that was not confirmed. Who is signed in has shown again that it is he
    /// ([`Mfa::freshen_to_enrol`]); who answers a challenge has just done so.
    ///
    /// # Errors
    /// Conflict when a factor is enrolled; forbidden when the session is not fresh; unauthenticated when the challenge has ended.
    pub async fn set_up(
        &self,
        subject: &Subject,
        fresh: Option<&FreshSession>,
        client: &Client,
    ) -> Result<Enrolment> {
        let user = &subject.user;
        if let By::Session(id) = subject.by
            && fresh.map(FreshSession::id) != Some(id)
        {
            return Err(Error::forbidden("show first that it is you").with_code("sign_in_again"));
        }
        let secret: [u8; totp::SECRET_BYTES] = rand::random();
        let sealed = self.cipher.seal(&place(user.id), &secret).map_err(Error::internal)?;
        let uri = totp::provisioning_uri(&secret, &user.email);
        let qr_code_uri = totp::qr_code_uri(&uri)?;
        let now = self.auth.clock.now();
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        if let By::Challenge(id) = subject.by
            && !tx.is_challenge_open(id, user.id, MAX_TRIES, now).await?
        {
            return Err(invalid());
        }
        if !tx.put_factor(user.id, sealed, self.cipher.key_id(), now).await? {
            return Err(already());
        }
        let mut entry = self.entry("mfa.setup", Outcome::Success, user, client);
        entry.changes = Some(with_secret(None, "totp_secret", false));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(Enrolment {
            secret: totp::spelled(&secret).into(),
            provisioning_uri: uri.into(),
            qr_code_uri: qr_code_uri.into(),
            issuer: totp::ISSUER,
            account_name: user.email.clone(),
        })
    }

    /// Enrols: the first code was right. Answers with recovery codes, and the pair that the session goes on with.
    ///
    /// # Errors
    /// Bad request when the code is not right or nothing was set up; conflict when a factor is enrolled; too many after ten wrong codes;
    /// unauthenticated when the challenge has ended.
    pub async fn confirm(&self, subject: Subject, code: &str, client: &Client) -> Result<Enrolled> {
        let code = Code::read(code)?;
        let Subject { user, rights, by } = subject;
        let now = self.auth.clock.now();
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        if let By::Challenge(id) = by
            && !tx.try_challenge(id, user.id, MAX_TRIES, now).await?
        {
            return Err(invalid());
        }
        let may_try = tx.try_factor(user.id, super::LIMIT, now).await?;
        let factor = tx.find_factor(user.id).await?.ok_or_else(super::not_enrolled)?;
        if factor.confirmed_at.is_some() {
            return Err(already());
        }
        if !may_try {
            return Err(self.too_often(&user, client));
        }
        let step = match &code {
            Code::OneTime(code) => {
                totp::find_step(&self.open(user.id, &factor)?, code, factor.last_step, now)?
            }
            Code::Recovery(_) | Code::Nonsense => None,
        };
        let Some(step) = step else {
            self.note_wrong(tx, &user, "mfa.enrol", client).await?;
            return Err(wrong_code());
        };
        if !tx.confirm_factor(user.id, step, now).await? {
            return Err(already());
        }
        let (recovery_codes, hashes) = codes::recovery_codes();
        tx.replace_recovery_codes(user.id, hashes, now).await?;
        let mut entry = self.entry("mfa.enrol", Outcome::Success, &user, client);
        let enabled = changes([("mfa_enabled", false.into(), true.into())]);
        entry.changes = Some(with_secret(enabled, "recovery_codes", false));
        tx.insert_audit(entry).await?;
        if let By::Challenge(id) = by
            && !tx.use_challenge(id, now).await?
        {
            return Err(invalid());
        }
        let pair = match by {
            By::Session(id) => {
                tx.note_factor(id, now).await?;
                self.auth.renew_session(&tx, id).await?
            }
            By::Challenge(_) => {
                let how = How { factor_at: Some(now), ..How::in_person(now) };
                self.auth.open_session(&tx, user, rights, how, client).await?
            }
        };
        tx.commit().await?;
        Ok(Enrolled { recovery_codes, pair })
    }
}
