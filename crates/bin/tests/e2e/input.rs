//! Bad input from outside: each has its own clear answer.

use crate::support::{Client, Mode, SECRET_KEY, World, base64};
use jsonwebtoken::{Algorithm, EncodingKey, Header, dangerous::insecure_decode, decode_header, encode};
use serde_json::{Value, json};

fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().expect("a detail")
}

#[tokio::test]
async fn bad_input_is_named() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let nobody = world.nobody();
            let admin = nobody.admin().await;
            credentials(&nobody, &admin).await;
            executions(&admin).await;
            code(&admin).await;
        })
        .await;
}

async fn credentials(nobody: &Client, admin: &Client) {
    let wrong = nobody.login("admin@localhost", "wrong").await;
    assert_eq!(wrong.headers.get("www-authenticate").and_then(|value| value.to_str().ok()), Some("Bearer"));
    assert_eq!(
        wrong.headers.get("content-type").and_then(|value| value.to_str().ok()),
        Some("application/problem+json")
    );
    let wrong = wrong.of(401);
    let unknown = nobody.login("nobody@localhost", "wrong").await.of(401);
    assert_eq!(detail(&wrong), detail(&unknown), "nothing tells whether the user exists");

    let token = admin.token.as_deref().expect("a token");
    let (head, signature) = token.rsplit_once('.').expect("a token");
    // The last letter of a signature may carry unused bits: the first is changed.
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{head}.{first}{}", &signature[1..]);
    for bad in ["nonsense", forged.as_str(), admin.refresh_token.as_deref().expect("a token")] {
        nobody.with_token(bad).get("/auth/me").await.of(401);
    }
    nobody.get("/auth/me").await.of(401);
    // Signed as the platform signs, so that the time alone decides.
    let mut claims: Value = insecure_decode::<Value>(token).expect("a token").claims;
    let header = decode_header(token).expect("a token");
    let signed = |claims: &Value, alg| {
        let header = Header { alg, ..header.clone() };
        encode(&header, claims, &EncodingKey::from_secret(SECRET_KEY.as_bytes())).expect("signed")
    };
    nobody.with_token(&signed(&claims, Algorithm::HS256)).get("/auth/me").await.of(200);
    nobody.with_token(&signed(&claims, Algorithm::HS512)).get("/auth/me").await.of(401);
    let issued = claims["iat"].as_i64().expect("a time");
    claims["iat"] = json!(issued - 7_200);
    claims["exp"] = json!(issued - 3_600);
    nobody.with_token(&signed(&claims, Algorithm::HS256)).get("/auth/me").await.of(401);
    nobody.execute(json!({"workflow_name": "add", "input_data": {"a": 1}})).await.of(401);
}

async fn executions(admin: &Client) {
    let missing = admin.execute(json!({"workflow_name": "no_such_workflow"})).await.of(404);
    assert!(!detail(&missing).is_empty());
    admin.execute(json!({"workflow_id": "01900000-0000-7000-8000-000000000000"})).await.of(404);
    let absent = admin.execute(json!({"workflow_name": "add", "input_data": {}})).await.of(422);
    assert_eq!(
        (&absent["errors"][0]["path"], &absent["errors"][0]["code"]),
        (&json!("input_data.a"), &json!("required"))
    );
    let mistyped =
        admin.execute(json!({"workflow_name": "add", "input_data": {"a": "x", "b": []}})).await.of(422);
    let paths: Vec<_> =
        mistyped["errors"].as_array().expect("errors").iter().map(|error| error["path"].as_str()).collect();
    assert_eq!(paths, [Some("input_data.a"), Some("input_data.b")]);
    admin.execute(json!({})).await.of(422);
    let late = admin.execute(json!({"workflow_name": "add", "delay_seconds": 604_801})).await.of(422);
    assert_eq!(late["errors"][0]["path"], "delay_seconds", "{late}");
    let late = json!({"workflow_name": "add", "scheduled_at": "2999-01-01T00:00:00Z"});
    assert_eq!(admin.execute(late).await.of(422)["errors"][0]["path"], "scheduled_at");
    let shape = admin.execute(json!({"workflow_name": 7})).await.of(422);
    assert_eq!(shape["errors"][0]["path"], "workflow_name", "{shape}");
    admin.get("/api/executions/01900000-0000-7000-8000-000000000000").await.of(404);
    // None of it left an execution behind.
    assert_eq!(admin.get("/api/executions").await.of(200)["executions"], json!([]));
}

async fn code(admin: &Client) {
    let broken = admin.execute(json!({"code": base64("x = 1\ny = (\n")})).await.of(422);
    assert_eq!(broken["errors"][0]["path"], "code");
    assert!(broken["errors"][0]["message"].as_str().is_some_and(|text| text.contains("line 2")), "{broken}");
    admin.execute(json!({"code": "not base64!"})).await.of(422);
    let report = admin
        .post(
            "/api/workflows/validate",
            json!({"path": "new.py", "content": "from bifrost import workflow\n\ndef f(:\n"}),
        )
        .await
        .of(200);
    assert_eq!(
        (&report["valid"], &report["issues"][0]["line"], &report["issues"][0]["severity"]),
        (&json!(false), &json!(3), &json!("error"))
    );
    // A rule that nobody can check is told, and keeps nothing from running.
    let content = "from bifrost import param, workflow\n\n@workflow\n@param('a', required=True, validation={'pattern': '(?=x)y'})\n\
                   def ruled(a: str): ...\n";
    let report =
        admin.post("/api/workflows/validate", json!({"path": "new.py", "content": content})).await.of(200);
    assert_eq!((&report["valid"], &report["issues"][0]["severity"]), (&json!(true), &json!("warning")));
    let message = report["issues"][0]["message"].as_str().expect("a message");
    assert!(message.contains("pattern of `a`") && message.contains("look-around"), "{message}");
    // What the report says of a definition is what the list would say.
    let content =
        "from bifrost import workflow\n\n@workflow\ndef fresh(name: str):\n    \"\"\"Says hello\"\"\"\n";
    let report =
        admin.post("/api/workflows/validate", json!({"path": "new.py", "content": content})).await.of(200);
    let list = admin.get("/api/workflows").await.of(200);
    let mut listed: Vec<_> = list[0].as_object().expect("a workflow").keys().collect();
    listed.retain(|name| *name != "id");
    let shown: Vec<_> = report["metadata"].as_object().expect("a definition").keys().collect();
    assert_eq!(shown, listed, "{report}");
    assert_eq!(
        (
            &report["metadata"]["name"],
            &report["metadata"]["execution_mode"],
            &report["metadata"]["source_file_path"]
        ),
        (&json!("fresh"), &json!("async"), &json!("new.py"))
    );
    let traversal = admin.post("/api/workflows/validate", json!({"path": "../../etc/passwd"})).await;
    assert!((400..500).contains(&traversal.status), "{}", traversal.text);
    assert!(!traversal.text.contains("root:"));
}
