//! Roles: permissions of one organization, or (without one) of the platform, with the people who have them and the forms that they open.

use crate::{
    Error, Reader, Tx, dialect,
    entities::roles,
    machines::rows,
    memberships::permissions_of,
    users::admin::{list_of, of_organizations, roles_reached},
};
use bifrost_domain::{
    ids::{FormId, OrganizationId, RoleId, UserId},
    policy::{
        Action, Permit, Reach,
        actions::{ReadRoles, WriteRoles},
    },
    scope::Scope,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryResult, Set, Statement,
    Value as Bind,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A role as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The role.
    pub id: RoleId,
    /// Where it holds; none: it is the platform's, and holds at home.
    pub organization_id: Option<OrganizationId>,
    /// Unique within the organization.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// `<resource>.<verb>` each.
    pub permissions: BTreeSet<String>,
    /// Whether it gives anything.
    pub is_active: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

fn role_of(row: &QueryResult) -> Result<Role, Error> {
    let row = roles::Model::from_query_result(row, "")?;
    Ok(Role {
        id: RoleId::from_uuid(row.id),
        organization_id: row.organization_id.map(OrganizationId::from_uuid),
        name: row.name,
        description: row.description,
        permissions: permissions_of(row.permissions)?,
        is_active: row.is_active,
        created_by: row.created_by.map(UserId::from_uuid),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Which roles an action reaches by id: for a platform admin all, wherever he acts.
fn reach_of<A: Action>(permit: &Permit<A>) -> Reach {
    if permit.caller().is_platform_admin { Reach::All } else { permit.reach() }
}

fn one_of<A: Action>(permit: &Permit<A>, id: RoleId) -> (String, Vec<Bind>) {
    let mut values: Vec<Bind> = vec![id.as_uuid().into()];
    let reached = roles_reached(reach_of(permit), &mut values);
    (format!("SELECT r.* FROM roles r WHERE r.id = $1{reached}"), values)
}

/// A page of ids that hang on a role, by id.
fn hanging(role: RoleId, after: Option<Uuid>, limit: u64) -> [Bind; 3] {
    [role.as_uuid().into(), after.unwrap_or(Uuid::nil()).into(), dialect::limit_of(limit)]
}

impl Reader {
    /// A page of the roles that the permit reaches (of `place` alone, when it is given), oldest first, after `after`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_roles(
        &self,
        permit: &Permit<ReadRoles>,
        place: Option<Scope>,
        after: Option<RoleId>,
        limit: u64,
    ) -> Result<Vec<Role>, Error> {
        let mut values: Vec<Bind> =
            vec![after.map_or(Uuid::nil(), RoleId::as_uuid).into(), dialect::limit_of(limit)];
        let mut conditions = roles_reached(reach_of(permit), &mut values);
        match place {
            None => {}
            Some(Scope::Global) => conditions.push_str(" AND r.organization_id IS NULL"),
            Some(Scope::Organization(id)) => {
                conditions.push_str(&roles_reached(Reach::Organizations([id].into()), &mut values));
            }
        }
        let sql = format!("SELECT r.* FROM roles r WHERE r.id > $1{conditions} ORDER BY r.id LIMIT $2");
        dialect::all(&self.db, &sql, values).await?.iter().map(role_of).collect()
    }

    /// One of the roles that the permit reaches.
    ///
    /// # Errors
    /// Away.
    pub async fn find_role(&self, permit: &Permit<ReadRoles>, id: RoleId) -> Result<Option<Role>, Error> {
        let (sql, values) = one_of(permit, id);
        dialect::one(&self.db, &sql, values).await?.as_ref().map(role_of).transpose()
    }

    /// Who has a role that [`Reader::find_role`] found, by id.
    ///
    /// # Errors
    /// Away.
    pub async fn list_role_users(
        &self,
        role: &Role,
        after: Option<UserId>,
        limit: u64,
    ) -> Result<Vec<UserId>, Error> {
        const SQL: &str =
            "SELECT user_id FROM user_roles WHERE role_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";
        let rows = dialect::all(&self.db, SQL, hanging(role.id, after.map(UserId::as_uuid), limit)).await?;
        rows.iter().map(|row| dialect::get(row, "user_roles", "user_id").map(UserId::from_uuid)).collect()
    }

    /// The forms that a role opens which [`Reader::find_role`] found, by id.
    ///
    /// # Errors
    /// Away.
    pub async fn list_role_forms(
        &self,
        role: &Role,
        after: Option<FormId>,
        limit: u64,
    ) -> Result<Vec<FormId>, Error> {
        const SQL: &str =
            "SELECT form_id FROM form_roles WHERE role_id = $1 AND form_id > $2 ORDER BY form_id LIMIT $3";
        let rows = dialect::all(&self.db, SQL, hanging(role.id, after.map(FormId::as_uuid), limit)).await?;
        rows.iter().map(|row| dialect::get(row, "form_roles", "form_id").map(FormId::from_uuid)).collect()
    }
}

impl Tx {
    /// One of the roles that the permit reaches; whoever else wants to change it waits until this transaction ends.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_role(&self, permit: &Permit<WriteRoles>, id: RoleId) -> Result<Option<Role>, Error> {
        let backend = self.inner.get_database_backend();
        let (mut sql, values) = one_of(permit, id);
        if backend == DbBackend::Postgres {
            sql.push_str(" FOR NO KEY UPDATE OF r");
        }
        let row = self.inner.query_one(Statement::from_sql_and_values(backend, sql, values)).await?;
        row.as_ref().map(role_of).transpose()
    }

    /// Adds a role.
    ///
    /// # Errors
    /// Duplicate when the organization has one of this name, Reference when the organization is gone.
    pub async fn add_role(&self, _permit: &Permit<WriteRoles>, role: &Role) -> Result<(), Error> {
        roles::ActiveModel {
            id: Set(role.id.as_uuid()),
            organization_id: Set(role.organization_id.map(OrganizationId::as_uuid)),
            name: Set(role.name.clone()),
            description: Set(role.description.clone()),
            permissions: Set(role.permissions.iter().cloned().collect::<Vec<_>>().into()),
            is_active: Set(role.is_active),
            created_by: Set(role.created_by.map(UserId::as_uuid)),
            created_at: Set(role.created_at),
            updated_at: Set(role.updated_at),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// Writes a role that [`Tx::lock_role`] found; where it holds stays.
    ///
    /// # Errors
    /// Duplicate when the organization has another one of this name.
    pub async fn update_role(&self, _permit: &Permit<WriteRoles>, role: &Role) -> Result<(), Error> {
        roles::ActiveModel {
            id: sea_orm::ActiveValue::Unchanged(role.id.as_uuid()),
            name: Set(role.name.clone()),
            description: Set(role.description.clone()),
            permissions: Set(role.permissions.iter().cloned().collect::<Vec<_>>().into()),
            is_active: Set(role.is_active),
            updated_at: Set(role.updated_at),
            ..Default::default()
        }
        .update(&self.inner)
        .await?;
        Ok(())
    }

    /// Deletes a role that [`Tx::lock_role`] found, with who has it and what it opens.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_role(&self, _permit: &Permit<WriteRoles>, role: &Role) -> Result<(), Error> {
        roles::Entity::delete_by_id(role.id.as_uuid()).exec(&self.inner).await?;
        Ok(())
    }

    /// Whether all of these people may have a role of `organization`: its members, and for the platform's everybody who can sign in. Asked
    /// under [`Tx::lock_tree`], so that nobody leaves meanwhile.
    ///
    /// # Errors
    /// Away.
    pub async fn may_all_have_role(
        &self,
        organization: Option<OrganizationId>,
        users: &BTreeSet<UserId>,
    ) -> Result<bool, Error> {
        let mut values = Vec::new();
        let list = list_of(&mut values, users.iter().map(|id| id.as_uuid()));
        let members = organization.map(|id| of_organizations(&mut values, [id])).unwrap_or_default();
        let sql = format!(
            "SELECT count(*) AS n FROM users u WHERE u.id IN ({list}) AND u.user_type <> 'SYSTEM'{members}"
        );
        self.counts(sql, values, users.len()).await
    }

    /// Whether none of these people is a stub that somebody has yet to claim.
    ///
    /// # Errors
    /// Away.
    pub async fn are_all_registered(&self, users: &BTreeSet<UserId>) -> Result<bool, Error> {
        let mut values = Vec::new();
        let list = list_of(&mut values, users.iter().map(|id| id.as_uuid()));
        let sql =
            format!("SELECT count(*) AS n FROM users u WHERE u.id IN ({list}) AND u.is_registered = FALSE");
        self.counts(sql, values, 0).await
    }

    /// Whether all of these forms are there for a role of `organization`: its own, and where `with_global` says so the global ones.
    ///
    /// # Errors
    /// Away.
    pub async fn may_role_open_all(
        &self,
        organization: Option<OrganizationId>,
        with_global: bool,
        forms: &BTreeSet<FormId>,
    ) -> Result<bool, Error> {
        let mut values = Vec::new();
        let list = list_of(&mut values, forms.iter().map(|id| id.as_uuid()));
        let global = if with_global { " OR f.organization_id IS NULL" } else { "" };
        let whose = organization
            .map(|id| format!(" AND (f.organization_id = {}{global})", list_of(&mut values, [id.as_uuid()])))
            .unwrap_or_default();
        let sql =
            format!("SELECT count(*) AS n FROM forms f WHERE f.id IN ({list}) AND f.is_active = TRUE{whose}");
        self.counts(sql, values, forms.len()).await
    }

    async fn counts(&self, sql: String, values: Vec<Bind>, expected: usize) -> Result<bool, Error> {
        let statement = Statement::from_sql_and_values(self.inner.get_database_backend(), sql, values);
        let Some(row) = self.inner.query_one(statement).await? else { return Ok(expected == 0) };
        let found: i64 = dialect::get(&row, "count", "n")?;
        Ok(usize::try_from(found) == Ok(expected))
    }

    /// Gives a role to people who do not have it yet; tells to whom.
    ///
    /// # Errors
    /// Reference when the role or somebody is gone.
    pub async fn give_role(
        &self,
        permit: &Permit<WriteRoles>,
        role: RoleId,
        users: &BTreeSet<UserId>,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<UserId>, Error> {
        let ids = users.iter().map(|id| id.as_uuid());
        let new = self.hang(("user_roles", "user_id"), permit, role, ids, now).await?;
        Ok(new.into_iter().map(UserId::from_uuid).collect())
    }

    /// Has a role open forms that it does not open yet; tells which.
    ///
    /// # Errors
    /// Reference when the role or a form is gone.
    pub async fn open_forms(
        &self,
        permit: &Permit<WriteRoles>,
        role: RoleId,
        forms: &BTreeSet<FormId>,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<FormId>, Error> {
        let ids = forms.iter().map(|id| id.as_uuid());
        let new = self.hang(("form_roles", "form_id"), permit, role, ids, now).await?;
        Ok(new.into_iter().map(FormId::from_uuid).collect())
    }

    async fn hang(
        &self,
        (table, column): (&'static str, &'static str),
        permit: &Permit<WriteRoles>,
        role: RoleId,
        ids: impl Iterator<Item = Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Uuid>, Error> {
        let mut values: Vec<Bind> =
            vec![role.as_uuid().into(), permit.user_id().as_uuid().into(), now.into()];
        let new: Vec<String> = ids
            .map(|id| {
                values.push(id.into());
                format!("(${}, $1, $2, $3)", values.len())
            })
            .collect();
        let sql = format!(
            "INSERT INTO {table} ({column}, role_id, assigned_by, assigned_at) VALUES {} \
             ON CONFLICT DO NOTHING RETURNING {column}",
            new.join(", ")
        );
        rows(&self.inner, &sql, values).await?.iter().map(|row| dialect::get(row, table, column)).collect()
    }

    /// Closes a form to a role; tells whether the role opened it.
    ///
    /// # Errors
    /// Away.
    pub async fn close_form(
        &self,
        _permit: &Permit<WriteRoles>,
        role: RoleId,
        form: FormId,
    ) -> Result<bool, Error> {
        let done = dialect::execute_in(
            &self.inner,
            "DELETE FROM form_roles WHERE form_id = $1 AND role_id = $2",
            [form.as_uuid().into(), role.as_uuid().into()],
        )
        .await?;
        Ok(done > 0)
    }
}
