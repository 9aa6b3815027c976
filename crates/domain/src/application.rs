//! API clients: programs of an organization that call with a key.

use crate::ids::{ApplicationId, OrganizationId, UserId};
use chrono::{DateTime, Utc};
use std::{collections::BTreeSet, num::NonZeroU32};

/// Longest public name of an API client.
pub const MAX_APP_ID: usize = 100;

/// An API client as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The API client.
    pub id: ApplicationId,
    /// Its public name, unique everywhere.
    pub app_id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whose it is, and the only place where it acts.
    pub organization_id: OrganizationId,
    /// Permissions, `<resource>.<verb>` each: all that it has.
    pub scopes: BTreeSet<String>,
    /// Whether its keys hold.
    pub is_active: bool,
    /// Requests that it may send in a minute; none: as many as it likes.
    pub rate_limit_per_minute: Option<NonZeroU32>,
    /// Whether it may act for a member of its organization (`X-On-Behalf-Of`).
    pub allow_user_assertion: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Whether a text may be the public name of an API client: small letters and digits with single hyphens between them.
#[must_use]
pub fn is_app_id(text: &str) -> bool {
    (1..=MAX_APP_ID).contains(&text.len())
        && text.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_names() {
        for good in ["a", "0", "nightly-sync", "a-1-b", &"x".repeat(100)] {
            assert!(is_app_id(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "a b", "ä", &"x".repeat(101)] {
            assert!(!is_app_id(bad), "{bad}");
        }
    }
}
