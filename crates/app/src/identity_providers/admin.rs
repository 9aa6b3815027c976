//! Providers: made, changed, tried out and deleted by platform admins.

use super::{
    IdentityProviders,
    check::{self, MAX_SECRET, Wrong},
};
use crate::{
    audit::{About, MASK, changes, gone, made, with_secret},
    auth::Client,
    roles::check_grant,
    still,
    users::rank_too_high,
};
use bifrost_domain::{
    error::{Error, Result},
    identity_provider::{GroupRule, IdentityProvider, ProviderKind, ProviderRules, Tenant},
    ids::IdentityProviderId,
    policy::{
        Caller, Permit,
        actions::{ReadProviders, WriteProviders},
        may_name,
    },
};
use bifrost_storage::{Error as StoreError, Tx, audit::Entry, identity_providers::Sealed};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Every request with a foreign token looks through all of them.
const MAX_PROVIDERS: i64 = 50;

/// What a provider is made of.
#[derive(Debug)]
pub struct NewProvider {
    /// Stands in addresses; cannot be changed.
    pub name: String,
    /// For the sign-in page.
    pub display_name: String,
    /// For the sign-in page.
    pub icon: Option<String>,
    /// Cannot be changed.
    pub kind: ProviderKind,
    /// Cannot be changed: the ids of people are the issuer's.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: Option<SecretString>,
    /// Whether people may sign in with it.
    pub is_active: bool,
    /// Whom it lets in.
    pub rules: RulesPatch,
}

/// A change: `None` leaves a field as it is.
#[derive(Debug, Default)]
pub struct ProviderPatch {
    /// For the sign-in page.
    pub display_name: Option<String>,
    /// For the sign-in page.
    pub icon: Option<Option<String>>,
    /// Our name there.
    pub client_id: Option<String>,
    /// Our secret there.
    pub client_secret: Option<Option<SecretString>>,
    /// Whether people may sign in with it.
    pub is_active: Option<bool>,
    /// Whom it lets in.
    pub rules: RulesPatch,
}

/// A change of the rules: `None` leaves one as it is. See [`ProviderRules`].
#[expect(missing_docs, reason = "the fields are those of `ProviderRules`")]
#[derive(Debug, Default)]
pub struct RulesPatch {
    pub scopes: Option<Vec<String>>,
    pub allowed_tenants: Option<Vec<Tenant>>,
    pub accept_bearer: Option<bool>,
    pub bearer_audience: Option<Option<String>>,
    pub required_scopes: Option<Vec<String>>,
    pub required_roles: Option<Vec<String>>,
    pub allowed_domains: Option<Vec<String>>,
    pub jit_enabled: Option<bool>,
    pub groups_claim: Option<Option<String>>,
    pub group_rules: Option<Vec<GroupRule>>,
}

impl RulesPatch {
    fn apply(self, rules: ProviderRules) -> ProviderRules {
        ProviderRules {
            scopes: self.scopes.unwrap_or(rules.scopes),
            allowed_tenants: self.allowed_tenants.unwrap_or(rules.allowed_tenants),
            accept_bearer: self.accept_bearer.unwrap_or(rules.accept_bearer),
            bearer_audience: self.bearer_audience.unwrap_or(rules.bearer_audience),
            required_scopes: self.required_scopes.unwrap_or(rules.required_scopes),
            required_roles: self.required_roles.unwrap_or(rules.required_roles),
            allowed_domains: self.allowed_domains.unwrap_or(rules.allowed_domains),
            jit_enabled: self.jit_enabled.unwrap_or(rules.jit_enabled),
            groups_claim: self.groups_claim.unwrap_or(rules.groups_claim),
            group_rules: self.group_rules.unwrap_or(rules.group_rules),
        }
    }
}

/// What a provider says of itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is wrong, in words for people; nothing when people can sign in.
    pub problems: Vec<String>,
    /// Its issuer.
    pub issuer: Option<String>,
    /// Where people are sent.
    pub authorization_endpoint: Option<String>,
    /// Where codes are exchanged.
    pub token_endpoint: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// How many keys can be used.
    pub keys: usize,
    /// What has to be registered there.
    pub redirect_uri: String,
}

