//! Sign-in over its whole life, and organizations.

use crate::{
    in_both_modes,
    support::{Heard, Live, World, until},
};
use serde_json::json;
use std::time::Duration;

in_both_modes!(a_session_ends_everywhere, organizations_are_kept);

async fn a_session_ends_everywhere(world: &mut World) {
    let nobody = world.nobody();
    let first = nobody.admin().await;
    let refresh = json!({"refresh_token": first.refresh_token});
    let next = nobody.post("/auth/refresh", refresh).await.of(200);
    let client = nobody.with_token(next["access_token"].as_str().expect("a token"));
    client.get("/auth/me").await.of(200);
    // An access token is no refresh token.
    nobody.post("/auth/refresh", json!({"refresh_token": next["access_token"]})).await.of(401);

    let path = format!("/ws/connect?ticket={}", client.ticket().await);
    let mut live = Live::open(world.address(), &path, &[]).await.expect("open");
    assert_eq!(live.message().await["type"], "connected");
    client.post("/auth/logout", json!({})).await.of(200);
    let limit = Duration::from_secs(1);
    until("401 after the sign-out", limit, async || {
        (client.get("/auth/me").await.status == 401).then_some(())
    })
    .await;
    nobody.post("/auth/refresh", json!({"refresh_token": next["refresh_token"]})).await.of(401);
    assert!(matches!(live.hear().await, Heard::Closed(4001)));
    // Another session of the same person goes on.
    nobody.admin().await.get("/auth/me").await.of(200);
}

async fn organizations_are_kept(world: &mut World) {
    let admin = world.admin().await;
    let made = admin.post("/api/organizations", json!({"name": "Acme", "domain": "acme.example"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().expect("an id");
    let path = format!("/api/organizations/{id}");
    assert_eq!(admin.get(&path).await.of(200), made);
    let changed = admin.patch(&path, json!({"name": "Acme Ltd", "domain": null})).await.of(200);
    assert_eq!((&changed["name"], &changed["domain"]), (&json!("Acme Ltd"), &json!(null)));
    let list = admin.get("/api/organizations").await.of(200);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");

    // Work is done in the organization that the header names.
    let inside = admin.in_organization(id);
    let done = inside.run("who", json!({})).await;
    assert_eq!(
        done["result"],
        json!({"email": "admin@localhost", "scope": id, "organization": "Acme Ltd"}),
        "{done}"
    );
    let read = inside.execution(done["execution_id"].as_str().expect("an id")).await;
    assert_eq!((&read["org_id"], &read["scope"]), (&json!(id), &json!(id)));
    let global = admin.run("who", json!({})).await;
    assert_eq!(
        global["result"],
        json!({"email": "admin@localhost", "scope": "GLOBAL", "organization": null})
    );
    admin.in_organization("nonsense").get("/api/executions").await.of(400);
    admin.in_organization("01900000-0000-7000-8000-000000000000").get("/api/executions").await.of(400);

    let empty = admin.post("/api/organizations", json!({"name": "Empty"})).await.json();
    let path = format!("/api/organizations/{}", empty["id"].as_str().expect("an id"));
    assert_eq!(admin.delete(&path).await.status, 204);
    let left = admin.get("/api/organizations").await.of(200);
    let ids: Vec<_> = left.as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&made["id"]], "{left}");
    admin.get(&path).await.of(404);
}
