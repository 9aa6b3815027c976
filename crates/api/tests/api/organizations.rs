//! Organizations, and the header that chooses one.

use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![
    an_organization_through_its_life,
    what_is_refused,
    pages_follow_each_other_without_holes,
    people_of_an_organization_may_not,
    the_header_that_chooses_an_organization,
    a_suspended_organization_locks_its_people_out,
];

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn ask(
    server: &Server,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> crate::support::Reply {
    server.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
}

async fn an_organization_through_its_life(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let body = json!({"name": " Acme ", "domain": "ACME.example", "settings": {"a": [1]}});
    let made = server.post("/api/organizations", &admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let acme = made.json();
    let me = server.get("/auth/me", &admin).await.json();
    assert_eq!(
        acme,
        json!({
            "id": acme["id"], "name": "Acme", "domain": "acme.example", "is_active": true, "settings": {"a": [1]},
            "kind": "company", "parent_id": null, "time_zone": "UTC", "created_by": me["id"], "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"
        })
    );
    let path = format!("/api/organizations/{}", acme["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path, &admin).await.json(), acme);

    server.clock.advance(chrono::Duration::milliseconds(1500));
    let changed = ask(&server, &admin, Method::PATCH, &path, Some(json!({"name": "Acme 2"}))).await.json();
    assert_eq!(
        (&changed["name"], &changed["domain"]),
        (&json!("Acme 2"), &json!("acme.example")),
        "absent stays"
    );
    assert_eq!(changed["updated_at"], "2026-11-20T12:00:01.500Z");
    let cleared =
        ask(&server, &admin, Method::PATCH, &path, Some(json!({"domain": null, "is_active": false}))).await;
    let cleared = cleared.json();
    assert_eq!((&cleared["domain"], &cleared["is_active"]), (&json!(null), &json!(false)), "null clears");

    let gone = ask(&server, &admin, Method::DELETE, &path, None).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(ask(&server, &admin, method, &path, None).await.problem(), (404, "not_found".to_owned()));
    }
    let patch = ask(&server, &admin, Method::PATCH, &path, Some(json!({"name": "x"}))).await;
    assert_eq!(patch.problem().0, 404);
}

async fn what_is_refused(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let required = |flag: Value| json!({"name": "Acme", "settings": {"security": {"mfa_required": flag}}});
    for (body, path, code) in [
        (json!({}), "name", "required"),
        (json!({"name": 5}), "name", "type"),
        (json!({"name": "  "}), "name", "length"),
        (json!({"name": "n".repeat(256)}), "name", "length"),
        (json!({"name": "a\u{0}b"}), "name", "length"),
        (json!({"name": "Acme", "domain": "acme"}), "domain", "format"),
        (json!({"name": "Acme", "is_active": "yes"}), "is_active", "type"),
        (json!({"name": "Acme", "settings": []}), "settings", "type"),
        (json!({"name": "Acme", "settings": {"a": "x".repeat(64 * 1024)}}), "settings", "too_long"),
        (json!({"name": "Acme", "settings": {"a": "\u{0}"}}), "settings", "format"),
        (json!({"name": "Acme", "settings": {"security": true}}), "settings.security", "type"),
        (required(json!("true")), "settings.security.mfa_required", "type"),
        (required(json!(1)), "settings.security.mfa_required", "type"),
        (required(json!(null)), "settings.security.mfa_required", "type"),
    ] {
        let reply = server.post("/api/organizations", &admin, body).await;
        assert_eq!(reply.problem(), (422, "invalid".to_owned()), "{path} {code}");
        assert_eq!(reply.fields(), [(path.to_owned(), code.to_owned())]);
    }
    let body = json!({"name": "Acme", "domain": "acme.example"});
    assert_eq!(server.post("/api/organizations", &admin, body.clone()).await.status, StatusCode::CREATED);
    assert_eq!(
        server.post("/api/organizations", &admin, body).await.problem(),
        (409, "domain_taken".to_owned())
    );
    let bad = server.get("/api/organizations/not-a-uuid", &admin).await;
    assert_eq!(bad.problem().0, 422);
    assert_eq!(bad.fields(), [("id".to_owned(), "format".to_owned())]);

    let home = server.organization(&admin, "Home").await;
    let path = format!("/api/organizations/{home}");
    let misspelt = ask(&server, &admin, Method::PATCH, &path, Some(required(json!("yes")))).await;
    assert_eq!(misspelt.problem().0, 422);
    assert_eq!(misspelt.fields(), [("settings.security.mfa_required".to_owned(), "type".to_owned())]);
    assert_eq!(server.get(&path, &admin).await.json()["settings"], json!({}));
    server.person("ann@home.example", &home).await;
    let in_use = ask(&server, &admin, Method::DELETE, &format!("/api/organizations/{home}"), None).await;
    assert_eq!(in_use.problem(), (409, "organization_in_use".to_owned()));
}

async fn pages_follow_each_other_without_holes(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(server.organization(&admin, &format!("O{n}")).await);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let path = format!("/api/organizations?limit=2&continuation_token={token}");
        let reply = server.get(&path, &admin).await;
        let page = reply.json();
        seen.extend(
            page.as_array().expect("an array").iter().map(|o| o["id"].as_str().expect("an id").to_owned()),
        );
        token = reply.header("x-continuation-token").to_owned();
    }
    assert_eq!((seen, token.as_str()), (expected, ""));
    for (query, path) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("continuation_token=x", "continuation_token"),
    ] {
        let reply = server.get(&format!("/api/organizations?{query}"), &admin).await;
        assert_eq!(reply.problem().0, 422, "{query}");
        assert_eq!(reply.fields()[0].0, path, "{query}");
    }
}

async fn people_of_an_organization_may_not(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let one = format!("/api/organizations/{home}");
    for (method, path, body) in [
        (Method::GET, "/api/organizations", None),
        (Method::POST, "/api/organizations", Some(json!({"name": "Mine"}))),
        (Method::GET, one.as_str(), None),
        (Method::PATCH, one.as_str(), Some(json!({"name": "Mine"}))),
        (Method::DELETE, one.as_str(), None),
    ] {
        let reply = ask(&server, &ann, method.clone(), path, body.clone()).await;
        assert_eq!(reply.problem().0, 403, "{method} {path}");
        assert_eq!(reply.json()["detail"], "Superuser privileges required");
        let anonymous = server.ask(method.clone(), path, &[], body).await;
        assert_eq!(anonymous.problem().0, 401, "{method} {path}");
    }
}

async fn the_header_that_chooses_an_organization(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let ann = server.person("ann@home.example", &home).await;
    let spelled = format!("org-{home}");
    for (who, token, header, expected) in [
        ("admin", &admin, home.as_str(), 200),
        ("admin", &admin, spelled.as_str(), 200),
        ("admin", &admin, NOBODY, 400),
        ("admin", &admin, "home", 400),
        ("admin", &admin, "GLOBAL", 400),
        ("admin", &admin, "", 400),
        ("ann", &ann, home.as_str(), 200),
        ("ann", &ann, other.as_str(), 403),
        ("ann", &ann, NOBODY, 403),
        ("ann", &ann, "home", 400),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-organization-id", header)];
        let reply = server.ask(Method::GET, "/auth/me", &headers, None).await;
        assert_eq!(reply.status.as_u16(), expected, "{who} {header:?}: {}", reply.text);
    }
    let bearer = format!("Bearer {admin}");
    let twice = [
        ("authorization", bearer.as_str()),
        ("x-organization-id", &home),
        ("x-organization-id", other.as_str()),
    ];
    assert_eq!(server.ask(Method::GET, "/auth/me", &twice, None).await.problem().0, 400);
}

async fn a_suspended_organization_locks_its_people_out(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    assert_eq!(server.get("/auth/me", &ann).await.status, StatusCode::OK);
    let path = format!("/api/organizations/{home}");
    ask(&server, &admin, Method::PATCH, &path, Some(json!({"is_active": false}))).await;
    server.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &ann).await.problem().0, 401);
    assert_eq!(server.login("ann@home.example", "a long password").await.problem().1, "account_inactive");
}
