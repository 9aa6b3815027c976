//! Tickets for live connections: used once, for a short time, known by their hash alone.

use crate::{
    Error, Store,
    dialect::{execute, get, statement},
};
use bifrost_domain::ids::{OrganizationId, SessionId, UserId};
use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

/// Whom a ticket lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The user.
    pub user_id: UserId,
    /// The session; none for the development bypass.
    pub session_id: Option<SessionId>,
    /// The organization that the connection acts in.
    pub organization_id: Option<OrganizationId>,
    /// Not valid from then on.
    pub expires_at: DateTime<Utc>,
}

impl Store {
    /// Keeps a ticket under its hash, and forgets those that ran out.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn insert_ticket(&self, hash: &[u8], ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Error> {
        execute(&self.db, "DELETE FROM live_tickets WHERE expires_at < $1", [now.into()]).await?;
        execute(
            &self.db,
            "INSERT INTO live_tickets (hash, user_id, session_id, organization_id, expires_at) VALUES ($1, $2, $3, $4, $5)",
            [
                hash.to_vec().into(),
                ticket.user_id.as_uuid().into(),
                ticket.session_id.map(SessionId::as_uuid).into(),
                ticket.organization_id.map(OrganizationId::as_uuid).into(),
                ticket.expires_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Takes a ticket: of several callers one gets it.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn take_ticket(&self, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Ticket>, Error> {
        let row = self
            .db
            .writer()
            .query_one(statement(
                &self.db,
                "DELETE FROM live_tickets WHERE hash = $1 AND expires_at > $2 RETURNING user_id, session_id, organization_id, expires_at",
                [hash.to_vec().into(), now.into()],
            ))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let optional = |column| get::<Option<Uuid>>(&row, "live_tickets", column);
        Ok(Some(Ticket {
            user_id: UserId::from_uuid(get(&row, "live_tickets", "user_id")?),
            session_id: optional("session_id")?.map(SessionId::from_uuid),
            organization_id: optional("organization_id")?.map(OrganizationId::from_uuid),
            expires_at: get(&row, "live_tickets", "expires_at")?,
        }))
    }
}
