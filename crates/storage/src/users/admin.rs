//! What administrators see of people and do to them.

use crate::{Error, Reader, Store, Tx, dialect, entities::users};
use bifrost_domain::{
    ids::{FormId, OrganizationId, RoleId, UserId},
    policy::{
        Action, Permit, Reach,
        actions::{ReadUsers, WriteUsers},
    },
    scope::Scope,
    user::{User, UserType},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryResult, Statement, Value as Bind,
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// A user as administrators see him.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Whether he signs in with a second factor.
    pub mfa_enabled: bool,
}

/// Which people a list shows.
#[derive(Debug, Clone, Default)]
pub struct PeopleFilter {
    /// Of this kind.
    pub user_type: Option<UserType>,
    /// Whose home or membership is there; GLOBAL: those without a home.
    pub place: Option<Scope>,
    /// Address or name contains it, in whatever case.
    pub text: Option<String>,
}

fn person_of(row: &QueryResult) -> Result<Person, Error> {
    let row = users::Model::from_query_result(row, "")?;
    Ok(Person { mfa_enabled: row.mfa_enabled, user: row.try_into()? })
}

/// Appends values and gives their placeholders.
pub(crate) fn list_of(values: &mut Vec<Bind>, ids: impl IntoIterator<Item = Uuid>) -> String {
    let names: Vec<String> = ids
        .into_iter()
        .map(|id| {
            values.push(id.into());
            format!("${}", values.len())
        })
        .collect();
    names.join(", ")
}

/// A condition that holds for people (`u`) of one of these organizations: it is their home, or they are members.
pub(crate) fn of_organizations(
    values: &mut Vec<Bind>,
    ids: impl IntoIterator<Item = OrganizationId>,
) -> String {
    let list = list_of(values, ids.into_iter().map(OrganizationId::as_uuid));
    if list.is_empty() {
        return " AND 1 = 0".to_owned();
    }
    format!(
        " AND (u.organization_id IN ({list}) OR EXISTS (SELECT 1 FROM memberships m \
         WHERE m.user_id = u.id AND m.organization_id IN ({list})))"
    )
}

/// A condition that holds for the people that a reach has.
fn reached(reach: Reach, values: &mut Vec<Bind>) -> String {
    match reach {
        Reach::All => String::new(),
        Reach::Organizations(ids) => of_organizations(values, ids),
    }
}

/// Whom an action reaches by id: for a platform admin everybody, wherever he acts.
fn reach_of<A: Action>(permit: &Permit<A>) -> Reach {
    if permit.caller().is_platform_admin { Reach::All } else { permit.reach() }
}

impl Reader {
    /// A page of the people that the permit reaches, oldest first, after `after`. At most `limit` rows.
    ///
    /// # Errors
    /// Away.
    pub async fn list_people(
        &self,
        permit: &Permit<ReadUsers>,
        filter: &PeopleFilter,
        after: Option<UserId>,
        limit: u64,
    ) -> Result<Vec<Person>, Error> {
        let mut values: Vec<Bind> =
            vec![after.map_or(Uuid::nil(), UserId::as_uuid).into(), dialect::limit_of(limit)];
        let mut conditions = reached(reach_of(permit), &mut values);
        if let Some(user_type) = filter.user_type {
            values.push(user_type.as_str().into());
            conditions.push_str(&format!(" AND u.user_type = ${}", values.len()));
        }
        match filter.place {
            None => {}
            Some(Scope::Global) => conditions.push_str(" AND u.organization_id IS NULL"),
            Some(Scope::Organization(id)) => conditions.push_str(&of_organizations(&mut values, [id])),
        }
        if let Some(text) = &filter.text {
            values.push(dialect::like_contains(text).into());
            let n = values.len();
            conditions.push_str(&format!(
                r" AND (lower(u.email) LIKE lower(${n}) ESCAPE '\' OR lower(u.name) LIKE lower(${n}) ESCAPE '\')"
            ));
        }
        let sql = format!("SELECT u.* FROM users u WHERE u.id > $1{conditions} ORDER BY u.id LIMIT $2");
        dialect::all(&self.db, &sql, values).await?.iter().map(person_of).collect()
    }

