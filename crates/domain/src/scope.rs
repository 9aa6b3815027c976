//! Whose an object is: everybody's, or one organization's.

use crate::ids::OrganizationId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// `GLOBAL`, or one organization. On the wire `"GLOBAL"` or the organization's UUID; `org-{uuid}` is read as well
/// (the older spelling).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Belongs to the provider and is seen by every organization where a cascade says so.
    Global,
    /// Belongs to one organization.
    Organization(OrganizationId),
}

impl Scope {
    /// The organization, when there is one.
    #[must_use]
    pub const fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Global => None,
            Self::Organization(id) => Some(id),
        }
    }
}

impl From<Option<OrganizationId>> for Scope {
    fn from(id: Option<OrganizationId>) -> Self {
        id.map_or(Self::Global, Self::Organization)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("GLOBAL"),
            Self::Organization(id) => id.fmt(f),
        }
    }
}

/// The text is neither `GLOBAL` nor an organization's id.
#[derive(Debug, thiserror::Error)]
#[error("must be `GLOBAL` or an organization's UUID")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("global") {
            return Ok(Self::Global);
        }
        let id = text.strip_prefix("org-").unwrap_or(text);
        id.parse().map(Self::Organization).map_err(|_| ScopeError)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_one_is_written() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let scope: Scope = format!("org-{id}").parse().expect("older spelling");
        assert_eq!(scope, id.parse().expect("plain"));
        assert_eq!(scope.to_string(), id);
        assert_eq!("GLOBAL".parse::<Scope>().expect("global"), Scope::Global);
        assert!("nobody".parse::<Scope>().is_err());
    }
}
