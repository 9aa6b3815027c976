//! The rules of tokens without their signatures: those are checked against real keys in `crates/api/tests/api/oidc/`.

use super::{
    check::{self, Wrong},
    documents::Documents,
    tokens::{Claims, Groups, LEEWAY, Person, Purpose, Refusal, check as check_token, header_of},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    clock::Clock,
    error::Kind,
    identity_provider::{GroupRule, IdentityProvider, ProviderKind, ProviderRules, Tenant},
    ids::{IdentityProviderId, OrganizationId},
    ports::provider_web::{Answer, Error, Form, ProviderWeb},
    rights::MembershipRole,
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use url::Url;
use uuid::Uuid;

const NOW: i64 = 1_800_000_000;
const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const STRANGER: &str = "22222222-2222-2222-2222-222222222222";
const OBJECT: &str = "33333333-3333-3333-3333-333333333333";
const SIGN_IN: Purpose<'static> = Purpose::SignIn { nonce: "n" };

fn provider(kind: ProviderKind) -> IdentityProvider {
    let is_entra = kind == ProviderKind::Entra;
    let at = DateTime::from_timestamp(NOW, 0).expect("a time");
    IdentityProvider {
        id: IdentityProviderId::from_uuid(Uuid::from_u128(1)),
        name: "p".into(),
        display_name: "P".into(),
        icon: None,
        kind,
        issuer: if is_entra { "https://login.example/{tenantid}/v2.0" } else { "https://id.example" }.into(),
        client_id: "client".into(),
        has_secret: false,
        is_active: true,
        rules: ProviderRules {
            allowed_tenants: if is_entra {
                vec![Tenant { tenant_id: TENANT.into(), domains: vec!["a.example".into()] }]
            } else {
                Vec::new()
            },
            accept_bearer: true,
            bearer_audience: Some("api://bifrost".into()),
            ..ProviderRules::default()
        },
        created_by: None,
        created_at: at,
        updated_at: at,
    }
}

/// `base` with the fields of `change`; `null` takes one away.
fn with(base: &Value, change: &Value) -> Claims {
    let mut claims = base.as_object().expect("an object").clone();
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn judged(
    provider: &IdentityProvider,
    typ: Option<&str>,
    claims: &Claims,
    purpose: Purpose<'_>,
) -> Result<Person, Refusal> {
    let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::RS256) };
    check_token(provider, &header, claims, purpose, DateTime::from_timestamp(NOW, 0).expect("a time"))
}

#[test]
fn id_tokens() {
    let one = provider(ProviderKind::Generic);
    let good = json!({
        "iss": "https://id.example", "aud": "client", "sub": "s", "nonce": "n", "iat": NOW, "exp": NOW + 300
    });
    for (change, expected) in [
        (json!({}), None),
        (json!({"aud": ["client"]}), None),
        (json!({"aud": ["client", "x"], "azp": "client"}), None),
        (json!({"exp": NOW - LEEWAY + 1}), None),
        (json!({"exp": 1_800_000_001.5}), None),
        (json!({"iat": NOW + LEEWAY, "nbf": NOW + LEEWAY}), None),
        (json!({"iss": null}), Some(Refusal::Issuer)),
        (json!({"iss": "https://id.example/"}), Some(Refusal::Issuer)),
        (json!({"iss": ["https://id.example"]}), Some(Refusal::Issuer)),
        (json!({"aud": null}), Some(Refusal::Audience)),
        (json!({"aud": "other"}), Some(Refusal::Audience)),
        (json!({"aud": []}), Some(Refusal::Audience)),
        (json!({"aud": {"client": true}}), Some(Refusal::Audience)),
        (json!({"aud": "api://bifrost"}), Some(Refusal::Audience)),
        (json!({"aud": ["client", "x"]}), Some(Refusal::AuthorizedParty)),
        (json!({"azp": "other"}), Some(Refusal::AuthorizedParty)),
        (json!({"exp": null}), Some(Refusal::Expired)),
        (json!({"exp": NOW - LEEWAY}), Some(Refusal::Expired)),
        (json!({"exp": "soon"}), Some(Refusal::Malformed)),
        (json!({"iat": null}), Some(Refusal::Malformed)),
        (json!({"iat": NOW + LEEWAY + 1}), Some(Refusal::NotYetValid)),
        (json!({"nbf": NOW + LEEWAY + 1}), Some(Refusal::NotYetValid)),
        (json!({"nonce": null}), Some(Refusal::Nonce)),
        (json!({"nonce": "other"}), Some(Refusal::Nonce)),
        (json!({"sub": null}), Some(Refusal::Subject)),
        (json!({"sub": ""}), Some(Refusal::Subject)),
        (json!({"sub": "s".repeat(256)}), Some(Refusal::Subject)),
        (json!({"sub": 7}), Some(Refusal::Subject)),
    ] {
        let found = judged(&one, Some("JWT"), &with(&good, &change), SIGN_IN);
        assert_eq!(found.err(), expected, "{change}");
    }
    for (typ, expected) in
        [(None, None), (Some("at+jwt"), Some(Refusal::Type)), (Some("x"), Some(Refusal::Type))]
    {
        assert_eq!(judged(&one, typ, &with(&good, &json!({})), SIGN_IN).err(), expected, "{typ:?}");
    }
}

