//! How the platform shows itself, and runs.

use super::{
    Scene,
    expected::{ANY, line},
    walk::{ADMIN, Ask, Walk},
};
use crate::account::{file_form, png};
use bifrost_domain::{
    definition::Definition,
    ports::python::{FileReport, WorkspaceReport},
};
use serde_json::json;

pub(super) async fn branding(walk: &mut Walk, scene: &Scene) {
    let by = scene.admin.bearer.as_str();
    let body = json!({"name": "Acme cloud", "primary_color": "#00aacc"});
    walk.ask(Ask::to("PUT /api/branding").by(by).json(&body)).await;
    let changes = json!({
        "name": {"old": null, "new": "Acme cloud"}, "primary_color": {"old": null, "new": "#00aacc"}
    });
    walk.left([line("branding.update", ADMIN, "platform").changes(changes)]).await;
    let (kind, form) = file_form("file", &png(8, 8));
    let ask = Ask::to("POST /api/branding/logo/{kind}").at(&["square"]).by(by).file(kind, form);
    walk.ask(ask).await;
    walk.left([line("branding.logo", ADMIN, "square").detail(json!({"bytes": ANY}))]).await;
    walk.ask(Ask::to("DELETE /api/branding/logo/{kind}").at(&["square"]).by(by)).await;
    walk.left([line("branding.logo_delete", ADMIN, "square")]).await;
}

pub(super) async fn executions(walk: &mut Walk, scene: &Scene) {
    let (by, acme) = (scene.admin.bearer.as_str(), scene.acme.as_str());
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "greet", "function": "greet", "line": 1, "category": "General", "timeout_seconds": 60,
    }))
    .expect("a definition");
    let file =
        FileReport { path: "a.py".into(), hash: "1".into(), definitions: vec![definition], issues: vec![] };
    let report = WorkspaceReport { version: "1".into(), files: vec![file] };
    walk.server.app.sync_workspace(&report).await.expect("synced");
    walk.skip().await;

    // An execution is its own record.
    let ask = Ask::to("POST /api/workflows/execute").by(by).with("x-organization-id", acme);
    let run = walk.ask(ask.json(&json!({"workflow_name": "greet"}))).await.json();
    walk.left([]).await;
    let run = run["execution_id"].as_str().expect("an id");
    let cancel = || Ask::to("POST /api/executions/{id}/cancel").at(&[run]).by(by);
    walk.ask(cancel().with("x-organization-id", acme)).await;
    walk.left([line("execution.cancel", ADMIN, run).of(acme)]).await;
    // Asked again nothing changes.
    walk.ask(cancel().with("x-organization-id", acme)).await;
    walk.left([]).await;
    // A question; without Python here it has no answer.
    walk.ask_any(
        Ask::to("POST /api/workflows/validate").by(by).json(&json!({"path": "a.py", "content": ""})),
    )
    .await;
    walk.left([]).await;
}
