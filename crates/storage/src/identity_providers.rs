//! External identity providers, and sign-ins with them that are under way. Providers are the platform's, not a tenant's.

use crate::{
    Error, Reader, Store, Tx,
    dialect::{self, get, parse},
};
use bifrost_domain::{
    identity_provider::{IdentityProvider, ProviderRules},
    ids::{IdentityProviderId, SessionId, UserId},
    policy::{Permit, actions::WriteProviders},
};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use uuid::Uuid;

const TABLE: &str = "identity_providers";
const COLUMNS: &str = "id, name, display_name, icon, kind, issuer, client_id, client_secret IS NOT NULL AS has_secret, is_active, rules, \
                       created_by, created_at, updated_at";

/// A value that only the key with this id opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The ciphertext.
    pub bytes: Vec<u8>,
    /// Which key made it.
    pub key_id: String,
}

/// A sign-in that was begun in a browser and waits for the provider's answer. Its `state` is kept as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcState {
    /// Where.
    pub provider_id: IdentityProviderId,
    /// What the id token must repeat.
    pub nonce: String,
    /// The PKCE verifier.
    pub verifier: Sealed,
    /// Where the browser goes afterwards.
    pub redirect_to: Option<String>,
    /// The session that wants to link an identity, instead of signing in.
    pub link_session_id: Option<SessionId>,
    /// Not valid from then on.
    pub expires_at: DateTime<Utc>,
}

fn provider_of(row: &QueryResult) -> Result<IdentityProvider, Error> {
    let rules: serde_json::Value = get(row, TABLE, "rules")?;
    let rules: ProviderRules = serde_json::from_value(rules).map_err(|error| Error::Inconsistent {
        table: TABLE,
        column: "rules",
        reason: error.to_string(),
    })?;
    Ok(IdentityProvider {
        id: IdentityProviderId::from_uuid(get(row, TABLE, "id")?),
        name: get(row, TABLE, "name")?,
        display_name: get(row, TABLE, "display_name")?,
        icon: get(row, TABLE, "icon")?,
        kind: parse(row, TABLE, "kind")?,
        issuer: get(row, TABLE, "issuer")?,
        client_id: get(row, TABLE, "client_id")?,
        has_secret: get(row, TABLE, "has_secret")?,
        is_active: get(row, TABLE, "is_active")?,
        rules,
        created_by: get::<Option<Uuid>>(row, TABLE, "created_by")?.map(UserId::from_uuid),
        created_at: get(row, TABLE, "created_at")?,
        updated_at: get(row, TABLE, "updated_at")?,
    })
}

fn rules_of(provider: &IdentityProvider) -> Result<Value, Error> {
    let rules = serde_json::to_value(&provider.rules).map_err(|error| Error::Inconsistent {
        table: TABLE,
        column: "rules",
        reason: error.to_string(),
    })?;
    Ok(rules.into())
}

impl Reader {
    /// All providers, oldest first: they are few.
    ///
    /// # Errors
    /// Away.
    pub async fn list_identity_providers(&self) -> Result<Vec<IdentityProvider>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM identity_providers ORDER BY id");
        dialect::all(&self.db, &sql, []).await?.iter().map(provider_of).collect()
    }

    /// Our secret at a provider.
    ///
    /// # Errors
    /// Away.
    pub async fn find_provider_secret(&self, id: IdentityProviderId) -> Result<Option<Sealed>, Error> {
        const SQL: &str = "SELECT client_secret, key_id FROM identity_providers WHERE id = $1 AND client_secret IS NOT NULL";
        let row = dialect::one(&self.db, SQL, [id.as_uuid().into()]).await?;
        row.map(|row| {
            Ok(Sealed { bytes: get(&row, TABLE, "client_secret")?, key_id: get(&row, TABLE, "key_id")? })
        })
        .transpose()
    }
}

