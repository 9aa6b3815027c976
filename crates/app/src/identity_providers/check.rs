//! What may stand in a provider.

use bifrost_domain::{
    error::Field,
    identity_provider::{IdentityProvider, ProviderKind, TENANT, Tenant, is_slug},
    organization::is_domain,
    ports::provider_web::is_secure,
};
use std::borrow::Cow;
use url::Url;
use uuid::Uuid;

pub(super) const MAX_SECRET: usize = 1_024;
const MAX_DISPLAY_NAME: usize = 255;
const MAX_ADDRESS: usize = 2_048;
const MAX_CLIENT: usize = 512;
const MAX_WORD: usize = 256;
const MAX_WORDS: usize = 20;
const MAX_TENANTS: usize = 100;
const MAX_DOMAINS: usize = 100;
const MAX_GROUP_RULES: usize = 200;

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Wrong(pub(super) Vec<Field>);

impl Wrong {
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        self.0.push(Field { path: path.into(), code: code.into(), message: message.into() });
    }

    /// 1 to `most` bytes without spaces and controls.
    fn word(&mut self, path: &str, text: &str, most: usize) {
        let is_bad = |c: char| c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > most || text.chars().any(is_bad) {
            self.add(path, "format", format!("must have 1 to {most} bytes without spaces"));
        }
    }

    fn words(&mut self, path: &str, texts: &[String]) {
        self.count(path, texts.len(), MAX_WORDS);
        for (n, text) in texts.iter().enumerate().take(MAX_WORDS) {
            self.word(&format!("{path}[{n}]"), text, MAX_WORD);
        }
    }

    fn domains(&mut self, path: &str, domains: &[String]) {
        self.count(path, domains.len(), MAX_DOMAINS);
        for (n, _) in domains.iter().enumerate().filter(|(_, one)| !is_domain(one)).take(MAX_DOMAINS) {
            self.add(format!("{path}[{n}]"), "format", "must be a domain such as `acme.example`");
        }
    }

    fn count(&mut self, path: &str, count: usize, most: usize) {
        if count > most {
            self.add(path, "too_long", format!("must have at most {most} items"));
        }
    }
}

/// Spells what has a spelling of its own.
pub(super) fn normalize(provider: &mut IdentityProvider) {
    provider.display_name = provider.display_name.trim().to_owned();
    let lower = |texts: &mut Vec<String>| {
        for text in texts.iter_mut() {
            *text = text.trim().to_lowercase();
        }
    };
    lower(&mut provider.rules.allowed_domains);
    for tenant in &mut provider.rules.allowed_tenants {
        tenant.tenant_id = tenant.tenant_id.trim().to_lowercase();
        lower(&mut tenant.domains);
    }
}

/// All that is wrong with a provider.
pub(super) fn provider(one: &IdentityProvider, wrong: &mut Wrong) {
    if !is_slug(&one.name) {
        wrong.add("name", "format", "must have 1 to 64 of a-z, 0-9 and `-`, with no `-` at its ends");
    }
    let is_bad = |text: &str| text.chars().any(char::is_control);
    let length = one.display_name.chars().count();
    if !(1..=MAX_DISPLAY_NAME).contains(&length) || is_bad(&one.display_name) {
        let message = format!("must have 1 to {MAX_DISPLAY_NAME} characters and no control characters");
        wrong.add("display_name", "length", message);
    }
    if let Some(icon) = &one.icon {
        wrong.word("icon", icon, MAX_ADDRESS);
    }
    wrong.word("client_id", &one.client_id, MAX_CLIENT);
    issuer(one, wrong);
    let before = wrong.0.len();
    rules(one, wrong);
    for field in wrong.0.iter_mut().skip(before) {
        field.path.insert_str(0, "rules.");
    }
}

fn issuer(one: &IdentityProvider, wrong: &mut Wrong) {
    let plain = one.issuer.replacen(TENANT, "tenant", usize::from(one.kind == ProviderKind::Entra));
    let is_plain = |url: &Url| {
        is_secure(url)
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let fits = one.issuer.len() <= MAX_ADDRESS
        && !plain.contains(['{', '}', ' '])
        && plain.parse::<Url>().is_ok_and(|url| is_plain(&url));
    if !fits {
        wrong.add(
            "issuer",
            "format",
            "must be an https address without query (http only to this machine); of Entra it may hold `{tenantid}` once",
        );
    }
}

fn rules(one: &IdentityProvider, wrong: &mut Wrong) {
    let rules = &one.rules;
    for (path, words) in [
        ("scopes", &rules.scopes),
        ("required_scopes", &rules.required_scopes),
        ("required_roles", &rules.required_roles),
    ] {
        wrong.words(path, words);
    }
    if let Some(audience) = &rules.bearer_audience {
        wrong.word("bearer_audience", audience, MAX_CLIENT);
    }
    match (&rules.bearer_audience, one.kind) {
        (_, ProviderKind::Google) if rules.accept_bearer => {
            wrong.add(
                "accept_bearer",
                "value",
                "must be false: nobody but Google can read its access tokens",
            );
        }
        (None, _) if rules.accept_bearer => {
            wrong.add("bearer_audience", "required", "is required where `accept_bearer` is true");
        }
        (Some(audience), ProviderKind::Generic) if *audience == one.client_id => {
            let message = "must not be `client_id`: id tokens have that audience";
            wrong.add("bearer_audience", "value", message);
        }
        _ => {}
    }
    tenants(one, wrong);
    wrong.domains("allowed_domains", &rules.allowed_domains);
    let has_domains = rules.allowed_tenants.iter().any(|tenant| !tenant.domains.is_empty());
    let has_domains = if one.is_multi_tenant() { has_domains } else { !rules.allowed_domains.is_empty() };
    if rules.jit_enabled && !has_domains {
        let path = if one.is_multi_tenant() { "allowed_tenants" } else { "allowed_domains" };
        wrong.add(path, "required", "must name the domains of those who get an account (`jit_enabled`)");
    }
    if let Some(claim) = &rules.groups_claim {
        wrong.word("groups_claim", claim, 64);
    }
    wrong.count("group_rules", rules.group_rules.len(), MAX_GROUP_RULES);
    for (n, rule) in rules.group_rules.iter().enumerate().take(MAX_GROUP_RULES) {
        let length = rule.group.len();
        if !(1..=MAX_WORD).contains(&length) || rule.group.chars().any(char::is_control) {
            let message = format!("must have 1 to {MAX_WORD} bytes and no control characters");
            wrong.add(format!("group_rules[{n}].group"), "length", message);
        }
    }
}

fn tenants(one: &IdentityProvider, wrong: &mut Wrong) {
    let tenants = &one.rules.allowed_tenants;
    if tenants.is_empty() {
        if one.is_multi_tenant() {
            wrong.add("allowed_tenants", "required", "must name the tenants whose people may sign in");
        }
        return;
    }
    if !one.is_multi_tenant() {
        wrong.add("allowed_tenants", "value", "must be empty: the issuer has no `{tenantid}`");
        return;
    }
    wrong.count("allowed_tenants", tenants.len(), MAX_TENANTS);
    for (n, Tenant { tenant_id, domains }) in tenants.iter().enumerate().take(MAX_TENANTS) {
        if !Uuid::parse_str(tenant_id).is_ok_and(|id| id.to_string() == *tenant_id) {
            wrong.add(format!("allowed_tenants[{n}].tenant_id"), "format", "must be the tenant's UUID");
        }
        wrong.domains(&format!("allowed_tenants[{n}].domains"), domains);
    }
}
