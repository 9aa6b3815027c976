//! Who is a member of which organization, and what follows from it: what administrators of a group hold in its companies is kept as
//! memberships of their own (`inherited`), so that one look by user finds everything.

use crate::{
    Error, Reader, Tx, dialect,
    entities::{roles, user_roles},
    machines::rows,
};
use bifrost_domain::{
    ids::{OrganizationId, RoleId, UserId},
    organization::Organization,
    policy::{
        Permit,
        actions::{ReadMembers, WriteMembers},
    },
    rights::{Held, MembershipRole, MembershipSource, Rights},
    user::User,
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryResult, Statement};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// A membership as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Membership {
    /// Who.
    pub user_id: UserId,
    /// Where.
    pub organization_id: OrganizationId,
    /// The organization that it comes from: the same one unless it is inherited.
    pub via: OrganizationId,
    /// Rank.
    pub role: MembershipRole,
    /// Why.
    pub source: MembershipSource,
    /// What a synchronisation or a provider says of it.
    pub attributes: Value,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A membership with what a list shows of its user.
#[derive(Debug, Clone)]
pub struct Member {
    /// The membership.
    pub membership: Membership,
    /// The user's address.
    pub email: String,
    /// The user's display name.
    pub name: Option<String>,
    /// Whether the user may sign in.
    pub is_active: bool,
}

/// All that somebody holds.
pub(crate) async fn rights_of<C: ConnectionTrait>(connection: &C, user: &User) -> Result<Rights, Error> {
    let mut rights = Rights::default();
    let backend = connection.get_database_backend();
    let sql = format!(
        "SELECT m.organization_id, m.role, o.is_active, {} AS requires_factor FROM memberships m \
         JOIN organizations o ON o.id = m.organization_id WHERE m.user_id = $1",
        dialect::requires_factor(backend)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [user.id.as_uuid().into()]);
    for row in connection.query_all(statement).await? {
        let id = OrganizationId::from_uuid(dialect::get(&row, "memberships", "organization_id")?);
        let role: MembershipRole = dialect::parse(&row, "memberships", "role")?;
        let is_active = dialect::get(&row, "organizations", "is_active")?;
        let requires_factor = dialect::get(&row, "organizations", "requires_factor")?;
        rights
            .held
            .entry(id)
            .and_modify(|held| {
                if role.reaches(held.role) {
                    held.role = role;
                }
            })
            .or_insert(Held {
                role,
                is_active,
                requires_factor,
                granted: bifrost_domain::rights::Granted::default(),
            });
    }
    let given = user_roles::Entity::find()
        .filter(user_roles::Column::UserId.eq(user.id.as_uuid()))
        .all(connection)
        .await?;
    if given.is_empty() {
        return Ok(rights);
    }
    let rows = roles::Entity::find()
        .filter(roles::Column::Id.is_in(given.into_iter().map(|row| row.role_id)))
        .filter(roles::Column::IsActive.eq(true))
        .all(connection)
        .await?;
    for row in rows {
        let permissions = permissions_of(row.permissions)?;
        match row.organization_id.map(OrganizationId::from_uuid) {
            None => rights.everywhere.add(row.name, permissions),
            // A role of an organization that he is no member of (any more) gives nothing.
            Some(id) => {
                if let Some(held) = rights.held.get_mut(&id) {
                    held.granted.add(row.name, permissions);
                }
            }
        }
    }
    Ok(rights)
}

/// What a role permits, as it is kept.
pub(crate) fn permissions_of(kept: Value) -> Result<BTreeSet<String>, Error> {
    serde_json::from_value(kept).map_err(|error| Error::Inconsistent {
        table: "roles",
        column: "permissions",
        reason: error.to_string(),
    })
}

const COLUMNS: &str = "m.user_id, m.organization_id, m.via, m.role, m.source, m.attributes, m.created_by, m.created_at, m.updated_at";

fn membership_of(row: &QueryResult) -> Result<Membership, Error> {
    let created_by: Option<Uuid> = dialect::get(row, "memberships", "created_by")?;
    Ok(Membership {
        user_id: UserId::from_uuid(dialect::get(row, "memberships", "user_id")?),
        organization_id: OrganizationId::from_uuid(dialect::get(row, "memberships", "organization_id")?),
        via: OrganizationId::from_uuid(dialect::get(row, "memberships", "via")?),
        role: dialect::parse(row, "memberships", "role")?,
        source: dialect::parse(row, "memberships", "source")?,
        attributes: dialect::get(row, "memberships", "attributes")?,
        created_by: created_by.map(UserId::from_uuid),
        created_at: dialect::get(row, "memberships", "created_at")?,
        updated_at: dialect::get(row, "memberships", "updated_at")?,
    })
}

