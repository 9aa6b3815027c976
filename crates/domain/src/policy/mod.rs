//! Who may do what. The only place that decides: commands take a [`Permit`] and reads take a [`Visibility`], and both are
//! made here alone, so forgetting the question does not compile.
//!
//! How to add a permission: one line in [`actions`] (its name, `<resource>.<verb>`, and its rule); the command in `app` takes a
//! `&Permit<ItsName>`; its route is declared with `allowed::<ItsName>` (`api::access`), which asks before the handler runs, and gets the
//! permit from `SignedIn::permit`. The table of who may what (`policy/table.snap`) is written again with `INSTA_UPDATE=always`.
//! Who owes a second factor may do what [`Rule::Waiting`] allows and nothing else, until it is shown.
//! Platform admins have all; owners and admins have all of their organization but what is platform admins' alone; others have what their
//! rank and their roles give, inside their organization. A role grants a permission by its name.

pub mod actions;
mod machines;
#[cfg(test)]
mod tests;

pub use machines::{Acting, may_let_assert};

use crate::{
    error::{Error, Result},
    ids::{ApplicationId, KeyId, OrganizationId, SessionId, UserId},
    rights::{Held, MembershipRole, Rights},
    scope::Scope,
    user::{SessionState, User},
};
use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

/// Text for missing platform rights (part of the HTTP contract).
pub const SUPERUSER_REQUIRED: &str = "Superuser privileges required";

/// Who calls, with the scope the call acts in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The person (or the system user).
    pub user_id: UserId,
    /// E-mail address.
    pub email: String,
    /// Display name.
    pub name: String,
    /// Whether everything is allowed.
    pub is_platform_admin: bool,
    /// The organization the call acts in, or GLOBAL.
    pub scope: Scope,
    /// The session, unless the development bypass speaks.
    pub session_id: Option<SessionId>,
    /// The caller's rank in the organization; none in GLOBAL, and for a platform admin who is no member.
    pub role: Option<MembershipRole>,
    /// The API client that calls.
    pub application_id: Option<ApplicationId>,
    /// The person that the API client acts for; then it is also the caller's `user_id`.
    pub on_behalf_of: Option<UserId>,
    /// The key that was shown, of an API client or of a person.
    pub key_id: Option<KeyId>,
    /// Whether a second factor is required and was not shown; keys are asked for none.
    pub owes_factor: bool,
    rights: Arc<Rights>,
    permissions: BTreeSet<String>,
}

impl Caller {
    /// The caller of a session that acts in `requested` (the header `X-Organization-Id`), or where the session is without it.
    ///
    /// # Errors
    /// As [`Caller::of_user`].
    pub fn of_session(state: &SessionState, requested: Option<OrganizationId>) -> Result<Self> {
        let place = requested.or_else(|| state.place());
        let caller = Self::of_user(&state.user, &state.rights, place, Some(state.session_id))?;
        Ok(Self { owes_factor: state.owes_factor, ..caller })
    }

    /// The caller for a user, in an organization of his or at home (for a platform admin: in any, or in GLOBAL).
    ///
    /// # Errors
    /// Forbidden when a person of an organization names one that he is no member of, whether it exists or not, or that is not
    /// active; or has no organization at all.
    pub fn of_user(
        user: &User,
        rights: &Arc<Rights>,
        requested: Option<OrganizationId>,
        session_id: Option<SessionId>,
    ) -> Result<Self> {
        let place = if user.is_superuser { requested } else { place_of(user, rights, requested)? };
        Ok(Self {
            user_id: user.id,
            email: user.email.clone(),
            name: user.display_name().to_owned(),
            is_platform_admin: user.is_superuser,
            scope: Scope::from(place),
            session_id,
            role: place.and_then(|id| rights.held.get(&id)).map(|held| held.role),
            permissions: rights.granted(user, place).permissions,
            application_id: None,
            on_behalf_of: None,
            key_id: None,
            owes_factor: false,
            rights: Arc::clone(rights),
        })
    }

    /// Whether a permission is held: by a role, as an admin of the organization, or as a platform admin.
    #[must_use]
    pub fn has(&self, permission: &str) -> bool {
        self.is_platform_admin
            || self.permissions.contains(permission)
            || (is_admin(self.role) && actions::is_grantable(permission))
    }