    /// One of the people that the permit reaches.
    ///
    /// # Errors
    /// Away.
    pub async fn find_person(&self, permit: &Permit<ReadUsers>, id: UserId) -> Result<Option<Person>, Error> {
        let mut values: Vec<Bind> = vec![id.as_uuid().into()];
        let reached = reached(reach_of(permit), &mut values);
        let sql = format!("SELECT u.* FROM users u WHERE u.id = $1{reached}");
        dialect::one(&self.db, &sql, values).await?.as_ref().map(person_of).transpose()
    }

    /// The roles of a user that the permit reaches: for who is no platform admin those of the organization that he acts in.
    ///
    /// # Errors
    /// Away.
    pub async fn list_roles_of(
        &self,
        permit: &Permit<ReadUsers>,
        user: UserId,
    ) -> Result<Vec<RoleId>, Error> {
        let mut values: Vec<Bind> = vec![user.as_uuid().into()];
        let reached = roles_reached(reach_of(permit), &mut values);
        let sql = format!(
            "SELECT r.id FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = $1{reached} ORDER BY r.id"
        );
        let rows = dialect::all(&self.db, &sql, values).await?;
        rows.iter().map(|row| dialect::get(row, "roles", "id").map(RoleId::from_uuid)).collect()
    }

    /// The active forms that those roles open to a user.
    ///
    /// # Errors
    /// Away.
    pub async fn list_forms_of(
        &self,
        permit: &Permit<ReadUsers>,
        user: UserId,
    ) -> Result<Vec<FormId>, Error> {
        let mut values: Vec<Bind> = vec![user.as_uuid().into()];
        let reached = roles_reached(reach_of(permit), &mut values);
        let sql = format!(
            "SELECT DISTINCT f.id FROM user_roles ur JOIN roles r ON r.id = ur.role_id AND r.is_active = TRUE \
             JOIN form_roles fr ON fr.role_id = r.id JOIN forms f ON f.id = fr.form_id AND f.is_active = TRUE \
             WHERE ur.user_id = $1{reached} ORDER BY f.id"
        );
        let rows = dialect::all(&self.db, &sql, values).await?;
        rows.iter().map(|row| dialect::get(row, "forms", "id").map(FormId::from_uuid)).collect()
    }
}

/// A condition that holds for the roles (`r`) that a reach has.
pub(crate) fn roles_reached(reach: Reach, values: &mut Vec<Bind>) -> String {
    match reach {
        Reach::All => String::new(),
        Reach::Organizations(ids) => {
            let list = list_of(values, ids.into_iter().map(OrganizationId::as_uuid));
            if list.is_empty() {
                return " AND 1 = 0".to_owned();
            }
            format!(" AND r.organization_id IN ({list})")
        }
    }
}

impl Store {
    /// People whose grace period has ended at `now`, by id, after `after`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_due_people(
        &self,
        after: Option<UserId>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<UserId>, Error> {
        let rows = dialect::all(
            &self.db,
            "SELECT id FROM users WHERE purge_at IS NOT NULL AND purge_at <= $1 AND is_active = FALSE AND id > $2 \
             ORDER BY id LIMIT $3",
            [
                now.into(),
                after.map_or(Uuid::nil(), UserId::as_uuid).into(),
                dialect::limit_of(limit),
            ],
        )
        .await?;
        rows.iter().map(|row| dialect::get(row, "users", "id").map(UserId::from_uuid)).collect()
    }
}

impl Tx {
    async fn person(&self, reach: Reach, id: UserId, more: &str) -> Result<Option<Person>, Error> {
        let backend = self.inner.get_database_backend();
        let mut values: Vec<Bind> = vec![id.as_uuid().into()];
        let reached = reached(reach, &mut values);
        let sql = format!("SELECT u.* FROM users u WHERE u.id = $1{reached}{more}");
        let row = self.inner.query_one(Statement::from_sql_and_values(backend, sql, values)).await?;
        row.as_ref().map(person_of).transpose()
    }

