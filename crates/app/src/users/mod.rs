//! People, as administrators see and change them.
//!
//! A platform admin reaches everybody. Others reach the people of the organization that they act in, and change those whose home it is and
//! whose rank there is not above their own: an account is more than a membership, so somebody's guest is not suspended for him.
//!
//! `write.rs` makes and changes, `end.rs` deletes, purges and ends sessions, `factor.rs` takes a lost second factor away.

mod end;
mod factor;
mod write;

pub(crate) use write::described;
pub use write::{NewUser, UserPatch};

use crate::{
    audit::Scribe,
    auth::{Auth, Client},
    pages::{cut, one_more},
    still,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    ids::{FormId, RoleId, UserId},
    policy::{Action, Permit, SUPERUSER_REQUIRED, actions::ReadUsers, may_name},
    rights::MembershipRole,
    scope::Scope,
    user::{User, UserType},
};
use bifrost_storage::{
    Error as StoreError, Reader, Store, Tx,
    audit::Entry,
    users::admin::{PeopleFilter, Person},
};
use chrono::Duration;
use std::sync::Arc;

/// Longer texts are not searched for, in characters.
const MAX_SEARCH: usize = 200;

/// What forms somebody may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormsOf {
    /// What kind of user it is.
    pub user_type: UserType,
    /// Whether all forms are open to him: he is a platform admin, or an admin of the organization.
    pub all: bool,
    /// Those that his roles open.
    pub form_ids: Vec<FormId>,
}

/// The commands over people. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    store: Store,
    reader: Reader,
    auth: Arc<Auth>,
    clock: SharedClock,
    ids: SharedIds,
    scribe: Scribe,
    grace: Duration,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("grace", &self.grace).finish_non_exhaustive()
    }
}

impl Users {
    /// The commands over a store. Who is deleted is removed for good after `grace`.
    #[must_use]
    pub fn new(store: Store, auth: Arc<Auth>, clock: SharedClock, ids: SharedIds, grace: Duration) -> Self {
        let scribe = Scribe::new(clock.clone(), ids.clone());
        Self { reader: store.reader(), store, auth, clock, ids, scribe, grace }
    }

    /// A page of people, oldest first: at most `limit`, and whether there are more. A platform admin who acts in an organization sees its
    /// people unless the filter says otherwise.
    ///
    /// # Errors
    /// Invalid when the search is too long; unavailable when the store is away.
    pub async fn list(
        &self,
        permit: &Permit<ReadUsers>,
        mut filter: PeopleFilter,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<Person>, bool)> {
        if filter.text.as_ref().is_some_and(|text| text.chars().count() > MAX_SEARCH || text.contains('\0')) {
            let message = format!("must have at most {MAX_SEARCH} characters and no NUL");
            return Err(Error::invalid("q", "too_long", message));
        }
        filter.place = filter.place.or_else(|| permit.scope().organization().map(Scope::Organization));
        if let Some(Scope::Organization(place)) = filter.place
            && !permit.reach().contains(place)
        {
            // Who of the own people is a member elsewhere is not told either.
            return Ok((Vec::new(), false));
        }
        let found = self.reader.list_people(permit, &filter, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// Somebody.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, permit: &Permit<ReadUsers>, id: UserId) -> Result<Person> {
        self.reader.find_person(permit, id).await?.ok_or_else(not_found)
    }

    /// The roles of somebody: for who is no platform admin those of the organization that he acts in.
    ///
    /// # Errors
    /// Not found.
    pub async fn roles_of(&self, permit: &Permit<ReadUsers>, id: UserId) -> Result<Vec<RoleId>> {
        self.get(permit, id).await?;
        Ok(self.reader.list_roles_of(permit, id).await?)
    }

    /// The forms that somebody may use: in the organization that the caller acts in, else at home.
    ///
    /// # Errors
    /// Not found.
    pub async fn forms_of(&self, permit: &Permit<ReadUsers>, id: UserId) -> Result<FormsOf> {
        let user = self.get(permit, id).await?.user;
        let place = permit.scope().organization().or(user.organization_id);
        let rights = self.reader.find_rights(&user).await?;
        let held = place.and_then(|id| rights.held.get(&id));
        let all = user.is_superuser || held.is_some_and(|held| held.role.reaches(MembershipRole::Admin));
        let form_ids = if all { Vec::new() } else { self.reader.list_forms_of(permit, id).await? };
        Ok(FormsOf { user_type: user.user_type, all, form_ids })
    }

    /// Finds somebody whom the caller may change, and keeps other changes of him out.
    async fn lock<A: Action>(&self, tx: &Tx, permit: &Permit<A>, id: UserId) -> Result<Person> {
        let person = tx.lock_person(permit, id).await?.ok_or_else(not_found)?;
        let caller = permit.caller();
        // Of two who suspend each other at once one comes second.
        still::check(tx, permit, self.clock.now()).await?;
        if person.user.user_type == UserType::System {
            return Err(system_user());
        }
        if caller.is_platform_admin {
            return Ok(person);
        }
        let home = person.user.organization_id.filter(|home| permit.scope() == Scope::Organization(*home));
        let Some(home) = home.filter(|_| person.user.user_type == UserType::Org) else {
            return Err(Error::forbidden(
                "this person's home is not the organization that you act in; end the membership instead",
            )
            .with_code("not_at_home"));
        };
        let rights = tx.find_rights(&person.user).await?;
        let rank = rights.held.get(&home).map_or(MembershipRole::Limited, |held| held.role);
        if !may_name(caller, home, rank) {
            return Err(rank_too_high());
        }
        Ok(person)
    }

    fn entry<A: Action>(
        &self,
        action: &'static str,
        permit: &Permit<A>,
        user: &User,
        client: &Client,
    ) -> Entry {
        use crate::audit::About;
        self.scribe.line(action, permit.caller(), client).about(user.id, user.organization_id)
    }
}

/// Whether he is one of those of whom one has to remain.
fn is_admin(user: &User) -> bool {
    user.is_superuser && user.is_active && user.is_registered && user.user_type != UserType::System
}

/// Refuses to let the last platform admin go; asked under [`Tx::lock_registration`].
async fn keep_an_admin(tx: &Tx, before: &User, after: &User) -> Result<()> {
    if is_admin(before) && !is_admin(after) && !tx.has_admin_besides(before.id).await? {
        return Err(Error::conflict(
            "this is the last active platform admin; make somebody else one first (`is_superuser`)",
        )
        .with_code("last_admin"));
    }
    Ok(())
}

pub(crate) fn not_found() -> Error {
    Error::not_found("user")
}

pub(crate) fn system_user() -> Error {
    Error::conflict("the system user acts for schedules, keys and webhooks and cannot be changed")
        .with_code("system_user")
}

pub(crate) fn rank_too_high() -> Error {
    Error::forbidden("your own rank in the organization is lower than this one").with_code("rank_too_high")
}

fn superuser_required() -> Error {
    Error::forbidden(SUPERUSER_REQUIRED).with_code("permission_missing")
}

fn myself(message: &'static str) -> Error {
    Error::conflict(message).with_code("yourself")
}

fn email_taken(error: StoreError) -> Error {
    match error {
        StoreError::Duplicate(_) => {
            Error::conflict("somebody has this address already").with_code("email_taken").with_source(error)
        }
        StoreError::Reference(_) => no_organization().with_source(error),
        other => other.into(),
    }
}

fn no_organization() -> Error {
    Error::invalid("organization_id", "value", "names no organization")
}
