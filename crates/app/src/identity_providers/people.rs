//! Which user a person of a provider is: one that is linked, else a new account where the rules allow it. And what his groups give him. A
//! refusal leaves a line in the audit log.

use super::{
    IdentityProviders,
    tokens::{Groups, Person},
};
use crate::{
    audit::About,
    auth::{
        Client,
        register::{first_membership, written},
    },
};
use bifrost_domain::{
    error::{Error, Kind, Result},
    identity_provider::{ExternalIdentity, IdentityProvider, ProviderKind},
    ids::{OrganizationId, RoleId},
    rights::{MembershipRole, MembershipSource, Rights},
    user::{Email, User},
};
use bifrost_storage::{
    Tx,
    audit::{Entry, Outcome},
    memberships::Membership,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const MAX_NAME: usize = 255;

/// What stands in the attributes of a membership that a provider gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// The provider's id.
    provider: String,
    by: By,
    /// Roles that came with it.
    #[serde(default)]
    roles: BTreeSet<RoleId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// The domain of the address, with the account: it stays.
    Domain,
    /// A group: it goes with it.
    Group,
}

impl Given {
    fn read(attributes: &Value) -> Option<Self> {
        serde_json::from_value(attributes.clone()).ok()
    }

    fn written(&self) -> Value {
        json!({"provider": self.provider, "by": self.by, "roles": self.roles})
    }
}

impl IdentityProviders {
    /// Notes that a sign-in failed before it was known whose it is.
    pub(super) async fn note_refusal(
        &self,
        provider: &IdentityProvider,
        reason: &str,
        client: &Client,
    ) -> Result<()> {
        let mut entry = self.auth.entry("session.begin", Outcome::Failure, None, client);
        entry.detail = Some(json!({"provider": provider.name, "reason": reason}));
        self.write_refusal(entry).await
    }

    /// The user whom a person is and what he holds, if he may sign in; a refusal is noted.
    pub(super) async fn welcomed(
        &self,
        provider: &IdentityProvider,
        person: &Person,
        client: &Client,
    ) -> Result<(User, Rights)> {
        let found = async {
            let user = self.user_of(provider, person, client).await?;
            let rights = self.admitted(&user).await?;
            Ok::<_, Error>((user, rights))
        };
        let found = found.await;
        if let Err(error) = &found
            && matches!(error.kind, Kind::Unauthenticated | Kind::Forbidden | Kind::Conflict)
        {
            let mut entry = self.auth.entry("session.begin", Outcome::Failure, None, client);
            entry.actor_email = person.email.as_ref().map(|email| email.to_lowercase());
            entry.detail =
                Some(json!({"provider": provider.name, "reason": error.code, "subject": person.subject}));
            self.write_refusal(entry).await?;
        }
        found
    }

