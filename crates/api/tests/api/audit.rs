//! The audit log: who reads what of it, filters, pages, the file.

use crate::support::{Reply, Server};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    ids::AuditId,
    rights::MembershipRole,
};
use bifrost_storage::audit::{Entry, Outcome};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

on_both_databases![
    every_change_is_found_by_who_did_what_to_what_and_when,
    an_organization_sees_what_is_about_it_and_members_see_nothing,
    pages_have_no_holes,
    the_file_is_whole_harmless_and_bounded,
];

fn entries(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    reply.json()["entries"].as_array().expect("entries").clone()
}

fn actions(reply: &Reply) -> Vec<String> {
    entries(reply).iter().map(|line| line["action"].as_str().expect("an action").to_owned()).collect()
}

/// A person of an organization with a rank: id and access token.
async fn somebody(server: &Server, home: &str, email: &str, role: MembershipRole) -> (String, String) {
    let token = server.ranked(email, home, role).await;
    let id = server.get("/auth/me", &token).await.json()["id"].as_str().expect("an id").to_owned();
    (id, token)
}

async fn company(server: &Server, token: &str, name: &str, domain: &str) -> String {
    let made = server.post("/api/organizations", token, json!({"name": name, "domain": domain})).await;
    made.json()["id"].as_str().expect("an id").to_owned()
}

async fn every_change_is_found_by_who_did_what_to_what_and_when(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let acme = company(&server, &admin, "Acme", "acme.example").await;
    let other = company(&server, &admin, "Other", "other.example").await;
    server.clock.advance(chrono::Duration::days(1));
    let path = format!("/api/organizations/{acme}");
    let bearer = format!("Bearer {}", server.admin().await.0);
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "change-7")];
    let changed = server.ask(Method::PATCH, &path, &headers, Some(json!({"name": "Acme 2"}))).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    server.login("nobody@acme.example", "wrong").await;
    let admin = server.admin().await.0;
    let ask = async |query: &str| server.get(&format!("/api/audit?{query}"), &admin).await;

    assert!(
        entries(&ask("request_id=change-7").await).is_empty(),
        "nobody chooses what the log calls his request"
    );
    let mut found = entries(&ask(&format!("request_id={}", changed.header("x-request-id"))).await);
    assert_eq!(found.len(), 1, "{found:?}");
    let line = found.remove(0);
    assert_eq!(line["action"], "organization.update");
    assert_eq!(line["changes"], json!({"name": {"old": "Acme", "new": "Acme 2"}}));
    assert_eq!(line["resource_type"], "organization");
    assert_eq!((&line["resource_id"], &line["organization_id"]), (&json!(acme), &json!(acme)));
    assert_eq!((&line["actor_email"], &line["outcome"]), (&json!("admin@localhost"), &json!("success")));
    assert_eq!((&line["ip_address"], &line["at"]), (&json!("127.0.0.1"), &json!("2026-11-21T12:00:00Z")));
    let actor = line["actor_id"].as_str().expect("an id").to_owned();

    let made = ["organization.create"];
    let changed = ["organization.update"];
    assert_eq!(actions(&ask(&format!("resource=organization/{other}")).await), made);
    assert_eq!(actions(&ask(&format!("organization={acme}&action=organization.create")).await), made);
    assert_eq!(actions(&ask("resource=organization").await).len(), 3);
    assert_eq!(actions(&ask("resource=organization&from=2026-11-21").await), changed);
    assert_eq!(
        actions(&ask("resource=organization&to=2026-11-20").await).len(),
        2,
        "a date includes its day"
    );
    assert_eq!(actions(&ask("resource=organization&to=2026-11-20T12:00:00Z").await), [] as [&str; 0]);
    assert_eq!(actions(&ask(&format!("actor={actor}&action=organization.update")).await), changed);
    assert_eq!(actions(&ask("actor=Admin@localhost&action=organization.update").await), changed);
    assert_eq!(actions(&ask("actor=nobody@acme.example&outcome=failure").await), ["session.begin"]);
    assert_eq!(actions(&ask("outcome=denied").await), [] as [&str; 0]);

    let long = "x".repeat(255);
    for (query, path) in [
        ("outcome=perhaps", "outcome"),
        ("organization=acme", "organization"),
        ("from=yesterday", "from"),
        ("to=-4800-01-01", "to"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("continuation_token=x", "continuation_token"),
        (&format!("actor={long}"), "actor"),
        (&format!("action={long}"), "action"),
        (&format!("resource={long}"), "resource"),
        (&format!("request_id={long}"), "request_id"),
        ("action=a%00b", "action"),
    ] {
        let reply = ask(query).await;
        assert_eq!(reply.problem().0, 422, "{query}");
        assert_eq!(reply.fields()[0].0, path, "{query}");
        if path != "limit" {
            let file = server.get(&format!("/api/audit/export?{query}"), &admin).await;
            assert_eq!(file.problem().0, 422, "export, {query}");
        }
    }
    let file = server.get("/api/audit/export?format=xml", &admin).await;
    assert_eq!((file.problem().0, file.fields()[0].0.as_str()), (422, "format"));
}