#[test]
fn access_tokens() {
    let mut one = provider(ProviderKind::Generic);
    let good = json!({
        "iss": "https://id.example", "aud": "api://bifrost", "sub": "s", "exp": NOW + 300, "scope": "run read",
        "roles": ["operator"]
    });
    let judge = |one: &IdentityProvider, typ, change: &Value| {
        judged(one, typ, &with(&good, change), Purpose::Access).err()
    };
    for (typ, change, expected) in [
        (Some("at+jwt"), json!({}), None),
        (Some("application/at+jwt"), json!({"scope": null}), None),
        (Some("JWT"), json!({}), None),
        (Some("JWT"), json!({"scope": null}), Some(Refusal::NotAnAccessToken)),
        (Some("logout+jwt"), json!({}), Some(Refusal::Type)),
        (Some("at+jwt"), json!({"aud": "client"}), Some(Refusal::Audience)),
        (Some("at+jwt"), json!({"aud": ["client", "api://bifrost"]}), Some(Refusal::NotAnAccessToken)),
        (Some("at+jwt"), json!({"nonce": "n"}), Some(Refusal::NotAnAccessToken)),
        (Some("at+jwt"), json!({"at_hash": "h"}), Some(Refusal::NotAnAccessToken)),
        (Some("at+jwt"), json!({"exp": NOW - LEEWAY}), Some(Refusal::Expired)),
        (Some("at+jwt"), json!({"nbf": NOW + LEEWAY + 1}), Some(Refusal::NotYetValid)),
    ] {
        assert_eq!(judge(&one, typ, &change), expected, "{typ:?} {change}");
    }
    one.rules.required_scopes = vec!["run".into()];
    one.rules.required_roles = vec!["operator".into(), "boss".into()];
    let typ = Some("at+jwt");
    assert_eq!(judge(&one, typ, &json!({})), None);
    assert_eq!(judge(&one, typ, &json!({"scope": null, "scp": ["run"]})), None);
    assert_eq!(judge(&one, typ, &json!({"scope": "runs"})), Some(Refusal::Scope));
    assert_eq!(judge(&one, typ, &json!({"roles": ["guest"]})), Some(Refusal::Scope));
    one.rules.bearer_audience = None;
    assert_eq!(judge(&one, typ, &json!({})), Some(Refusal::Audience));
}