impl IdentityProviders {
    /// All providers, oldest first.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list(&self, _permit: &Permit<ReadProviders>) -> Result<Vec<IdentityProvider>> {
        Ok(self.reader.list_identity_providers().await?)
    }

    /// One provider.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(
        &self,
        _permit: &Permit<ReadProviders>,
        id: IdentityProviderId,
    ) -> Result<IdentityProvider> {
        self.find(id).await
    }

    async fn find(&self, id: IdentityProviderId) -> Result<IdentityProvider> {
        let all = self.reader.list_identity_providers().await?;
        all.into_iter().find(|one| one.id == id).ok_or_else(not_found)
    }

    /// Makes a provider.
    ///
    /// # Errors
    /// Forbidden for keys, and when a group would give more than the caller may; invalid fields; conflict when the name is taken or there are 50.
    pub async fn create(
        &self,
        permit: &Permit<WriteProviders>,
        caller: &Caller,
        new: NewProvider,
        client: &Client,
    ) -> Result<IdentityProvider> {
        check_person(caller)?;
        let now = self.clock.now();
        let mut provider = IdentityProvider {
            id: IdentityProviderId::from_uuid(self.ids.next()),
            name: new.name,
            display_name: new.display_name,
            icon: new.icon,
            kind: new.kind,
            issuer: new.issuer,
            client_id: new.client_id,
            has_secret: new.client_secret.is_some(),
            is_active: new.is_active,
            rules: new.rules.apply(ProviderRules::default()),
            created_by: Some(permit.user_id()),
            created_at: now,
            updated_at: now,
        };
        check::normalize(&mut provider);
        let mut wrong = Wrong::default();
        check::provider(&provider, &mut wrong);
        let secret = self.sealed(provider.id, new.client_secret.as_ref(), &mut wrong)?;
        let tx = self.store.db().begin().await?;
        tx.lock_tree().await?;
        still::check(&tx, permit, now).await?;
        check_references(&tx, permit, &[], &provider, &mut wrong).await?;
        if !wrong.0.is_empty() {
            return Err(Error::invalid_fields(wrong.0));
        }
        if tx.count_identity_providers().await? >= MAX_PROVIDERS {
            return Err(Error::conflict(format!(
                "there are {MAX_PROVIDERS} providers already; delete one first"
            ))
            .with_code("too_many_providers"));
        }
        tx.insert_identity_provider(permit, &provider, secret).await.map_err(name_taken)?;
        let mut entry = self.entry("identity_provider.create", provider.id, caller, client);
        entry.changes = made(described(&provider));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget_known();
        Ok(provider)
    }

    /// Changes a provider. What its groups gave before stays; what they are to give besides has to be the caller's to give.
    ///
    /// # Errors
    /// Forbidden for keys, and when a group would give more than the caller may; not found; invalid fields.
    pub async fn update(
        &self,
        permit: &Permit<WriteProviders>,
        caller: &Caller,
        id: IdentityProviderId,
        patch: ProviderPatch,
        client: &Client,
    ) -> Result<IdentityProvider> {
        check_person(caller)?;
        let tx = self.store.db().begin().await?;
        let before = tx.lock_identity_provider(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let mut after = before.clone();
        after.display_name = patch.display_name.unwrap_or(after.display_name);
        after.icon = patch.icon.unwrap_or(after.icon);
        after.client_id = patch.client_id.unwrap_or(after.client_id);
        after.is_active = patch.is_active.unwrap_or(after.is_active);
        after.rules = patch.rules.apply(after.rules);
        after.updated_at = self.clock.now();
        check::normalize(&mut after);
        let mut wrong = Wrong::default();
        check::provider(&after, &mut wrong);
        let secret = match &patch.client_secret {
            None => None,
            Some(secret) => Some(self.sealed(id, secret.as_ref(), &mut wrong)?),
        };
        check_references(&tx, permit, &before.rules.group_rules, &after, &mut wrong).await?;
        if !wrong.0.is_empty() {
            return Err(Error::invalid_fields(wrong.0));
        }
        let renewed = matches!(secret, Some(Some(_)));
        if let Some(secret) = &secret {
            after.has_secret = secret.is_some();
        }
        if !tx.update_identity_provider(permit, &after, secret).await? {
            return Err(not_found());
        }
        let mut entry = self.entry("identity_provider.update", id, caller, client);
        let pairs = described(&before).into_iter().zip(described(&after));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        if renewed {
            // Also when there was one before, which looks the same.
            entry.changes = Some(with_secret(entry.changes, "client_secret", before.has_secret));
        }
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget_known();
        Ok(after)
    }

    /// Deletes a provider with all links to it: who has no password cannot sign in any more.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete(
        &self,
        permit: &Permit<WriteProviders>,
        caller: &Caller,
        id: IdentityProviderId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let before = tx.lock_identity_provider(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        if !tx.delete_identity_provider(permit, id).await? {
            return Err(not_found());
        }
        let mut entry = self.entry("identity_provider.delete", id, caller, client);
        entry.changes = gone(described(&before));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget_known();
        self.documents.forget(id);
        Ok(())
    }

    /// Asks a provider for its document and keys, and tells what is wrong.
    ///
    /// # Errors
    /// Not found; unavailable when the store is away.
    pub async fn test(&self, _permit: &Permit<WriteProviders>, id: IdentityProviderId) -> Result<Report> {
        let provider = self.find(id).await?;
        let mut report = Report { redirect_uri: self.redirect_uri(&provider), ..Report::default() };
        match self.documents.examine(&provider).await {
            Err(trouble) => report.problems.push(trouble.0),
            Ok(loaded) => {
                let document = &loaded.document;
                if let Some(methods) = &document.code_challenge_methods
                    && !methods.iter().any(|method| method == "S256")
                {
                    report.problems.push("it does not support PKCE with S256".to_owned());
                }
                report.issuer = Some(document.issuer.clone());
                report.authorization_endpoint = Some(document.authorization_endpoint.to_string());
                report.token_endpoint = Some(document.token_endpoint.to_string());
                report.jwks_uri = Some(document.jwks_uri.to_string());
                report.keys = loaded.keys.len();
            }
        }
        Ok(report)
    }

    fn sealed(
        &self,
        id: IdentityProviderId,
        secret: Option<&SecretString>,
        wrong: &mut Wrong,
    ) -> Result<Option<Sealed>> {
        let Some(secret) = secret.map(ExposeSecret::expose_secret) else { return Ok(None) };
        if !(1..=MAX_SECRET).contains(&secret.len()) || secret.chars().any(char::is_control) {
            let message = format!("must have 1 to {MAX_SECRET} bytes and no control characters");
            wrong.add("client_secret", "length", message);
            return Ok(None);
        }
        let bytes = self.cipher.seal(&Self::place(id), secret.as_bytes()).map_err(Error::internal)?;
        Ok(Some(Sealed { bytes, key_id: self.cipher.key_id().to_owned() }))
    }

    fn entry(&self, action: &'static str, id: IdentityProviderId, caller: &Caller, client: &Client) -> Entry {
        self.scribe.line(action, caller, client).about(id, None)
    }
}

