//! Server-Sent Events at their bounds: a quiet connection is kept, one that does not read is let go, and a person has so many.

use crate::support::Server;
use axum::{
    body::{Body, BodyDataStream},
    http::{Request, StatusCode, header},
    response::Response,
};
use bifrost_api::Hangup;
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    execution::{Kind, LogBatch, LogLevel, LogLine, NewExecution, Status},
    ids::{ExecutionId, UserId, WorkerId},
    scope::Scope,
};
use bifrost_storage::{HotPath, executions::hot::Claim, workers::NewWorker};
use futures::StreamExt;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A run that goes on, of the administrator whose token this is, with so many lines of a kilobyte.
async fn running(server: &Server, token: &str, lines: i64) -> ExecutionId {
    let me = server.get("/auth/me", token).await.json();
    let me: UserId = me["id"].as_str().expect("an id").parse().expect("an id");
    let now = server.clock.now();
    let clock: Arc<dyn Clock> = server.clock.clone();
    let hot = HotPath::start(&server.store, &clock);
    let (id, worker_id) = (ExecutionId::from_uuid(SystemIds.next()), WorkerId::from_uuid(SystemIds.next()));
    hot.submit(NewExecution {
        id,
        kind: Kind::Workflow,
        scope: Scope::Global,
        workflow_id: None,
        workflow_name: "w".to_owned(),
        form_id: None,
        executed_by: me,
        executed_by_name: String::new(),
        executed_by_email: String::new(),
        is_platform_admin: true,
        input: json!({}),
        code: None,
        timeout_seconds: 60,
        retry_policy: None,
        status: Status::Pending,
        not_before: None,
        dispatched_at: None,
        created_at: now,
    })
    .await
    .expect("accepted");
    let worker = NewWorker {
        id: worker_id,
        name: "test".to_owned(),
        version: "test".to_owned(),
        slots: 1,
        info: Value::Null,
        started_at: now,
        lease_until: now + chrono::Duration::hours(1),
    };
    server.store.insert_worker(&worker).await.expect("registered");
    let claimed = hot.claim(Claim { id, worker_id }).await.expect("asked").expect("claimed");
    let line = |sequence| LogLine {
        sequence,
        level: LogLevel::Info,
        message: "x".repeat(1_000),
        metadata: None,
        timestamp: now,
    };
    let lines: Vec<LogLine> = (1..=lines).map(line).collect();
    hot.write_logs(LogBatch { id, attempt: claimed.attempt, lines }).await.expect("stored");
    id
}

fn request(id: ExecutionId, token: &str) -> Request<Body> {
    Request::get(format!("/api/executions/{id}/stream"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .expect("a request")
}

async fn open(server: &Server, id: ExecutionId, token: &str) -> Response {
    let response = server.respond(request(id, token)).await;
    assert_eq!(response.status(), StatusCode::OK);
    response
}

/// Reads on until `text` has come.
async fn read_until(body: &mut BodyDataStream, text: &str) {
    let mut read = String::new();
    let reading = async {
        while !read.contains(text) {
            let part = body.next().await.expect("it goes on").expect("a part");
            read.push_str(&String::from_utf8_lossy(&part));
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "no `{text}` in time");
}

#[tokio::test]
async fn a_quiet_connection_is_kept_open_by_comments() {
    let server = Server::start_with(|setup| setup.api.live_comment_every = Duration::from_millis(20)).await;
    let (admin, _) = server.admin().await;
    let id = running(&server, &admin, 0).await;
    let mut body = open(&server, id, &admin).await.into_body().into_data_stream();
    read_until(&mut body, "retry: 2000\n\n").await;
    for _ in 0..3 {
        // A line that begins with a colon is no event.
        read_until(&mut body, ":\n\n").await;
    }
}

#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let server = Server::start_with(|setup| setup.api.live_send_timeout = Duration::from_secs(1)).await;
    let (admin, _) = server.admin().await;
    let id = running(&server, &admin, 500).await;
    let hangup = Hangup::default();
    let mut asked = request(id, &admin);
    asked.extensions_mut().insert(hangup.clone());
    let unread = server.respond(asked).await;
    assert_eq!(unread.status(), StatusCode::OK);
    assert!(timeout(PATIENCE, hangup.hung_up()).await.is_ok(), "the connection is still open");
    drop(unread);

    // One that reads is not.
    let hangup = Hangup::default();
    let mut asked = request(id, &admin);
    asked.extensions_mut().insert(hangup.clone());
    let mut body = server.respond(asked).await.into_body().into_data_stream();
    read_until(&mut body, "id: 500\n").await;
    drop(body);
    assert!(
        timeout(Duration::from_millis(300), hangup.hung_up()).await.is_err(),
        "it read, and went by itself"
    );
}

#[tokio::test]
async fn a_person_has_so_many() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let id = running(&server, &admin, 0).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(open(&server, id, &admin).await);
    }
    let refused = server.send(request(id, &admin)).await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    held.pop();
    let again = async {
        while server.respond(request(id, &admin)).await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, again).await.is_ok(), "a place that was given back is free");
}
