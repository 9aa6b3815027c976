//! Going on with a session in another organization.

use super::{Auth, Client, TokenPair, tokens::invalid};
use crate::audit::changes;
use bifrost_domain::{
    error::{Error, Result},
    ids::OrganizationId,
    policy::{Caller, Permit, actions::UseAccount},
    user::SessionState,
};
use bifrost_storage::{Tx, audit::Outcome};
use serde_json::Value;

impl Auth {
    /// Has the caller's session act in an organization of his (a platform admin's: in any, or in GLOBAL), and gives a new pair. The
    /// refresh token of before is used up by it, as by a refresh: repeated within 10 s it gets the same pair, later it ends the session.
    ///
    /// # Errors
    /// Forbidden when the caller is no member, whether the organization exists or not; bad request when a platform admin names none that
    /// exists, or there is no session; unauthenticated when the session has ended.
    pub async fn switch_organization(
        &self,
        permit: &Permit<UseAccount>,
        organization: Option<OrganizationId>,
        client: &Client,
    ) -> Result<TokenPair> {
        let session_id = permit.caller().session_id.ok_or_else(|| {
            Error::bad_request("there is no session to switch; sign in, or send `X-Organization-Id`")
                .with_code("no_session")
        })?;
        let (now, jti) = (self.clock.now(), self.ids.next());
        let tx = self.store.db().begin().await?;
        tx.lock_session(session_id).await?;
        let session = tx.find_session(session_id).await?.filter(|session| session.is_live(now));
        let session = session.ok_or_else(invalid)?;
        check_place(&tx, &session.state, organization).await?;

        let before = session.state.organization_id;
        tx.succeed_refresh_tokens(session_id, jti, now).await?;
        let state = SessionState { organization_id: organization, ..session.state };
        tx.insert_refresh_token(self.refresh_row(&state, jti, now)).await?;
        let expires_at = self.tokens.refresh_end(now).min(session.ends_at);
        if !tx.switch_session(session_id, organization, now, expires_at).await? {
            return Err(invalid());
        }
        let text = |id: Option<OrganizationId>| Value::from(id.map(|id| id.to_string()));
        let mut entry = self.entry("session.switch", Outcome::Success, Some(&state.user), client);
        entry.changes = changes([("organization_id", text(before), text(organization))]);
        entry.organization_id = organization;
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.cache.forget(session_id);
        self.tokens.pair(&state, jti, now)
    }
}

/// Whether the session's user may act there now.
async fn check_place(tx: &Tx, state: &SessionState, organization: Option<OrganizationId>) -> Result<()> {
    match organization {
        Some(id) if state.user.is_superuser => tx.find_organization(id).await?.map(drop).ok_or_else(|| {
            Error::bad_request("`organization_id` names no organization").with_code("organization_unknown")
        }),
        Some(id) => Caller::of_session(state, Some(id)).map(drop),
        None if state.user.is_superuser || state.user.organization_id.is_none() => Ok(()),
        None => Err(Error::forbidden("you are not a member of this organization").with_code("not_a_member")),
    }
}
