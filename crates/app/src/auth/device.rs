//! Signing in a program that has no browser (RFC 8628): it shows eight letters, a signed-in person types them somewhere else and says yes,
//! and the program, which asks every few seconds, gets a session of that person, once.

use super::{Auth, Client, TokenPair, login::How};
use crate::audit::About;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Result},
    ids::{DeviceGrantId, UserId},
    policy::{Permit, actions::UseAccount},
    user::{User, UserType},
};
use bifrost_storage::{
    Error as StoreError,
    device_grants::{Decision, DeviceGrant},
};
use chrono::Duration;
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt;

/// How long a person has to say yes, seconds.
pub const DEVICE_SECONDS: i64 = 10 * 60;
/// How many seconds a program waits between two questions.
pub const DEVICE_INTERVAL_SECONDS: i32 = 5;
/// What a program that asks too often has to wait longer.
const SLOWER_SECONDS: i32 = 5;
const SLOWEST_SECONDS: i32 = 60;
/// A question on its way may be overtaken by so much.
const JITTER: Duration = Duration::milliseconds(500);
const MAX_CLIENT_ID: usize = 100;
/// Consonants that are not mistaken for each other, and make no words (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 8;
/// Tries to find letters that nobody has now; one is enough but for one time in millions.
const TRIES: usize = 5;

/// A program that asks, with what it alone knows.
pub struct DeviceRequest {
    /// What it asks with how it stands: 256 random bits.
    pub device_code: SecretString,
    /// The letters, `XXXX-XXXX`.
    pub user_code: String,
    /// Seconds until it is over.
    pub expires_in: i64,
    /// Seconds between two questions.
    pub interval: i32,
}

impl fmt::Debug for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRequest").finish_non_exhaustive()
    }
}

/// How it stands.
#[derive(Debug, Clone)]
pub enum DevicePoll {
    /// Nobody has answered yet.
    Pending,
    /// Nobody has answered yet, and it asks too often.
    SlowDown,
    /// Somebody said no.
    Denied,
    /// It is over.
    Expired,
    /// There is no such request, or its tokens were given already.
    Unknown,
    /// Somebody said yes.
    SignedIn(TokenPair),
}

