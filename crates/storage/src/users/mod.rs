//! People: accounts, password hashes, and the rights that their roles give. What administrators do to them is in [`admin`].

pub mod admin;

use crate::{
    Error, Reader, Tx, dialect,
    entities::{roles, user_roles, users},
    memberships::rights_of,
};
use bifrost_domain::{
    ids::{OrganizationId, RoleId, UserId},
    rights::Rights,
    user::{Email, User, UserType},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, Set,
    sea_query::Expr,
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;

/// A user with what a password is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// PHC string; `None` for who cannot sign in with a password.
    pub password_hash: Option<SecretString>,
}

/// A role inside one organization, or (without one) for every organization.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// The role.
    pub id: RoleId,
    /// Where it holds.
    pub organization_id: Option<OrganizationId>,
    /// Unique within the organization.
    pub name: String,
    /// `<resource>.<verb>` each.
    pub permissions: BTreeSet<String>,
    /// When it is made.
    pub created_at: DateTime<Utc>,
}

impl TryFrom<users::Model> for User {
    type Error = Error;

    fn try_from(row: users::Model) -> Result<Self, Error> {
        Ok(Self {
            id: UserId::from_uuid(row.id),
            user_type: row.user_type.parse::<UserType>().map_err(|error| Error::Inconsistent {
                table: "users",
                column: "user_type",
                reason: error.to_string(),
            })?,
            email: row.email,
            name: row.name,
            organization_id: row.organization_id.map(OrganizationId::from_uuid),
            is_active: row.is_active,
            is_superuser: row.is_superuser,
            is_verified: row.is_verified,
            is_registered: row.is_registered,
            epoch: row.epoch,
            last_login: row.last_login,
            purge_at: row.purge_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

async fn find_by_email<C: ConnectionTrait>(
    connection: &C,
    email: &Email,
) -> Result<Option<Credentials>, Error> {
    let row = users::Entity::find().filter(users::Column::Email.eq(email.as_str())).one(connection).await?;
    row.map(|mut row| {
        let password_hash = row.password_hash.take().map(SecretString::from);
        Ok(Credentials { user: row.try_into()?, password_hash })
    })
    .transpose()
}

async fn has_people<C: ConnectionTrait>(connection: &C) -> Result<bool, Error> {
    let people = users::Entity::find().filter(users::Column::UserType.ne(UserType::System.as_str()));
    Ok(people.count(connection).await? > 0)
}

impl Reader {
    /// A user by id.
    ///
    /// # Errors
    /// Away.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let row = users::Entity::find_by_id(id.as_uuid()).one(self.db.reader()).await?;
        row.map(User::try_from).transpose()
    }

    /// A user by address, with the hash to check a password against.
    ///
    /// # Errors
    /// Away.
    pub async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, Error> {
        find_by_email(self.db.reader(), email).await
    }

    /// Whether anybody but the system user exists.
    ///
    /// # Errors
    /// Away.
    pub async fn has_people(&self) -> Result<bool, Error> {
        has_people(self.db.reader()).await
    }

    /// What a user holds now.
    ///
    /// # Errors
    /// Away.
    pub async fn find_rights(&self, user: &User) -> Result<Rights, Error> {
        rights_of(self.db.reader(), user).await
    }
}

impl Tx {
    /// Keeps other registrations out until this transaction ends, so that only one of them can be the first. (On SQLite
    /// there is one writer anyway.)
    ///
    /// # Errors
    /// Away.
    pub async fn lock_registration(&self) -> Result<(), Error> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            // Any number that nobody else locks.
            self.inner.execute_unprepared("SELECT pg_advisory_xact_lock(4216001)").await?;
        }
        Ok(())
    }

    /// Keeps others who change this user, or what hangs on the account, out until this transaction ends; the crate's documentation says in
    /// which order locks are taken. (On SQLite there is one writer anyway.)
    ///
    /// # Errors
    /// Away.
    pub async fn lock_user(&self, id: UserId) -> Result<(), Error> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            let sql = "SELECT id FROM users WHERE id = $1 FOR UPDATE";
            dialect::execute_in(&self.inner, sql, [id.as_uuid().into()]).await?;
        }
        Ok(())
    }

    /// Whether anybody but the system user exists.
    ///
    /// # Errors
    /// Away.
    pub async fn has_people(&self) -> Result<bool, Error> {
        has_people(&self.inner).await
    }

    /// A user by address.
    ///
    /// # Errors
    /// Away.
    pub async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, Error> {
        find_by_email(&self.inner, email).await
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Duplicate when the address is taken.
    pub async fn insert_user(&self, user: &User, password_hash: Option<&SecretString>) -> Result<(), Error> {
        users::ActiveModel {
            id: Set(user.id.as_uuid()),
            email: Set(user.email.clone()),
            name: Set(user.name.clone()),
            password_hash: Set(password_hash.map(|hash| hash.expose_secret().to_owned())),
            user_type: Set(user.user_type.as_str().to_owned()),
            organization_id: Set(user.organization_id.map(OrganizationId::as_uuid)),
            is_active: Set(user.is_active),
            is_superuser: Set(user.is_superuser),
            is_verified: Set(user.is_verified),
            is_registered: Set(user.is_registered),
            mfa_enabled: Set(false),
            epoch: Set(user.epoch),
            last_login: Set(user.last_login),
            purge_at: Set(user.purge_at),
            created_at: Set(user.created_at),
            updated_at: Set(user.updated_at),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// Turns the stub of somebody of an organization into a registered user: an administrator's is nobody's to claim by its address.
    /// Guarded: tells whether it was a stub still.
    ///
    /// # Errors
    /// Away.
    pub async fn register_stub(
        &self,
        id: UserId,
        name: Option<&str>,
        password_hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE users SET is_registered = TRUE, name = COALESCE($2, name), password_hash = $3, updated_at = $4 \
             WHERE id = $1 AND is_registered = FALSE AND is_active = TRUE AND is_superuser = FALSE AND user_type = 'ORG' \
             AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = $1 AND m.role IN ('admin', 'owner'))",
            [
                id.as_uuid().into(),
                name.into(),
                password_hash.expose_secret().into(),
                now.into(),
            ],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Sets a password and raises the epoch: every older session ends.
    ///
    /// # Errors
    /// Away.
    pub async fn update_password(
        &self,
        id: UserId,
        password_hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE users SET password_hash = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1",
            [id.as_uuid().into(), password_hash.expose_secret().into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Suspends a user or takes that back, and raises the epoch: every older session ends.
    ///
    /// # Errors
    /// Away.
    pub async fn set_user_active(
        &self,
        id: UserId,
        is_active: bool,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE users SET is_active = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1",
            [id.as_uuid().into(), is_active.into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// Notes a sign-in. `updated_at` moves too: a trigger would move it anyway.
    ///
    /// # Errors
    /// Away.
    pub async fn touch_login(&self, id: UserId, now: DateTime<Utc>) -> Result<(), Error> {
        users::Entity::update_many()
            .col_expr(users::Column::LastLogin, Expr::value(Some(now)))
            .col_expr(users::Column::UpdatedAt, Expr::value(now))
            .filter(users::Column::Id.eq(id.as_uuid()))
            .exec(&self.inner)
            .await?;
        Ok(())
    }

    /// Adds a role.
    ///
    /// # Errors
    /// Duplicate when the organization has one of this name.
    pub async fn insert_role(&self, role: NewRole) -> Result<(), Error> {
        roles::ActiveModel {
            id: Set(role.id.as_uuid()),
            organization_id: Set(role.organization_id.map(OrganizationId::as_uuid)),
            name: Set(role.name),
            description: Set(None),
            permissions: Set(role.permissions.into_iter().collect::<Vec<_>>().into()),
            is_active: Set(true),
            created_by: Set(None),
            created_at: Set(role.created_at),
            updated_at: Set(role.created_at),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// Duplicate when the user has it, Reference when either does not exist.
    pub async fn assign_role(
        &self,
        user: UserId,
        role: RoleId,
        by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        user_roles::ActiveModel {
            user_id: Set(user.as_uuid()),
            role_id: Set(role.as_uuid()),
            assigned_by: Set(by.map(UserId::as_uuid)),
            assigned_at: Set(now),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }
}
