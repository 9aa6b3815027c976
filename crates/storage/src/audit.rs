//! The audit log: who did what, from where, with which outcome. Written in the transaction of the change it tells of,
//! so that neither exists without the other.

use crate::{Error, Reader, Tx, entities::audit_logs};
use bifrost_domain::{
    ids::{ApplicationId, AuditId, OrganizationId, UserId},
    policy::{Permit, Reach, actions::ReadAudit},
};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::Value;
use std::str::FromStr;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
    /// It was tried and failed (a wrong password).
    Failure,
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let all = [Self::Success, Self::Denied, Self::Failure];
        all.into_iter().find(|outcome| outcome.as_str() == text).ok_or(UnknownOutcome)
    }
}

/// A text that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be success, denied or failure")]
pub struct UnknownOutcome;

impl Outcome {
    /// The spelling on the wire and in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whose object it was about.
    pub organization_id: Option<OrganizationId>,
    /// Who did it, when known.
    pub actor_id: Option<UserId>,
    /// The address that was given, also when nobody has it; cut to 254 bytes.
    pub actor_email: Option<String>,
    /// The display name at that time: it stays when the person is gone.
    pub actor_name: Option<String>,
    /// The API client that did it.
    pub application_id: Option<ApplicationId>,
    /// The person that the client acted for.
    pub on_behalf_of: Option<UserId>,
    /// `<resource>.<verb>`, e.g. `organization.create`.
    pub action: &'static str,
    /// Kind of object, e.g. `organization`.
    pub resource_type: &'static str,
    /// The object.
    pub resource_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was changed: `{field: {"old": …, "new": …}}`, secrets masked.
    pub changes: Option<Value>,
    /// What else is worth knowing; never a secret.
    pub detail: Option<Value>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// Where it came from.
    pub ip_address: Option<String>,
}

/// A line as it was kept.
#[derive(Debug, Clone)]
pub struct Line {
    /// The line.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whose object it was about.
    pub organization_id: Option<OrganizationId>,
    /// Who did it.
    pub actor_id: Option<UserId>,
    /// The address that was given.
    pub actor_email: Option<String>,
    /// The display name at that time.
    pub actor_name: Option<String>,
    /// The API client that did it.
    pub application_id: Option<ApplicationId>,
    /// The person that the client acted for.
    pub on_behalf_of: Option<UserId>,
    /// `<resource>.<verb>`.
    pub action: String,
    /// Kind of object.
    pub resource_type: String,
    /// The object.
    pub resource_id: Option<String>,
    /// `success`, `denied` or `failure`.
    pub outcome: String,
    /// What was changed.
    pub changes: Option<Value>,
    /// What else is worth knowing.
    pub detail: Option<Value>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// Where it came from.
    pub ip_address: Option<String>,
}

/// Who is looked for in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user.
    Id(UserId),
    /// Whoever gave this address, in lower case.
    Email(String),
}

/// What the log is narrowed to; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Who did it.
    pub actor: Option<Actor>,
    /// `<resource>.<verb>`.
    pub action: Option<String>,
    /// Kind of object.
    pub resource_type: Option<String>,
    /// The object.
    pub resource_id: Option<String>,
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The request.
    pub request_id: Option<String>,
    /// At or after.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
    /// Older than this line.
    pub before: Option<AuditId>,
}

/// Everything before a line, or everything.
impl From<Option<AuditId>> for Filter {
    fn from(before: Option<AuditId>) -> Self {
        Self { before, ..Self::default() }
    }
}

