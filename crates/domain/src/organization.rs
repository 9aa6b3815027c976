//! Organizations: the provider's customers.

use crate::ids::{OrganizationId, UserId};
use chrono::{DateTime, Utc};
use serde_json::Value;

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
    /// New settings as a whole.
    pub settings: Option<Value>,
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
    use super::is_domain;

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
