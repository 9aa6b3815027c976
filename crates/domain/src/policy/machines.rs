//! Who acts when a key is shown.

use super::{Caller, actions, allows, is_admin};
use crate::{
    application::Application,
    error::{Error, Result},
    ids::{KeyId, OrganizationId},
    rights::{Granted, Held, MembershipRole, Rights},
    user::User,
};
use std::sync::Arc;

/// Who acts, with the account that it is told as.
#[derive(Debug, Clone)]
pub struct Acting {
    /// Who calls, and in which scope.
    pub caller: Caller,
    /// The account.
    pub user: User,
    /// What it holds.
    pub rights: Arc<Rights>,
}

impl Acting {
    /// A person who shows a key of his own: he has his rights, in the one organization that the key is for. A platform admin's key for an
    /// organization is an owner's there, and nothing of the platform's: it reaches no other one, and opens none.
    ///
    /// # Errors
    /// As [`Caller::of_user`].
    pub fn with_own_key(
        user: &User,
        rights: &Arc<Rights>,
        place: Option<OrganizationId>,
        key: KeyId,
    ) -> Result<Self> {
        // What he holds elsewhere is not the key's.
        let mut own = Rights::clone(rights);
        own.held.retain(|id, _| Some(*id) == place);
        let mut user = user.clone();
        if let Some(place) = place.filter(|_| user.is_superuser) {
            user.is_superuser = false;
            let stranger = Held {
                role: MembershipRole::Owner,
                is_active: true,
                requires_factor: false,
                granted: Granted::default(),
            };
            own.held.entry(place).or_insert(stranger).role = MembershipRole::Owner;
        }
        let own = Arc::new(own);
        let mut caller = Caller::of_user(&user, &own, place, None)?;
        caller.key_id = Some(key);
        Ok(Self { caller, user, rights: own })
    }

    /// An API client: it acts as the system user under its own name, in its organization, and has its scopes and nothing else.
    ///
    /// # Errors
    /// Forbidden when its organization is not active, or it names another one.
    pub fn of_application(
        application: &Application,
        key: KeyId,
        system: &User,
        requested: Option<OrganizationId>,
    ) -> Result<Self> {
        let user = User { name: Some(application.name.clone()), ..system.clone() };
        Self::limited(application, key, user, application.scopes.iter().cloned(), requested)
    }

    /// An API client for a member of its organization: it has those of its scopes that the person has as well.
    ///
    /// # Errors
    /// Forbidden when it may not, when the person is no member, or as [`Acting::of_application`].
    pub fn on_behalf_of(
        application: &Application,
        key: KeyId,
        (user, rights): (&User, &Arc<Rights>),
        requested: Option<OrganizationId>,
    ) -> Result<Self> {
        if !application.allow_user_assertion {
            return Err(Error::forbidden("this application may not act for others")
                .with_code("assertion_not_allowed"));
        }
        let place = application.organization_id;
        // What a platform admin has beyond his membership is not an application's to use.
        let user = User { is_superuser: false, ..user.clone() };
        let own = Caller::of_user(&user, rights, Some(place), None)?;
        let both = application.scopes.iter().filter(|permission| holds(&own, permission)).cloned();
        let id = user.id;
        let mut acting = Self::limited(application, key, user, both, requested)?;
        acting.caller.on_behalf_of = Some(id);
        Ok(acting)
    }

    fn limited(
        application: &Application,
        key: KeyId,
        user: User,
        scopes: impl Iterator<Item = String>,
        requested: Option<OrganizationId>,
    ) -> Result<Self> {
        let place = application.organization_id;
        let user = User { is_superuser: false, organization_id: Some(place), ..user };
        let mut granted = Granted::default();
        granted.permissions.extend(scopes);
        // The lowest rank: nothing comes from it.
        let held = Held { role: MembershipRole::Limited, is_active: true, requires_factor: false, granted };
        let rights = Arc::new(Rights { held: [(place, held)].into(), everywhere: Granted::default() });
        let mut caller = Caller::of_user(&user, &rights, Some(requested.unwrap_or(place)), None)?;
        caller.application_id = Some(application.id);
        caller.key_id = Some(key);
        Ok(Self { caller, user, rights })
    }
}

