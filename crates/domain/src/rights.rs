//! What somebody holds: a rank in each organization he is a member of, and what his roles add to it.

use crate::{
    execution::{UnknownValue, text_enum},
    ids::OrganizationId,
    user::User,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

text_enum! {
    /// A member's rank inside one organization, lowest first.
    MembershipRole {
        /// Sees the customer's portal and nothing else.
        Limited = "limited",
        /// Runs what is open to him, sees his own runs.
        Member = "member",
        /// Has all of the organization.
        Admin = "admin",
        /// As an admin; names other owners.
        Owner = "owner",
    }
}

impl MembershipRole {
    /// Whether it is at least as high as `other`.
    #[must_use]
    pub const fn reaches(self, other: Self) -> bool {
        self as u8 >= other as u8
    }
}

text_enum! {
    /// Why somebody is a member.
    MembershipSource {
        /// An administrator made him one.
        Direct = "direct",
        /// He administers a group that the organization belongs to.
        Inherited = "inherited",
        /// An identity provider says so.
        Provider = "provider",
    }
}

/// What somebody holds in one organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The highest of the ranks that lead there.
    pub role: MembershipRole,
    /// Whether the organization is active: in one that is not, nobody acts but platform admins.
    pub is_active: bool,
    /// Whether the organization requires a second factor of its people.
    pub requires_factor: bool,
    /// What his roles there add.
    pub granted: Granted,
}

/// What roles give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Names of the active roles.
    pub roles: BTreeSet<String>,
    /// Their permissions together, `<resource>.<verb>` each.
    pub permissions: BTreeSet<String>,
}

impl Granted {
    /// Adds what one more role gives.
    pub fn add(&mut self, role: String, permissions: impl IntoIterator<Item = String>) {
        self.roles.insert(role);
        self.permissions.extend(permissions);
    }
}

/// All that somebody holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// By organization.
    pub held: BTreeMap<OrganizationId, Held>,
    /// What roles without an organization give: at home.
    pub everywhere: Granted,
}

impl Rights {
    /// Who is a member of one active organization, with the permissions that a role adds.
    #[must_use]
    pub fn of_member(organization: OrganizationId, role: MembershipRole, permissions: &[&str]) -> Self {
        let mut granted = Granted::default();
        if !permissions.is_empty() {
            granted.add("custom".to_owned(), permissions.iter().map(|&one| one.to_owned()));
        }
        let held = Held { role, is_active: true, requires_factor: false, granted };
        Self { held: [(organization, held)].into(), everywhere: Granted::default() }
    }

    /// Whether they hold all that `other` hold.
    #[must_use]
    pub fn contain(&self, other: &Self) -> bool {
        let contains = |ours: &Granted, theirs: &Granted| theirs.permissions.is_subset(&ours.permissions);
        contains(&self.everywhere, &other.everywhere)
            && other.held.iter().all(|(id, theirs)| {
                self.held.get(id).is_some_and(|ours| {
                    ours.role.reaches(theirs.role)
                        && ours.is_active >= theirs.is_active
                        && contains(&ours.granted, &theirs.granted)
                })
            })
    }

    /// Whether there is anywhere that `user` may act: a platform admin anywhere, who has no home in GLOBAL, others in an active
    /// organization of theirs.
    #[must_use]
    pub fn admit(&self, user: &User) -> bool {
        user.is_superuser || user.organization_id.is_none() || self.held.values().any(|held| held.is_active)
    }

    /// Whether an active organization requires a second factor.
    #[must_use]
    pub fn require_factor(&self) -> bool {
        self.held.values().any(|held| held.is_active && held.requires_factor)
    }

    /// What roles give in an organization (GLOBAL without one): those of roles without an organization count at home.
    #[must_use]
    pub fn granted(&self, user: &User, organization: Option<OrganizationId>) -> Granted {
        let mut granted = organization
            .and_then(|id| self.held.get(&id))
            .map(|held| held.granted.clone())
            .unwrap_or_default();
        if organization == user.organization_id {
            granted.roles.extend(self.everywhere.roles.iter().cloned());
            granted.permissions.extend(self.everywhere.permissions.iter().cloned());
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::{MembershipRole as Role, *};
    use uuid::Uuid;

    #[test]
    fn rights_contain_what_they_reach() {
        let place = |n| OrganizationId::from_uuid(Uuid::from_u128(n));
        let of = |role, permissions: &[&str]| Rights::of_member(place(1), role, permissions);
        let admin = of(Role::Admin, &["a.read", "b.read"]);
        assert!(admin.contain(&admin) && admin.contain(&Rights::default()));
        assert!(admin.contain(&of(Role::Member, &["a.read"])));
        for more in [
            of(Role::Owner, &[]),
            of(Role::Member, &["c.read"]),
            Rights::of_member(place(2), Role::Limited, &[]),
        ] {
            assert!(!admin.contain(&more), "{more:?}");
        }
        let mut closed = admin.clone();
        closed.held.values_mut().for_each(|held| held.is_active = false);
        assert!(!closed.contain(&admin) && admin.contain(&closed));
        let mut everywhere = admin.clone();
        everywhere.everywhere.add("r".into(), ["x.read".into()]);
        assert!(!admin.contain(&everywhere) && everywhere.contain(&admin));
    }

    #[test]
    fn ranks_are_ordered() {
        let ranks = [Role::Limited, Role::Member, Role::Admin, Role::Owner];
        assert_eq!(ranks, Role::ALL);
        for (i, one) in ranks.iter().enumerate() {
            for (j, other) in ranks.iter().enumerate() {
                assert_eq!(one.reaches(*other), i >= j, "{one} {other}");
            }
        }
    }
}