impl Store {
    /// Keeps a begun sign-in under the hash of its `state`, bound to the hash of a browser's secret, and forgets those that ran out.
    ///
    /// # Errors
    /// Reference when the provider or the session is gone.
    pub async fn insert_oidc_state(
        &self,
        hash: &[u8],
        binding: &[u8],
        state: OidcState,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute(&self.db, "DELETE FROM oidc_states WHERE expires_at < $1", [now.into()]).await?;
        dialect::execute(
            &self.db,
            "INSERT INTO oidc_states (hash, binding, provider_id, nonce, verifier, key_id, redirect_to, link_session_id, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [
                hash.to_vec().into(),
                binding.to_vec().into(),
                state.provider_id.as_uuid().into(),
                state.nonce.into(),
                state.verifier.bytes.into(),
                state.verifier.key_id.into(),
                state.redirect_to.into(),
                state.link_session_id.map(SessionId::as_uuid).into(),
                state.expires_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Takes a begun sign-in of this browser: of several callers one gets it, and another browser none.
    ///
    /// # Errors
    /// Away.
    pub async fn take_oidc_state(
        &self,
        hash: &[u8],
        binding: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<OidcState>, Error> {
        const STATES: &str = "oidc_states";
        let row = dialect::execute_returning(
            &self.db,
            "DELETE FROM oidc_states WHERE hash = $1 AND binding = $2 AND expires_at > $3 \
             RETURNING provider_id, nonce, verifier, key_id, redirect_to, link_session_id, expires_at",
            [hash.to_vec().into(), binding.to_vec().into(), now.into()],
        )
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(OidcState {
            provider_id: IdentityProviderId::from_uuid(get(&row, STATES, "provider_id")?),
            nonce: get(&row, STATES, "nonce")?,
            verifier: Sealed { bytes: get(&row, STATES, "verifier")?, key_id: get(&row, STATES, "key_id")? },
            redirect_to: get(&row, STATES, "redirect_to")?,
            link_session_id: get::<Option<Uuid>>(&row, STATES, "link_session_id")?.map(SessionId::from_uuid),
            expires_at: get(&row, STATES, "expires_at")?,
        }))
    }
}

impl Tx {
    /// One provider, which nobody else changes until this transaction ends: a change writes all of its rules.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_identity_provider(
        &self,
        _permit: &Permit<WriteProviders>,
        id: IdentityProviderId,
    ) -> Result<Option<IdentityProvider>, Error> {
        let backend = self.inner.get_database_backend();
        let mut sql = format!("SELECT {COLUMNS} FROM identity_providers WHERE id = $1");
        if backend == DbBackend::Postgres {
            sql.push_str(" FOR NO KEY UPDATE");
        }
        let statement = Statement::from_sql_and_values(backend, sql, [id.as_uuid().into()]);
        self.inner.query_one(statement).await?.as_ref().map(provider_of).transpose()
    }

    /// How many providers there are; none is added meanwhile by who asked under [`Tx::lock_tree`].
    ///
    /// # Errors
    /// Away.
    pub async fn count_identity_providers(&self) -> Result<i64, Error> {
        let statement = Statement::from_string(
            self.inner.get_database_backend(),
            "SELECT COUNT(*) AS providers FROM identity_providers",
        );
        let row = self.inner.query_one(statement).await?;
        row.map_or(Ok(0), |row| get(&row, TABLE, "providers"))
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// Duplicate when the name is taken.
    pub async fn insert_identity_provider(
        &self,
        _permit: &Permit<WriteProviders>,
        provider: &IdentityProvider,
        secret: Option<Sealed>,
    ) -> Result<(), Error> {
        let (bytes, key_id) = secret.map(|secret| (secret.bytes, secret.key_id)).unzip();
        dialect::execute_in(
            &self.inner,
            "INSERT INTO identity_providers (id, name, display_name, icon, kind, issuer, client_id, client_secret, key_id, is_active, \
             rules, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            [
                provider.id.as_uuid().into(),
                provider.name.clone().into(),
                provider.display_name.clone().into(),
                provider.icon.clone().into(),
                provider.kind.as_str().into(),
                provider.issuer.clone().into(),
                provider.client_id.clone().into(),
                bytes.into(),
                key_id.into(),
                provider.is_active.into(),
                rules_of(provider)?,
                provider.created_by.map(UserId::as_uuid).into(),
                provider.created_at.into(),
                provider.updated_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Changes a provider: all but its name, kind and issuer. A secret of `None` stays, `Some(None)` is taken away. Tells whether it was
    /// there.
    ///
    /// # Errors
    /// Away.
    pub async fn update_identity_provider(
        &self,
        _permit: &Permit<WriteProviders>,
        provider: &IdentityProvider,
        secret: Option<Option<Sealed>>,
    ) -> Result<bool, Error> {
        let changed = dialect::execute_in(
            &self.inner,
            "UPDATE identity_providers SET display_name = $2, icon = $3, client_id = $4, is_active = $5, rules = $6, updated_at = $7 \
             WHERE id = $1",
            [
                provider.id.as_uuid().into(),
                provider.display_name.clone().into(),
                provider.icon.clone().into(),
                provider.client_id.clone().into(),
                provider.is_active.into(),
                rules_of(provider)?,
                provider.updated_at.into(),
            ],
        )
        .await?;
        if let Some(secret) = secret {
            let (bytes, key_id) = secret.map(|secret| (secret.bytes, secret.key_id)).unzip();
            dialect::execute_in(
                &self.inner,
                "UPDATE identity_providers SET client_secret = $2, key_id = $3, updated_at = $4 WHERE id = $1",
                [provider.id.as_uuid().into(), bytes.into(), key_id.into(), provider.updated_at.into()],
            )
            .await?;
        }
        Ok(changed == 1)
    }

    /// Deletes a provider with the identities at it. Tells whether it was there.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_identity_provider(
        &self,
        _permit: &Permit<WriteProviders>,
        id: IdentityProviderId,
    ) -> Result<bool, Error> {
        let gone = dialect::execute_in(
            &self.inner,
            "DELETE FROM identity_providers WHERE id = $1",
            [id.as_uuid().into()],
        )
        .await?;
        Ok(gone == 1)
    }
}
