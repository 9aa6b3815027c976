//! Whether a caller may still what he was allowed. Policy decides by what is known of him, which is up to a second old; what he changes in
//! that second would stay. So a command that gives rights or credentials asks again, in its transaction and after its locks: somebody whose
//! rights were taken does not take them back.

use bifrost_domain::{
    error::{Error, Result},
    policy::{Acting, Action, Caller, Permit},
};
use bifrost_storage::Tx;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Refuses who holds less than his permit says, as the transaction sees it.
///
/// # Errors
/// Unauthenticated when session, key or account hold no longer; forbidden when rights were taken.
pub(crate) async fn check<A: Action>(tx: &Tx, permit: &Permit<A>, now: DateTime<Utc>) -> Result<()> {
    let caller = permit.caller();
    let fresh = read(tx, caller, now).await?.ok_or_else(|| {
        Error::unauthenticated("your account, session or key is not active any more")
            .with_code("account_inactive")
    })?;
    if fresh.has_all_rights_of(caller) {
        return Ok(());
    }
    Err(Error::forbidden("your rights were changed just now").with_code("rights_changed"))
}

/// The caller as he is now; `None` when nobody may act in this way any more.
async fn read(tx: &Tx, caller: &Caller, now: DateTime<Utc>) -> Result<Option<Caller>> {
    let place = caller.scope.organization();
    if let Some(session) = caller.session_id {
        let session = tx.find_session(session).await?.filter(|session| session.is_live(now));
        return session.map(|session| Caller::of_session(&session.state, place)).transpose();
    }
    let Some(user) = tx.find_user(caller.user_id).await?.filter(|user| user.is_active) else {
        return Ok(None);
    };
    let rights = Arc::new(tx.find_rights(&user).await?);
    let Some(key) = caller.key_id else {
        return Caller::of_user(&user, &rights, place, None).map(Some);
    };
    if caller.application_id.is_none() {
        let found = tx.find_sdk_key_by_id(key).await?;
        let holds = found.is_some_and(|found| found.key.holds(now) && found.epoch == user.epoch);
        let acting = holds.then(|| Acting::with_own_key(&user, &rights, place, key)).transpose()?;
        return Ok(acting.map(|acting| acting.caller));
    }
    let found = tx.find_application_key_by_id(key).await?;
    let Some(found) = found.filter(|found| found.holds(now)) else { return Ok(None) };
    let acting = if caller.on_behalf_of.is_some() {
        Acting::on_behalf_of(&found.application, key, (&user, &rights), place)?
    } else {
        Acting::of_application(&found.application, key, &user, place)?
    };
    Ok(Some(acting.caller))
}
