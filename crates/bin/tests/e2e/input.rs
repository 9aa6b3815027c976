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
    let shape = admin.execute(json!({"workflow_name": 7})).await.of(422);
    assert_eq!(shape["errors"][0]["path"], "workflow_name", "{shape}");
    admin.get("/api/executions/01900000-0000-7000-8000-000000000000").await.of(404);
    // None of it left an execution behind.
    assert_eq!(admin.get("/api/executions").await.of(200)["executions"], json!([]));
}

async fn code(admin: &Client) {
    let broken = admin.execute(json!({"code": base64("x = 1\ny = (\n")})).await.of(422);
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
    let traversal = admin.post("/api/workflows/validate", json!({"path": "../../etc/passwd"})).await;
    assert!((400..500).contains(&traversal.status), "{}", traversal.text);
    assert!(!traversal.text.contains("root:"));
}
