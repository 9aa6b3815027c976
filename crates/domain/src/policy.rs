//! Who may do what. The only place that decides: commands take a [`Permit`] and reads take a [`Visibility`], and both are
//! made here alone, so forgetting the question does not compile.
//!
//! How to add a permission: one line in [`actions`] (its name, `<resource>.<verb>`, and its rule); the command in `app` takes a
//! `&Permit<ItsName>`, the route gets it from `SignedIn::permit`; a line in the table of the tests below says who has it. Platform admins
//! have all; people of an organization have what their roles grant, inside their organization; everybody signed in has what is marked
//! `Member`. A role grants it by its name.

use crate::{
    error::{Error, Result},
    ids::{OrganizationId, SessionId, UserId},
    scope::Scope,
    user::{SessionState, User},
};
use std::{collections::BTreeSet, marker::PhantomData};

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
    permissions: BTreeSet<String>,
}

impl Caller {
    /// The caller of a session that acts in `requested` (the header `X-Organization-Id`), or at home without it.
    ///
    /// # Errors
    /// Forbidden when a person of an organization names another one, whether it exists or not.
    pub fn of_session(state: &SessionState, requested: Option<OrganizationId>) -> Result<Self> {
        Self::of_user(&state.user, &state.permissions, requested, Some(state.session_id))
    }

    /// The caller for a user without a session (development bypass, tests of rights).
    ///
    /// # Errors
    /// As [`Caller::of_session`].
    pub fn of_user(
        user: &User,
        permissions: &BTreeSet<String>,
        requested: Option<OrganizationId>,
        session_id: Option<SessionId>,
    ) -> Result<Self> {
        let scope = if user.is_superuser {
            Scope::from(requested)
        } else {
            match (user.organization_id, requested) {
                (home, None) => Scope::from(home),
                (Some(home), Some(asked)) if home == asked => Scope::Organization(home),
                _ => return Err(Error::forbidden("you are not a member of this organization")),
            }
        };
        Ok(Self {
            user_id: user.id,
            email: user.email.clone(),
            name: user.display_name().to_owned(),
            is_platform_admin: user.is_superuser,
            scope,
            session_id,
            permissions: permissions.clone(),
        })
    }

    /// Whether a permission is held, by role or as a platform admin.
    #[must_use]
    pub fn has(&self, permission: &str) -> bool {
        self.is_platform_admin || self.permissions.contains(permission)
    }

    /// Whether `other` is the same person with the same rights in the same scope.
    #[must_use]
    pub fn has_rights_of(&self, other: &Self) -> bool {
        (self.user_id, self.is_platform_admin, self.scope)
            == (other.user_id, other.is_platform_admin, other.scope)
            && self.permissions == other.permissions
    }
}

/// Who is allowed by an action's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Platform admins alone.
    PlatformAdmin,
    /// Platform admins, and those whose role has the permission in the scope.
    Permission,
    /// Everybody signed in, in the own scope.
    Member,
}

/// Something that policy decides about.
pub trait Action {
    /// `<resource>.<verb>`, as roles carry it.
    const PERMISSION: &'static str;
    /// Who may.
    const RULE: Rule;
}

/// The actions. A permit for one is no permit for another.
pub mod actions {
    use super::{Action, Rule};

