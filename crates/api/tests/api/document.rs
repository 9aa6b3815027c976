//! The OpenAPI document: a committed snapshot (`INSTA_UPDATE=always` writes it), complete, and shown at `/docs`.

use crate::support::Server;
use axum::http::{Method, StatusCode};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

fn document() -> Value {
    serde_json::to_value(bifrost_api::openapi()).expect("JSON")
}

fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("an item") {
            if let Ok(method) = method.to_uppercase().parse::<Method>()
                && operation.get("responses").is_some()
            {
                found.push((method, path.clone(), operation.clone()));
            }
        }
    }
    found
}

#[test]
fn the_document_is_the_committed_one() {
    insta::assert_json_snapshot!("openapi", document());
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no summary");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name} has one tag");
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(format!("{}.{id}", operation["tags"][0])), "{name}: {id} twice");
    }
    assert!(!ids.is_empty());
}

#[tokio::test]
async fn every_documented_route_answers() {
    let server = Server::start().await;
    for (method, path, operation) in operations(&document()) {
        let filled: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "01890a5d-ac96-774b-bcce-b302099a8057" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let reply = server.ask(method.clone(), &filled, &[], None).await;
        let is_public = operation["security"] == serde_json::json!([{}]);
        assert!(
            !matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
            "{method} {path}"
        );
        if path.starts_with("/ws/") {
            // Who it is is asked after the upgrade, so that the refusal has a close code.
            assert_eq!(reply.problem().0, 400, "{path} is no WebSocket request");
        } else if is_public {
            assert!(!reply.status.is_server_error(), "{method} {path}: {}", reply.status);
        } else {
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{method} {path} needs a token");
        }
    }
}

/// Routes get into the router through `routes!` alone, which documents them; the pages about the document are the exception.
#[test]
fn no_route_goes_past_the_document() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file");
            checked += 1;
            if !path.ends_with("routes/docs.rs") {
                for way in [".route(", ".route_service(", ".nest_service("] {
                    assert!(!text.contains(way), "{} uses `{way}`: use `routes!`", path.display());
                }
            }
            if !text.contains("impl<T: Serialize> IntoResponse for Json<T>") {
                for stock in [
                    "axum::Json",
                    "extract::Json<",
                    "axum::extract::Query",
                    "axum::extract::Path",
                    "axum::Form",
                ] {
                    assert!(!text.contains(stock), "{} uses `{stock}`: use `crate::extract`", path.display());
                }
            }
        }
    }
    assert!(checked > 10);
}

#[tokio::test]
async fn swagger_ui_is_served_from_here() {
    let server = Server::start().await;
    let root = server.ask(Method::GET, "/", &[], None).await;
    assert_eq!((root.status, root.header("location")), (StatusCode::SEE_OTHER, "/docs/"));
    let page = server.ask(Method::GET, "/docs/", &[], None).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text.contains("//cdn") && !page.text.contains("https://"), "nothing from elsewhere");
    let script = server.ask(Method::GET, "/docs/swagger-initializer.js", &[], None).await;
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
    let served = server.ask(Method::GET, "/openapi.json", &[], None).await.json();
    assert_eq!(served, document());
    let flow = &served["components"]["securitySchemes"]["password"]["flows"]["password"];
    assert_eq!(flow["tokenUrl"], "/auth/login");
}
