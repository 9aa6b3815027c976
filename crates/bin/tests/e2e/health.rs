//! Readiness of the running program.

use crate::support::{Mode, PATIENCE, World, until};
use serde_json::json;
use sqlx::Executor as _;

/// A database that lacks a migration of this program is not served from, and said so; when it is there again so is the program.
#[tokio::test]
async fn it_is_ready_while_the_schema_is_its_own() {
    World::new(Mode::Stack)
        .await
        .run(async |world: &mut World| {
            let nobody = world.nobody();
            assert_eq!(nobody.get("/health/ready").await.of(200).get("detail"), None);
            let mut database = world.database().connect().await;
            database.execute("CREATE TABLE kept AS SELECT * FROM schema_migrations").await.expect("kept");
            database
                .execute("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM kept)")
                .await
                .expect("deleted");
            let (body, _) = until("that it is not ready", PATIENCE, async || {
                let reply = nobody.get("/health/ready").await;
                (reply.status == 503).then(|| reply.json())
            })
            .await;
            assert_eq!(body["status"], "unhealthy");
            assert!(
                body["detail"].as_str().is_some_and(|text| text.contains("migrations are missing")),
                "{body}"
            );
            let detailed = nobody.get("/health/detailed").await.of(503);
            assert_eq!(detailed["components"]["database"]["detail"], body["detail"]);
            assert_eq!(nobody.get("/health/live").await.of(200)["status"], json!("healthy"));
            database
                .execute("INSERT INTO schema_migrations SELECT * FROM kept ON CONFLICT DO NOTHING")
                .await
                .expect("put back");
            until("that it is ready", PATIENCE, async || {
                (nobody.get("/health/ready").await.status == 200).then_some(())
            })
            .await;
        })
        .await;
}