#[test]
fn tokens_of_entra() {
    let one = provider(ProviderKind::Entra);
    let issuer = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
    let good = json!({
        "iss": issuer(TENANT), "tid": TENANT, "oid": OBJECT, "sub": "pairwise", "aud": "client", "azp": "client",
        "scp": "run", "exp": NOW + 300, "ver": "2.0", "preferred_username": "Ann@a.example"
    });
    let mut same = one.clone();
    same.rules.bearer_audience = Some("client".into());
    for (change, expected) in [
        (json!({}), None),
        (json!({"scp": null, "roles": ["operator"]}), None),
        (json!({"tid": STRANGER, "iss": issuer(STRANGER)}), Some(Refusal::Issuer)),
        (json!({"tid": STRANGER}), Some(Refusal::Issuer)),
        (json!({"tid": null}), Some(Refusal::Issuer)),
        (json!({"oid": null}), Some(Refusal::Subject)),
        (json!({"oid": "x:y"}), Some(Refusal::Subject)),
        // An id token of somebody with application roles.
        (json!({"azp": null, "scp": null, "roles": ["operator"]}), Some(Refusal::NotAnAccessToken)),
        (json!({"scp": null}), Some(Refusal::NotAnAccessToken)),
        (json!({"nonce": "n"}), Some(Refusal::NotAnAccessToken)),
        // A program, not a person.
        (json!({"scp": null, "roles": ["operator"], "idtyp": "app"}), Some(Refusal::NotAnAccessToken)),
    ] {
        let found = judged(&same, Some("JWT"), &with(&good, &change), Purpose::Access);
        assert_eq!(found.err(), expected, "{change}");
    }
    let id_token = with(&good, &json!({"nonce": "n", "iat": NOW, "scp": null}));
    let person = judged(&one, Some("JWT"), &id_token, SIGN_IN).expect("holds");
    assert_eq!((person.subject, person.tenant.as_deref()), (format!("{TENANT}:{OBJECT}"), Some(TENANT)));
    assert_eq!(person.email.as_deref(), Some("Ann@a.example"));
    let many = with(&Value::Object(id_token), &json!({"_claim_names": {"groups": "src1"}}));
    assert_eq!(judged(&one, None, &many, SIGN_IN).expect("holds").groups, Groups::TooMany);
}

#[test]
fn headers() {
    let token = |header: Value| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header.to_string()));
    for (header, expected) in [
        (json!({"alg": "RS256"}), None),
        (json!({"alg": "none"}), Some(Refusal::Malformed)),
        (json!({"alg": "HS256"}), Some(Refusal::Algorithm)),
        (json!({"alg": "RS512"}), Some(Refusal::Algorithm)),
        (json!({"alg": "RS256", "crit": ["exp"]}), Some(Refusal::Malformed)),
        (json!({"typ": "JWT"}), Some(Refusal::Malformed)),
    ] {
        assert_eq!(header_of(&token(header.clone())).err(), expected, "{header}");
    }
    let long = token(json!({"alg": "RS256"})) + &"a".repeat(16 * 1024);
    for text in ["", "a", "a.b", "a.b.c", "....", long.as_str()] {
        assert_eq!(header_of(text).err(), Some(Refusal::Malformed), "{}", &text[..text.len().min(20)]);
    }
}

