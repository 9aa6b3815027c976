//! External identity providers (OpenID Connect): what is kept of them, and the rules that say whose tokens they are.

use crate::{
    execution::{UnknownValue, text_enum},
    ids::{IdentityProviderId, OrganizationId, RoleId, UserId},
    rights::MembershipRole,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// Stands for the tenant in the issuer of a provider with many.
pub const TENANT: &str = "{tenantid}";

text_enum! {
    /// What kind of provider it is.
    ProviderKind {
        /// Microsoft Entra ID.
        Entra = "entra",
        /// Google.
        Google = "google",
        /// Any other that speaks OpenID Connect.
        Generic = "generic",
    }
}

/// A tenant of Entra whose people may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The tenant's id, a UUID in lower case.
    pub tenant_id: String,
    /// E-mail domains that are known to be this tenant's: an address under another one says nothing.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// What a group of the provider gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRule {
    /// The group, as the provider names it in its tokens.
    pub group: String,
    /// Where it gives something.
    pub organization_id: OrganizationId,
    /// The rank there.
    pub role: MembershipRole,
    /// A role of that organization besides.
    #[serde(default)]
    pub role_id: Option<RoleId>,
}

/// Whom a provider's tokens let in, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderRules {
    /// What is asked for at sign-in besides `openid`.
    pub scopes: Vec<String>,
    /// With a [`TENANT`] in the issuer: whose people may sign in.
    pub allowed_tenants: Vec<Tenant>,
    /// Whether access tokens of the provider are accepted here.
    pub accept_bearer: bool,
    /// The audience that such a token must name.
    pub bearer_audience: Option<String>,
    /// Each must stand in `scp` or `scope` of an access token.
    pub required_scopes: Vec<String>,
    /// One of them must stand in `roles` of an access token.
    pub required_roles: Vec<String>,
    /// E-mail domains whose people get an account at their first sign-in.
    pub allowed_domains: Vec<String>,
    /// Whether people get an account at their first sign-in.
    pub jit_enabled: bool,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    /// What groups give.
    pub group_rules: Vec<GroupRule>,
}

impl ProviderRules {
    /// The name of the claim that lists groups.
    #[must_use]
    pub fn groups_claim(&self) -> &str {
        self.groups_claim.as_deref().unwrap_or("groups")
    }
}

/// A provider as it is kept; the client's secret is kept apart from it, encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityProvider {
    /// The provider.
    pub id: IdentityProviderId,
    /// Unique; stands in addresses.
    pub name: String,
    /// What the sign-in page says.
    pub display_name: String,
    /// A name or address of a picture, for the sign-in page.
    pub icon: Option<String>,
    /// What kind it is.
    pub kind: ProviderKind,
    /// The exact issuer; for Entra it may hold [`TENANT`].
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Whether a secret of ours is kept.
    pub has_secret: bool,
    /// Whether people may sign in with it.
    pub is_active: bool,
    /// Whom it lets in.
    pub rules: ProviderRules,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl IdentityProvider {
    /// Whether the issuer stands for many tenants.
    #[must_use]
    pub fn is_multi_tenant(&self) -> bool {
        self.kind == ProviderKind::Entra && self.issuer.contains(TENANT)
    }

    /// Whether `issuer`, as an unverified token says it, could be this provider's: for finding the provider, not for trusting the token.
    #[must_use]
    pub fn may_have_issued(&self, issuer: &str) -> bool {
        match self.issuer.split_once(TENANT).filter(|_| self.is_multi_tenant()) {
            None => issuer == self.issuer,
            Some((before, after)) => {
                issuer.len() > before.len() + after.len()
                    && issuer.starts_with(before)
                    && issuer.ends_with(after)
            }
        }
    }

    /// Whether a token with this issuer and tenant is this provider's: exactly, and of a tenant that is let in.
    #[must_use]
    pub fn has_issued(&self, issuer: &str, tenant: Option<&str>) -> bool {
        if !self.is_multi_tenant() {
            return issuer == self.issuer;
        }
        let Some(tenant) = tenant else { return false };
        self.rules.allowed_tenants.iter().any(|allowed| allowed.tenant_id == tenant)
            && issuer == self.issuer.replace(TENANT, tenant)
    }

    /// Where the provider describes itself (OpenID Connect Discovery 1.0, 4).
    #[must_use]
    pub fn discovery_url(&self) -> String {
        let issuer = self.issuer.replace(TENANT, "organizations");
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// The e-mail domains whose people, as this token's tenant has them, get an account.
    #[must_use]
    pub fn domains_of(&self, tenant: Option<&str>) -> BTreeSet<&str> {
        if !self.is_multi_tenant() {
            return self.rules.allowed_domains.iter().map(String::as_str).collect();
        }
        let tenants = self.rules.allowed_tenants.iter().filter(|one| Some(one.tenant_id.as_str()) == tenant);
        tenants.flat_map(|one| one.domains.iter().map(String::as_str)).collect()
    }
}

/// An identity at a provider that belongs to one of our users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// Where.
    pub provider_id: IdentityProviderId,
    /// The person there: `tid:oid` for Entra, else `sub`. Never the address, which may change its owner.
    pub subject: String,
    /// Whose it is.
    pub user_id: UserId,
    /// The address that the provider said when it was last used.
    pub email: Option<String>,
    /// When it was linked.
    pub linked_at: DateTime<Utc>,
    /// When it was last signed in with.
    pub last_used_at: DateTime<Utc>,
}