impl Tx {
    /// Adds a line. Texts are cut to their columns, and no text, in JSON either, has a NUL: PostgreSQL refuses it.
    ///
    /// # Errors
    /// Away.
    pub async fn insert_audit(&self, entry: Entry) -> Result<(), Error> {
        audit_logs::ActiveModel {
            id: Set(entry.id.as_uuid()),
            at: Set(entry.at),
            organization_id: Set(entry.organization_id.map(OrganizationId::as_uuid)),
            actor_id: Set(entry.actor_id.map(UserId::as_uuid)),
            actor_email: Set(entry.actor_email.map(|text| cut(text, 254))),
            action: Set(entry.action.to_owned()),
            resource_type: Set(entry.resource_type.to_owned()),
            resource_id: Set(entry.resource_id.map(|text| cut(text, 128))),
            outcome: Set(entry.outcome.as_str().to_owned()),
            detail: Set(entry.detail.map(without_nul)),
            request_id: Set(entry.request_id.map(|text| cut(text, 64))),
            ip_address: Set(entry.ip_address.map(|text| cut(text, 64))),
            actor_name: Set(entry.actor_name.map(|text| cut(text, 255))),
            application_id: Set(entry.application_id.map(ApplicationId::as_uuid)),
            on_behalf_of: Set(entry.on_behalf_of.map(UserId::as_uuid)),
            changes: Set(entry.changes.map(without_nul)),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }
}

impl Reader {
    /// The newest lines that the permit reaches, newest first.
    ///
    /// # Errors
    /// Away.
    pub async fn list_audit(
        &self,
        permit: &Permit<ReadAudit>,
        filter: impl Into<Filter>,
        limit: u64,
    ) -> Result<Vec<Line>, Error> {
        use audit_logs::Column as Is;
        let Filter {
            actor,
            action,
            resource_type,
            resource_id,
            organization_id,
            outcome,
            request_id,
            from,
            to,
            before,
        } = filter.into();
        let (id, email) = match actor {
            Some(Actor::Id(id)) => (Some(id.as_uuid()), None),
            Some(Actor::Email(email)) => (None, Some(email)),
            None => (None, None),
        };
        let reached = match permit.reach() {
            Reach::All => None,
            Reach::Organizations(ids) => {
                Some(Is::OrganizationId.is_in(ids.into_iter().map(OrganizationId::as_uuid)))
            }
        };
        let conditions = [
            reached,
            id.map(|id| Is::ActorId.eq(id)),
            email.map(|email| Is::ActorEmail.eq(email)),
            action.map(|action| Is::Action.eq(action)),
            resource_type.map(|kind| Is::ResourceType.eq(kind)),
            resource_id.map(|id| Is::ResourceId.eq(id)),
            organization_id.map(|id| Is::OrganizationId.eq(id.as_uuid())),
            outcome.map(|outcome| Is::Outcome.eq(outcome.as_str())),
            request_id.map(|id| Is::RequestId.eq(id)),
            from.map(|time| Is::At.gte(time)),
            to.map(|time| Is::At.lt(time)),
            before.map(|id| Is::Id.lt(id.as_uuid())),
        ];
        let query = audit_logs::Entity::find().order_by_desc(Is::Id).limit(limit);
        let query = conditions.into_iter().flatten().fold(query, QueryFilter::filter);
        Ok(query.all(self.db.reader()).await?.into_iter().map(Line::from).collect())
    }
}

impl From<audit_logs::Model> for Line {
    fn from(row: audit_logs::Model) -> Self {
        Self {
            id: AuditId::from_uuid(row.id),
            at: row.at,
            organization_id: row.organization_id.map(OrganizationId::from_uuid),
            actor_id: row.actor_id.map(UserId::from_uuid),
            actor_email: row.actor_email,
            actor_name: row.actor_name,
            application_id: row.application_id.map(ApplicationId::from_uuid),
            on_behalf_of: row.on_behalf_of.map(UserId::from_uuid),
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            outcome: row.outcome,
            changes: row.changes,
            detail: row.detail,
            request_id: row.request_id,
            ip_address: row.ip_address,
        }
    }
}

/// Cuts at a character's boundary and replaces NUL, which PostgreSQL refuses: what a stranger typed as an address must
/// not make the sign-in's transaction fail.
pub(crate) fn cut(text: String, bytes: usize) -> String {
    let mut text = printable(text);
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn printable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// `jsonb` takes no NUL either.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(text)),
        Value::Array(values) => values.into_iter().map(without_nul).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (printable(name), without_nul(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_fit_their_columns() {
        assert_eq!(cut("é".repeat(200), 255), "é".repeat(127));
        assert_eq!(cut("a\0b".into(), 10), "a\u{fffd}b");
        assert_eq!(cut("short".into(), 10), "short");
    }

    #[test]
    fn json_has_no_nul_at_any_depth() {
        let value = json!({"a\0": ["b\0", {"c": "d\0\0", "n": 1, "none": null}]});
        let clean = json!({"a\u{fffd}": ["b\u{fffd}", {"c": "d\u{fffd}\u{fffd}", "n": 1, "none": null}]});
        assert_eq!(without_nul(value), clean);
    }
}