async fn an_organization_sees_what_is_about_it_and_members_see_nothing(db: TestDatabase) {
    let server = Server::on(db).await;
    let (platform, _) = server.admin().await;
    let acme = company(&server, &platform, "Acme", "acme.example").await;
    company(&server, &platform, "Other", "other.example").await;
    let (_, admin) = somebody(&server, &acme, "ann@acme.example", MembershipRole::Admin).await;
    let (member_id, member) = somebody(&server, &acme, "max@acme.example", MembershipRole::Member).await;

    let seen = entries(&server.get("/api/audit?limit=1000", &admin).await);
    assert!(seen.iter().all(|line| line["organization_id"] == json!(acme)), "{seen:?}");
    let kinds: BTreeSet<&str> = seen.iter().filter_map(|line| line["action"].as_str()).collect();
    assert!(kinds.contains("organization.create") && kinds.contains("session.begin"), "{kinds:?}");
    let all = entries(&server.get("/api/audit?limit=1000", &platform).await);
    assert!(all.len() > seen.len() && all.iter().any(|line| line["organization_id"].is_null()));
    let inside = [("authorization", format!("Bearer {platform}")), ("x-organization-id", acme.clone())];
    let inside = inside.each_ref().map(|(name, value)| (*name, value.as_str()));
    let inside = server.ask(Method::GET, "/api/audit?limit=1000", &inside, None).await;
    assert_eq!(entries(&inside).len(), seen.len(), "who acts in an organization sees that one's");
    let file = server.get("/api/audit/export?format=json", &admin).await;
    assert_eq!(entries(&file).len(), seen.len(), "the file has no more than the list");

    for path in ["/api/audit", "/api/audit/export"] {
        assert_eq!(server.get(path, &member).await.problem(), (403, "permission_missing".to_owned()));
        assert_eq!(server.ask(Method::GET, path, &[], None).await.problem().0, 401);
    }
    // Refusals are written behind the answer.
    let mut denied = Vec::new();
    for _ in 0..500 {
        denied = entries(&server.get("/api/audit?outcome=denied", &admin).await);
        if denied.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(denied.len(), 2, "each refusal leaves a line");
    assert_eq!(denied[1]["action"], "access.denied");
    assert_eq!(denied[1]["actor_id"], json!(member_id));
    assert_eq!(
        denied[1]["detail"],
        json!({"permission": "audit.read", "reason": "permission_missing", "request": "GET /api/audit"})
    );
}

/// Writes `count` lines, and gives their ids.
async fn fill(server: &Server, count: usize, email: impl Fn(usize) -> String) -> Vec<String> {
    let mut ids = Vec::new();
    let tx = server.store.db().begin().await.expect("begin");
    for n in 0..count {
        let id = SystemIds.next();
        ids.push(id.to_string());
        tx.insert_audit(Entry {
            id: AuditId::from_uuid(id),
            at: server.clock.now(),
            organization_id: None,
            actor_id: None,
            actor_email: Some(email(n)),
            actor_name: None,
            application_id: None,
            on_behalf_of: None,
            action: "test.line",
            resource_type: "test",
            resource_id: None,
            outcome: Outcome::Success,
            changes: None,
            detail: Some(json!({"n": n, "text": "a \"b\", c"})),
            request_id: None,
            ip_address: None,
        })
        .await
        .expect("written");
    }
    tx.commit().await.expect("commit");
    ids.reverse();
    ids
}

fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
}