#[test]
fn every_bound_of_a_provider() {
    type Change = fn(&mut IdentityProvider);
    let (generic, entra) = (ProviderKind::Generic, ProviderKind::Entra);
    let cases: &[(ProviderKind, Change, &str)] = &[
        (generic, |one| one.name = "A b".into(), "name"),
        (generic, |one| one.name = "a".repeat(65), "name"),
        (generic, |one| one.display_name = " ".into(), "display_name"),
        (generic, |one| one.display_name = "d".repeat(256), "display_name"),
        (generic, |one| one.icon = Some("i".repeat(2049)), "icon"),
        (generic, |one| one.client_id = String::new(), "client_id"),
        (generic, |one| one.client_id = "c".repeat(513), "client_id"),
        (generic, |one| one.issuer = "http://id.example".into(), "issuer"),
        (generic, |one| one.issuer = "https://id.example?a=b".into(), "issuer"),
        (generic, |one| one.issuer = "https://u:p@id.example".into(), "issuer"),
        (generic, |one| one.issuer = "https://id.example/{tenantid}".into(), "issuer"),
        (entra, |one| one.issuer = "https://id.example/{tenantid}/{tenantid}".into(), "issuer"),
        (generic, |one| one.issuer = format!("https://id.example/{}", "i".repeat(2048)), "issuer"),
        (generic, |one| one.rules.scopes = vec!["a b".into()], "rules.scopes[0]"),
        (generic, |one| one.rules.scopes = vec!["s".into(); 21], "rules.scopes"),
        (generic, |one| one.rules.required_scopes = vec!["s".repeat(257)], "rules.required_scopes[0]"),
        (generic, |one| one.rules.required_roles = vec!["r".into(); 21], "rules.required_roles"),
        (generic, |one| one.rules.bearer_audience = None, "rules.bearer_audience"),
        (generic, |one| one.rules.bearer_audience = Some("client".into()), "rules.bearer_audience"),
        (generic, |one| one.rules.bearer_audience = Some("b".repeat(513)), "rules.bearer_audience"),
        (ProviderKind::Google, |_| {}, "rules.accept_bearer"),
        (entra, |one| one.rules.allowed_tenants.clear(), "rules.allowed_tenants"),
        (
            entra,
            |one| one.rules.allowed_tenants[0].tenant_id = "common".into(),
            "rules.allowed_tenants[0].tenant_id",
        ),
        (
            entra,
            |one| one.rules.allowed_tenants[0].domains = vec!["x".into()],
            "rules.allowed_tenants[0].domains[0]",
        ),
        (
            entra,
            |one| {
                let tenant = one.rules.allowed_tenants[0].clone();
                one.rules.allowed_tenants = vec![tenant; 101];
            },
            "rules.allowed_tenants",
        ),
        (
            generic,
            |one| one.rules.allowed_tenants = vec![Tenant { tenant_id: TENANT.into(), domains: vec![] }],
            "rules.allowed_tenants",
        ),
        (generic, |one| one.rules.jit_enabled = true, "rules.allowed_domains"),
        (generic, |one| one.rules.allowed_domains = vec!["a.example".into(); 101], "rules.allowed_domains"),
        (generic, |one| one.rules.allowed_domains = vec!["@".into()], "rules.allowed_domains[0]"),
        (generic, |one| one.rules.groups_claim = Some("g".repeat(65)), "rules.groups_claim"),
        (generic, |one| one.rules.group_rules = vec![group("g"); 201], "rules.group_rules"),
        (generic, |one| one.rules.group_rules = vec![group("")], "rules.group_rules[0].group"),
        (generic, |one| one.rules.group_rules = vec![group(&"g".repeat(257))], "rules.group_rules[0].group"),
    ];
    for (kind, change, path) in cases {
        let mut one = provider(*kind);
        change(&mut one);
        check::normalize(&mut one);
        let mut wrong = Wrong::default();
        check::provider(&one, &mut wrong);
        let paths: Vec<_> = wrong.0.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, [*path]);
    }
    for kind in [generic, entra] {
        let mut wrong = Wrong::default();
        check::provider(&provider(kind), &mut wrong);
        assert_eq!(wrong.0, []);
    }
}

fn group(name: &str) -> GroupRule {
    GroupRule {
        group: name.to_owned(),
        organization_id: OrganizationId::from_uuid(Uuid::from_u128(1)),
        role: MembershipRole::Member,
        role_id: None,
    }
}

/// A provider that takes ten seconds to fail, on a clock that it moves.
#[derive(Default)]
struct Slow {
    seconds: AtomicI64,
    asked: AtomicI64,
}

impl Clock for Slow {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(NOW + self.seconds.load(Ordering::Relaxed), 0).expect("a time")
    }
}

#[async_trait::async_trait]
impl ProviderWeb for Slow {
    async fn get(&self, _: &Url, _: Option<&SecretString>) -> Result<Answer, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.seconds.fetch_add(10, Ordering::Relaxed);
        Err(Error::Away("no answer in ten seconds".into()))
    }

    async fn post(&self, url: &Url, _: Form<'_>) -> Result<Answer, Error> {
        self.get(url, None).await
    }
}

#[tokio::test]
async fn a_provider_that_failed_is_left_alone_for_a_while_after_its_answer() {
    let slow = Arc::new(Slow::default());
    let documents = Documents::new(slow.clone(), slow.clone());
    let one = provider(ProviderKind::Generic);
    for (later, asked) in [(0, 1), (0, 1), (4, 1), (1, 2), (0, 2)] {
        slow.seconds.fetch_add(later, Ordering::Relaxed);
        assert!(documents.of(&one).await.is_err_and(|error| error.kind == Kind::Unavailable));
        assert_eq!(slow.asked.load(Ordering::Relaxed), asked, "{later} s later");
    }
}
