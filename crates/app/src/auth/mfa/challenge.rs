//! A sign-in that waits for a code, and the browsers that need none.

use super::{Mfa, codes::Code};
use crate::{
    auth::{
        Auth, Client, TokenPair,
        login::How,
        tokens::{ChallengeClaims, invalid},
    },
    metrics,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Result},
    ids::TrustedDeviceId,
    rights::Rights,
    user::User,
};
use bifrost_storage::{Tx, audit::Outcome, trusted_devices::TrustedDevice};
use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt;

/// How long a challenge may be answered.
pub const CHALLENGE_SECONDS: i64 = 300;
/// How long a browser is trusted.
pub const DEVICE_SECONDS: i64 = 30 * 24 * 60 * 60;
/// Codes looked at for one challenge.
pub(super) const MAX_TRIES: i32 = 5;

/// What stands between a right password and a session.
pub struct Challenge {
    /// Opens the way to a code (or to enrol), and nothing else.
    pub token: SecretString,
    /// Whether a factor is enrolled; else one is required, and is to be set up now.
    pub is_enrolled: bool,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").field("is_enrolled", &self.is_enrolled).finish_non_exhaustive()
    }
}

/// What comes after a right password.
#[derive(Debug)]
pub(in crate::auth) enum Way {
    /// A session; with the time when a second factor counts as shown (a trusted browser has shown one).
    Open(Option<DateTime<Utc>>),
    /// A code is asked for first, or a factor is to be set up.
    Ask(Challenge),
}

/// A challenge that was answered.
#[derive(Debug)]
pub struct PassedChallenge {
    /// The session.
    pub pair: TokenPair,
    /// What the browser shows next time, if it is to be trusted.
    pub device: Option<SecretString>,
}

impl Auth {
    /// What a user has to do after his password: he answers a challenge when a factor is enrolled and the browser is not trusted, or when a
    /// factor is required and none is enrolled.
    pub(in crate::auth) async fn second_factor(
        &self,
        user: &User,
        rights: &Rights,
        device: Option<&str>,
        client: &Client,
    ) -> Result<Way> {
        let factor = self.reader.find_factor(user.id).await?;
        let is_enrolled = factor.is_some_and(|factor| factor.confirmed_at.is_some());
        if !is_enrolled && !self.requires_factor(rights) {
            return Ok(Way::Open(None));
        }
        let (now, id) = (self.clock.now(), self.ids.next());
        let token = self.tokens.challenge(user, id, now, CHALLENGE_SECONDS)?;
        let tx = self.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        let is_trusted = match device.and_then(device_hash).filter(|_| is_enrolled) {
            Some(hash) => tx.use_trusted_device(user.id, user.epoch, &hash, now).await?,
            None => false,
        };
        if !is_trusted {
            let expires_at = now + Duration::seconds(CHALLENGE_SECONDS);
            tx.insert_challenge(id, user.id, expires_at, now).await?;
            // Also when it is never answered: somebody knew the password.
            tx.insert_audit(self.entry("mfa.challenge", Outcome::Success, Some(user), client)).await?;
        }
        tx.commit().await?;
        Ok(if is_trusted { Way::Open(Some(now)) } else { Way::Ask(Challenge { token, is_enrolled }) })
    }
}

impl Mfa {
    /// Answers a challenge with a one-time code or a recovery code. `trust` has the browser trusted for 30 days.
    ///
    /// # Errors
    /// Unauthenticated when the challenge does not hold (any more) or the code is not right; too many after ten wrong ones; bad request
    /// when no factor is enrolled.
    pub async fn pass(
        &self,
        token: &str,
        code: &str,
        trust: bool,
        client: &Client,
    ) -> Result<PassedChallenge> {
        let code = Code::read(code)?;
        let (claims, user, rights) = self.challenged(token).await?;
        let now = self.auth.clock.now();
        let tx = self.auth.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        if !tx.try_challenge(claims.jti, user.id, MAX_TRIES, now).await? {
            return Err(invalid());
        }
        let Some(used) = self.use_code(&tx, &user, &code, client).await? else {
            self.note_wrong(tx, &user, "mfa.pass", client).await?;
            metrics::signed_in(false);
            return Err(Error::unauthenticated("the code is not right").with_code("mfa_code_invalid"));
        };
        if !tx.use_challenge(claims.jti, now).await? {
            return Err(invalid());
        }
        let device = if trust { Some(trust_device(&tx, self, &user, client, now).await?) } else { None };
        let mut entry = self.entry("mfa.pass", Outcome::Success, &user, client);
        entry.detail = Some(json!({"method": used.as_str(), "trusted_device": trust}));
        tx.insert_audit(entry).await?;
        let how = How { factor_at: Some(now), ..How::in_person(now) };
        let pair = self.auth.open_session(&tx, user, rights, how, client).await?;
        tx.commit().await?;
        metrics::signed_in(true);
        Ok(PassedChallenge { pair, device })
    }

    /// Whose challenge a token is; the user has to be who he was when it was issued.
    pub(super) async fn challenged(&self, token: &str) -> Result<(ChallengeClaims, User, Rights)> {
        let claims = self.auth.tokens.read_challenge(token, self.auth.clock.now())?;
        let user = self.auth.reader.find_user(claims.sub).await?.ok_or_else(invalid)?;
        let rights = self.auth.reader.find_rights(&user).await?;
        let holds = user.is_active && user.is_registered && user.epoch == claims.epoch && rights.admit(&user);
        if !holds {
            return Err(invalid());
        }
        Ok((claims, user, rights))
    }
}

async fn trust_device(
    tx: &Tx,
    mfa: &Mfa,
    user: &User,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<SecretString> {
    let secret: [u8; 32] = rand::random();
    let device = TrustedDevice {
        id: TrustedDeviceId::from_uuid(mfa.auth.ids.next()),
        user_agent: client.user_agent.clone(),
        ip_address: client.ip.map(|ip| ip.to_string()),
        created_at: now,
        last_used_at: now,
        expires_at: now + Duration::seconds(DEVICE_SECONDS),
    };
    tx.insert_trusted_device(user.id, user.epoch, &Sha256::digest(secret), device).await?;
    Ok(URL_SAFE_NO_PAD.encode(secret).into())
}

/// What is kept of what a browser shows.
fn device_hash(text: &str) -> Option<Vec<u8>> {
    let secret = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
    Some(Sha256::digest(secret).to_vec())
}