    async fn write_refusal(&self, entry: Entry) -> Result<()> {
        let tx = self.store.db().begin().await?;
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// The user that a person is, an account made for him where the rules allow it, with what his groups give.
    pub(super) async fn user_of(
        &self,
        provider: &IdentityProvider,
        person: &Person,
        client: &Client,
    ) -> Result<User> {
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        let mut found = tx.find_external_identity(provider.id, &person.subject).await?;
        if found.is_none() {
            tx.lock_registration().await?;
            tx.lock_tree().await?;
            // Another request of the same person may have made it while we waited.
            found = tx.find_external_identity(provider.id, &person.subject).await?;
        }
        let user = match &found {
            Some(identity) => tx.find_user_of(identity).await?.ok_or_else(|| unknown(provider))?,
            None => self.welcome(&tx, provider, person, now, client).await?,
        };
        // Who may not sign in is told so afterwards; nothing is given to him.
        if user.is_active
            && let Groups::Known(groups) = &person.groups
        {
            self.apply_groups(&tx, provider, &user, groups, now, client).await?;
        }
        // After the tree, whose lock goes before those of rows.
        if let Some(identity) = &found {
            let email = person.email.as_deref().and_then(|text| text.parse::<Email>().ok());
            tx.touch_external_identity(identity, email.as_ref().map(Email::as_str), now).await?;
        }
        tx.commit().await?;
        Ok(user)
    }

    /// Makes an account for somebody new, or takes the one that an administrator made ahead.
    async fn welcome(
        &self,
        tx: &Tx,
        provider: &IdentityProvider,
        person: &Person,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<User> {
        if !provider.rules.jit_enabled {
            return Err(unknown(provider));
        }
        let email = vouched_address(provider, person).ok_or_else(|| unknown(provider))?;
        let name = person.name.as_deref().map(str::trim).filter(|name| {
            (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
        });
        let place = tx.find_organization_by_domain(email.domain()).await?;
        let mut stub = None;
        let user = if let Some(existing) = tx.find_credentials(&email).await? {
            let before = existing.user;
            if let (Some(place), Some(home), false) = (&place, before.organization_id, before.is_registered)
                && !is_within(tx, home, place.id).await?
            {
                // Somebody elsewhere may have made it to have the person in his organization.
                return Err(Error::conflict(format!(
                    "an account is kept for {email} in another organization than that of its domain; ask your administrator"
                ))
                .with_code("stub_elsewhere"));
            }
            if !tx.claim_stub(before.id, name, now).await? {
                return Err(Error::conflict(format!(
                    "an account with the address {email} exists; sign in to it, then link {} there",
                    provider.display_name
                ))
                .with_code("account_exists"));
            }
            let name = before.name.clone().or_else(|| name.map(str::to_owned));
            let user =
                User { is_registered: true, is_verified: true, name, updated_at: now, ..before.clone() };
            stub = Some(before);
            user
        } else {
            let home = place.ok_or_else(|| {
                Error::forbidden(
                    "no organization expects this address; ask your administrator for an account",
                )
                .with_code("no_organization")
            })?;
            let account = self.auth.account(&email, name.map(str::to_owned), Some(home.id), now);
            let user = User { is_verified: true, ..account };
            tx.insert_user(&user, None).await?;
            let given = Given { provider: provider.id.to_string(), by: By::Domain, roles: BTreeSet::new() };
            tx.write_membership(&Membership {
                source: MembershipSource::Provider,
                attributes: given.written(),
                ..first_membership(user.id, home.id, None, now)
            })
            .await?;
            tx.inherit(now).await?;
            user
        };
        let mut entry = self.auth.entry("user.register", Outcome::Success, Some(&user), client);
        entry.changes = written(stub.as_ref(), &user);
        entry.detail = Some(json!({"provider": provider.name}));
        tx.insert_audit(entry).await?;
        self.link(tx, provider, person, &user, now, client).await?;
        Ok(user)
    }

    /// Links a person to a user, with its line in the audit log.
    pub(super) async fn link(
        &self,
        tx: &Tx,
        provider: &IdentityProvider,
        person: &Person,
        user: &User,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<()> {
        let email = person.email.as_deref().and_then(|text| text.parse::<Email>().ok());
        tx.insert_external_identity(&ExternalIdentity {
            provider_id: provider.id,
            subject: person.subject.clone(),
            user_id: user.id,
            email: email.map(String::from),
            linked_at: now,
            last_used_at: now,
        })
        .await?;
        let entry = self.auth.entry("identity.link", Outcome::Success, Some(user), client);
        let mut entry = entry.about(user.id, user.organization_id);
        entry.detail = Some(json!({"provider": provider.name, "subject": person.subject}));
        tx.insert_audit(entry).await?;
        Ok(())
    }

    /// Gives what the groups give and takes what they give no longer. A membership that an administrator made is his alone.
    async fn apply_groups(
        &self,
        tx: &Tx,
        provider: &IdentityProvider,
        user: &User,
        groups: &BTreeSet<String>,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<()> {
        let mut wanted = wanted_by(provider, groups);
        let held = tx.list_provider_memberships(user.id).await?;
        if wanted.is_empty() && held.is_empty() {
            return Ok(());
        }
        tx.lock_tree().await?;
        let provider_id = provider.id.to_string();
        let mut changed = Vec::new();
        for (organization, attributes) in tx.list_provider_memberships(user.id).await? {
            let Some(given) = Given::read(&attributes).filter(|given| given.provider == provider_id) else {
                continue;
            };
            match given.by {
                By::Domain => {
                    wanted.entry(organization).or_insert((MembershipRole::Member, BTreeSet::new()));
                }
                By::Group if !wanted.contains_key(&organization) => {
                    tx.delete_provider_membership(user.id, organization).await?;
                    changed.push(json!({"organization_id": organization, "role": null}));
                }
                By::Group => {}
            }
        }
        for (organization, (role, roles)) in wanted {
            // Organizations and roles may be gone since the rule was written: that is no reason to refuse a person.
            if tx.find_organization(organization).await?.is_none() {
                continue;
            }
            let current = tx.find_membership(user.id, organization).await?;
            let before = current.as_ref().map(|one| Given::read(&one.attributes));
            let given = match before {
                None => Given { provider: provider_id.clone(), by: By::Group, roles: BTreeSet::new() },
                Some(Some(given)) if given.provider == provider_id => given,
                // An administrator's, or another provider's.
                Some(_) => continue,
            };
            if current.as_ref().is_some_and(|one| one.source != MembershipSource::Provider) {
                continue;
            }
            if current.as_ref().is_some_and(|one| one.role == role) && given.roles == roles {
                continue;
            }
            for gone in given.roles.difference(&roles) {
                tx.take_role(user.id, *gone).await?;
            }
            for new in &roles {
                tx.give_mapped_role(user.id, *new, organization, now).await?;
            }
            let given = Given { roles, ..given };
            tx.write_membership(&Membership {
                role,
                source: MembershipSource::Provider,
                attributes: given.written(),
                ..current.unwrap_or_else(|| first_membership(user.id, organization, None, now))
            })
            .await?;
            changed.push(json!({"organization_id": organization, "role": role, "role_ids": given.roles}));
        }
        if changed.is_empty() {
            return Ok(());
        }
        tx.inherit(now).await?;
        let mut entry = self.auth.entry("membership.sync", Outcome::Success, Some(user), client);
        entry.detail = Some(json!({"provider": provider.name, "memberships": changed}));
        tx.insert_audit(entry).await?;
        Ok(())
    }
}

/// Whether an organization is `above`, or stands below it. The tree has three levels.
async fn is_within(tx: &Tx, id: OrganizationId, above: OrganizationId) -> Result<bool> {
    let mut at = Some(id);
    for _ in 0..3 {
        match at {
            Some(id) if id == above => return Ok(true),
            Some(id) => at = tx.find_organization(id).await?.and_then(|one| one.parent_id),
            None => break,
        }
    }
    Ok(false)
}

/// What the groups of a person give: in each organization the highest rank, and all roles.
fn wanted_by(
    provider: &IdentityProvider,
    groups: &BTreeSet<String>,
) -> BTreeMap<OrganizationId, (MembershipRole, BTreeSet<RoleId>)> {
    let mut wanted = BTreeMap::new();
    for rule in provider.rules.group_rules.iter().filter(|rule| groups.contains(&rule.group)) {
        let (role, roles): &mut (MembershipRole, BTreeSet<RoleId>) =
            wanted.entry(rule.organization_id).or_insert((rule.role, BTreeSet::new()));
        if rule.role.reaches(*role) {
            *role = rule.role;
        }
        roles.extend(rule.role_id);
    }
    wanted
}

/// The address, if the provider vouches for it and its domain is the provider's to vouch for.
///
/// Entra verifies no address, and whoever runs a tenant may claim any: there the administrator's list of the tenant's domains says it.
/// Google verifies addresses of other domains once, at the beginning: only of accounts that the domain itself runs (`hd`) it is sure.
fn vouched_address(provider: &IdentityProvider, person: &Person) -> Option<Email> {
    let email: Email = person.email.as_deref()?.parse().ok()?;
    let is_listed = provider.domains_of(person.tenant.as_deref()).contains(email.domain());
    let is_vouched_for = match provider.kind {
        ProviderKind::Entra => true,
        ProviderKind::Google => {
            person.email_verified && person.hosted_domain.as_deref() == Some(email.domain())
        }
        ProviderKind::Generic => person.email_verified,
    };
    (is_listed && is_vouched_for).then_some(email)
}

fn unknown(provider: &IdentityProvider) -> Error {
    Error::forbidden(format!(
        "nobody here is known by this account of {}; sign in another way and link it, or ask your administrator",
        provider.display_name
    ))
    .with_code("identity_unknown")
}