async fn pages_have_no_holes(db: TestDatabase) {
    let server = Server::on(db).await;
    let (admin, _) = server.admin().await;
    let written = fill(&server, 25, |n| format!("{n}@acme.example")).await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let query = format!("/api/audit?action=test.line&limit=10&continuation_token={token}");
        let page = server.get(&query, &admin).await;
        seen.extend(ids(&entries(&page)));
        match page.json()["continuation_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
        // What is written while somebody reads is newer: it moves nothing that he has not read yet.
        fill(&server, 7, |n| format!("later{n}@acme.example")).await;
        assert_eq!(server.get(&query, &admin).await.json()["entries"].as_array().map(Vec::len), Some(10));
    }
    assert_eq!(seen, written);
}

async fn the_file_is_whole_harmless_and_bounded(db: TestDatabase) {
    const LINES: usize = 1_200;
    let server = Server::on_with(db, |setup| setup.api.audit_export_lines = 1_100).await;
    let (admin, _) = server.admin().await;
    let formula =
        |n| if n == 0 { "=HYPERLINK(\"http://x\")".to_owned() } else { format!("{n}@acme.example") };
    let written = fill(&server, LINES, formula).await;

    let reply = server.get("/api/audit/export?format=json&action=test.line", &admin).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"audit.json\"");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(ids(&entries(&reply)), written[..1_100]);
    let token = reply.json()["continuation_token"].as_str().expect("it was cut").to_owned();
    let query = format!("/api/audit/export?format=json&action=test.line&continuation_token={token}");
    let rest = server.get(&query, &admin).await;
    assert_eq!(ids(&entries(&rest)), written[1_100..]);
    assert_eq!(rest.json()["continuation_token"], Value::Null);

    let reply = server.get("/api/audit/export?action=test.line", &admin).await;
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"audit.csv\"");
    let lines: Vec<&str> = reply.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1 + 1_100 + 1);
    assert!(lines[0].starts_with("id,at,organization_id,actor_id,actor_email,"), "{}", lines[0]);
    assert!(lines[1].starts_with(&written[0]), "{}", lines[1]);
    assert!(
        lines[1].contains(",\"{\"\"n\"\":1199,\"\"text\"\":\"\"a \\\"\"b\\\"\", c\"\"}\","),
        "{}",
        lines[1]
    );
    assert!(lines[1_101].starts_with("cut here; go on with continuation_token="), "{}", lines[1_101]);
    let token = lines[1_101].split(['=', ',']).nth(1).expect("a token");
    let rest =
        server.get(&format!("/api/audit/export?action=test.line&continuation_token={token}"), &admin).await;
    let lines: Vec<&str> = rest.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1 + 100);
    assert!(lines[100].contains(",\"'=HYPERLINK(\"\"http://x\"\")\","), "{}", lines[100]);

    let empty = server.get("/api/audit/export?action=nothing&format=json", &admin).await;
    assert_eq!(empty.json(), json!({"entries": [], "continuation_token": null}));
    let empty = server.get("/api/audit/export?action=nothing", &admin).await;
    assert_eq!(empty.text.matches("\r\n").count(), 1, "the names of the columns: {}", empty.text);
    let packed = Request::get("/api/audit/export")
        .header("authorization", format!("Bearer {admin}"))
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(server.send(packed).await.header("content-encoding"), "gzip");
}
