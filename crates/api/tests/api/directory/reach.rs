//! Accounts that are not an organization's admin's to give: addresses of others, and passwords that a program sets.

use super::{House, PASSWORD, id_of, problem};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;

on_both_databases![
    addresses_under_anothers_domain_are_not_ones_own_to_give,
    an_application_sets_no_passwords,
];

async fn addresses_under_anothers_domain_are_not_ones_own_to_give(db: TestDatabase) {
    let house = House::new(db).await;
    for (name, domain) in [("Big", "big.example"), ("Small", "small.example")] {
        let body = json!({"name": name, "domain": domain});
        let made = house.server.post("/api/organizations", &house.admin, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }
    let acme = format!("/api/organizations/{}", house.acme);
    let named = house.patch(&house.admin, &acme, json!({"domain": "acme.example"})).await;
    assert_eq!(named.status, StatusCode::OK, "{}", named.text);
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let path = format!("/api/users/{}", ann.id);

    for email in ["eve@big.example", "Eve@SMALL.example"] {
        let made = house.server.post("/api/users", &boss.token, json!({"email": email})).await;
        assert_eq!(made.problem(), problem(403, "domain_taken"), "{email}");
        let moved = house.patch(&boss.token, &path, json!({"email": email})).await;
        assert_eq!(moved.problem(), problem(403, "domain_taken"), "{email}");
    }
    assert_eq!(house.me(&ann.token).await["email"], "ann@acme.example");
    for (n, email) in
        ["eve@acme.example", "eve@nobodys.example", "eve@sub.big.example"].into_iter().enumerate()
    {
        let made = house.server.post("/api/users", &boss.token, json!({"email": email})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{email}: {}", made.text);
        let moved = house.patch(&boss.token, &path, json!({"email": format!("{n}{email}")})).await;
        assert_eq!(moved.status, StatusCode::OK, "{email}: {}", moved.text);
    }
    // The platform gives what it wants.
    let body = json!({"email": "eve@big.example", "organization_id": house.acme});
    assert_eq!(house.server.post("/api/users", &house.admin, body).await.status, StatusCode::CREATED);
}

/// With a password comes a session, which may more than an application's scopes.
async fn an_application_sets_no_passwords(db: TestDatabase) {
    let house = House::new(db).await;
    let boss = house.person("boss@acme.example", &house.acme, "owner").await;
    // Of the lowest rank, as an application is: those it may change.
    let ann = house.person("ann@acme.example", &house.acme, "limited").await;
    let stub = house.make(json!({"email": "stub@acme.example", "organization_id": house.acme})).await;
    house.rank(&house.acme, &stub, "limited").await;
    let body = json!({"name": "Sync", "scopes": ["users.read", "users.write"], "allow_user_assertion": true});
    let application = id_of(&house.server.post("/api/applications", &boss.token, body).await.json());
    let keys = format!("/api/applications/{application}/keys");
    let key = house.server.post(&keys, &boss.token, json!({})).await.json();
    let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let plain = vec![("authorization", bearer.as_str())];
    let asserted = vec![("authorization", bearer.as_str()), ("x-on-behalf-of", boss.id.as_str())];
    let new = "another long password";
    for headers in [&plain, &asserted] {
        let reset = format!("/api/users/{}/mfa", ann.id);
        let refused = house.server.ask(Method::DELETE, &reset, headers, None).await;
        assert_eq!(refused.problem(), problem(403, "person_needed"));
        for id in [&ann.id, &stub] {
            let path = format!("/api/users/{id}");
            let body = json!({"password": new, "name": "Taken over"});
            let refused = house.server.ask(Method::PATCH, &path, headers, Some(body)).await;
            assert_eq!(refused.problem(), problem(403, "person_needed"));
            let unknown = format!("/api/users/{}", super::NOBODY);
            let body = Some(json!({"password": new}));
            let unknown = house.server.ask(Method::PATCH, &unknown, headers, body).await;
            assert_eq!(unknown.problem(), problem(403, "person_needed"), "whoever it is about");
        }
        let body = json!({"email": "new@acme.example", "password": new});
        let refused = house.server.ask(Method::POST, "/api/users", headers, Some(body)).await;
        assert_eq!(refused.problem(), problem(403, "person_needed"));
    }
    for email in ["ann@acme.example", "stub@acme.example", "new@acme.example"] {
        assert_eq!(house.server.login(email, new).await.problem().0, 401, "{email}");
    }
    house.sign_in("ann@acme.example").await;
    // Without a password it may.
    let path = format!("/api/users/{}", ann.id);
    let renamed = house.server.ask(Method::PATCH, &path, &plain, Some(json!({"name": "Ann"}))).await;
    assert_eq!(renamed.status, StatusCode::OK, "{}", renamed.text);
    let body = json!({"email": "new@acme.example"});
    let made = house.server.ask(Method::POST, "/api/users", &plain, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(house.server.login("new@acme.example", PASSWORD).await.problem().0, 401);
}
