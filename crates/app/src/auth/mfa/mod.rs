//! The second factor: one-time codes (TOTP), recovery codes for when the authenticator is lost, and browsers that are trusted for a
//! while.
//!
//! A right password alone leads to a challenge when a factor is enrolled, or when one is required: a token that opens nothing but the way
//! to a code (`challenge.rs`). Without a factor it opens the way to enrol one (`enrol.rs`). `manage.rs` is for who is signed in,
//! `fresh.rs` for who has to show again that it is he.
//! Every look at a code is counted first, in the store: five for a challenge, ten in 15 minutes for a person.

mod challenge;
mod codes;
mod enrol;
mod fresh;
mod manage;
mod totp;

pub(in crate::auth) use challenge::Way;
pub use challenge::{CHALLENGE_SECONDS, Challenge, DEVICE_SECONDS, PassedChallenge};
pub use enrol::{Enrolled, Enrolment, Subject};
pub use fresh::FreshSession;
pub use manage::{MfaStatus, Proof};

use super::{Auth, Client};
use crate::cipher::Cipher;
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::UserId,
    user::User,
};
use bifrost_storage::{
    Tx,
    audit::{Entry, Outcome},
    mfa::{Factor, TryLimit},
};
use chrono::Duration;
use codes::Code;
use serde_json::json;
use std::{fmt, sync::Arc};

/// Codes looked at for one person: a million codes would take him who knows the password some two years.
const LIMIT: TryLimit = TryLimit { most: 10, within: Duration::minutes(15) };

/// The second factor. Cheap to clone.
#[derive(Clone)]
pub struct Mfa {
    auth: Arc<Auth>,
    cipher: Arc<Cipher>,
}

impl fmt::Debug for Mfa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mfa").finish_non_exhaustive()
    }
}

/// How a code was found to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    OneTime,
    Recovery,
}

impl Used {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "totp",
            Self::Recovery => "recovery_code",
        }
    }
}

fn wrong_code() -> Error {
    Error::bad_request("the code is not right; wait for the next one and try again")
        .with_code("mfa_code_invalid")
}

fn already() -> Error {
    Error::conflict("a second factor is set up already; remove it first").with_code("mfa_enrolled")
}

fn not_enrolled() -> Error {
    Error::bad_request("no second factor is set up; begin with `POST /auth/mfa/setup`")
        .with_code("mfa_not_enrolled")
}

impl Mfa {
    /// The second factor over sign-in; `cipher` seals the secrets.
    #[must_use]
    pub const fn new(auth: Arc<Auth>, cipher: Arc<Cipher>) -> Self {
        Self { auth, cipher }
    }

    /// Looks at a code of an enrolled user and uses it up; `None`: it is not right. The transaction is to be committed in both cases, so
    /// that the try counts.
    async fn use_code(&self, tx: &Tx, user: &User, code: &Code, client: &Client) -> Result<Option<Used>> {
        let now = self.auth.clock.now();
        let may_try = tx.try_factor(user.id, LIMIT, now).await?;
        let factor = tx.find_factor(user.id).await?.filter(|factor| factor.confirmed_at.is_some());
        let factor = factor.ok_or_else(not_enrolled)?;
        if !may_try {
            return Err(self.too_often(user, client));
        }
        Ok(match code {
            Code::OneTime(code) => {
                match totp::find_step(&self.open(user.id, &factor)?, code, factor.last_step, now)? {
                    Some(step) if tx.use_step(user.id, step).await? => Some(Used::OneTime),
                    _ => None,
                }
            }
            Code::Recovery(hash) if tx.use_recovery_code(user.id, hash, now).await? => Some(Used::Recovery),
            Code::Recovery(_) | Code::Nonsense => None,
        })
    }

    /// Refuses more codes of somebody for a while, and notes it.
    fn too_often(&self, user: &User, client: &Client) -> Error {
        self.auth.note_limited("codes", "", user.into(), client);
        let seconds = LIMIT.within.num_seconds().unsigned_abs();
        Error::new(
            Kind::TooMany { retry_after_seconds: seconds },
            "too many wrong codes; wait a quarter of an hour",
        )
    }

    fn open(&self, user: UserId, factor: &Factor) -> Result<Vec<u8>> {
        self.cipher.open(&place(user), &factor.ciphertext).map_err(Error::internal)
    }

    fn entry(&self, action: &'static str, outcome: Outcome, user: &User, client: &Client) -> Entry {
        self.auth.entry(action, outcome, Some(user), client)
    }

    /// Notes a wrong code and commits, so that the try counts.
    async fn note_wrong(&self, tx: Tx, user: &User, action: &'static str, client: &Client) -> Result<()> {
        let mut entry = self.entry(action, Outcome::Failure, user, client);
        entry.detail = Some(json!({"reason": "wrong_code"}));
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }
}

/// Where a secret is sealed for: moved to another user it does not open.
fn place(user: UserId) -> String {
    format!("totp/{user}")
}