impl Reader {
    /// The members of an organization (which the permit has to reach), by user, after `after`; somebody who is a member for two
    /// reasons comes twice.
    ///
    /// # Errors
    /// Away.
    pub async fn list_members(
        &self,
        _permit: &Permit<ReadMembers>,
        organization: OrganizationId,
        after: Option<UserId>,
        limit: u64,
    ) -> Result<Vec<Member>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, u.email, u.name, u.is_active FROM memberships m JOIN users u ON u.id = m.user_id \
             WHERE m.organization_id = $1 AND m.user_id IN (SELECT DISTINCT user_id FROM memberships \
             WHERE organization_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) ORDER BY m.user_id, m.via"
        );
        let values = [
            organization.as_uuid().into(),
            after.map_or(Uuid::nil(), UserId::as_uuid).into(),
            dialect::limit_of(limit),
        ];
        let rows = dialect::all(&self.db, &sql, values).await?;
        rows.iter()
            .map(|row| {
                Ok(Member {
                    membership: membership_of(row)?,
                    email: dialect::get(row, "users", "email")?,
                    name: dialect::get(row, "users", "name")?,
                    is_active: dialect::get(row, "users", "is_active")?,
                })
            })
            .collect()
    }

    /// The memberships of a user: where he may go and why. For the user himself, or for who may see him.
    ///
    /// # Errors
    /// Away.
    pub async fn list_memberships(&self, user: UserId) -> Result<Vec<Membership>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM memberships m WHERE m.user_id = $1 ORDER BY m.organization_id, m.via"
        );
        dialect::all(&self.db, &sql, [user.as_uuid().into()]).await?.iter().map(membership_of).collect()
    }
}

