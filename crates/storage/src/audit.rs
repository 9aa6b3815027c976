//! The audit log: who did what, from where, with which outcome. Written in the transaction of the change it tells of,
//! so that neither exists without the other.

use crate::{Error, Reader, Tx, entities::audit_logs};
use bifrost_domain::{
    ids::{AuditId, OrganizationId, UserId},
    policy::{Permit, actions::ReadOrganizations},
};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::Value;

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

impl Outcome {
    const fn as_str(self) -> &'static str {
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
    /// `<resource>.<verb>`, e.g. `organization.create`.
    pub action: &'static str,
    /// Kind of object, e.g. `organization`.
    pub resource_type: &'static str,
    /// The object.
    pub resource_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
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
    /// Who did it.
    pub actor_id: Option<UserId>,
    /// The address that was given.
    pub actor_email: Option<String>,
    /// `<resource>.<verb>`.
    pub action: String,
    /// The object.
    pub resource_id: Option<String>,
    /// `success`, `denied` or `failure`.
    pub outcome: String,
    /// What else is worth knowing.
    pub detail: Option<Value>,
}

impl Tx {
    /// Adds a line. Texts are cut to their columns.
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
            detail: Set(entry.detail),
            request_id: Set(entry.request_id.map(|text| cut(text, 64))),
            ip_address: Set(entry.ip_address.map(|text| cut(text, 64))),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }
}

impl Reader {
    /// The newest lines, newest first, older than `before`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_audit(
        &self,
        _permit: &Permit<ReadOrganizations>,
        before: Option<AuditId>,
        limit: u64,
    ) -> Result<Vec<Line>, Error> {
        let mut query = audit_logs::Entity::find().order_by_desc(audit_logs::Column::Id).limit(limit);
        if let Some(before) = before {
            query = query.filter(audit_logs::Column::Id.lt(before.as_uuid()));
        }
        let rows = query.all(self.db.reader()).await?;
        Ok(rows
            .into_iter()
            .map(|row| Line {
                id: AuditId::from_uuid(row.id),
                at: row.at,
                actor_id: row.actor_id.map(UserId::from_uuid),
                actor_email: row.actor_email,
                action: row.action,
                resource_id: row.resource_id,
                outcome: row.outcome,
                detail: row.detail,
            })
            .collect())
    }
}

/// Cuts at a character's boundary and replaces NUL, which PostgreSQL refuses: what a stranger typed as an address must
/// not make the sign-in's transaction fail.
pub(crate) fn cut(text: String, bytes: usize) -> String {
    let mut text = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_fit_their_columns() {
        assert_eq!(cut("é".repeat(200), 255), "é".repeat(127));
        assert_eq!(cut("a\0b".into(), 10), "a\u{fffd}b");
        assert_eq!(cut("short".into(), 10), "short");
    }
}