    macro_rules! actions {
        ($($(#[$doc:meta])* $name:ident = $permission:literal, $rule:ident;)+) => {
            $(
                $(#[$doc])*
                #[derive(Debug, Clone, Copy)]
                pub struct $name;
                impl Action for $name {
                    const PERMISSION: &'static str = $permission;
                    const RULE: Rule = Rule::$rule;
                }
            )+
            /// Every action: name, permission, rule.
            pub const ALL: &[(&str, &str, Rule)] = &[$((stringify!($name), $permission, Rule::$rule)),+];
        };
    }

    actions! {
        /// See organizations.
        ReadOrganizations = "organizations.read", PlatformAdmin;
        /// Create, change and delete organizations.
        WriteOrganizations = "organizations.write", PlatformAdmin;
        /// See workflows.
        ReadWorkflows = "workflows.read", Member;
        /// Have source checked.
        ValidateWorkflows = "workflows.validate", Member;
        /// Run workflows.
        RunWorkflows = "executions.run", Permission;
        /// Run posted code: it runs with the platform's libraries, so it is not for members.
        RunCode = "executions.run_code", PlatformAdmin;
        /// See the own executions.
        ReadExecutions = "executions.read", Member;
        /// See everybody's executions of the organization.
        ReadAllExecutions = "executions.read_all", Permission;
        /// Cancel the own executions.
        CancelExecutions = "executions.cancel", Member;
        /// Cancel everybody's executions of the organization.
        CancelAllExecutions = "executions.cancel_all", Permission;
        /// Change configuration values.
        WriteConfig = "config.write", Permission;
        /// See configuration values.
        ReadConfig = "config.read", Permission;
    }
}

/// Proof that policy allowed action `A` to somebody in a scope. Only this module makes it.
#[derive(Debug, Clone)]
pub struct Permit<A> {
    scope: Scope,
    user_id: UserId,
    action: PhantomData<A>,
}

impl<A> Permit<A> {
    /// The scope the action is allowed in.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Who was allowed.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }
}

/// Decides whether `caller` may do `A` in the caller's own scope.
///
/// # Errors
/// Forbidden, with the contract's text.
pub fn authorize<A: Action>(caller: &Caller) -> Result<Permit<A>> {
    let allowed = match A::RULE {
        Rule::PlatformAdmin => caller.is_platform_admin,
        Rule::Permission => caller.has(A::PERMISSION),
        Rule::Member => true,
    };
    if !allowed {
        return Err(Error::forbidden(SUPERUSER_REQUIRED).with_code("permission_missing"));
    }
    Ok(Permit { scope: caller.scope, user_id: caller.user_id, action: PhantomData })
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
        only_of: (!caller.has("executions.read_all")).then_some(caller.user_id),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, Ids, SystemClock, SystemIds},
        error::Kind,
        user::UserType,
    };

    fn user(is_superuser: bool, organization_id: Option<OrganizationId>) -> User {
        let now = SystemClock.now();
        User {
            id: UserId::from_uuid(SystemIds.next()),
            email: "a@b.example".into(),
            name: None,
            user_type: if is_superuser { UserType::Platform } else { UserType::Org },
            organization_id,
            is_active: true,
            is_superuser,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn caller(is_superuser: bool, home: Option<OrganizationId>, permissions: &[&str]) -> Caller {
        let permissions = permissions.iter().map(|&p| p.to_owned()).collect();
        Caller::of_user(&user(is_superuser, home), &permissions, None, None).expect("at home")
    }

    #[test]
    fn the_table_of_roles_and_actions() {
        let home = OrganizationId::from_uuid(SystemIds.next());
        let admin = caller(true, None, &[]);
        let member = caller(false, Some(home), &[]);
        let runner = caller(false, Some(home), &["executions.run"]);
        assert!(authorize::<actions::WriteOrganizations>(&admin).is_ok());
        assert!(authorize::<actions::RunWorkflows>(&admin).is_ok());
        assert!(authorize::<actions::RunWorkflows>(&runner).is_ok());
        assert_eq!(
            authorize::<actions::RunWorkflows>(&member).expect_err("no role").message,
            SUPERUSER_REQUIRED
        );
        assert!(authorize::<actions::RunCode>(&runner).is_err());
        assert!(authorize::<actions::ReadExecutions>(&member).is_ok());
        // Reading everybody's is not ending everybody's.
        let reader = caller(false, Some(home), &["executions.read_all"]);
        assert!(authorize::<actions::CancelAllExecutions>(&reader).is_err());
        assert!(
            authorize::<actions::CancelAllExecutions>(&caller(false, Some(home), &["executions.cancel_all"]))
                .is_ok()
        );
    }

    #[test]
    fn rights_differ_by_person_rank_scope_and_permission() {
        let [home, other] = [(); 2].map(|()| OrganizationId::from_uuid(SystemIds.next()));
        let ann = caller(false, Some(home), &["executions.run"]);
        assert!(ann.has_rights_of(&ann.clone()));
        let changes: [fn(&mut Caller); 4] = [
            |ann| ann.user_id = UserId::from_uuid(SystemIds.next()),
            |ann| ann.is_platform_admin = true,
            |ann| ann.scope = Scope::Global,
            |ann| ann.permissions = BTreeSet::new(),
        ];
        for change in changes {
            let mut changed = ann.clone();
            change(&mut changed);
            assert!(!ann.has_rights_of(&changed), "{changed:?}");
        }
        let moved = Caller { scope: Scope::Organization(other), ..ann.clone() };
        assert!(!moved.has_rights_of(&ann));
    }

    #[test]
    fn a_stranger_cannot_name_another_organization() {
        let home = OrganizationId::from_uuid(SystemIds.next());
        let other = OrganizationId::from_uuid(SystemIds.next());
        let error = Caller::of_user(&user(false, Some(home)), &BTreeSet::new(), Some(other), None)
            .expect_err("not a member");
        assert_eq!(error.kind, Kind::Forbidden);
        let admin = Caller::of_user(&user(true, None), &BTreeSet::new(), Some(other), None).expect("admin");
        assert_eq!(admin.scope, Scope::Organization(other));
    }

    #[test]
    fn what_is_not_reached_is_not_found_and_what_is_not_own_is_forbidden() {
        let home = OrganizationId::from_uuid(SystemIds.next());
        let member = caller(false, Some(home), &[]);
        let seen = visible_executions(&member);
        assert!(!seen.reaches(Scope::Global));
        assert!(seen.reaches(Scope::Organization(home)));
        assert!(seen.may_read_of(member.user_id));
        assert!(!seen.may_read_of(UserId::from_uuid(SystemIds.next())));
        assert!(!seen.internal());
    }
}
