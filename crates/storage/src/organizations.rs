//! Organizations. They are the provider's, not a tenant's: whoever reads them holds a permit or resolves an id he was given.

use crate::{Error, Reader, Tx, dialect, entities::organizations};
use bifrost_domain::{
    execution::UnknownValue,
    ids::{OrganizationId, UserId},
    organization::{Organization, OrganizationKind, OrganizationPatch, Place},
    policy::{
        Permit, Reach,
        actions::{ReadOrganizations, WriteOrganizations},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Unchanged, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, Set, Statement, sea_query::LockType,
};

/// What became of the request to delete an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, and with it what says that people are its guests and act in it.
    Done {
        /// Memberships of people whose home is elsewhere.
        memberships: i64,
        /// Keys of people for it.
        keys: i64,
    },
    /// It was not there.
    Unknown,
    /// These belong to it, in words for people: nothing was deleted.
    InUse(Vec<String>),
}

impl TryFrom<organizations::Model> for Organization {
    type Error = Error;

    fn try_from(row: organizations::Model) -> Result<Self, Error> {
        Ok(Self {
            id: OrganizationId::from_uuid(row.id),
            name: row.name,
            domain: row.domain,
            is_active: row.is_active,
            kind: kind_of(&row.kind)?,
            parent_id: row.parent_id.map(OrganizationId::from_uuid),
            time_zone: row.time_zone,
            settings: row.settings,
            created_by: row.created_by.map(UserId::from_uuid),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn kind_of(text: &str) -> Result<OrganizationKind, Error> {
    text.parse().map_err(|error: UnknownValue| Error::Inconsistent {
        table: "organizations",
        column: "kind",
        reason: error.to_string(),
    })
}

impl Reader {
    /// One organization, for a caller who named its id.
    ///
    /// # Errors
    /// Away.
    pub async fn find_organization(&self, id: OrganizationId) -> Result<Option<Organization>, Error> {
        let row = organizations::Entity::find_by_id(id.as_uuid()).one(self.db.reader()).await?;
        row.map(Organization::try_from).transpose()
    }

    /// A page of those that the permit reaches, oldest first, after `after`. At most `limit` rows.
    ///
    /// # Errors
    /// Away.
    pub async fn list_organizations(
        &self,
        permit: &Permit<ReadOrganizations>,
        after: Option<OrganizationId>,
        limit: u64,
    ) -> Result<Vec<Organization>, Error> {
        let mut query = organizations::Entity::find().order_by_asc(organizations::Column::Id).limit(limit);
        if let Some(after) = after {
            query = query.filter(organizations::Column::Id.gt(after.as_uuid()));
        }
        if let Reach::Organizations(ids) = permit.everywhere() {
            query =
                query.filter(organizations::Column::Id.is_in(ids.into_iter().map(OrganizationId::as_uuid)));
        }
        let rows = query.all(self.db.reader()).await?;
        rows.into_iter().map(Organization::try_from).collect()
    }
}

impl Tx {
    /// The active organization whose people have addresses under `domain`.
    ///
    /// # Errors
    /// Away.
    pub async fn find_organization_by_domain(&self, domain: &str) -> Result<Option<Organization>, Error> {
        let row = organizations::Entity::find()
            .filter(organizations::Column::Domain.eq(domain))
            .filter(organizations::Column::IsActive.eq(true))
            .one(&self.inner)
            .await?;
        row.map(Organization::try_from).transpose()
    }

    /// The places of all organizations, for the checks of the tree under [`Tx::lock_tree`].
    ///
    /// # Errors
    /// Away.
    pub async fn list_places(&self) -> Result<Vec<Place>, Error> {
        let rows = organizations::Entity::find().all(&self.inner).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Place {
                    id: OrganizationId::from_uuid(row.id),
                    kind: kind_of(&row.kind)?,
                    parent_id: row.parent_id.map(OrganizationId::from_uuid),
                })
            })
            .collect()
    }

    /// One organization, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_organization(&self, id: OrganizationId) -> Result<Option<Organization>, Error> {
        let row = organizations::Entity::find_by_id(id.as_uuid()).one(&self.inner).await?;
        row.map(Organization::try_from).transpose()
    }

