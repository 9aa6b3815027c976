//! A second factor that its owner has lost.

use super::{Users, myself, write::check_person};
use crate::auth::Client;
use bifrost_domain::{
    error::{Error, Result},
    ids::UserId,
    policy::{Permit, actions::WriteUsers},
};
use bifrost_storage::users::admin::Person;
use serde_json::json;

impl Users {
    /// Takes somebody's second factor away, with its recovery codes and trusted devices, and ends all sessions: whoever set it up may have
    /// been somebody else. The next sign-in asks for the password alone, or for a new factor where one is required.
    ///
    /// # Errors
    /// Not found when there is nobody or no factor; forbidden when the caller may not change this person's credentials; conflict when it is
    /// the system user or the caller himself.
    pub async fn reset_factor(&self, permit: &Permit<WriteUsers>, id: UserId, client: &Client) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let Person { user, .. } = self.lock(&tx, permit, id).await?;
        check_person(permit)?;
        if permit.user_id() == id {
            return Err(myself("remove your own second factor with `DELETE /auth/mfa`"));
        }
        if !permit.caller().is_platform_admin {
            self.check_credentials(&tx, permit, &user).await?;
        }
        let now = self.clock.now();
        if !tx.delete_factor(id, now).await? {
            return Err(Error::not_found("second factor"));
        }
        let ended = tx.end_user_sessions(id, "factor_reset", now).await?;
        tx.raise_epoch(id, now).await?;
        let mut entry = self.entry("user.reset_factor", permit, &user, client);
        entry.changes = crate::audit::changes([("mfa_enabled", true.into(), false.into())]);
        entry.detail = Some(json!({ "sessions_revoked": ended }));
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }
}
