//! Acting in another organization with the same session.

use super::{House, NOBODY, problem};
use crate::support::{Reply, tokens};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use serde_json::{Value, json};

on_both_databases![
    a_session_goes_on_in_another_organization,
    the_token_of_before_is_used_up,
    only_where_one_may_be,
];

impl House {
    async fn switch(&self, token: &str, organization: Value) -> Reply {
        self.server.post("/auth/switch-organization", token, json!({"organization_id": organization})).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        self.server.ask(Method::POST, "/auth/refresh", &[], Some(json!({"refresh_token": token}))).await
    }
}

async fn a_session_goes_on_in_another_organization(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    house.rank(&house.other, &ann.id, "admin").await;
    let (access, refresh) = tokens(&house.server.login("ann@acme.example", super::PASSWORD).await);
    assert_eq!(house.server.get("/api/users", &access).await.problem().0, 403);
    let reply = house.switch(&access, json!(house.other)).await;
    let (switched, next) = tokens(&reply);
    assert!(reply.cookie("access_token").1.contains("HttpOnly"), "cookies, too");
    assert_ne!(refresh, next);
    assert_eq!(house.server.get("/api/users", &switched).await.status, StatusCode::OK, "an admin there");
    assert_eq!(
        house.me(&access).await["current_organization_id"],
        json!(house.other),
        "it is the session that moved"
    );
    let home = house.ask_in(&house.acme, &switched, Method::GET, "/auth/me", None).await.json();
    assert_eq!(home["current_organization_id"], json!(house.acme), "the header goes before");
    // A refresh stays there.
    let (refreshed, _) = tokens(&house.refresh(&next).await);
    assert_eq!(house.me(&refreshed).await["current_organization_id"], json!(house.other));
    // Another session of his is where it was.
    assert_eq!(house.me(&ann.token).await["current_organization_id"], json!(house.acme));
    let told = house.audited("session.switch").await;
    assert_eq!(told, [json!({"organization_id": {"old": null, "new": house.other}})]);
}

/// The family has one living token after a switch, as after a refresh.
async fn the_token_of_before_is_used_up(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    house.rank(&house.other, &ann.id, "member").await;
    let (access, refresh) = tokens(&house.server.login("ann@acme.example", super::PASSWORD).await);
    let pair = tokens(&house.switch(&access, json!(house.other)).await);
    assert_eq!(tokens(&house.refresh(&refresh).await), pair, "another tab gets the same pair within 10 s");
    house.server.clock.advance(Duration::seconds(11));
    let (_, third) = tokens(&house.refresh(&pair.1).await);
    assert_eq!(house.refresh(&refresh).await.problem(), problem(401, "token_invalid"), "later it was stolen");
    assert_eq!(house.refresh(&third).await.problem().0, 401, "and the family ends");
    assert_eq!(house.server.get("/auth/me", &pair.0).await.problem().0, 401);
}

async fn only_where_one_may_be(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    for (who, token, organization, expected) in [
        ("ann", &ann.token, json!(house.acme), 200),
        ("ann", &ann.token, json!(house.other), 403),
        ("ann", &ann.token, json!(NOBODY), 403),
        ("ann", &ann.token, json!(null), 403),
        ("ann", &ann.token, json!("x"), 422),
        ("admin", &house.admin, json!(house.acme), 200),
        ("admin", &house.admin, json!(NOBODY), 400),
        ("admin", &house.admin, json!(null), 200),
    ] {
        let reply = house.switch(token, organization.clone()).await;
        assert_eq!(reply.status.as_u16(), expected, "{who} {organization}: {}", reply.text);
        match expected {
            200 => assert_eq!(house.me(token).await["current_organization_id"], organization, "{who}"),
            400 => assert_eq!(reply.problem().1, "organization_unknown"),
            403 => assert_eq!(reply.problem().1, "not_a_member"),
            _ => assert_eq!(reply.fields()[0].0, "organization_id"),
        }
    }
    let missing = house.server.post("/auth/switch-organization", &ann.token, json!({})).await;
    assert_eq!(missing.fields(), super::field("organization_id", "required"));
    let nobody = house.server.ask(Method::POST, "/auth/switch-organization", &[], Some(json!({}))).await;
    assert_eq!(nobody.problem().0, 401);
}
