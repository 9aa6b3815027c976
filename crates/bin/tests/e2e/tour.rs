//! What a new user does: look around, run, read.

use crate::{
    in_both_modes,
    support::{Client, PATIENCE, World, base64, processes, unique, until},
};
use serde_json::{Value, json};

in_both_modes!(
    workflows_are_run_and_read,
    a_reply_carries_the_log_where_it_is_asked,
    a_running_execution_is_cancelled,
    the_documentation_is_served
);

fn names(workflows: &Value) -> Vec<&str> {
    workflows.as_array().expect("a list").iter().filter_map(|workflow| workflow["name"].as_str()).collect()
}

fn messages(log: &[Value]) -> Vec<&str> {
    log.iter().filter_map(|line| line["message"].as_str()).collect()
}

/// Posted code and `transient` runs answer with their log and variables; a plain workflow's reply does not.
async fn a_reply_carries_the_log_where_it_is_asked(world: &mut World) {
    let admin = world.admin().await;
    let code = base64("logger.info('seen')\nlogger.debug('hidden')\nanswer = 42\nreturn answer\n");
    let done = admin.execute(json!({"code": code})).await.of(200);
    assert_eq!(done["status"], "Success", "{done}");
    let read = admin.execution(done["execution_id"].as_str().expect("an id")).await;
    assert_eq!(messages(done["logs"].as_array().expect("lines")), ["seen", "hidden"]);
    assert_eq!((&done["logs"], &done["variables"]), (&read["logs"], &read["variables"]));
    assert_eq!((&done["variables"]["answer"], &done["is_transient"]), (&json!(42), &json!(false)), "{done}");

    let request = json!({"workflow_name": "greet", "input_data": {"name": "Ann", "times": 1}});
    let plain = admin.execute(request.clone()).await.of(200);
    assert_eq!((&plain["logs"], &plain["variables"]), (&json!(null), &json!(null)));
    let mut transient = request;
    transient["transient"] = json!(true);
    let reply = admin.execute(transient).await.of(200);
    assert_eq!(messages(reply["logs"].as_array().expect("lines")), ["hello Ann"], "{reply}");
    assert_eq!(reply["is_transient"], true);
    // What does not wait has no log yet.
    let later = json!({"workflow_name": "count", "input_data": {"lines": 1}, "transient": true});
    assert_eq!(admin.execute(later).await.of(200)["logs"], json!(null));
}

async fn workflows_are_run_and_read(world: &mut World) {
    let nobody = world.nobody();
    assert_eq!(nobody.get("/health/ready").await.of(200)["status"], "healthy");
    assert_eq!(nobody.get("/health/live").await.of(200)["status"], "healthy");
    let admin = nobody.admin().await;
    let me = admin.get("/auth/me").await.of(200);
    assert_eq!((&me["email"], &me["is_superuser"]), (&json!("admin@localhost"), &json!(true)));

    // Both styles of the SDK stand in the list, with what the list says about them.
    let workflows = admin.get("/api/workflows").await.of(200);
    let found = names(&workflows);
    assert!(found.contains(&"add") && found.contains(&"greet"), "{found:?}");
    let greet =
        workflows.as_array().and_then(|all| all.iter().find(|one| one["name"] == "greet")).expect("greet");
    assert_eq!(greet["source_file_path"], "people/style_a.py");
    assert_eq!(greet["parameters"][0]["name"], "name");
    assert_eq!(greet["parameters"][0]["required"], true);
    assert_eq!(greet["description"], "Greets somebody");

    // Synchronous: the reply has the result.
    let done = admin.run("add", json!({"a": 40})).await;
    assert_eq!((&done["status"], &done["result"]), (&json!("Success"), &json!({"sum": 42})), "{done}");
    let done = admin.run("greet", json!({"name": "Ann", "times": "2"})).await;
    assert_eq!(done["result"], json!({"greeted": "Ann", "times": 2, "by": "admin@localhost"}), "{done}");
    let log = admin.log(done["execution_id"].as_str().expect("an id")).await;
    assert_eq!(messages(&log), ["hello Ann", "hello Ann"]);

    // Asynchronous, by name and by id: the reply comes before the end, and the id can be read at once.
    let pending = admin.run("count", json!({"lines": 5})).await;
    assert_eq!(pending["status"], "Pending", "{pending}");
    let id = pending["execution_id"].as_str().expect("an id");
    let read = admin.execution(id).await;
    assert_eq!((&read["workflow_name"], &read["input_data"]), (&json!("count"), &json!({"lines": 5})));
    let ended = admin.ended(id).await;
    assert_eq!(
        (&ended["status"], &ended["result"], &ended["attempt"]),
        (&json!("Success"), &json!({"lines": 5}), &json!(1))
    );
    let by_id = admin
        .execute(json!({"workflow_id": pending["workflow_id"], "input_data": {"lines": 3}}))
        .await
        .of(200);
    let second = by_id["execution_id"].as_str().expect("an id");
    assert_eq!(admin.ended(second).await["result"], json!({"lines": 3}));
    let result = admin.get(&format!("/api/executions/{second}/result")).await.of(200);
    assert_eq!(result, json!({"result": {"lines": 3}, "result_type": "json"}));

    log_pages(&admin, id).await;

    // Posted code: the body of a function.
    let source = "print('working on', parameters['x'])\nreturn x * 2";
    let body = json!({"code": base64(source), "input_data": {"x": 21}, "script_name": "doubling"});
    let script = admin.execute(body).await.of(200);
    assert_eq!(
        (&script["status"], &script["result"], &script["workflow_name"]),
        (&json!("Success"), &json!(42), &json!("doubling")),
        "{script}"
    );

    list_pages(&admin).await;

    let health = nobody.get("/health/detailed").await.of(200);
    assert_eq!(health["status"], "healthy", "{health}");
    for part in ["database", "broker", "redis", "object_store", "worker"] {
        assert_eq!(health["components"][part]["status"], "healthy", "{part}: {health}");
    }
}