/// Whether `name` may stand in an address: 1 to 64 of `a`–`z`, `0`–`9` and `-`, a letter or digit at both ends.
#[must_use]
pub fn is_slug(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    fn provider(kind: ProviderKind, issuer: &str) -> IdentityProvider {
        let at = DateTime::UNIX_EPOCH;
        IdentityProvider {
            id: IdentityProviderId::from_uuid(Uuid::from_u128(1)),
            name: "p".into(),
            display_name: "P".into(),
            icon: None,
            kind,
            issuer: issuer.into(),
            client_id: "c".into(),
            has_secret: false,
            is_active: true,
            rules: ProviderRules {
                allowed_tenants: vec![Tenant { tenant_id: A.into(), domains: vec!["a.example".into()] }],
                allowed_domains: vec!["b.example".into()],
                ..ProviderRules::default()
            },
            created_by: None,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn an_issuer_is_exact() {
        let one = provider(ProviderKind::Generic, "https://id.example");
        assert!(one.may_have_issued("https://id.example") && one.has_issued("https://id.example", None));
        for other in
            ["https://id.example/", "https://id.example.evil", "https://ID.example", "", "http://id.example"]
        {
            assert!(!one.may_have_issued(other) && !one.has_issued(other, Some(A)), "{other}");
        }
        // Only Entra has a template.
        let odd = provider(ProviderKind::Generic, "https://id.example/{tenantid}");
        assert!(
            !odd.may_have_issued("https://id.example/x") && odd.domains_of(Some(A)).contains("b.example")
        );
    }

    #[test]
    fn a_template_stands_for_the_tenants_that_are_let_in() {
        let many = provider(ProviderKind::Entra, "https://login.example/{tenantid}/v2.0");
        let of = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
        assert!(many.may_have_issued(&of(A)) && many.has_issued(&of(A), Some(A)));
        assert!(many.may_have_issued(&of(B)) && !many.has_issued(&of(B), Some(B)), "a stranger's tenant");
        assert!(
            !many.has_issued(&of(B), Some(A)) && !many.has_issued(&of(A), Some(B)),
            "one says A, the other B"
        );
        assert!(!many.has_issued(&of(A), None));
        assert!(
            !many.may_have_issued("https://login.example//v2.0")
                && !many.may_have_issued("https://login.example/v2.0")
        );
        assert_eq!(
            many.discovery_url(),
            "https://login.example/organizations/v2.0/.well-known/openid-configuration"
        );
        assert_eq!(many.domains_of(Some(A)), ["a.example"].into());
        assert!(many.domains_of(Some(B)).is_empty() && many.domains_of(None).is_empty());
    }

    #[test]
    fn slugs() {
        for good in ["a", "entra-1", "0"] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