fn holds(caller: &Caller, permission: &str) -> bool {
    let known = actions::ALL.iter().find(|(_, known, _)| *known == permission);
    known.is_some_and(|(_, permission, rule)| allows(caller, permission, *rule))
}

/// Whether `caller` may let an API client act for others, or hand out a key of one that may: with it one sees what is their own.
#[must_use]
pub fn may_let_assert(caller: &Caller) -> bool {
    caller.is_platform_admin || is_admin(caller.role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, Ids, SystemClock, SystemIds},
        error::Kind,
        ids::{ApplicationId, UserId},
        policy::{Reach, actions::*, authorize, may, may_grant, may_name},
        scope::Scope,
        user::UserType,
    };

    fn user(user_type: UserType, home: Option<OrganizationId>) -> User {
        let now = SystemClock.now();
        User {
            id: UserId::from_uuid(SystemIds.next()),
            email: "a@b.example".into(),
            name: None,
            user_type,
            organization_id: home,
            is_active: true,
            is_superuser: user_type != UserType::Org,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn organization() -> OrganizationId {
        OrganizationId::from_uuid(SystemIds.next())
    }

    fn application(home: OrganizationId, scopes: &[&str]) -> Application {
        let now = SystemClock.now();
        Application {
            id: ApplicationId::from_uuid(SystemIds.next()),
            app_id: "sync".into(),
            name: "Sync".into(),
            description: None,
            organization_id: home,
            scopes: scopes.iter().map(|&one| one.to_owned()).collect(),
            is_active: true,
            rate_limit_per_minute: None,
            allow_user_assertion: true,
            created_by: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn key() -> KeyId {
        KeyId::from_uuid(SystemIds.next())
    }

    #[test]
    fn an_application_has_its_scopes_in_its_organization_and_nothing_else() {
        let (home, other) = (organization(), organization());
        let app = application(home, &["executions.run", "applications.write", "members.write"]);
        let system = user(UserType::System, None);
        let acting = Acting::of_application(&app, key(), &system, None).expect("at home");
        let caller = &acting.caller;
        assert_eq!((caller.scope, caller.user_id), (Scope::Organization(home), system.id));
        assert_eq!((caller.application_id, caller.name.as_str()), (Some(app.id), "Sync"));
        assert!(!caller.is_platform_admin && !acting.user.is_superuser);
        assert!(may::<RunWorkflows>(caller));
        assert!(!may::<ReadExecutions>(caller), "it is no member");
        assert!(!may::<RunCode>(caller) && !may::<WriteOrganizations>(caller));
        assert!(!may::<UseAccount>(caller) && !may::<ReadAccount>(caller) && !may::<UseLive>(caller));
        assert!(may_grant(caller, "executions.run") && !may_grant(caller, "executions.read_all"));
        assert!(!may_let_assert(caller));
        assert!(!may_name(caller, home, MembershipRole::Member));
        let error = Acting::of_application(&app, key(), &system, Some(other)).expect_err("elsewhere");
        assert_eq!(error.kind, Kind::Forbidden);
    }

    #[test]
    fn for_somebody_it_has_what_both_have() {
        let home = organization();
        let scopes =
            ["executions.run", "executions.read", "users.read", "account.use", "executions.run_code"];
        let app = application(home, &scopes);
        let ann = user(UserType::Org, Some(home));
        let at = |role, permissions: &[&str]| Arc::new(Rights::of_member(home, role, permissions));
        let of = |rights: &Arc<Rights>| {
            Acting::on_behalf_of(&app, key(), (&ann, rights), None).expect("a member").caller
        };
        let member = of(&at(MembershipRole::Member, &["users.read", "roles.write"]));
        assert_eq!((member.user_id, member.on_behalf_of), (ann.id, Some(ann.id)));
        assert!(may::<ReadExecutions>(&member) && may::<ReadUsers>(&member));
        assert!(!may::<RunWorkflows>(&member) && !may::<WriteRoles>(&member) && !may::<UseAccount>(&member));
        let owner = of(&at(MembershipRole::Owner, &[]));
        assert!(may::<RunWorkflows>(&owner) && !may::<WriteRoles>(&owner), "the scopes bound an owner");
        assert!(!may_name(&owner, home, MembershipRole::Admin));

        let boss = User { is_superuser: true, ..ann.clone() };
        let limited = at(MembershipRole::Limited, &[]);
        let acting = Acting::on_behalf_of(&app, key(), (&boss, &limited), None).expect("a member");
        assert!(!may::<RunCode>(&acting.caller) && !may::<RunWorkflows>(&acting.caller));
        let stranger = Acting::on_behalf_of(&app, key(), (&boss, &Arc::default()), None);
        assert_eq!(stranger.expect_err("no member").kind, Kind::Forbidden);
        let plain = Application { allow_user_assertion: false, ..app.clone() };
        let refused = Acting::on_behalf_of(&plain, key(), (&ann, &limited), None).expect_err("not allowed");
        assert_eq!(refused.code, Some("assertion_not_allowed"));
    }

    #[test]
    fn a_persons_key_is_the_person_but_not_the_account() {
        let home = organization();
        let rights = Arc::new(Rights::of_member(home, MembershipRole::Admin, &[]));
        let ann = user(UserType::Org, Some(home));
        let caller = Acting::with_own_key(&ann, &rights, Some(home), key()).expect("a member").caller;
        assert!(may::<WriteUsers>(&caller) && may::<ReadAccount>(&caller) && may::<UseLive>(&caller));
        assert!(!may::<UseAccount>(&caller));
        assert!(Acting::with_own_key(&ann, &Arc::default(), Some(home), key()).is_err());
    }

    #[test]
    fn a_persons_key_is_for_one_place() {
        let (home, other) = (organization(), organization());
        let mut held = Rights::of_member(home, MembershipRole::Owner, &[]);
        held.held.extend(Rights::of_member(other, MembershipRole::Owner, &[]).held);
        let rights = Arc::new(held);
        let only = |id| Reach::Organizations([id].into());
        let everywhere =
            |caller: &Caller| authorize::<ReadOrganizations>(caller).expect("an owner may").everywhere();
        let ann = user(UserType::Org, Some(home));
        let herself = Caller::of_user(&ann, &rights, None, None).expect("a member");
        assert_eq!(everywhere(&herself), Reach::Organizations([home, other].into()));
        for place in [home, other] {
            let acting = Acting::with_own_key(&ann, &rights, Some(place), key()).expect("a member");
            assert_eq!(everywhere(&acting.caller), only(place));
            assert_eq!(acting.rights.held.keys().collect::<Vec<_>>(), [&place]);
            assert!(!may_name(
                &acting.caller,
                if place == home { other } else { home },
                MembershipRole::Limited
            ));
        }
        assert!(Acting::with_own_key(&ann, &rights, Some(organization()), key()).is_err());

        let boss = user(UserType::Platform, None);
        let acting = Acting::with_own_key(&boss, &Arc::default(), Some(home), key()).expect("an admin");
        assert_eq!(everywhere(&acting.caller), only(home));
        let caller = &acting.caller;
        assert!(!caller.is_platform_admin && !acting.user.is_superuser);
        assert!(may::<WriteUsers>(caller) && !may::<RunCode>(caller) && !may::<WriteOrganizations>(caller));
        assert_eq!(authorize::<WriteUsers>(caller).expect("an owner may").reach(), only(home));
        let himself = Caller::of_user(&boss, &Arc::default(), Some(home), None).expect("an admin");
        assert_eq!(everywhere(&himself), Reach::All);
    }
}
