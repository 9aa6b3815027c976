//! Identities at external providers, and what a provider gives its people: accounts, memberships, roles.

use crate::{
    Error, Reader, Tx,
    dialect::{self, get},
    entities::{roles, users},
    memberships::permissions_of,
};
use bifrost_domain::{
    identity_provider::ExternalIdentity,
    ids::{IdentityProviderId, OrganizationId, RoleId, UserId},
    user::User,
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, Statement, Value};
use std::collections::BTreeSet;

const TABLE: &str = "external_identities";
const COLUMNS: &str = "provider_id, subject, user_id, email, linked_at, last_used_at";

fn identity_of(row: &QueryResult) -> Result<ExternalIdentity, Error> {
    Ok(ExternalIdentity {
        provider_id: IdentityProviderId::from_uuid(get(row, TABLE, "provider_id")?),
        subject: get(row, TABLE, "subject")?,
        user_id: UserId::from_uuid(get(row, TABLE, "user_id")?),
        email: get(row, TABLE, "email")?,
        linked_at: get(row, TABLE, "linked_at")?,
        last_used_at: get(row, TABLE, "last_used_at")?,
    })
}

async fn all<C: ConnectionTrait>(
    connection: &C,
    condition: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<ExternalIdentity>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM external_identities WHERE {condition} ORDER BY linked_at, provider_id"
    );
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    connection.query_all(statement).await?.iter().map(identity_of).collect()
}

async fn find<C: ConnectionTrait>(
    connection: &C,
    provider: IdentityProviderId,
    subject: &str,
) -> Result<Option<ExternalIdentity>, Error> {
    let condition = "provider_id = $1 AND subject = $2";
    Ok(all(connection, condition, [provider.as_uuid().into(), subject.into()]).await?.pop())
}

impl Reader {
    /// Whose identity it is.
    ///
    /// # Errors
    /// Away.
    pub async fn find_user_of_identity(
        &self,
        provider: IdentityProviderId,
        subject: &str,
    ) -> Result<Option<User>, Error> {
        let Some(identity) = find(self.db.reader(), provider, subject).await? else { return Ok(None) };
        self.find_user(identity.user_id).await
    }

    /// A user's identities, the first linked first.
    ///
    /// # Errors
    /// Away.
    pub async fn list_external_identities(&self, user: UserId) -> Result<Vec<ExternalIdentity>, Error> {
        all(self.db.reader(), "user_id = $1", [user.as_uuid().into()]).await
    }
}

