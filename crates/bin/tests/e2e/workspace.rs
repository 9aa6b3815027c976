//! The workspace while the program runs.

use crate::{
    in_both_modes,
    support::{PATIENCE, World, until},
};
use serde_json::json;
use std::time::Duration;

in_both_modes!(an_edit_is_live_within_a_second);

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
    // Another process may remember it for a moment: a run that is accepted then ends in a stated way.
    until("404 for a workflow that is gone", Duration::from_secs(1), async || {
        let reply = admin.execute(json!({"workflow_name": "edited"})).await;
        if reply.status == 200 {
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