/// Whoever says which provider is believed lets people in who are still there when a key is revoked. A key may delete one.
fn check_person(caller: &Caller) -> Result<()> {
    if caller.key_id.is_none() && caller.application_id.is_none() {
        return Ok(());
    }
    let message =
        "a key neither makes nor changes identity providers: an administrator who is signed in does";
    Err(Error::forbidden(message).with_code("person_needed"))
}

/// Whether the organizations and roles of the group rules are there, and what new rules give is the caller's to give.
async fn check_references(
    tx: &Tx,
    permit: &Permit<WriteProviders>,
    kept: &[GroupRule],
    provider: &IdentityProvider,
    wrong: &mut Wrong,
) -> Result<()> {
    if !wrong.0.is_empty() {
        // The number of rules may be what is wrong.
        return Ok(());
    }
    let (caller, places) = (permit.caller(), permit.everywhere());
    for (n, rule) in provider.rules.group_rules.iter().enumerate() {
        let is_new = !kept.contains(rule);
        let is_reached = !is_new || places.contains(rule.organization_id);
        if !is_reached || tx.find_organization(rule.organization_id).await?.is_none() {
            wrong.add(format!("rules.group_rules[{n}].organization_id"), "value", "names no organization");
            continue;
        }
        if is_new && !may_name(caller, rule.organization_id, rule.role) {
            return Err(rank_too_high());
        }
        let Some(role) = rule.role_id else { continue };
        match tx.permissions_of_role(rule.organization_id, role).await? {
            Some(permissions) if is_new => check_grant(caller, &permissions)?,
            Some(_) => {}
            None => wrong.add(
                format!("rules.group_rules[{n}].role_id"),
                "value",
                "names no role of that organization",
            ),
        }
    }
    Ok(())
}

/// What the audit log shows of a provider.
fn described(one: &IdentityProvider) -> [(&'static str, Value); 9] {
    [
        ("name", one.name.as_str().into()),
        ("display_name", one.display_name.as_str().into()),
        ("icon", one.icon.clone().into()),
        ("kind", one.kind.as_str().into()),
        ("issuer", one.issuer.as_str().into()),
        ("client_id", one.client_id.as_str().into()),
        ("client_secret", if one.has_secret { MASK.into() } else { Value::Null }),
        ("is_active", one.is_active.into()),
        ("rules", serde_json::to_value(&one.rules).unwrap_or_default()),
    ]
}

fn not_found() -> Error {
    Error::not_found("identity provider")
}

fn name_taken(error: StoreError) -> Error {
    match error {
        StoreError::Duplicate(_) => {
            Error::conflict("another provider has this name").with_code("name_taken").with_source(error)
        }
        other => other.into(),
    }
}