impl Tx {
    /// An identity, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_external_identity(
        &self,
        provider: IdentityProviderId,
        subject: &str,
    ) -> Result<Option<ExternalIdentity>, Error> {
        find(&self.inner, provider, subject).await
    }

    /// A user's identities, as this transaction sees them.
    ///
    /// # Errors
    /// Away.
    pub async fn list_external_identities(&self, user: UserId) -> Result<Vec<ExternalIdentity>, Error> {
        all(&self.inner, "user_id = $1", [user.as_uuid().into()]).await
    }

    /// A user by id, as this transaction sees him.
    ///
    /// # Errors
    /// Away.
    pub async fn find_user_of(&self, identity: &ExternalIdentity) -> Result<Option<User>, Error> {
        let row = users::Entity::find_by_id(identity.user_id.as_uuid()).one(&self.inner).await?;
        row.map(User::try_from).transpose()
    }

    /// Adds an identity.
    ///
    /// # Errors
    /// Duplicate when it is somebody's, or the user has one at the provider.
    pub async fn insert_external_identity(&self, identity: &ExternalIdentity) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO external_identities (provider_id, subject, user_id, email, linked_at, last_used_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            [
                identity.provider_id.as_uuid().into(),
                identity.subject.clone().into(),
                identity.user_id.as_uuid().into(),
                identity.email.clone().into(),
                identity.linked_at.into(),
                identity.last_used_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Notes a sign-in with an identity, and the address that the provider says now.
    ///
    /// # Errors
    /// Away.
    pub async fn touch_external_identity(
        &self,
        identity: &ExternalIdentity,
        email: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "UPDATE external_identities SET last_used_at = $3, email = $4 WHERE provider_id = $1 AND subject = $2",
            [
                identity.provider_id.as_uuid().into(),
                identity.subject.clone().into(),
                now.into(),
                email.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Takes a user's identity at a provider away. Tells whether there was one.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_external_identity(
        &self,
        user: UserId,
        provider: IdentityProviderId,
    ) -> Result<bool, Error> {
        let gone = dialect::execute_in(
            &self.inner,
            "DELETE FROM external_identities WHERE user_id = $1 AND provider_id = $2",
            [user.as_uuid().into(), provider.as_uuid().into()],
        )
        .await?;
        Ok(gone == 1)
    }

    /// Turns the stub of somebody of an organization into a registered user without a password, for who signs in with a provider that
    /// vouches for its address; an administrator's is nobody's to claim. Guarded: tells whether it was a stub still.
    ///
    /// # Errors
    /// Away.
    pub async fn claim_stub(
        &self,
        id: UserId,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE users SET is_registered = TRUE, is_verified = TRUE, name = COALESCE(name, $2), updated_at = $3 \
             WHERE id = $1 AND is_registered = FALSE AND is_active = TRUE AND is_superuser = FALSE AND user_type = 'ORG'",
            [id.as_uuid().into(), name.into(), now.into()],
        )
        .await?;
        Ok(changed == 1)
    }

    /// The organizations where a user is a member because a provider says so, with the attributes of the membership.
    ///
    /// # Errors
    /// Away.
    pub async fn list_provider_memberships(
        &self,
        user: UserId,
    ) -> Result<Vec<(OrganizationId, serde_json::Value)>, Error> {
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT organization_id, attributes FROM memberships WHERE user_id = $1 AND source = 'provider' ORDER BY organization_id",
            [user.as_uuid().into()],
        );
        let rows = self.inner.query_all(statement).await?;
        rows.iter()
            .map(|row| {
                Ok((
                    OrganizationId::from_uuid(get(row, "memberships", "organization_id")?),
                    get(row, "memberships", "attributes")?,
                ))
            })
            .collect()
    }

    /// Ends a membership that a provider gave, with the roles of that organization, whoever gave those. Then [`Tx::inherit`] is due.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_provider_membership(
        &self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<(), Error> {
        let ids = || [user.as_uuid().into(), organization.as_uuid().into()];
        let gone = dialect::execute_in(
            &self.inner,
            "DELETE FROM memberships WHERE user_id = $1 AND organization_id = $2 AND source = 'provider'",
            ids(),
        )
        .await?;
        if gone > 0 {
            self.take_roles_of(user, organization).await?;
        }
        Ok(())
    }

    /// Gives a user a role of an organization because a provider says so; a role that is not there any more is no error. Tells whether he
    /// did not have it.
    ///
    /// # Errors
    /// Away.
    pub async fn give_mapped_role(
        &self,
        user: UserId,
        role: RoleId,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let done = dialect::execute_in(
            &self.inner,
            "INSERT INTO user_roles (user_id, role_id, assigned_at) \
             SELECT u.id, r.id, $4 FROM users u JOIN roles r ON r.id = $2 AND r.organization_id = $3 WHERE u.id = $1 \
             ON CONFLICT DO NOTHING",
            [user.as_uuid().into(), role.as_uuid().into(), organization.as_uuid().into(), now.into()],
        )
        .await?;
        Ok(done > 0)
    }

    /// What a role of an organization permits; `None` when it is no role of that organization.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn permissions_of_role(
        &self,
        organization: OrganizationId,
        role: RoleId,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let found = roles::Entity::find_by_id(role.as_uuid())
            .filter(roles::Column::OrganizationId.eq(organization.as_uuid()))
            .one(&self.inner)
            .await?;
        found.map(|role| permissions_of(role.permissions)).transpose()
    }
}
