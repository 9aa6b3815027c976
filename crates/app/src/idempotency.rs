//! A request with an `Idempotency-Key` is done once: who sends it again gets the first answer.
//!
//! The key is claimed before the request is done, and gets its answer afterwards, also when the work panics: as after every failure nobody
//! knows then whether it was done. When the process ends in between the key stays in use. In neither case is the request done a second time
//! under that key.

use crate::App;
use bifrost_domain::{
    error::{Error, Result},
    ids::{ApplicationId, OrganizationId},
    policy::Caller,
};
use bifrost_storage::idempotency::{Earlier, Hash};
use sha2::{Digest, Sha256};

pub use bifrost_storage::idempotency::Reply;

/// A longer answer is not kept, bytes.
pub const MOST_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// A key that was claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim(Hash);

/// What becomes of a request.
#[derive(Debug)]
pub enum Begun {
    /// It is done now, and [`App::answered`] is called with its answer, or with 500 when it panics.
    New(Claim),
    /// It was done, and answered so.
    Answered(Reply),
}

/// A hash over parts of which none can run into the next.
fn hash<const N: usize>(parts: [&[u8]; N]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

impl App {
    /// Begins a request under the caller's `key`; `what` is its method and address, `body` its body.
    ///
    /// # Errors
    /// Invalid when the key came with another request; a conflict while the first one is being done, and when its answer is not known; the
    /// database is away.
    pub async fn begin_request(&self, caller: &Caller, key: &str, what: &str, body: &[u8]) -> Result<Begun> {
        let user = caller.user_id.as_uuid();
        let application = caller.application_id.map(ApplicationId::as_uuid).unwrap_or_default();
        let organization = caller.scope.organization().map(OrganizationId::as_uuid).unwrap_or_default();
        let claimed = hash([user.as_bytes(), application.as_bytes(), key.as_bytes()]);
        let fingerprint = hash([key.as_bytes(), organization.as_bytes(), what.as_bytes(), body]);
        match self.doors.store.claim_request(&claimed, &fingerprint, self.doors.clock.now()).await? {
            Earlier::Nothing => Ok(Begun::New(Claim(claimed))),
            Earlier::Another => Err(Error::invalid(
                "headers.Idempotency-Key",
                "reused",
                "came with another request within the last 24 hours; take a new key for a new request",
            )
            .with_code("idempotency_key_reused")),
            Earlier::Begun => Err(Error::conflict(
                "the first request with this Idempotency-Key is being done; ask again in a moment",
            )
            .with_code("idempotency_key_in_use")),
            Earlier::Answered(reply) if reply.status < 500 => Ok(Begun::Answered(reply)),
            Earlier::Answered(_) => Err(Error::conflict(
                "the first request with this Idempotency-Key failed, and may have done its work before; look whether it did, \
                 and take a new key",
            )
            .with_code("idempotency_outcome_unknown")),
        }
    }

    /// Ends a request. One that was refused (4xx) is forgotten: it changed nothing, and may be tried again with the same key.
    pub async fn answered(&self, claim: Claim, reply: Reply) {
        let store = &self.doors.store;
        let kept = match reply.status {
            400..500 => store.forget_request(&claim.0).await,
            _ => store.keep_reply(&claim.0, &reply).await,
        };
        if let Err(error) = kept {
            tracing::warn!(error = %error, "the answer to a request with an Idempotency-Key was not kept; its key stays in use");
        }
    }
}