impl Tx {
    /// Keeps other changes of the tree and of memberships out until this transaction ends: what administrators of groups inherit is
    /// computed from both. (On SQLite there is one writer anyway.)
    ///
    /// # Errors
    /// Away.
    pub async fn lock_tree(&self) -> Result<(), Error> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            // Any number that nobody else locks.
            self.inner.execute_unprepared("SELECT pg_advisory_xact_lock(4216002)").await?;
        }
        Ok(())
    }

    /// The membership that was given (not inherited) to a user in an organization.
    ///
    /// # Errors
    /// Away.
    pub async fn find_membership(
        &self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<Option<Membership>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM memberships m WHERE m.user_id = $1 AND m.organization_id = $2 AND m.via = $2"
        );
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            sql,
            [user.as_uuid().into(), organization.as_uuid().into()],
        );
        self.inner.query_one(statement).await?.as_ref().map(membership_of).transpose()
    }

    /// The group from which a user inherits a membership in an organization.
    ///
    /// # Errors
    /// Away.
    pub async fn find_inherited(
        &self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<Option<Organization>, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT via FROM memberships WHERE user_id = $1 AND organization_id = $2 AND source = 'inherited' ORDER BY via LIMIT 1",
            [user.as_uuid().into(), organization.as_uuid().into()],
        );
        let Some(row) = self.inner.query_one(statement).await? else { return Ok(None) };
        let via = OrganizationId::from_uuid(dialect::get(&row, "memberships", "via")?);
        self.find_organization(via).await
    }

    /// Whether anybody but `user` who may sign in is an owner of an organization, directly or through a group.
    ///
    /// # Errors
    /// Away.
    pub async fn has_owner_besides(&self, user: UserId, organization: OrganizationId) -> Result<bool, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT 1 AS found FROM memberships m JOIN users u ON u.id = m.user_id AND u.is_active = TRUE AND u.is_registered = TRUE \
             WHERE m.organization_id = $2 AND m.role = 'owner' AND m.user_id <> $1 LIMIT 1",
            [user.as_uuid().into(), organization.as_uuid().into()],
        );
        Ok(self.inner.query_one(statement).await?.is_some())
    }

    /// Makes or changes a membership, after policy said that the caller may; then [`Tx::inherit`] is due.
    ///
    /// # Errors
    /// Reference when the user or the organization is gone.
    pub async fn put_membership(
        &self,
        _permit: &Permit<WriteMembers>,
        membership: &Membership,
    ) -> Result<(), Error> {
        self.write_membership(membership).await
    }

    /// The same where a rule and no caller decides: at registration, and when an identity provider says so.
    ///
    /// # Errors
    /// Reference when the user or the organization is gone.
    pub async fn write_membership(&self, membership: &Membership) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO memberships (user_id, organization_id, via, role, source, attributes, created_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (user_id, organization_id, via) DO UPDATE SET \
             role = excluded.role, source = excluded.source, attributes = excluded.attributes, updated_at = excluded.updated_at",
            [
                membership.user_id.as_uuid().into(),
                membership.organization_id.as_uuid().into(),
                membership.via.as_uuid().into(),
                membership.role.as_str().into(),
                membership.source.as_str().into(),
                membership.attributes.clone().into(),
                membership.created_by.map(UserId::as_uuid).into(),
                membership.created_at.into(),
                membership.updated_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Ends the membership that was given to a user in an organization, with the roles of that organization; tells whether there was one.
    /// Then [`Tx::inherit`] is due.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_membership(
        &self,
        _permit: &Permit<WriteMembers>,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<bool, Error> {
        self.take_roles_of(user, organization).await?;
        let gone = dialect::execute_in(
            &self.inner,
            "DELETE FROM memberships WHERE user_id = $1 AND organization_id = $2 AND via = $2",
            [user.as_uuid().into(), organization.as_uuid().into()],
        )
        .await?;
        Ok(gone > 0)
    }

    /// Takes all roles of an organization away from a user.
    pub(crate) async fn take_roles_of(
        &self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "DELETE FROM user_roles WHERE user_id = $1 AND role_id IN (SELECT id FROM roles WHERE organization_id = $2)",
            [user.as_uuid().into(), organization.as_uuid().into()],
        )
        .await?;
        Ok(())
    }

    /// Gives administrators of active groups their rank in the organizations below, and takes what they inherit no longer. Called under
    /// [`Tx::lock_tree`] after every change of the tree or of a membership.
    ///
    /// # Errors
    /// Away.
    pub async fn inherit(&self, now: DateTime<Utc>) -> Result<(), Error> {
        // The tree has three levels: below an organization are its children and theirs.
        const WANTED: &str = "WITH wanted AS (SELECT m.user_id AS user_id, o.id AS organization_id, a.id AS via, m.role AS role \
             FROM memberships m JOIN organizations a ON a.id = m.organization_id AND a.kind <> 'company' AND a.is_active \
             JOIN organizations o ON o.parent_id = a.id OR o.parent_id IN (SELECT id FROM organizations WHERE parent_id = a.id) \
             WHERE m.source <> 'inherited' AND m.role IN ('admin', 'owner'))";
        let delete = format!(
            "{WANTED} DELETE FROM memberships WHERE source = 'inherited' AND NOT EXISTS (SELECT 1 FROM wanted w \
             WHERE w.user_id = memberships.user_id AND w.organization_id = memberships.organization_id AND w.via = memberships.via)"
        );
        let gone = rows(&self.inner, &format!("{delete} RETURNING user_id, organization_id"), []).await?;
        let insert = format!(
            "{WANTED} INSERT INTO memberships (user_id, organization_id, via, role, source, attributes, created_at, updated_at) \
             SELECT user_id, organization_id, via, role, 'inherited', '{{}}', $1, $1 FROM wanted WHERE TRUE \
             ON CONFLICT (user_id, organization_id, via) DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at \
             WHERE memberships.role <> excluded.role"
        );
        dialect::execute_in(&self.inner, &insert, [now.into()]).await?;
        // Roles go with the last membership, so that a later one does not bring them back.
        for row in gone {
            let user: Uuid = dialect::get(&row, "memberships", "user_id")?;
            let organization: Uuid = dialect::get(&row, "memberships", "organization_id")?;
            let sql = "DELETE FROM user_roles WHERE user_id = $1 AND role_id IN (SELECT id FROM roles WHERE organization_id = $2) \
                 AND NOT EXISTS (SELECT 1 FROM memberships WHERE user_id = $1 AND organization_id = $2)";
            dialect::execute_in(&self.inner, sql, [user.into(), organization.into()]).await?;
        }
        Ok(())
    }

    /// What a user holds, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_rights(&self, user: &User) -> Result<Rights, Error> {
        rights_of(&self.inner, user).await
    }

    /// Takes a role away from a user; tells whether he had it.
    ///
    /// # Errors
    /// Away.
    pub async fn take_role(&self, user: UserId, role: RoleId) -> Result<bool, Error> {
        let done = dialect::execute_in(
            &self.inner,
            "DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2",
            [user.as_uuid().into(), role.as_uuid().into()],
        )
        .await?;
        Ok(done > 0)
    }
}