    /// Whether `other` is the same person with the same rights in the same scope.
    #[must_use]
    pub fn has_rights_of(&self, other: &Self) -> bool {
        (self.user_id, self.is_platform_admin, self.scope, self.role, self.owes_factor)
            == (other.user_id, other.is_platform_admin, other.scope, other.role, other.owes_factor)
            && self.permissions == other.permissions
    }
}

impl Caller {
    /// Whether this is the same person in the same scope, who holds all that `other` holds, there and elsewhere. That a second factor was
    /// shown is none of it: who owes one has no permit.
    #[must_use]
    pub fn has_all_rights_of(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.scope == other.scope
            && self.is_platform_admin >= other.is_platform_admin
            && other.permissions.is_subset(&self.permissions)
            && self.rights.contain(&other.rights)
    }
}

fn is_admin(role: Option<MembershipRole>) -> bool {
    role.is_some_and(|role| role.reaches(MembershipRole::Admin))
}

/// Where somebody who is no platform admin acts.
fn place_of(
    user: &User,
    rights: &Rights,
    requested: Option<OrganizationId>,
) -> Result<Option<OrganizationId>> {
    let not_a_member =
        || Error::forbidden("you are not a member of this organization").with_code("not_a_member");
    let is_open = |id: &OrganizationId| rights.held.get(id).is_some_and(|held| held.is_active);
    match (requested, user.organization_id) {
        (Some(id), _) => is_open(&id).then_some(Some(id)).ok_or_else(not_a_member),
        (None, None) => Ok(None),
        (None, Some(home)) if is_open(&home) => Ok(Some(home)),
        (None, Some(_)) => {
            let other = rights.held.keys().find(|id| is_open(id)).copied();
            other.map(Some).ok_or_else(not_a_member)
        }
    }
}

/// Who is allowed by an action's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Platform admins alone.
    PlatformAdmin,
    /// Platform admins, owners and admins of the organization, and those whose role has the permission there.
    Permission,
    /// Also its members, and people of the provider in GLOBAL.
    Member,
    /// Everybody signed in, also with a key of his own; no API client.
    SignedIn,
    /// Everybody signed in himself: no key, so that a lost one can neither make others nor take the account.
    Person,
    /// The same, also while a second factor is required that was not shown.
    Waiting,
}

/// Something that policy decides about.
pub trait Action: Send + Sync + 'static {
    /// `<resource>.<verb>`, as roles carry it.
    const PERMISSION: &'static str;
    /// Who may.
    const RULE: Rule;
}

/// Whose objects an allowed action reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Everybody's.
    All,
    /// Those of these organizations.
    Organizations(BTreeSet<OrganizationId>),
}

impl Reach {
    /// Whether an organization's objects exist for the caller at all: if not, the answer is 404.
    #[must_use]
    pub fn contains(&self, organization: OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::Organizations(ids) => ids.contains(&organization),
        }
    }
}

/// Proof that policy allowed action `A` to somebody in a scope. Only this module makes it.
#[derive(Debug, Clone)]
pub struct Permit<A> {
    caller: Caller,
    action: PhantomData<A>,
}

impl<A: Action> Permit<A> {
    /// The scope the action is allowed in.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.caller.scope
    }

    /// Who was allowed.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.caller.user_id
    }

    /// Who was allowed, with all that is known of him.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The organizations whose objects the action reaches: for a platform admin all, or the one he acts in; for others the one they
    /// act in.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.caller.scope {
            Scope::Global if self.caller.is_platform_admin => Reach::All,
            Scope::Global => Reach::Organizations(BTreeSet::new()),
            Scope::Organization(id) => Reach::Organizations([id].into()),
        }
    }

    /// All organizations in which the caller may do this, wherever he acts now: for lists of organizations.
    #[must_use]
    pub fn everywhere(&self) -> Reach {
        if self.caller.is_platform_admin {
            return Reach::All;
        }
        let may = |held: &Held| {
            held.is_active && (is_admin(Some(held.role)) || held.granted.permissions.contains(A::PERMISSION))
        };
        let held = self.caller.rights.held.iter().filter(|(_, held)| may(held)).map(|(id, _)| *id);
        Reach::Organizations(held.collect())
    }
}

/// Whether `caller` may do `A` in the caller's own scope.
#[must_use]
pub fn may<A: Action>(caller: &Caller) -> bool {
    allows(caller, A::PERMISSION, A::RULE)
}