impl Auth {
    /// A program asks to be signed in.
    ///
    /// # Errors
    /// Invalid when what it calls itself is too long; unavailable when the store is away.
    pub async fn request_device(&self, client_id: Option<String>, client: &Client) -> Result<DeviceRequest> {
        let client_id = client_id.filter(|text| !text.is_empty());
        if client_id
            .as_ref()
            .is_some_and(|text| text.len() > MAX_CLIENT_ID || text.chars().any(char::is_control))
        {
            let message = format!("must be at most {MAX_CLIENT_ID} bytes without control characters");
            return Err(Error::invalid("client_id", "too_long", message));
        }
        let now = self.clock.now();
        let device_code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let mut grant = DeviceGrant {
            id: DeviceGrantId::from_uuid(self.ids.next()),
            user_code: String::new(),
            client_id,
            user_agent: client.user_agent.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
            created_at: now,
            expires_at: now + Duration::seconds(DEVICE_SECONDS),
            interval_seconds: DEVICE_INTERVAL_SECONDS,
            polled_at: None,
            decision: Decision::Pending,
            consumed_at: None,
        };
        for _ in 0..TRIES {
            grant.user_code = random_letters();
            match self.store.insert_device_grant(&Sha256::digest(&device_code), &grant).await {
                Ok(()) => {
                    return Ok(DeviceRequest {
                        device_code: device_code.into(),
                        user_code: shown(&grant.user_code),
                        expires_in: DEVICE_SECONDS,
                        interval: DEVICE_INTERVAL_SECONDS,
                    });
                }
                Err(StoreError::Duplicate(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::unavailable("too many programs ask to be signed in; try again in a moment"))
    }

    /// What a person is asked about who typed these letters.
    ///
    /// # Errors
    /// Not found.
    pub async fn find_device(&self, permit: &Permit<UseAccount>, user_code: &str) -> Result<DeviceGrant> {
        let letters = letters_of(user_code).ok_or_else(unknown)?;
        self.reader.find_pending_device_grant(permit, &letters, self.clock.now()).await?.ok_or_else(unknown)
    }

    /// A person says yes or no. The first answer counts.
    ///
    /// # Errors
    /// Not found when nothing waits under these letters; forbidden for a session in which nobody signed in: a program's.
    pub async fn decide_device(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        user_code: &str,
        approve: bool,
        client: &Client,
    ) -> Result<()> {
        let letters = letters_of(user_code).ok_or_else(unknown)?;
        let tx = self.store.db().begin().await?;
        tx.lock_user(user.id).await?;
        if let Some(session) = permit.caller().session_id {
            let session = tx.find_session(session).await?;
            if session.is_none_or(|session| session.authenticated_at.is_none()) {
                let message = "what was let in itself lets no other program in; sign in, and decide then";
                return Err(Error::forbidden(message).with_code("sign_in_again"));
            }
        }
        let decided = tx.decide_device_grant(permit, &letters, user.epoch, approve, self.clock.now()).await?;
        let grant = decided.ok_or_else(unknown)?;
        let action = if approve { "device.approve" } else { "device.deny" };
        let mut entry =
            self.scribe.line(action, permit.caller(), client).about(grant.id, user.organization_id);
        entry.detail = Some(json!({
            "client_id": grant.client_id, "ip_address": grant.ip_address, "user_agent": grant.user_agent,
        }));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A program asks how it stands. The tokens are given once: of several questions at the same time one gets them.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn poll_device(&self, device_code: &str, client: &Client) -> Result<DevicePoll> {
        let is_ours = URL_SAFE_NO_PAD.decode(device_code).is_ok_and(|bytes| bytes.len() == 32);
        if !is_ours {
            return Ok(DevicePoll::Unknown);
        }
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        let Some(grant) = tx.lock_device_grant(&Sha256::digest(device_code)).await? else {
            return Ok(DevicePoll::Unknown);
        };
        if grant.consumed_at.is_some() {
            return Ok(DevicePoll::Unknown);
        }
        if grant.expires_at <= now {
            return Ok(DevicePoll::Expired);
        }
        match grant.decision {
            Decision::Denied => Ok(DevicePoll::Denied),
            Decision::Pending => {
                let wait = Duration::seconds(grant.interval_seconds.into()) - JITTER;
                let too_soon = grant.polled_at.is_some_and(|at| now - at < wait);
                let slower = if too_soon { SLOWER_SECONDS } else { 0 };
                let interval = (grant.interval_seconds + slower).min(SLOWEST_SECONDS);
                tx.poll_device_grant(grant.id, interval, now).await?;
                tx.commit().await?;
                Ok(if too_soon { DevicePoll::SlowDown } else { DevicePoll::Pending })
            }
            Decision::Approved { user, epoch, factor_at, session, ends_at } => {
                if !tx.consume_device_grant(grant.id, now).await? {
                    return Ok(DevicePoll::Unknown);
                }
                let is_there = match session {
                    Some(id) => tx.find_session(id).await?.is_some_and(|session| session.is_live(now)),
                    None => true,
                };
                tx.commit().await?;
                if !is_there {
                    // Signed out since the yes.
                    return Ok(DevicePoll::Denied);
                }
                // No more than the session had that said yes: else it could outlive its own end. And less: nobody was there when it began.
                let how = How { factor_at, ends_at, ..How::default() };
                self.begin_device_session(user, epoch, how, client).await
            }
        }
    }

    /// Used up before the session begins: what is lost in between is asked for again, and nothing is given twice.
    async fn begin_device_session(
        &self,
        id: UserId,
        epoch: i64,
        how: How<'_>,
        client: &Client,
    ) -> Result<DevicePoll> {
        let Some(user) = self.reader.find_user(id).await? else { return Ok(DevicePoll::Denied) };
        let rights = self.reader.find_rights(&user).await?;
        // Suspended, all sessions ended, or the end of the one that said yes, since then.
        let may = user.is_active
            && user.is_registered
            && user.user_type != UserType::System
            && user.epoch == epoch
            && how.ends_at.is_none_or(|end| end > self.clock.now())
            && rights.admit(&user);
        if !may {
            return Ok(DevicePoll::Denied);
        }
        Ok(DevicePoll::SignedIn(self.begin_session(user, rights, how, client).await?))
    }
}

fn unknown() -> Error {
    Error::not_found("sign-in request")
}

fn random_letters() -> String {
    let mut letters = String::with_capacity(CODE_LETTERS);
    while letters.len() < CODE_LETTERS {
        for byte in rand::random::<[u8; 16]>() {
            // 240 is the largest multiple of 20: every letter is as likely as the others.
            if byte < 240 && letters.len() < CODE_LETTERS {
                letters.push(char::from(LETTERS[usize::from(byte % 20)]));
            }
        }
    }
    letters
}

fn shown(letters: &str) -> String {
    let (first, second) = letters.split_at(CODE_LETTERS / 2);
    format!("{first}-{second}")
}

/// The letters that somebody typed, in any case, with hyphens and spaces where he likes.
fn letters_of(typed: &str) -> Option<String> {
    if typed.len() > 64 {
        return None;
    }
    let letters: String =
        typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    (letters.len() == CODE_LETTERS && letters.bytes().all(|b| LETTERS.contains(&b))).then_some(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn letters_are_typed_in_any_way() {
        for typed in ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "B-C-D-F-G-H-J-K"] {
            assert_eq!(letters_of(typed).as_deref(), Some("BCDFGHJK"), "{typed}");
        }
        for bad in
            ["", "BCDFGHJ", "BCDFGHJKL", "ACDFGHJK", "BCDF_GHJK", "BCDFGHJ0", "ßCDFGHJ", &"-".repeat(100)]
        {
            assert_eq!(letters_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn letters_are_random_and_of_the_alphabet() {
        let many: BTreeSet<String> = (0..1_000).map(|_| random_letters()).collect();
        assert_eq!(many.len(), 1_000);
        assert!(many.iter().all(|letters| letters_of(&shown(letters)).as_ref() == Some(letters)));
        let seen: BTreeSet<char> = many.iter().flat_map(|letters| letters.chars()).collect();
        assert_eq!(seen.len(), LETTERS.len());
    }
}