    /// The same, which nobody else changes until this transaction ends.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_organization(&self, id: OrganizationId) -> Result<Option<Organization>, Error> {
        let mut found = organizations::Entity::find_by_id(id.as_uuid());
        if self.inner.get_database_backend() == DbBackend::Postgres {
            found = found.lock(LockType::NoKeyUpdate);
        }
        found.one(&self.inner).await?.map(Organization::try_from).transpose()
    }

    /// Adds an organization.
    ///
    /// # Errors
    /// Duplicate when the domain is taken.
    pub async fn insert_organization(
        &self,
        _permit: &Permit<WriteOrganizations>,
        organization: Organization,
    ) -> Result<(), Error> {
        organizations::ActiveModel {
            id: Set(organization.id.as_uuid()),
            name: Set(organization.name),
            domain: Set(organization.domain),
            is_active: Set(organization.is_active),
            kind: Set(organization.kind.as_str().to_owned()),
            parent_id: Set(organization.parent_id.map(OrganizationId::as_uuid)),
            time_zone: Set(organization.time_zone),
            settings: Set(organization.settings),
            created_by: Set(organization.created_by.map(UserId::as_uuid)),
            created_at: Set(organization.created_at),
            updated_at: Set(organization.updated_at),
        }
        .insert(&self.inner)
        .await?;
        Ok(())
    }

    /// Changes an organization; `None` when there is none.
    ///
    /// # Errors
    /// Duplicate when the new domain is taken.
    pub async fn update_organization(
        &self,
        _permit: &Permit<WriteOrganizations>,
        id: OrganizationId,
        patch: OrganizationPatch,
        now: DateTime<Utc>,
    ) -> Result<Option<Organization>, Error> {
        let mut row = organizations::ActiveModel {
            id: Unchanged(id.as_uuid()),
            updated_at: Set(now),
            ..Default::default()
        };
        if let Some(name) = patch.name {
            row.name = Set(name);
        }
        if let Some(domain) = patch.domain {
            row.domain = Set(domain);
        }
        if let Some(is_active) = patch.is_active {
            row.is_active = Set(is_active);
        }
        if let Some(kind) = patch.kind {
            row.kind = Set(kind.as_str().to_owned());
        }
        if let Some(parent_id) = patch.parent_id {
            row.parent_id = Set(parent_id.map(OrganizationId::as_uuid));
        }
        if let Some(time_zone) = patch.time_zone {
            row.time_zone = Set(time_zone);
        }
        if let Some(settings) = patch.settings {
            row.settings = Set(settings);
        }
        match row.update(&self.inner).await {
            Ok(row) => Ok(Some(row.try_into()?)),
            Err(sea_orm::DbErr::RecordNotUpdated) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an organization that nothing belongs to. It is locked before it is looked at: what begins to belong to it meanwhile is
    /// seen, or is refused.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_organization(
        &self,
        _permit: &Permit<WriteOrganizations>,
        id: OrganizationId,
    ) -> Result<Deletion, Error> {
        let mut found = organizations::Entity::find_by_id(id.as_uuid());
        if self.inner.get_database_backend() == DbBackend::Postgres {
            found = found.lock_exclusive();
        }
        if found.one(&self.inner).await?.is_none() {
            return Ok(Deletion::Unknown);
        }
        let belongings = self.list_belongings(id).await?;
        if !belongings.is_empty() {
            return Ok(Deletion::InUse(belongings));
        }
        let ended = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            "SELECT (SELECT COUNT(*) FROM memberships WHERE organization_id = $1) AS memberships, \
             (SELECT COUNT(*) FROM sdk_keys WHERE organization_id = $1) AS keys",
            [id.as_uuid().into()],
        );
        let ended = self.inner.query_one(ended).await?;
        let count = |name| ended.as_ref().map_or(Ok(0), |row| dialect::get(row, "organizations", name));
        let (memberships, keys) = (count("memberships")?, count("keys")?);
        organizations::Entity::delete_by_id(id.as_uuid()).exec(&self.inner).await?;
        Ok(Deletion::Done { memberships, keys })
    }

    /// What belongs to an organization, in words for people; nothing is counted.
    async fn list_belongings(&self, id: OrganizationId) -> Result<Vec<String>, Error> {
        let parts: Vec<String> = BELONGINGS
            .iter()
            .map(|(table, column, name)| {
                format!("SELECT '{name}' AS name WHERE EXISTS (SELECT 1 FROM {table} WHERE {column} = $1)")
            })
            .collect();
        let statement = Statement::from_sql_and_values(
            self.inner.get_database_backend(),
            parts.join(" UNION ALL "),
            [id.as_uuid().into()],
        );
        let rows = self.inner.query_all(statement).await?;
        rows.iter().map(|row| dialect::get(row, "organizations", "name")).collect()
    }
}

/// The tables and columns by which rows belong to organizations, and what people call them. All but the executions refer to theirs; those
/// are inserted by a statement that does what a reference would.
const BELONGINGS: &[(&str, &str, &str)] = &[
    ("organizations", "parent_id", "organizations below it"),
    ("users", "organization_id", "people"),
    ("roles", "organization_id", "roles"),
    ("workflows", "organization_id", "workflows"),
    ("data_providers", "organization_id", "data providers"),
    ("forms", "organization_id", "forms"),
    ("schedules", "organization_id", "schedules"),
    ("configs", "organization_id", "configuration values"),
    ("secrets", "organization_id", "secrets"),
    ("oauth_providers", "organization_id", "OAuth connections"),
    ("applications", "organization_id", "applications"),
    ("workflow_keys", "organization_id", "workflow keys"),
    ("executions", "organization_id", "executions"),
];