/// The log can be read from any number on.
async fn log_pages(admin: &Client, id: &str) {
    let page = admin.get(&format!("/api/executions/{id}/logs?after=1&limit=2")).await.of(200);
    let sequences: Vec<_> =
        page["logs"].as_array().expect("lines").iter().map(|line| line["sequence"].as_i64()).collect();
    assert_eq!(sequences, [Some(2), Some(3)]);
    assert_eq!((&page["next_after"], &page["has_more"]), (&json!(3), &json!(true)));
    let page = admin.get(&format!("/api/executions/{id}/logs?after=3")).await.of(200);
    assert_eq!(messages(page["logs"].as_array().expect("lines")), ["line 4", "line 5"]);
    assert_eq!(page["has_more"], false);
}

/// The list, newest first, page by page, each execution once.
async fn list_pages(admin: &Client) {
    let whole = admin.get("/api/executions").await.of(200);
    let all: Vec<Value> = whole["executions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["execution_id"].clone())
        .collect();
    assert_eq!(all.len(), 5);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/executions?limit=2{token}")).await.of(200);
        let executions = page["executions"].as_array().expect("a list");
        assert!((1..=2).contains(&executions.len()));
        paged.extend(executions.iter().map(|one| one["execution_id"].clone()));
        match page["continuation_token"].as_str() {
            Some(next) => token = format!("&continuation_token={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let counted = admin.get("/api/executions?workflowName=count&status=Success").await.of(200);
    assert_eq!(counted["executions"].as_array().map(Vec::len), Some(2));
}

async fn a_running_execution_is_cancelled(world: &mut World) {
    let admin = world.admin().await;
    for workflow in ["stay", "deaf"] {
        let mark = &unique(&workflow[..2])[..15];
        let id = admin.begin(workflow, json!({"mark": mark})).await;
        admin.line(&id, "started").await;
        until("the run's two processes", PATIENCE, async || (processes(mark).len() == 2).then_some(())).await;

        let cancel = format!("/api/executions/{id}/cancel");
        let asked = admin.post(&cancel, json!({})).await.of(200);
        assert!(
            ["Cancelling", "Cancelled"].contains(&asked["status"].as_str().expect("a status")),
            "{asked}"
        );
        admin.post(&cancel, json!({})).await.of(200);
        let ended = admin.ended(&id).await;
        assert_eq!(ended["status"], "Cancelled", "{workflow}: {ended}");
        assert_eq!(processes(mark), [0_u32; 0], "{workflow}: nothing of it is left when it has ended");
        admin.post(&cancel, json!({})).await.of(200);
    }
    let done = admin.run("add", json!({"a": 1})).await;
    let cancel = format!("/api/executions/{}/cancel", done["execution_id"].as_str().expect("an id"));
    let refused = admin.post(&cancel, json!({})).await.of(400);
    assert!(
        refused["detail"].as_str().is_some_and(|text| text.contains("must be Pending or Running")),
        "{refused}"
    );
}

async fn the_documentation_is_served(world: &mut World) {
    let nobody = world.nobody();
    let served = nobody.get("/openapi.json").await.of(200);
    let printed =
        std::process::Command::new(env!("CARGO_BIN_EXE_bifrost")).arg("openapi").output().expect("it runs");
    assert!(printed.status.success());
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(served, printed);

    let page = nobody.get("/docs/").await;
    assert_eq!(page.status, 200);
    let mut assets = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        assets.extend(page.text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()));
    }
    assert!(assets.len() >= 5, "{assets:?}");
    for asset in assets {
        assert!(!asset.contains("//"), "{asset} is loaded from elsewhere");
        let reply = nobody.get(&format!("/docs/{}", asset.trim_start_matches("./"))).await;
        assert_eq!(reply.status, 200, "{asset}");
    }
    let moved = nobody.get("/docs").await;
    assert!([301, 302, 303, 307, 308, 200].contains(&moved.status), "{}", moved.status);
}
