//! Lines of the audit log, as they are expected.

use bifrost_storage::audit::Line;
use serde_json::{Value, json};

/// Stands for any value that is there, in what is expected.
pub(super) const ANY: &str = "*";

/// A line that is expected.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) action: &'static str,
    outcome: &'static str,
    actor: Option<String>,
    organization: Option<String>,
    target: Option<String>,
    application: Option<String>,
    on_behalf_of: Option<String>,
    changes: Value,
    detail: Value,
}

/// A line of somebody (his address) about something.
pub(super) fn line(action: &'static str, actor: &str, target: &str) -> Expected {
    Expected {
        action,
        outcome: "success",
        actor: Some(actor.to_owned()).filter(|actor| !actor.is_empty()),
        organization: None,
        target: Some(target.to_owned()).filter(|target| !target.is_empty()),
        application: None,
        on_behalf_of: None,
        changes: Value::Null,
        detail: Value::Null,
    }
}

impl Expected {
    /// Whose object it is about.
    pub(super) fn of(self, organization: &str) -> Self {
        Self { organization: Some(organization.to_owned()), ..self }
    }

    pub(super) fn failed(self) -> Self {
        Self { outcome: "failure", ..self }
    }

    pub(super) fn denied(self) -> Self {
        Self { outcome: "denied", ..self }
    }

    pub(super) fn through(self, application: &str, on_behalf_of: Option<&str>) -> Self {
        Self {
            application: Some(application.to_owned()),
            on_behalf_of: on_behalf_of.map(str::to_owned),
            ..self
        }
    }

    pub(super) fn changes(self, changes: Value) -> Self {
        Self { changes, ..self }
    }

    pub(super) fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// That `found` is this line.
    pub(super) fn check(&self, found: &Line, name: &str) {
        let shown = format!("{name}: {found:#?}\nexpected {self:#?}");
        assert_eq!(found.action, self.action, "{shown}");
        assert_eq!(Some(found.resource_type.as_str()), self.action.split('.').next(), "{shown}");
        assert_eq!(found.outcome, self.outcome, "{shown}");
        assert_eq!(found.actor_email, self.actor, "{shown}");
        // Whoever is known by his address is known by his id and name as well, unless the line is about who he says to be.
        let is_known = found.outcome == "success" || found.actor_id.is_some();
        assert!(!is_known || (found.actor_id.is_some() && found.actor_name.is_some()), "{shown}");
        assert_eq!(found.organization_id.map(|id| id.to_string()), self.organization, "{shown}");
        let is_any = self.target.as_deref() == Some(ANY) && found.resource_id.is_some();
        assert!(is_any || found.resource_id == self.target, "{shown}");
        assert_eq!(found.application_id.map(|id| id.to_string()), self.application, "{shown}");
        assert_eq!(found.on_behalf_of.map(|id| id.to_string()), self.on_behalf_of, "{shown}");
        assert_eq!(found.ip_address.as_deref(), Some("127.0.0.1"), "{shown}");
        let (changes, detail) = (found.changes.clone(), found.detail.clone());
        assert!(fits(&self.changes, &changes.unwrap_or_default()), "the changes of {shown}");
        assert!(fits(&self.detail, &detail.unwrap_or_default()), "the detail of {shown}");
    }
}

/// The changes of a thing that was made.
pub(super) fn made(fields: Value) -> Value {
    sided(fields, "new", "old")
}

/// The changes of a thing that is gone.
pub(super) fn gone(fields: Value) -> Value {
    sided(fields, "old", "new")
}

fn sided(fields: Value, there: &str, not: &str) -> Value {
    let Value::Object(fields) = fields else { panic!("no object: {fields}") };
    fields.into_iter().map(|(name, value)| (name, json!({there: value, not: null}))).collect()
}

fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), found) if any == ANY => !found.is_null(),
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        _ => expected == found,
    }
}
