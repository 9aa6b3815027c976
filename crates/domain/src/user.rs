//! People, and what a signed-in session knows of them.

use crate::{
    execution::{UnknownValue, text_enum},
    ids::{OrganizationId, SessionId, UserId},
    rights::Rights,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

text_enum! {
    /// What kind of user it is.
    UserType {
        /// Works for the provider.
        Platform = "PLATFORM",
        /// Belongs to one organization.
        Org = "ORG",
        /// Acts for schedules, keys and webhooks; cannot sign in.
        System = "SYSTEM",
    }
}

/// A user as it is kept.
#[derive(Debug, Clone)]
pub struct User {
    /// The user.
    pub id: UserId,
    /// Lower case, unique.
    pub email: String,
    /// Display name.
    pub name: Option<String>,
    /// Kind of user.
    pub user_type: UserType,
    /// Home organization of an organization's user.
    pub organization_id: Option<OrganizationId>,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// Whether the user is a platform admin.
    pub is_superuser: bool,
    /// Whether the address was verified.
    pub is_verified: bool,
    /// `false` for a stub made ahead by an administrator.
    pub is_registered: bool,
    /// Raised on password change and suspension: older tokens end.
    pub epoch: i64,
    /// Last sign-in.
    pub last_login: Option<DateTime<Utc>>,
    /// When the account is removed for good: it was deleted and its grace period runs.
    pub purge_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl User {
    /// The display name, else the part of the address before `@`.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match &self.name {
            Some(name) if !name.is_empty() => name,
            _ => self.email.split('@').next().unwrap_or(&self.email),
        }
    }
}

/// A signed-in session with what the rights of its user are now.
#[derive(Debug, Clone)]
pub struct SessionState {
    /// The session.
    pub session_id: SessionId,
    /// Its user.
    pub user: User,
    /// The organization that the session was switched to.
    pub organization_id: Option<OrganizationId>,
    /// What the user holds.
    pub rights: Arc<Rights>,
    /// Whether a second factor is required of the user and was not shown for this session: until then it opens the way to show one, and
    /// nothing else ([`policy`](crate::policy)).
    pub owes_factor: bool,
}

impl SessionState {
    /// The organization that the session was switched to, while the user may act there; then home counts again.
    #[must_use]
    pub fn place(&self) -> Option<OrganizationId> {
        let is_open = |id: &OrganizationId| self.rights.held.get(id).is_some_and(|held| held.is_active);
        self.organization_id.filter(|id| self.user.is_superuser || is_open(id))
    }
}

/// An e-mail address, lower case, checked for its shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// The text is not an e-mail address.
#[derive(Debug, thiserror::Error)]
#[error("must be an e-mail address of at most 254 characters")]
pub struct EmailError;

impl Email {
    /// The address, lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

impl FromStr for Email {
    type Err = EmailError;

    /// One `@`, a local part of 1 to 64 characters without spaces or controls, a host of 1 to 253 (`localhost` is
    /// allowed: the development user lives there). Length bounds: RFC 5321, 4.5.3.1.
    fn from_str(text: &str) -> Result<Self, EmailError> {
        let text = text.trim().to_lowercase();
        let (local, host) = text.split_once('@').ok_or(EmailError)?;
        let clean = |part: &str| part.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '@');
        if text.len() > 254
            || !(1..=64).contains(&local.len())
            || host.is_empty()
            || host.starts_with('.')
            || host.ends_with('.')
            || host.contains("..")
            || !clean(local)
            || !host.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.')
        {
            return Err(EmailError);
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, EmailError> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(" Ann@Acme.Example ".parse::<Email>().expect("ok").as_str(), "ann@acme.example");
        assert_eq!("admin@localhost".parse::<Email>().expect("ok").domain(), "localhost");
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c.d", "a@.b", "a@b..c", "a@b\n.c"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
        assert!(format!("{}@b.example", "a".repeat(65)).parse::<Email>().is_err());
    }
}
