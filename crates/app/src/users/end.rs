//! Ends: of accounts, and of all sessions of somebody.

use super::{Users, described, keep_an_admin, myself};
use crate::{
    App,
    audit::{About, Scribe, changes},
    auth::Client,
};
use bifrost_domain::{
    error::Result,
    ids::UserId,
    policy::{
        Permit,
        actions::{RevokeSessions, WriteUsers},
    },
    user::User,
};
use bifrost_storage::users::admin::Person;
use chrono::{DateTime, Utc};
use serde_json::json;

/// Looked for together.
const PAGE: u64 = 100;
/// Pages of one round: the rest waits for the next one.
const PAGES: usize = 50;

impl Users {
    /// Suspends somebody at once and has him removed for good when his grace period has ended; until then a change to `is_active` takes him
    /// back. Who was deleted before stays so.
    ///
    /// # Errors
    /// Not found; forbidden when the caller may not change this person; conflict when he is the last platform admin, the system user or
    /// the caller himself.
    pub async fn delete(&self, permit: &Permit<WriteUsers>, id: UserId, client: &Client) -> Result<()> {
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        let Person { user: before, .. } = self.lock(&tx, permit, id).await?;
        if permit.user_id() == id {
            return Err(myself("you cannot delete yourself"));
        }
        if before.purge_at.is_some() {
            return Ok(());
        }
        let after =
            User { is_active: false, purge_at: Some(now + self.grace), updated_at: now, ..before.clone() };
        keep_an_admin(&tx, &before, &after).await?;
        tx.update_user(permit, &after, true).await?;
        let mut entry = self.entry("user.delete", permit, &after, client);
        let pairs = described(&before).into_iter().zip(described(&after));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// Ends all sessions of somebody; tells how many there were.
    ///
    /// # Errors
    /// Not found; forbidden when the caller may not change this person; conflict when it is the system user.
    pub async fn revoke_sessions(
        &self,
        permit: &Permit<RevokeSessions>,
        id: UserId,
        client: &Client,
    ) -> Result<u64> {
        let tx = self.store.db().begin().await?;
        let Person { user, .. } = self.lock(&tx, permit, id).await?;
        let now = self.clock.now();
        let ended = tx.end_user_sessions(id, "revoked", now).await?;
        tx.raise_epoch(id, now).await?;
        let mut entry = self.entry("user.revoke", permit, &user, client);
        entry.detail = Some(json!({ "sessions_revoked": ended }));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(ended)
    }
}

impl App {
    /// Removes people whose grace period has ended, each in a transaction of his own: one who cannot be removed keeps nobody else.
    pub(crate) async fn purge_people(&self) -> Result<()> {
        let now = self.doors.clock.now();
        let mut after = None;
        for _ in 0..PAGES {
            let due = self.doors.store.list_due_people(after, PAGE, now).await?;
            for id in &due {
                match self.purge(*id, now).await {
                    Err(error) if error.is_away() => return Err(error.into()),
                    Err(error) => {
                        tracing::error!(user.id = %id, error = %error, "a deleted account was not removed");
                    }
                    Ok(()) => {}
                }
            }
            after = due.last().copied();
            if (due.len() as u64) < PAGE {
                break;
            }
        }
        Ok(())
    }

    async fn purge(&self, id: UserId, now: DateTime<Utc>) -> Result<(), bifrost_storage::Error> {
        let tx = self.doors.store.db().begin().await?;
        // The memberships go along.
        tx.lock_tree().await?;
        let Some(user) = tx.purge_user(id, now).await? else { return Ok(()) };
        let scribe = Scribe::new(self.doors.clock.clone(), self.doors.ids.clone());
        let mut entry = scribe.nobodys("user.purge", &Client::default()).about(id, user.organization_id);
        entry.detail = Some(json!({"email": user.email, "name": user.display_name()}));
        tx.insert_audit(entry).await?;
        tx.commit().await
    }
}
