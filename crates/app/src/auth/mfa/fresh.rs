//! A session whose person has just shown that it is he: asked for before the account gets another way in, or a lock of its own.

use super::{Mfa, Proof, already};
use crate::auth::{Auth, Client, tokens::invalid};
use bifrost_domain::{
    error::{Error, Result},
    ids::SessionId,
    policy::{
        Permit,
        actions::{ShowFactor, UseAccount},
    },
    user::SessionState,
};
use bifrost_storage::audit::Outcome;
use chrono::Duration;
use secrecy::SecretString;

/// So long ago a person may have signed in for it to count as just now.
const YOUNG: Duration = Duration::minutes(10);

/// A code was shown.
const PROVE: &str = "account.prove_code";

/// A session of somebody who has just shown that it is he. [`Mfa::freshen`] alone makes one.
#[derive(Debug)]
pub struct FreshSession(SessionId);

impl FreshSession {
    /// The session.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.0
    }
}

impl Mfa {
    /// Looks at what shows that it is really the person: the current password, or a code where a factor is set up. Who has neither has to
    /// have signed in less than ten minutes ago.
    ///
    /// # Errors
    /// Bad request when the proof is not right; invalid when there is none and there could be; forbidden when the sign-in is too long ago;
    /// too many after ten wrong codes.
    pub async fn freshen(
        &self,
        permit: &Permit<UseAccount>,
        session: &SessionState,
        proof: Option<Proof>,
        client: &Client,
    ) -> Result<FreshSession> {
        let user = &session.user;
        match proof {
            Some(Proof::Password(password)) => {
                self.auth.prove_password(permit.caller(), password, "password", client).await?;
            }
            Some(Proof::Code(code)) => {
                self.check_older_factor(session).await?;
                let tx = self.proved_by_code(user, &code, PROVE, client).await?;
                tx.insert_audit(self.entry(PROVE, Outcome::Success, user, client)).await?;
                tx.commit().await?;
            }
            None => self.check_young(session).await?,
        }
        Ok(FreshSession(session.session_id))
    }

    /// The same before a factor is set up: whoever has found a session must not lock its owner out with a factor of his own. Who signed in
    /// less than ten minutes ago, by whatever way, has shown it.
    ///
    /// # Errors
    /// As [`Mfa::freshen`]; conflict when a factor is enrolled.
    pub async fn freshen_to_enrol(
        &self,
        permit: &Permit<ShowFactor>,
        session: &SessionState,
        password: Option<SecretString>,
        client: &Client,
    ) -> Result<FreshSession> {
        let factor = self.auth.reader.find_factor(session.user.id).await?;
        if factor.is_some_and(|factor| factor.confirmed_at.is_some()) {
            return Err(already());
        }
        match password {
            Some(password) => {
                self.auth.prove_password(permit.caller(), password, "password", client).await?;
            }
            None if self.auth.began_just_now(session.session_id).await? => {}
            None => self.check_young(session).await?,
        }
        Ok(FreshSession(session.session_id))
    }

    /// A factor that was set up since the session began shows nothing: who has the session may have set it up.
    async fn check_older_factor(&self, session: &SessionState) -> Result<()> {
        let reader = &self.auth.reader;
        let began = reader.find_session(session.session_id).await?.ok_or_else(invalid)?.created_at;
        let factor = reader.find_factor(session.user.id).await?;
        if factor.and_then(|factor| factor.confirmed_at).is_none_or(|at| at < began) {
            return Ok(());
        }
        if reader.find_password_hash(session.user.id).await?.is_some() {
            return Err(Error::invalid(
                "password",
                "required",
                "is required: the second factor is younger than this session",
            ));
        }
        Err(Error::forbidden("the second factor is younger than this session: sign in again")
            .with_code("sign_in_again"))
    }

    async fn check_young(&self, session: &SessionState) -> Result<()> {
        let (user, reader) = (session.user.id, &self.auth.reader);
        let has_factor = reader.find_factor(user).await?.is_some_and(|factor| factor.confirmed_at.is_some());
        match (reader.find_password_hash(user).await?.is_some(), has_factor) {
            (true, false) => return Err(Error::invalid("password", "required", "is required")),
            (true, true) => {
                return Err(Error::invalid("password", "required", "is required, or `code`"));
            }
            (false, true) => return Err(Error::invalid("code", "required", "is required")),
            (false, false) => {}
        }
        if self.auth.began_just_now(session.session_id).await? {
            return Ok(());
        }
        Err(Error::forbidden(format!(
            "sign in with your provider again, and go on within {} minutes",
            YOUNG.num_minutes()
        ))
        .with_code("sign_in_again"))
    }
}

impl Auth {
    /// Whether a person began the session just now: what a program was given, or a token was exchanged for, began with nobody there.
    pub(crate) async fn began_just_now(&self, session: SessionId) -> Result<bool> {
        let session = self.reader.find_session(session).await?.ok_or_else(invalid)?;
        Ok(session.authenticated_at.is_some_and(|at| at > self.clock.now() - YOUNG))
    }
}
