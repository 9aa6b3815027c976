//! Organizations: the provider's customers.

use crate::{
    execution::{UnknownValue, text_enum},
    ids::{OrganizationId, UserId},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// A provider, its groups and their companies: deeper trees are refused.
pub const MAX_DEPTH: usize = 3;

text_enum! {
    /// What an organization is in the tree.
    OrganizationKind {
        /// The provider itself, at the root.
        Provider = "provider",
        /// Several companies together.
        Group = "group",
        /// One customer; has none below it.
        Company = "company",
    }
}

impl OrganizationKind {
    /// Whether organizations may stand below one of this kind, and its administrators administer them.
    #[must_use]
    pub const fn has_children(self) -> bool {
        matches!(self, Self::Provider | Self::Group)
    }
}

/// An organization as it is kept.
#[derive(Debug, Clone)]
pub struct Organization {
    /// The organization.
    pub id: OrganizationId,
    /// Display name, 1 to 255 characters.
    pub name: String,
    /// E-mail domain whose people belong to it, lower case.
    pub domain: Option<String>,
    /// Whether its people may sign in and run things.
    pub is_active: bool,
    /// What it is in the tree.
    pub kind: OrganizationKind,
    /// The group or provider that it belongs to.
    pub parent_id: Option<OrganizationId>,
    /// Where its people live: a name of the IANA time zone database.
    pub time_zone: String,
    /// Free settings of the console.
    pub settings: Value,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change: `None` leaves a field as it is; `domain: Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct OrganizationPatch {
    /// New display name.
    pub name: Option<String>,
    /// New domain, or none.
    pub domain: Option<Option<String>>,
    /// Active or not.
    pub is_active: Option<bool>,
    /// New kind.
    pub kind: Option<OrganizationKind>,
    /// New parent, or none.
    pub parent_id: Option<Option<OrganizationId>>,
    /// New time zone.
    pub time_zone: Option<String>,
    /// New settings as a whole.
    pub settings: Option<Value>,
}

/// One organization's place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The organization.
    pub id: OrganizationId,
    /// What it is.
    pub kind: OrganizationKind,
    /// What it belongs to.
    pub parent_id: Option<OrganizationId>,
}

/// Why an organization cannot have this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// There is no such parent.
    #[error("names no organization")]
    NoParent,
    /// A company has nothing below it.
    #[error("is a company: only a provider or a group may have organizations below it")]
    ParentIsCompany,
    /// It would stand below itself.
    #[error("is the organization itself, or stands below it")]
    Cycle,
    /// The tree would be deeper than [`MAX_DEPTH`].
    #[error("would make the tree deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The provider stands at the root.
    #[error("must be absent: a provider stands at the root")]
    ProviderBelow,
    /// Something stands below it.
    #[error("cannot be `company` while organizations stand below it")]
    HasChildren,
}

/// Whether `wanted` may stand where it wants to in the tree of all others (its own former place in `tree` does not count).
///
/// # Errors
/// The first thing that is wrong.
pub fn check_place(tree: &[Place], wanted: Place) -> Result<(), PlaceError> {
    let find = |id| tree.iter().find(|one| one.id == id && one.id != wanted.id);
    let children = |id| tree.iter().filter(move |one| one.parent_id == Some(id) && one.id != wanted.id);
    if !wanted.kind.has_children() && children(wanted.id).next().is_some() {
        return Err(PlaceError::HasChildren);
    }
    let Some(parent) = wanted.parent_id else { return Ok(()) };
    if wanted.kind == OrganizationKind::Provider {
        return Err(PlaceError::ProviderBelow);
    }
    let mut depth = 1;
    let mut above = Some(parent);
    while let Some(id) = above {
        if id == wanted.id {
            return Err(PlaceError::Cycle);
        }
        let found = find(id).ok_or(PlaceError::NoParent)?;
        if !found.kind.has_children() {
            return Err(PlaceError::ParentIsCompany);
        }
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(PlaceError::TooDeep);
        }
        above = found.parent_id;
    }
    // What stands below comes along: at most two more levels, or it would have been refused before.
    let mut level: Vec<OrganizationId> = vec![wanted.id];
    loop {
        level = level.iter().flat_map(|id| children(*id)).map(|one| one.id).collect();
        if level.is_empty() {
            return Ok(());
        }
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(PlaceError::TooDeep);
        }
    }
}

/// Whether `domain` is a plausible DNS name (RFC 1035 lengths, lower case, at least one dot).
#[must_use]
pub fn is_domain(domain: &str) -> bool {
    domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::{OrganizationKind as Kind, *};
    use uuid::Uuid;

    fn place(id: u128, kind: Kind, parent: Option<u128>) -> Place {
        let id_of = |n| OrganizationId::from_uuid(Uuid::from_u128(n));
        Place { id: id_of(id), kind, parent_id: parent.map(id_of) }
    }

    #[test]
    fn the_tree_has_three_levels_and_no_cycle() {
        let tree = [
            place(1, Kind::Provider, None),
            place(2, Kind::Group, Some(1)),
            place(3, Kind::Company, Some(2)),
            place(4, Kind::Group, None),
            place(5, Kind::Group, Some(4)),
            place(6, Kind::Company, None),
            place(7, Kind::Company, Some(5)),
        ];
        let check = |id, kind, parent| check_place(&tree, place(id, kind, parent));
        for (id, kind, parent) in [
            (9, Kind::Company, None),
            (9, Kind::Company, Some(2)),
            (3, Kind::Company, Some(1)),
            (6, Kind::Group, Some(2)),
            (5, Kind::Group, Some(1)),
            (3, Kind::Group, Some(5)),
        ] {
            assert_eq!(check(id, kind, parent), Ok(()), "{id} {kind} {parent:?}");
        }
        for (id, kind, parent, expected) in [
            (9, Kind::Company, Some(99), PlaceError::NoParent),
            (9, Kind::Company, Some(6), PlaceError::ParentIsCompany),
            (9, Kind::Company, Some(3), PlaceError::ParentIsCompany),
            (4, Kind::Group, Some(4), PlaceError::Cycle),
            (4, Kind::Group, Some(5), PlaceError::Cycle),
            (4, Kind::Group, Some(1), PlaceError::TooDeep),
            (5, Kind::Group, Some(2), PlaceError::TooDeep),
            (4, Kind::Provider, Some(1), PlaceError::ProviderBelow),
            (2, Kind::Company, Some(1), PlaceError::HasChildren),
        ] {
            assert_eq!(check(id, kind, parent), Err(expected), "{id} {kind} {parent:?}");
        }
    }

    #[test]
    fn domains() {
        assert!(is_domain("acme.example"));
        assert!(is_domain("a-b.co.uk"));
        for bad in ["", "acme", "Acme.example", "-a.example", "a..example", "a b.example"] {
            assert!(!is_domain(bad), "{bad}");
        }
        assert!(!is_domain(&format!("{}.example", "a".repeat(64))));
    }
}
