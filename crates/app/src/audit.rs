//! Lines of the audit log: every change has a name on it, and they are written in the transaction of the change.
//!
//! How to add one: `self.scribe.line("thing.verb", caller, client)` in the command, what it is about with `about`, what changed with
//! [`changes`] ([`made`], [`gone`]), and `tx.insert_audit(…)` before the commit. Secrets are shown as [`MASK`] on both sides. Then its
//! request and its line go into the walk of `api/tests/api/audited`, which fails without them.

use crate::auth::Client;
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    ids::{AuditId, OrganizationId},
    policy::Caller,
};
use bifrost_storage::audit::{Entry, Outcome};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::{self, Display};

/// Stands for a secret.
pub const MASK: &str = "[SECRET]";
/// Bytes of JSON of the longest value that a line shows.
const LONGEST_VALUE: usize = 2_048;

/// Begins lines of the audit log.
#[derive(Clone)]
pub struct Scribe {
    clock: SharedClock,
    ids: SharedIds,
}

impl fmt::Debug for Scribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scribe").finish_non_exhaustive()
    }
}

impl Scribe {
    /// A scribe with a clock and a generator of ids.
    #[must_use]
    pub const fn new(clock: SharedClock, ids: SharedIds) -> Self {
        Self { clock, ids }
    }

    /// A line about what `caller` did, in the scope he acts in; `action` is `<resource>.<verb>`.
    #[must_use]
    pub fn line(&self, action: &'static str, caller: &Caller, client: &Client) -> Entry {
        Entry {
            organization_id: caller.scope.organization(),
            actor_id: Some(caller.user_id),
            actor_email: Some(caller.email.clone()),
            actor_name: Some(caller.name.clone()),
            application_id: caller.application_id,
            on_behalf_of: caller.on_behalf_of,
            ..self.nobodys(action, client)
        }
    }

    /// A line about what somebody unknown did.
    #[must_use]
    pub fn nobodys(&self, action: &'static str, client: &Client) -> Entry {
        Entry {
            id: AuditId::from_uuid(self.ids.next()),
            at: self.clock.now(),
            organization_id: None,
            actor_id: None,
            actor_email: None,
            actor_name: None,
            application_id: None,
            on_behalf_of: None,
            action,
            resource_type: action.split('.').next().unwrap_or(action),
            resource_id: None,
            outcome: Outcome::Success,
            changes: None,
            detail: None,
            request_id: client.request_id.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
        }
    }
}

/// Says what a line is about.
pub trait About {
    /// The object, and the organization that it belongs to (none: it is the provider's).
    #[must_use]
    fn about(self, id: impl Display, organization: Option<OrganizationId>) -> Self;
}

impl About for Entry {
    fn about(mut self, id: impl Display, organization: Option<OrganizationId>) -> Self {
        self.resource_id = Some(id.to_string());
        self.organization_id = organization;
        self
    }
}

/// What a change changed: `{field: {"old": …, "new": …}}` of the fields that differ; `None` when none does.
#[must_use]
pub fn changes<'a>(fields: impl IntoIterator<Item = (&'a str, Value, Value)>) -> Option<Value> {
    let differing: Map<String, Value> = fields
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| (name.to_owned(), json!({"old": shown(old), "new": shown(new)})))
        .collect();
    (!differing.is_empty()).then_some(Value::Object(differing))
}

/// A value as a line shows it: of a long one its size and SHA-256, by which two can be told apart and one be recognised. A page has up to
/// a thousand lines.
fn shown(value: Value) -> Value {
    if matches!(value, Value::Null | Value::Bool(_) | Value::Number(_)) {
        return value;
    }
    let text = value.to_string();
    if text.len() <= LONGEST_VALUE {
        return value;
    }
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"bytes": text.len(), "sha256": hash})
}

/// The fields of what was made: none was anything before.
#[must_use]
pub fn made<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Option<Value> {
    changes(fields.into_iter().map(|(name, new)| (name, Value::Null, new)))
}

/// The fields of what is gone.
#[must_use]
pub fn gone<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Option<Value> {
    changes(fields.into_iter().map(|(name, old)| (name, old, Value::Null)))
}

/// Adds that a secret was set, in place of one if there was one: neither is shown.
#[must_use]
pub fn with_secret(changes: Option<Value>, name: &str, had: bool) -> Value {
    let mut changes = changes.unwrap_or_else(|| json!({}));
    changes[name] = json!({"old": had.then_some(MASK), "new": MASK});
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_change() {
        let found = changes([("name", json!("a"), json!("b")), ("is_active", json!(true), json!(true))]);
        assert_eq!(found, Some(json!({"name": {"old": "a", "new": "b"}})));
        assert_eq!(changes([("name", json!(1), json!(1))]), None);
    }

    #[test]
    fn what_is_made_and_what_is_gone_is_shown_on_one_side() {
        let fields = || [("name", json!("a")), ("domain", json!(null))];
        assert_eq!(made(fields()), Some(json!({"name": {"old": null, "new": "a"}})));
        assert_eq!(gone(fields()), Some(json!({"name": {"old": "a", "new": null}})));
    }

    #[test]
    fn of_a_long_value_the_size_and_a_hash_are_shown() {
        let (short, long) = ("a".repeat(LONGEST_VALUE - 2), "a".repeat(LONGEST_VALUE - 1));
        let found = changes([("name", json!(short), json!(long))]).expect("changed");
        assert_eq!(found["name"]["old"], json!(short));
        assert_eq!(found["name"]["new"]["bytes"], json!(LONGEST_VALUE + 1));
        let hash = |field: &str, other: &str| {
            let one = changes([("list", json!([field.repeat(3_000)]), json!([other.repeat(3_000)]))])
                .expect("changed");
            (one["list"]["old"]["sha256"].clone(), one["list"]["new"]["sha256"].clone())
        };
        let (a, b) = hash("a", "b");
        assert_ne!(a, b);
        assert_eq!(hash("b", "a"), (b, a));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let set = with_secret(None, "password", false);
        assert_eq!(set, json!({"password": {"old": null, "new": MASK}}));
        let set = with_secret(changes([("name", json!("a"), json!("b"))]), "password", true);
        assert_eq!(set["password"], json!({"old": MASK, "new": MASK}));
        assert_eq!(set["name"], json!({"old": "a", "new": "b"}));
    }
}
