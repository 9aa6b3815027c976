//! `/auth/sessions` and `/auth/revoke-all`.

use super::ask;
use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::Value;

on_both_databases![everybody_sees_and_ends_the_own_sessions, all_of_them_are_ended_at_once,];

async fn everybody_sees_and_ends_the_own_sessions(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let acme = server.organization(&admin, "Acme").await;
    let ann = server.person("ann@acme.example", &acme).await;
    server.login("ann@acme.example", "a long password").await;

    let list = server.get("/auth/sessions", &ann).await.json();
    let sessions = list.as_array().expect("an array");
    assert_eq!(sessions.len(), 2);
    let current: Vec<bool> = sessions.iter().map(|one| one["is_current"] == true).collect();
    assert_eq!(current, [false, true], "newest first");
    let mut names: Vec<&String> = sessions[0].as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(
        names,
        ["created_at", "expires_at", "id", "ip_address", "is_current", "last_used_at", "user_agent"]
    );
    assert_eq!(sessions[0]["ip_address"], "127.0.0.1");
    let page = server.get("/auth/sessions?limit=1", &ann).await;
    let next = page.header("x-continuation-token").to_owned();
    let rest = server.get(&format!("/auth/sessions?limit=1&continuation_token={next}"), &ann).await;
    assert_eq!(
        (rest.json()[0]["id"].clone(), rest.header("x-continuation-token")),
        (sessions[1]["id"].clone(), "")
    );
    assert_eq!(server.get("/auth/sessions?limit=0", &ann).await.problem().0, 422);

    let id = |one: &Value| one["id"].as_str().expect("an id").to_owned();
    let other = format!("/auth/sessions/{}", id(&sessions[0]));
    let foreign = ask(&server, Method::DELETE, &other, &admin, None).await;
    assert_eq!(foreign.problem().0, 404, "not even a platform admin ends it here");
    let unknown = "/auth/sessions/01890a5d-ac96-774b-bcce-b302099a8057";
    let unknown = ask(&server, Method::DELETE, unknown, &ann, None).await;
    assert_eq!(unknown.json()["detail"], foreign.json()["detail"], "the same as what does not exist");
    assert_eq!(ask(&server, Method::DELETE, "/auth/sessions/x", &ann, None).await.problem().0, 422);
    assert_eq!(ask(&server, Method::DELETE, &other, &ann, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, Method::DELETE, &other, &ann, None).await.problem().0, 404);
    assert_eq!(server.get("/auth/sessions", &ann).await.json().as_array().map(Vec::len), Some(1));
    let own = format!("/auth/sessions/{}", id(&sessions[1]));
    assert_eq!(ask(&server, Method::DELETE, &own, &ann, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/auth/me", &ann).await.problem().0, 401, "this one, too");
}

async fn all_of_them_are_ended_at_once(db: TestDatabase) {
    let server = Server::on(db).await;
    let (first, _) = server.admin().await;
    let (second, _) = server.admin().await;
    let reply = ask(&server, Method::POST, "/auth/revoke-all", &first, None).await;
    assert_eq!((reply.status, reply.json()["sessions_revoked"].clone()), (StatusCode::OK, 2.into()));
    assert!(reply.json()["message"].is_string());
    assert_eq!(reply.cookie("access_token").0, "", "the cookies are taken back");
    for token in [first, second] {
        assert_eq!(server.get("/auth/me", &token).await.problem().0, 401);
    }
}
