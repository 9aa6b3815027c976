//! Tickets for live connections: 256 random bits, valid once for 30 seconds, kept as their SHA-256.

use super::{Auth, tokens};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::OrganizationId,
    policy::Caller,
};
use bifrost_storage::tickets::Ticket;
use chrono::Duration;
use sha2::{Digest, Sha256};

/// How long a ticket is valid.
pub const TICKET_SECONDS: i64 = 30;

impl Auth {
    /// A ticket that opens one live connection for `caller`.
    ///
    /// # Errors
    /// Forbidden to who shows a key, which can be sent with the connection itself, or a provider's token; unavailable when the store is
    /// away.
    pub async fn issue_ticket(&self, caller: &Caller) -> Result<String> {
        if caller.key_id.is_some() {
            return Err(
                Error::forbidden("open the connection with the key itself").with_code("key_not_allowed")
            );
        }
        self.check_can_stay(caller).await?;
        let secret: [u8; 32] = rand::random();
        let now = self.clock.now();
        let ticket = Ticket {
            user_id: caller.user_id,
            session_id: caller.session_id,
            organization_id: caller.scope.organization(),
            expires_at: now + Duration::seconds(TICKET_SECONDS),
        };
        self.store.insert_ticket(&Sha256::digest(secret), &ticket, now).await?;
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// The caller that a ticket was issued for, with the rights the user has now.
    ///
    /// # Errors
    /// Unauthenticated when the ticket was used, ran out, or its session ended.
    pub async fn redeem_ticket(&self, text: &str) -> Result<Caller> {
        let now = self.clock.now();
        let secret = URL_SAFE_NO_PAD.decode(text).ok().filter(|secret| secret.len() == 32);
        let secret = secret.ok_or_else(tokens::invalid)?;
        let ticket =
            self.store.take_ticket(&Sha256::digest(secret), now).await?.ok_or_else(tokens::invalid)?;
        let asked: Option<OrganizationId> = ticket.organization_id;
        match ticket.session_id {
            Some(id) => {
                let session = self.read_session(id, now).await?.filter(|session| session.is_live(now));
                Caller::of_session(&session.ok_or_else(tokens::invalid)?.state, asked)
            }
            None => {
                let (user, rights) = self.dev_user().await?;
                if user.id != ticket.user_id {
                    return Err(tokens::invalid());
                }
                Caller::of_user(&user, &rights, asked, None)
            }
        }
    }

    /// Refuses who could not be known again a second later: who shows a provider's token has neither a session nor a key.
    ///
    /// # Errors
    /// Forbidden; unavailable when the store is away.
    pub async fn check_can_stay(&self, caller: &Caller) -> Result<()> {
        if caller.session_id.is_some() || caller.key_id.is_some() {
            return Ok(());
        }
        match self.dev_user().await {
            Ok((user, _)) if user.id == caller.user_id => Ok(()),
            Err(error) if error.kind != Kind::Unauthenticated => Err(error),
            Ok(_) | Err(_) => Err(Error::forbidden(
                "live connections need a session: exchange the provider's token with `POST /auth/token` first",
            )
            .with_code("session_required")),
        }
    }

    /// Whether `caller` has the same rights in the same scope as before: a live connection asks once a second.
    ///
    /// # Errors
    /// Unauthenticated when the session has ended; unavailable when the store is away.
    pub async fn has_rights_still(&self, caller: &Caller) -> Result<bool> {
        let asked = caller.scope.organization();
        let now = match caller.session_id {
            Some(id) => {
                // Read anew: who asks once a second may not be told what was true a second ago.
                let at = self.clock.now();
                let session = self.read_session(id, at).await?.filter(|session| session.is_live(at));
                let session = session.ok_or_else(tokens::invalid)?;
                Caller::of_session(&session.state, asked)
            }
            None => {
                let (user, rights) = self.dev_user().await?;
                Caller::of_user(&user, &rights, asked, None)
            }
        };
        // Who is of another organization now may not even name this one.
        Ok(now.is_ok_and(|now| now.has_rights_of(caller)))
    }
}
