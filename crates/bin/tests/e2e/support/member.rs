//! A person who is no administrator.

use super::{Client, World};
use serde_json::json;
use sqlx::{Executor as _, Row as _};

/// Somebody of an organization with a role, in a world of the stack. The role is written where roles are kept.
pub(crate) async fn member_who_may_run(world: &World, admin: &Client) -> Client {
    let organization =
        admin.post("/api/organizations", json!({"name": "Acme", "domain": "acme.example"})).await.of(201);
    let account = json!({
        "email": "ann@acme.example", "password": "correct horse", "name": "Ann", "organization_id": organization["id"],
    });
    let user = admin.post("/api/users", account).await.of(201);
    let member = world.nobody().signed_in("ann@acme.example", "correct horse").await;
    member.execute(json!({"workflow_name": "anything"})).await.of(403);

    let mut database = world.database().connect().await;
    let role = database
        .fetch_one(
            sqlx::query(
                "INSERT INTO roles (id, organization_id, name, permissions, is_active, created_at, updated_at) \
                 VALUES (gen_random_uuid(), $1::uuid, 'runner', '[\"executions.run\"]', true, now(), now()) RETURNING id::text",
            )
            .bind(organization["id"].as_str().expect("an id")),
        )
        .await
        .expect("a role");
    database
        .execute(
            sqlx::query(
                "INSERT INTO user_roles (user_id, role_id, assigned_at) VALUES ($1::uuid, $2::uuid, now())",
            )
            .bind(user["id"].as_str().expect("an id"))
            .bind(role.get::<String, _>(0)),
        )
        .await
        .expect("assigned");
    world.nobody().signed_in("ann@acme.example", "correct horse").await
}
