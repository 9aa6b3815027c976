//! What is done to an account, and what is tried, stands in the audit log; no secret does.

use crate::{World, permit, settings};
use bifrost_app::{
    accounts::Accounts,
    auth::{Client, mfa::Proof},
    branding::PlatformBranding,
    images::Images,
};
use bifrost_domain::{
    branding::BrandingPatch,
    clock::SystemIds,
    policy::{
        Caller,
        actions::{ReadAudit, WriteBranding},
        authorize,
    },
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use secrecy::ExposeSecret;
use std::sync::Arc;

on_both_databases![everything_is_written_down];

async fn everything_is_written_down(db: TestDatabase) {
    let world = World::new(&db, settings()).await;
    let client = Client::default();
    let pair = world.session().await;
    let state = world.state(&pair).await.expect("signed in");
    let caller = Caller::of_session(&state, None).expect("a caller");
    let (own, user) = (permit(&state), &state.user);
    let (secret, codes) = world.enrol().await;
    let token = world.challenge().await;
    let wrong = world.mfa.pass(token.expose_secret(), &world.wrong(&secret), false, &client).await;
    assert!(wrong.is_err());
    world.mfa.pass(token.expose_secret(), &codes[0], true, &client).await.expect("in");
    world.mfa.forget_devices(&own, user, None, &client).await.expect("forgotten");
    let proof = Proof::Code(codes[1].clone());
    world.mfa.renew_recovery_codes(&own, user, proof, &client).await.expect("renewed");
    assert!(world.mfa.remove(&own, user, Proof::Password("wrong".into()), &client).await.is_err());
    world.mfa.remove(&own, user, Proof::Password("admin".into()), &client).await.expect("removed");
    let accounts = Accounts::new(db.store(), world.clock.clone(), Arc::new(SystemIds), Images::default());
    accounts.rename(&own, Some("Ann"), &client).await.expect("renamed");
    accounts.rename(&own, Some(" Ann "), &client).await.expect("nothing to change");
    let branding =
        PlatformBranding::new(db.store(), world.clock.clone(), Arc::new(SystemIds), Images::default());
    let may = authorize::<WriteBranding>(&caller).expect("an admin may");
    let patch = BrandingPatch { name: Some(Some("Acme".into())), primary_color: None };
    branding.update(&may, patch, &client).await.expect("changed");
    world
        .auth
        .change_password(&own, user, "admin".into(), "a long new password".into(), &client)
        .await
        .expect("changed");
    world.auth.end_sessions(&own, &caller, &client).await.expect("ended");

    let may = authorize::<ReadAudit>(&caller).expect("an admin may");
    let lines = db.store().reader().list_audit(&may, None, 100).await.expect("read");
    let found: Vec<(String, String)> =
        lines.iter().rev().map(|line| (line.action.clone(), line.outcome.clone())).collect();
    let expected = [
        ("user.bootstrap", "success"),
        ("session.begin", "success"),
        ("session.begin", "success"),
        ("mfa.setup", "success"),
        ("mfa.enrol", "success"),
        ("mfa.challenge", "success"),
        ("mfa.pass", "failure"),
        ("mfa.pass", "success"),
        ("session.begin", "success"),
        ("mfa.forget_device", "success"),
        ("mfa.recovery_codes", "success"),
        ("account.prove_password", "failure"),
        ("mfa.remove", "success"),
        ("account.update", "success"),
        ("branding.update", "success"),
        ("account.password_change", "success"),
        ("session.revoke_all", "success"),
    ];
    let expected = expected.map(|(action, outcome)| (action.to_owned(), outcome.to_owned()));
    assert_eq!(found, expected);
    let text = format!("{lines:?}");
    for hidden in [secret.as_str(), &codes[0], "a long new password"] {
        assert!(!text.contains(hidden));
    }
}