fn allows(caller: &Caller, permission: &str, rule: Rule) -> bool {
    if caller.owes_factor && rule != Rule::Waiting {
        return false;
    }
    match rule {
        Rule::Person | Rule::Waiting => caller.key_id.is_none(),
        Rule::SignedIn => caller.application_id.is_none(),
        Rule::PlatformAdmin => caller.is_platform_admin,
        Rule::Permission => caller.has(permission),
        Rule::Member => {
            caller.has(permission)
                || match caller.scope {
                    Scope::Global => true,
                    Scope::Organization(_) => {
                        caller.role.is_some_and(|role| role.reaches(MembershipRole::Member))
                    }
                }
        }
    }
}

/// Decides whether `caller` may do `A` in the caller's own scope.
///
/// # Errors
/// Forbidden, with the contract's text.
pub fn authorize<A: Action>(caller: &Caller) -> Result<Permit<A>> {
    if caller.owes_factor && A::RULE != Rule::Waiting {
        return Err(factor_required());
    }
    if !may::<A>(caller) {
        return Err(Error::forbidden(SUPERUSER_REQUIRED).with_code("permission_missing"));
    }
    Ok(Permit { caller: caller.clone(), action: PhantomData })
}

/// The answer to who owes a second factor.
fn factor_required() -> Error {
    Error::forbidden(
        "a second factor is required: set one up (`POST /auth/mfa/setup`), or show a code of yours (`POST /auth/mfa/prove`)",
    )
    .with_code("mfa_required")
}

/// Whether `caller` may give others `permission`: only what may be given at all, and what he has himself.
#[must_use]
pub fn may_grant(caller: &Caller, permission: &str) -> bool {
    actions::is_grantable(permission) && caller.has(permission)
}

/// Whether `caller` may make somebody's rank `role` in `organization`, or take it: never above the own one, and by a key no administrator's,
/// who would be there still when the key is revoked.
#[must_use]
pub fn may_name(caller: &Caller, organization: OrganizationId, role: MembershipRole) -> bool {
    if caller.key_id.is_some() && role.reaches(MembershipRole::Admin) {
        return false;
    }
    caller.is_platform_admin
        || caller.rights.held.get(&organization).is_some_and(|held| held.role.reaches(role))
}

/// What somebody may see of things that belong to a scope: made by the functions `visible_…`, taken by every tenant query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility {
    scope: Option<Scope>,
    only_of: Option<UserId>,
    internal: bool,
}

impl Visibility {
    /// `None` = every scope.
    #[must_use]
    pub const fn scope(&self) -> Option<Scope> {
        self.scope
    }

    /// Only this person's own.
    #[must_use]
    pub const fn only_of(&self) -> Option<UserId> {
        self.only_of
    }

    /// Whether DEBUG and TRACEBACK lines, variables and administrators' error texts are shown.
    #[must_use]
    pub const fn internal(&self) -> bool {
        self.internal
    }

    /// Whether an object of `scope` exists for this caller at all: if not, the answer is 404.
    #[must_use]
    pub fn reaches(&self, scope: Scope) -> bool {
        self.scope.is_none_or(|own| own == scope)
    }

    /// Whether an object that is reached may be read: if not, the answer is 403.
    #[must_use]
    pub fn may_read_of(&self, owner: UserId) -> bool {
        self.only_of.is_none_or(|me| me == owner)
    }

    /// Narrows a platform admin's view to one scope; others keep theirs.
    #[must_use]
    pub fn narrowed(mut self, scope: Scope) -> Self {
        if self.scope.is_none() {
            self.scope = Some(scope);
        }
        self
    }
}

/// What `caller` may see of executions. A platform admin without an organization sees all of them, with one those of it.
#[must_use]
pub fn visible_executions(caller: &Caller) -> Visibility {
    if caller.is_platform_admin {
        return Visibility {
            scope: caller.scope.organization().map(Scope::Organization),
            only_of: None,
            internal: true,
        };
    }
    Visibility {
        scope: Some(caller.scope),
        only_of: (!may::<actions::ReadAllExecutions>(caller)).then_some(caller.user_id),
        internal: false,
    }
}

/// What `caller` may see of workflows: those of the organization and the global ones (storage applies the cascade).
#[must_use]
pub fn visible_workflows(caller: &Caller) -> Visibility {
    let all = caller.is_platform_admin && caller.scope == Scope::Global;
    Visibility { scope: (!all).then_some(caller.scope), only_of: None, internal: caller.is_platform_admin }
}

/// What `caller` may see of forms: as of workflows.
#[must_use]
pub fn visible_forms(caller: &Caller) -> Visibility {
    visible_workflows(caller)
}
