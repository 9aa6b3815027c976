//! A run that was accepted is answered with its id, whatever fails afterwards.

use crate::support::Server;
use axum::http::StatusCode;
use bifrost_domain::{
    definition::Definition,
    execution::Status,
    ids::ExecutionId,
    messages::{Finished, topics},
    ports::python::{FileReport, WorkspaceReport},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// A workflow `now` that its caller waits for.
async fn with_a_workflow(server: &Server) {
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "now", "function": "now", "line": 1, "category": "General", "execution_mode": "sync",
        "timeout_seconds": 60,
    }))
    .expect("a definition");
    let file = FileReport {
        path: "now.py".into(),
        hash: "0".repeat(64),
        definitions: vec![definition],
        issues: Vec::new(),
    };
    let report = WorkspaceReport { version: "1".into(), files: vec![file] };
    server.app.sync_workspace(&report).await.expect("a catalog");
}

#[tokio::test]
async fn an_accepted_run_that_cannot_be_read_is_answered_with_its_id() {
    let server = Server::start().await;
    with_a_workflow(&server).await;
    let (token, _) = server.admin().await;
    tokio::spawn(Arc::clone(&server.app).run_waiters());
    let request = server.post("/api/workflows/execute", &token, json!({"workflow_name": "now"}));
    let ends = async {
        let id = loop {
            let listed = server.get("/api/executions", &token).await.json();
            if let Some(id) = listed["executions"][0]["execution_id"].as_str() {
                break id.parse::<ExecutionId>().expect("an id");
            }
        };
        server.store.db().close().await;
        let finished = Finished { execution_id: id, status: Status::Success };
        let body = serde_json::to_vec(&finished).expect("json");
        // Whoever waits may not listen yet.
        loop {
            server.app.bus().publish(topics::FINISHED, body.clone().into());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reply = tokio::select! {
        reply = request => reply,
        () = ends => unreachable!(),
    };
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = reply.json();
    assert_eq!((body["status"].as_str(), body["result"].is_null()), (Some("Success"), true));
    assert!(body["execution_id"].as_str().is_some_and(|id| id.parse::<ExecutionId>().is_ok()), "{body}");
    assert!(body["details"]["message"].as_str().is_some_and(|text| text.contains("accepted")), "{body}");
}
