//! Nobody gives what he has not: ranks, and the word that an address is somebody's.

use super::{House, id_of, problem};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![
    a_limited_person_makes_limited_people,
    platform_admins_alone_say_that_an_address_is_verified,
];

async fn a_limited_person_makes_limited_people(db: TestDatabase) {
    let house = House::new(db).await;
    let role = json!({
        "name": "helpdesk", "organization_id": house.acme, "permissions": ["users.write", "users.read", "applications.write"],
    });
    let role = id_of(&house.server.post("/api/roles", &house.admin, role).await.json());
    let mut makers = Vec::new();
    for rank in ["limited", "member", "admin"] {
        let maker = house.person(&format!("{rank}@acme.example"), &house.acme, rank).await;
        let path = format!("/api/roles/{role}/users");
        let given = house.server.post(&path, &house.admin, json!({"user_ids": [maker.id]})).await;
        assert_eq!(given.status, StatusCode::NO_CONTENT, "{}", given.text);
        makers.push((rank, maker.token));
    }
    let body = json!({"name": "Sync", "scopes": ["users.write"], "organization_id": house.acme});
    let application = id_of(&house.server.post("/api/applications", &house.admin, body).await.json());
    let path = format!("/api/applications/{application}/keys");
    let key = house.server.post(&path, &house.admin, json!({})).await.json();
    makers.push(("application", key["key"].as_str().expect("a key").to_owned()));
    makers.push(("platform", house.admin.clone()));
    house.a_second_later();
    for (who, token) in makers {
        let body = json!({"email": format!("by-{who}@acme.example"), "organization_id": house.acme});
        let made = house.server.post("/api/users", &token, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{who}: {}", made.text);
        let made = id_of(&made.json());
        let path = format!("/api/organizations/{}/members", house.acme);
        let members = house.server.get(&path, &house.admin).await.json();
        let mut members = members["members"].as_array().expect("a list").iter();
        let member = members.find(|one| one["user_id"] == made.as_str());
        // An application has no rank, so it gives none.
        let expected = if matches!(who, "limited" | "application") { "limited" } else { "member" };
        assert_eq!(member.expect("a member")["role"], expected, "{who}");
    }
}

async fn platform_admins_alone_say_that_an_address_is_verified(db: TestDatabase) {
    let house = House::new(db).await;
    let boss = house.person("boss@acme.example", &house.acme, "owner").await;
    let make = async |token: &str, email: &str, is_verified: Value| {
        let body = json!({"email": email, "organization_id": house.acme, "is_verified": is_verified});
        house.server.post("/api/users", token, body).await
    };
    let refused = make(&boss.token, "ann@acme.example", json!(true)).await;
    assert_eq!(refused.problem(), problem(403, "permission_missing"));
    let ann = make(&boss.token, "ann@acme.example", json!(false)).await;
    assert_eq!((ann.status, &ann.json()["is_verified"]), (StatusCode::CREATED, &json!(false)));
    let ben = make(&house.admin, "ben@acme.example", json!(true)).await;
    assert_eq!((ben.status, &ben.json()["is_verified"]), (StatusCode::CREATED, &json!(true)));
    let [ann, ben] = [&ann, &ben].map(|one| format!("/api/users/{}", id_of(&one.json())));
    for (path, is_verified) in [(&ann, true), (&ben, false)] {
        let refused = house.patch(&boss.token, path, json!({"is_verified": is_verified})).await;
        assert_eq!(refused.problem(), problem(403, "permission_missing"));
    }
    // A client that sends back what it read changes nothing; a new address is not verified, whatever the former one was.
    for (body, is_verified) in [
        (json!({"name": "Ben", "is_verified": true}), true),
        (json!({"email": "benny@acme.example", "is_verified": true}), false),
    ] {
        let changed = house.patch(&boss.token, &ben, body).await;
        assert_eq!((changed.status, &changed.json()["is_verified"]), (StatusCode::OK, &json!(is_verified)));
    }
    let changed = house.ask(&house.admin, Method::PATCH, &ann, Some(json!({"is_verified": true}))).await;
    assert_eq!((changed.status, &changed.json()["is_verified"]), (StatusCode::OK, &json!(true)));
}