    /// One of the people that the permit reaches; whoever else wants to change him waits until this transaction ends.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_person<A: Action>(
        &self,
        permit: &Permit<A>,
        id: UserId,
    ) -> Result<Option<Person>, Error> {
        let is_postgres = self.inner.get_database_backend() == DbBackend::Postgres;
        // As strong as a change of the address needs: a lock that is made stronger later may wait for one who waits for it.
        let lock = if is_postgres { " FOR UPDATE OF u" } else { "" };
        self.person(reach_of(permit), id, lock).await
    }

    /// A user by id, as this transaction sees him.
    ///
    /// # Errors
    /// Away.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let row = users::Entity::find_by_id(id.as_uuid()).one(&self.inner).await?;
        row.map(User::try_from).transpose()
    }

    /// Whether somebody is active as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn is_active_user(&self, id: UserId) -> Result<bool, Error> {
        Ok(self.find_user(id).await?.is_some_and(|user| user.is_active))
    }

    /// Somebody of any of the organizations in which the caller may do `A`: whom he may bring from one to another.
    ///
    /// # Errors
    /// Away.
    pub async fn find_person_anywhere<A: Action>(
        &self,
        permit: &Permit<A>,
        id: UserId,
    ) -> Result<Option<Person>, Error> {
        self.person(permit.everywhere(), id, "").await
    }

    /// Writes what an administrator changed of a user that [`Tx::lock_person`] found; `ends_sessions` raises the epoch.
    ///
    /// # Errors
    /// Duplicate when the address is taken, Reference when the organization is gone.
    pub async fn update_user(
        &self,
        _permit: &Permit<WriteUsers>,
        user: &User,
        ends_sessions: bool,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE users SET email = $2, name = $3, user_type = $4, organization_id = $5, is_active = $6, is_superuser = $7, \
             is_verified = $8, purge_at = $9, updated_at = $10, epoch = epoch + $11 WHERE id = $1",
            [
                user.id.as_uuid().into(),
                user.email.as_str().into(),
                user.name.clone().into(),
                user.user_type.as_str().into(),
                user.organization_id.map(OrganizationId::as_uuid).into(),
                user.is_active.into(),
                user.is_superuser.into(),
                user.is_verified.into(),
                user.purge_at.into(),
                user.updated_at.into(),
                i64::from(ends_sessions).into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Sets a password that an administrator chose: a stub becomes a registered user, and every older session ends.
    ///
    /// # Errors
    /// Away.
    pub async fn give_password(
        &self,
        _permit: &Permit<WriteUsers>,
        id: UserId,
        password_hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE users SET password_hash = $2, is_registered = TRUE, epoch = epoch + 1, updated_at = $3 WHERE id = $1",
            [id.as_uuid().into(), password_hash.expose_secret().into(), now.into()],
        )
        .await?;
        Ok(())
    }

    /// Whether anybody but `id` is a platform admin who can sign in. Asked under [`Tx::lock_registration`], so that two who leave at the
    /// same time do not each count on the other.
    ///
    /// # Errors
    /// Away.
    pub async fn has_admin_besides(&self, id: UserId) -> Result<bool, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT 1 AS found FROM users WHERE is_superuser = TRUE AND is_active = TRUE AND is_registered = TRUE \
             AND user_type <> 'SYSTEM' AND id <> $1 LIMIT 1",
            [id.as_uuid().into()],
        );
        Ok(self.inner.query_one(statement).await?.is_some())
    }

    /// Removes somebody whose grace period has ended at `now`, with all that hangs on the account; `None` when he was taken back meanwhile.
    ///
    /// # Errors
    /// Away.
    pub async fn purge_user(&self, id: UserId, now: DateTime<Utc>) -> Result<Option<User>, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "DELETE FROM users WHERE id = $1 AND purge_at IS NOT NULL AND purge_at <= $2 AND is_active = FALSE RETURNING *",
            [id.as_uuid().into(), now.into()],
        );
        let row = self.inner.query_one(statement).await?;
        row.as_ref().map(|row| person_of(row).map(|person| person.user)).transpose()
    }

    /// Raises a user's epoch: sessions, keys and whatever waits to become a session hold no longer.
    ///
    /// # Errors
    /// Away.
    pub async fn raise_epoch(&self, user: UserId, now: DateTime<Utc>) -> Result<(), Error> {
        let sql = "UPDATE users SET epoch = epoch + 1, updated_at = $2 WHERE id = $1";
        dialect::execute_in(&self.inner, sql, [user.as_uuid().into(), now.into()]).await?;
        Ok(())
    }

    /// Ends all sessions of a user; tells how many had not ended.
    ///
    /// # Errors
    /// Away.
    pub async fn end_user_sessions(
        &self,
        user: UserId,
        reason: &'static str,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2",
            [user.as_uuid().into(), now.into(), reason.into()],
        )
        .await
    }
}
