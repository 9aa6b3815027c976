//! The workspace while the program runs.

use crate::{
    in_both_modes,
    support::{PATIENCE, Process, World, until},
};
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};

in_both_modes!(an_edit_is_live_within_a_second, a_name_belongs_to_one_file);

const ONE: &str =
    "from bifrost import workflow\n\n@workflow(execution_mode='sync')\ndef edited():\n    return 1\n";

async fn an_edit_is_live_within_a_second(world: &mut World) {
    let admin = world.admin().await;
    let described = async |name: &str| {
        let workflows = admin.get("/api/workflows").await.of(200);
        workflows.as_array().expect("a list").iter().find(|workflow| workflow["name"] == name).cloned()
    };
    world.write("edited.py", ONE);
    let (_, took) = until("the new file", PATIENCE, async || described("edited").await).await;
    println!("a new file was live after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(admin.run("edited", json!({})).await["result"], 1);

    let changed = ONE
        .replace("return 1", "return 2")
        .replace("def edited():", "def edited():\n    \"\"\"Changed.\"\"\"");
    world.write("edited.py", &changed);
    let look = async || described("edited").await.filter(|workflow| workflow["description"] == "Changed.");
    let (_, took) = until("the change", PATIENCE, look).await;
    println!("a change was live after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(admin.run("edited", json!({})).await["result"], 2);

    // A file that does not parse breaks itself alone.
    world.write("edited.py", "def broken(:\n");
    until("the broken file is gone from the list", PATIENCE, async || {
        described("edited").await.is_none().then_some(())
    })
    .await;
    // Another process may remember it for a moment: a run that is accepted then ends in a stated way. How long such a run takes to
    // do so says nothing, so what counts is when it was asked for.
    let gone = Instant::now();
    until("404 for a workflow that is gone", PATIENCE, async || {
        let asked_after = gone.elapsed();
        let reply = admin.execute(json!({"workflow_name": "edited"})).await;
        if reply.status == 200 {
            assert!(asked_after < Duration::from_secs(1), "accepted {asked_after:?} after it was gone");
            assert_eq!(reply.json()["error_type"], "NotStarted", "{}", reply.text);
        }
        (reply.status == 404).then_some(())
    })
    .await;
    let report = admin.post("/api/workflows/validate", json!({"path": "edited.py"})).await.of(200);
    assert_eq!((&report["valid"], &report["issues"][0]["line"]), (&json!(false), &json!(1)), "{report}");
    assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
    world.write("edited.py", &ONE.replace("return 1", "return 3"));
    until("the repaired file", PATIENCE, async || described("edited").await).await;
    assert_eq!(admin.run("edited", json!({})).await["result"], 3);
}

/// Of two workflows with one name the first by its file's path is used, and the other file is told so. A data provider has a
/// name of its own.
async fn a_name_belongs_to_one_file(world: &mut World) {
    let admin = world.admin().await;
    let source = |what: &str, value: &str| {
        format!("from bifrost import {what}\n\n@{what}(name='twins')\ndef f():\n    return {value}\n")
    };
    // The list follows a moment after the worker.
    let validates = async |path: &str, issues: Value| {
        until(&format!("{path}: {issues}"), PATIENCE, async || {
            let report = admin.post("/api/workflows/validate", json!({"path": path})).await.of(200);
            assert_eq!(report["valid"], report["issues"].as_array().is_none_or(Vec::is_empty), "{report}");
            (report["issues"] == issues).then_some(())
        })
        .await;
    };
    let taken = |by: &str| {
        let message = format!("the name `twins` is taken by {by}; this one is not used");
        json!([{"line": 3, "severity": "error", "message": message}])
    };
    let runs = async |value: i64| {
        let what = format!("a run of `twins` that returns {value}");
        until(&what, PATIENCE, async || {
            let reply = admin.execute(json!({"workflow_name": "twins"})).await;
            let id = reply.json()["execution_id"].as_str().map(str::to_owned)?;
            (admin.ended(&id).await["result"] == value).then_some(())
        })
        .await;
    };
    world.write("a/provider.py", &source("data_provider", "[]"));
    world.write("m.py", &source("workflow", "1"));
    runs(1).await;
    world.write("z.py", &source("workflow", "2"));
    validates("z.py", taken("m.py")).await;
    validates("a/provider.py", json!([])).await;
    world.write("b.py", &source("workflow", "3"));
    runs(3).await;
    validates("m.py", taken("b.py")).await;
    // Whoever had the name takes it back.
    fs::remove_file(world.workspace().join("b.py")).expect("removed");
    runs(1).await;
    until("the log says which file is not used", PATIENCE, async || {
        let is_told = |process: &Process| {
            process.said().iter().any(|line| line.contains("z.py") && line.contains("`twins`"))
        };
        world.api.iter().chain(&world.jobs).any(is_told).then_some(())
    })
    .await;
}
