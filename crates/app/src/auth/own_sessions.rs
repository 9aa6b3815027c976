//! The own sessions: which there are, and ending them. Every replica knows within a second.

use super::{Auth, Client};
use crate::{
    audit::About,
    pages::{cut, one_more},
};
use bifrost_domain::{
    error::{Error, Result},
    ids::SessionId,
    policy::{Caller, Permit, actions::UseAccount},
};
use bifrost_storage::own_sessions::OwnSession;
use serde_json::json;

/// Some of the own sessions.
#[derive(Debug)]
pub struct OwnSessionPage {
    /// Newest first.
    pub sessions: Vec<OwnSession>,
    /// Whether there are older ones.
    pub more: bool,
}

impl Auth {
    /// The caller's live sessions, newest first, older than `before`.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list_sessions(
        &self,
        permit: &Permit<UseAccount>,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<OwnSessionPage> {
        let now = self.clock.now();
        let found = self.reader.list_own_sessions(permit.user_id(), before, one_more(limit), now).await?;
        let (sessions, more) = cut(found, limit);
        Ok(OwnSessionPage { sessions, more })
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// Not found when he has no live session of this id.
    pub async fn end_session(
        &self,
        permit: &Permit<UseAccount>,
        caller: &Caller,
        id: SessionId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        if !tx.end_own_session(permit.user_id(), id, self.clock.now()).await? {
            return Err(Error::not_found("session"));
        }
        let mut entry = self.scribe.line("session.end", caller, client);
        entry = entry.about(caller.user_id, caller.scope.organization());
        entry.detail = Some(json!({"session": id}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.cache.forget(id);
        Ok(())
    }

    /// Ends all of the caller's sessions, this one too; tells how many that were.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn end_sessions(
        &self,
        permit: &Permit<UseAccount>,
        caller: &Caller,
        client: &Client,
    ) -> Result<u64> {
        let user = permit.user_id();
        let tx = self.store.db().begin().await?;
        tx.lock_user(user).await?;
        let now = self.clock.now();
        let ended = tx.end_own_sessions(user, None, "revoked_by_user", now).await?;
        // What was about to become a session (a device that was let in, a second factor that is waited for) ends with them.
        tx.raise_epoch(user, now).await?;
        let mut entry = self.scribe.line("session.revoke_all", caller, client);
        entry = entry.about(user, caller.scope.organization());
        entry.detail = Some(json!({"sessions": ended}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.cache.forget_user(user);
        Ok(ended)
    }
}
