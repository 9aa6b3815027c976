//! Identity providers, their people, and sign-ins that are under way.

use crate::support::{Bed, organization, user, user_id};
use bifrost_domain::{
    identity_provider::{ExternalIdentity, IdentityProvider, ProviderKind, ProviderRules},
    ids::{IdentityProviderId, OrganizationId, RoleId},
    policy::{Caller, Permit, actions::WriteProviders, authorize},
    rights::{MembershipRole, MembershipSource},
    scope::Scope,
    user::User,
};
use bifrost_storage::{
    Error,
    identity_providers::{OidcState, Sealed},
    memberships::Membership,
    users::NewRole,
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::json;
use std::sync::Arc;

on_both_databases![
    a_provider_through_its_life,
    an_identity_is_of_one_user_and_a_user_has_one_at_a_provider,
    a_sign_in_is_taken_up_once_by_the_browser_that_began_it,
    what_a_provider_gives_is_taken_back_alone,
    an_unused_account_is_claimed_once,
];

fn permit(bed: &Bed) -> Permit<WriteProviders> {
    let admin = user(user_id(0), Scope::Global, true, bed.now());
    authorize(&Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller")).expect("allowed")
}

fn sealed(text: &str) -> Sealed {
    Sealed { bytes: text.as_bytes().to_vec(), key_id: "k1".to_owned() }
}

async fn provider(bed: &Bed, name: &str, secret: Option<Sealed>) -> Result<IdentityProvider, Error> {
    let provider = IdentityProvider {
        id: IdentityProviderId::from_uuid(bed.uuid()),
        name: name.to_owned(),
        display_name: "Ønsker".to_owned(),
        icon: None,
        kind: ProviderKind::Generic,
        issuer: "https://id.example".to_owned(),
        client_id: "c".to_owned(),
        has_secret: secret.is_some(),
        is_active: true,
        rules: ProviderRules { jit_enabled: true, ..ProviderRules::default() },
        created_by: None,
        created_at: bed.now(),
        updated_at: bed.now(),
    };
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_identity_provider(&permit(bed), &provider, secret).await?;
    tx.commit().await.expect("commit");
    Ok(provider)
}

async fn person(bed: &Bed, number: u128, home: OrganizationId) -> User {
    let person = user(user_id(number), Scope::Organization(home), false, bed.now());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&person, None).await.expect("inserted");
    tx.commit().await.expect("commit");
    person
}

async fn home(bed: &Bed, number: u128) -> OrganizationId {
    bed.add_organization(number).await;
    organization(number).organization().expect("an organization")
}

async fn a_provider_through_its_life(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let made = provider(&bed, "acme", Some(sealed("secret"))).await.expect("made");
    assert_eq!(bed.reader.list_identity_providers().await.expect("read"), std::slice::from_ref(&made));
    let secret = bed.reader.find_provider_secret(made.id).await.expect("read").expect("a secret");
    assert_eq!((secret.bytes.as_slice(), secret.key_id.as_str()), (b"secret".as_slice(), "k1"));
    assert!(
        matches!(provider(&bed, "acme", None).await, Err(Error::Duplicate(_))),
        "a name is one provider's"
    );

    let changed = IdentityProvider { display_name: "New".to_owned(), is_active: false, ..made.clone() };
    let tx = bed.store.db().begin().await.expect("begin");
    assert!(tx.update_identity_provider(&permit(&bed), &changed, None).await.expect("changed"));
    assert_eq!(
        tx.lock_identity_provider(&permit(&bed), made.id).await.expect("read").expect("there").display_name,
        "New"
    );
    assert_eq!(tx.count_identity_providers().await.expect("counted"), 1);
    tx.commit().await.expect("commit");
    assert!(bed.reader.find_provider_secret(made.id).await.expect("read").is_some(), "it stayed");
    let tx = bed.store.db().begin().await.expect("begin");
    assert!(tx.update_identity_provider(&permit(&bed), &changed, Some(None)).await.expect("changed"));
    tx.commit().await.expect("commit");
    assert!(bed.reader.find_provider_secret(made.id).await.expect("read").is_none(), "it was taken away");

    let tx = bed.store.db().begin().await.expect("begin");
    assert!(tx.delete_identity_provider(&permit(&bed), made.id).await.expect("deleted"));
    assert!(!tx.delete_identity_provider(&permit(&bed), made.id).await.expect("gone before"));
    tx.commit().await.expect("commit");
}

async fn an_identity_is_of_one_user_and_a_user_has_one_at_a_provider(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let home = home(&bed, 1).await;
    let (ann, bob) = (person(&bed, 1, home).await, person(&bed, 2, home).await);
    let provider = provider(&bed, "acme", None).await.expect("made");
    let identity = |user: &User, subject: &str| ExternalIdentity {
        provider_id: provider.id,
        subject: subject.to_owned(),
        user_id: user.id,
        email: Some("ann@acme.example".to_owned()),
        linked_at: bed.now(),
        last_used_at: bed.now(),
    };
    let link = async |identity: &ExternalIdentity| {
        let tx = bed.store.db().begin().await.expect("begin");
        tx.insert_external_identity(identity).await?;
        tx.commit().await
    };
    let anns = identity(&ann, "t:Ø");
    link(&anns).await.expect("linked");
    assert!(matches!(link(&identity(&bob, "t:Ø")).await, Err(Error::Duplicate(_))), "it is Ann's");
    assert!(matches!(link(&identity(&ann, "t:2")).await, Err(Error::Duplicate(_))), "she has one");
    let found = bed.reader.find_user_of_identity(provider.id, "t:Ø").await.expect("read");
    assert_eq!(found.map(|user| user.id), Some(ann.id));
    assert!(bed.reader.find_user_of_identity(provider.id, "t:ø").await.expect("read").is_none(), "exactly");

    bed.clock.advance(Duration::seconds(5));
    let tx = bed.store.db().begin().await.expect("begin");
    tx.touch_external_identity(&anns, None, bed.now()).await.expect("noted");
    let kept = tx.find_external_identity(provider.id, "t:Ø").await.expect("read").expect("there");
    assert_eq!((kept.last_used_at, kept.email), (bed.now(), None));
    assert_eq!(tx.find_user_of(&anns).await.expect("read").map(|user| user.id), Some(ann.id));
    assert!(tx.delete_external_identity(ann.id, provider.id).await.expect("taken"));
    assert!(!tx.delete_external_identity(ann.id, provider.id).await.expect("gone before"));
    tx.commit().await.expect("commit");
    assert_eq!(bed.reader.list_external_identities(ann.id).await.expect("read"), []);
}

async fn a_sign_in_is_taken_up_once_by_the_browser_that_began_it(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let provider = provider(&bed, "acme", None).await.expect("made");
    let begin = async |hash: &[u8]| {
        let state = OidcState {
            provider_id: provider.id,
            nonce: "n".to_owned(),
            verifier: sealed("v"),
            redirect_to: Some("/app/".to_owned()),
            link_session_id: None,
            expires_at: bed.now() + Duration::minutes(10),
        };
        bed.store.insert_oidc_state(hash, b"binding", state, bed.now()).await.expect("kept");
    };
    let take = async |hash: &[u8], binding: &[u8]| {
        bed.store.take_oidc_state(hash, binding, bed.now()).await.expect("read")
    };
    begin(b"one").await;
    assert!(take(b"one", b"another").await.is_none(), "another browser");
    assert!(take(b"two", b"binding").await.is_none(), "another state");
    let taken = take(b"one", b"binding").await.expect("the browser that began it");
    assert_eq!((taken.nonce.as_str(), taken.redirect_to.as_deref()), ("n", Some("/app/")));
    assert!(take(b"one", b"binding").await.is_none(), "once");
    begin(b"late").await;
    bed.clock.advance(Duration::minutes(10) + Duration::microseconds(1));
    assert!(take(b"late", b"binding").await.is_none(), "it ran out");
}

async fn what_a_provider_gives_is_taken_back_alone(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (acme, other) = (home(&bed, 1).await, home(&bed, 2).await);
    let ann = person(&bed, 1, acme).await;
    let membership = |place, source| Membership {
        user_id: ann.id,
        organization_id: place,
        via: place,
        role: MembershipRole::Member,
        source,
        attributes: json!({"by": "groups"}),
        created_by: None,
        created_at: bed.now(),
        updated_at: bed.now(),
    };
    let role = RoleId::from_uuid(bed.uuid());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.write_membership(&membership(acme, MembershipSource::Direct)).await.expect("written");
    tx.write_membership(&membership(other, MembershipSource::Provider)).await.expect("written");
    tx.insert_role(NewRole {
        id: role,
        organization_id: Some(other),
        name: "operators".to_owned(),
        permissions: ["executions.run".to_owned()].into(),
        created_at: bed.now(),
    })
    .await
    .expect("a role");
    let permits = tx.permissions_of_role(other, role).await.expect("read").expect("there");
    assert_eq!(permits.into_iter().collect::<Vec<_>>(), ["executions.run"]);
    assert!(tx.permissions_of_role(acme, role).await.expect("read").is_none(), "it is another one's");
    let own = RoleId::from_uuid(bed.uuid());
    tx.insert_role(NewRole {
        id: own,
        organization_id: Some(acme),
        name: "readers".to_owned(),
        permissions: ["audit.read".to_owned()].into(),
        created_at: bed.now(),
    })
    .await
    .expect("a role");
    assert!(tx.give_mapped_role(ann.id, own, acme, bed.now()).await.expect("given"));
    assert!(!tx.give_mapped_role(ann.id, role, acme, bed.now()).await.expect("nothing"), "not there");
    assert!(tx.give_mapped_role(ann.id, role, other, bed.now()).await.expect("given"));
    assert!(!tx.give_mapped_role(ann.id, role, other, bed.now()).await.expect("had it"));
    let gone = RoleId::from_uuid(bed.uuid());
    assert!(
        !tx.give_mapped_role(ann.id, gone, other, bed.now()).await.expect("no error"),
        "a role that is gone"
    );
    let rights = tx.find_rights(&ann).await.expect("read");
    assert!(rights.granted(&ann, Some(other)).permissions.contains("executions.run"));

    let given = tx.list_provider_memberships(ann.id).await.expect("read");
    assert_eq!(given, [(other, json!({"by": "groups"}))]);
    tx.delete_provider_membership(ann.id, acme).await.expect("nothing to do");
    tx.delete_provider_membership(ann.id, other).await.expect("taken back");
    let rights = tx.find_rights(&ann).await.expect("read");
    assert_eq!(rights.held.keys().copied().collect::<Vec<_>>(), [acme], "what was given by hand stays");
    // Who comes back another day has not the roles of before.
    tx.write_membership(&membership(other, MembershipSource::Direct)).await.expect("written");
    let rights = tx.find_rights(&ann).await.expect("read");
    assert!(rights.granted(&ann, Some(other)).permissions.is_empty(), "the role went with the membership");
    assert!(rights.granted(&ann, Some(acme)).permissions.contains("audit.read"), "and no other one");
    tx.commit().await.expect("commit");
}

async fn an_unused_account_is_claimed_once(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let acme = home(&bed, 1).await;
    let stub = User {
        is_registered: false,
        is_verified: false,
        ..user(user_id(1), organization(1), false, bed.now())
    };
    assert_eq!(stub.organization_id, Some(acme));
    let boss = User { is_registered: false, ..user(user_id(2), Scope::Global, true, bed.now()) };
    let tx = bed.store.db().begin().await.expect("begin");
    for one in [&stub, &boss] {
        tx.insert_user(one, None).await.expect("inserted");
    }
    assert!(
        !tx.claim_stub(boss.id, None, bed.now()).await.expect("asked"),
        "a platform admin is made by hand"
    );
    assert!(tx.claim_stub(stub.id, Some("Ann"), bed.now()).await.expect("claimed"));
    assert!(!tx.claim_stub(stub.id, Some("Bob"), bed.now()).await.expect("asked"), "once");
    tx.commit().await.expect("commit");
    let claimed = bed.reader.find_user(stub.id).await.expect("read").expect("there");
    assert!(claimed.is_registered && claimed.is_verified);
    assert_eq!(claimed.name.as_deref(), Some("Ann"));
}
