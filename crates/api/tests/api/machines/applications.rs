//! Applications and their keys: made, changed, refused.

use super::{NOWHERE, application, ask, key, text};
use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    ids::RoleId,
    rights::MembershipRole,
};
use bifrost_storage::users::NewRole;
use serde_json::{Value, json};

#[tokio::test]
async fn an_application_through_its_life() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let me = text(&server.get("/auth/me", &admin).await.json(), "id");
    let body = json!({
        "app_id": "nightly-sync", "name": " Sync ", "description": "every night", "organization_id": home,
        "scopes": ["executions.run", "executions.run"], "rate_limit_per_minute": 60,
    });
    let made = server.post("/api/applications", &admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    assert_eq!(
        made,
        json!({
            "id": made["id"], "app_id": "nightly-sync", "name": "Sync", "description": "every night", "organization_id": home,
            "scopes": ["executions.run"], "is_active": true, "rate_limit_per_minute": 60, "allow_user_assertion": false,
            "created_by": me, "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z",
        })
    );
    let path = format!("/api/applications/{}", text(&made, "id"));
    assert_eq!(server.get(&path, &admin).await.json(), made);
    server.clock.advance(chrono::Duration::seconds(1));
    let patch = json!({"description": null, "rate_limit_per_minute": null, "scopes": [], "name": "Other"});
    let changed = ask(&server, &admin, Method::PATCH, &path, Some(patch)).await.json();
    assert_eq!(
        (&changed["description"], &changed["rate_limit_per_minute"], &changed["scopes"], &changed["name"]),
        (&Value::Null, &Value::Null, &json!([]), &json!("Other"))
    );
    assert_eq!(changed["updated_at"], "2026-11-20T12:00:01Z");

    let keys = format!("{path}/keys");
    let body = json!({"name": "server 1", "expires_at": "2027-01-01T00:00:00Z"});
    let first = server.post(&keys, &admin, body).await.json();
    let (second, secret) = key(&server, &admin, &text(&made, "id")).await;
    let listed = server.get(&keys, &admin).await;
    assert!(!listed.text.contains(&secret) && !listed.text.contains(&text(&first, "key")), "shown once");
    let listed = listed.json();
    assert_eq!(
        listed[0],
        json!({
            "id": first["id"], "name": "server 1", "prefix": &text(&first, "key")[..13], "created_by": me,
            "created_at": "2026-11-20T12:00:01Z", "expires_at": "2027-01-01T00:00:00Z", "last_used_at": null,
        })
    );
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let gone = ask(&server, &admin, Method::DELETE, &format!("{keys}/{second}"), None).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let again = ask(&server, &admin, Method::DELETE, &format!("{keys}/{second}"), None).await;
    assert_eq!(again.problem(), (404, "not_found".to_owned()));

    assert_eq!(ask(&server, &admin, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, keys.clone()),
        (Method::POST, keys.clone()),
    ] {
        assert_eq!(ask(&server, &admin, method, &path, None).await.problem().0, 404, "{path}");
    }
    for action in ["application.create", "application.update", "application.key_revoke", "application.delete"]
    {
        server.until_audited(action, 1).await;
    }
    server.until_audited("application.key_create", 2).await;
}

#[tokio::test]
async fn what_is_refused() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"name": "Sync", "organization_id": home});
        body[name] = value;
        body
    };
    let many: Vec<&str> = vec!["executions.run"; 101];
    for (body, path, code) in [
        (json!({"organization_id": home}), "name", "required"),
        (json!({"name": "Sync"}), "organization_id", "required"),
        (with("organization_id", json!("x")), "organization_id", "format"),
        (with("name", json!(" ")), "name", "length"),
        (with("name", json!("n".repeat(256))), "name", "length"),
        (with("name", json!("a\u{0}b")), "name", "length"),
        (with("description", json!("d".repeat(1001))), "description", "too_long"),
        (with("description", json!("\u{0}")), "description", "too_long"),
        (with("app_id", json!("")), "app_id", "format"),
        (with("app_id", json!("Sync")), "app_id", "format"),
        (with("app_id", json!("a--b")), "app_id", "format"),
        (with("app_id", json!("a".repeat(101))), "app_id", "format"),
        (with("scopes", json!(["executions.run", "no.such"])), "scopes[1]", "unknown"),
        (with("scopes", json!(["account.use"])), "scopes[0]", "unknown"),
        (with("scopes", json!(["organizations.write"])), "scopes[0]", "unknown"),
        (with("scopes", json!(many)), "scopes", "too_many"),
        (with("rate_limit_per_minute", json!(0)), "rate_limit_per_minute", "range"),
        (with("rate_limit_per_minute", json!(100_001)), "rate_limit_per_minute", "range"),
        (with("allow_user_assertion", json!("yes")), "allow_user_assertion", "type"),
    ] {
        let reply = server.post("/api/applications", &admin, body).await;
        assert_eq!(reply.problem(), (422, "invalid".to_owned()), "{path} {code}: {}", reply.text);
        assert_eq!(reply.fields(), [(path.to_owned(), code.to_owned())]);
    }
    let nowhere = server.post("/api/applications", &admin, with("organization_id", json!(NOWHERE))).await;
    assert_eq!(nowhere.problem(), (404, "not_found".to_owned()));
    let id = application(&server, &admin, &home, json!({"app_id": "taken"})).await;
    let taken = server.post("/api/applications", &admin, with("app_id", json!("taken"))).await;
    assert_eq!(taken.problem(), (409, "app_id_taken".to_owned()));

    let keys = format!("/api/applications/{id}/keys");
    for (body, path) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "n".repeat(101)}), "name"),
        (json!({"expires_at": "2026-11-20T12:00:00Z"}), "expires_at"),
        (json!({"expires_at": "2099-01-01T00:00:00Z"}), "expires_at"),
        (json!({"expires_at": "soon"}), "expires_at"),
    ] {
        let reply = server.post(&keys, &admin, body).await;
        assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path), "{}", reply.text);
    }
    for _ in 0..10 {
        key(&server, &admin, &id).await;
    }
    assert_eq!(server.post(&keys, &admin, json!({})).await.problem(), (409, "too_many_keys".to_owned()));
    let bad = ask(&server, &admin, Method::DELETE, &format!("{keys}/x"), None).await;
    assert_eq!((bad.problem().0, bad.fields()[0].0.as_str()), (422, "key_id"));
    let bad =
        ask(&server, &admin, Method::DELETE, &format!("/api/applications/x/keys/{NOWHERE}"), None).await;
    assert_eq!((bad.problem().0, bad.fields()[0].0.as_str()), (422, "id"));
}

#[tokio::test]
async fn pages_follow_each_other_and_stay_in_the_organization() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(application(&server, &owner, &home, json!({})).await);
        application(&server, &admin, &other, json!({})).await;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let reply =
            server.get(&format!("/api/applications?limit=2&continuation_token={token}"), &owner).await;
        seen.extend(reply.json().as_array().expect("a list").iter().map(|one| text(one, "id")));
        token = reply.header("x-continuation-token").to_owned();
    }
    assert_eq!((seen, token.as_str()), (expected.clone(), ""));
    assert_eq!(server.get("/api/applications", &admin).await.json().as_array().map(Vec::len), Some(6));
    let elsewhere =
        server.post("/api/applications", &owner, json!({"name": "x", "organization_id": other})).await;
    assert_eq!(elsewhere.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn an_application_changes_no_limit() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let owner_id = text(&server.get("/auth/me", &owner).await.json(), "id");
    let more = json!({
        "scopes": ["applications.read", "applications.write"], "rate_limit_per_minute": 1_000, "allow_user_assertion": true,
    });
    let own = application(&server, &owner, &home, more).await;
    let beside = application(&server, &owner, &home, json!({"rate_limit_per_minute": 5})).await;
    let free = application(&server, &owner, &home, json!({})).await;
    let elsewhere = application(&server, &admin, &other, json!({"rate_limit_per_minute": 5})).await;
    let (_, secret) = key(&server, &owner, &own).await;
    let all = async || server.get("/api/applications", &admin).await.json();
    let before = all().await;

    let refused = (403, "person_needed".to_owned());
    for id in [own.as_str(), &beside, &free, &elsewhere, NOWHERE] {
        let path = format!("/api/applications/{id}");
        for rate in [json!(100_000), json!(1_000), json!(1), Value::Null] {
            let alone = json!({"rate_limit_per_minute": rate});
            let hidden = json!({"name": "Faster", "rate_limit_per_minute": rate});
            for patch in [alone, hidden] {
                let by_key = ask(&server, &secret, Method::PATCH, &path, Some(patch.clone())).await;
                assert_eq!(by_key.problem(), refused, "{id} {patch}");
                let headers = [("x-api-key", secret.as_str()), ("x-on-behalf-of", owner_id.as_str())];
                let for_owner = server.ask(Method::PATCH, &path, &headers, Some(patch.clone())).await;
                assert_eq!(for_owner.problem(), refused, "{id} {patch}, for its owner");
            }
        }
    }
    assert_eq!(all().await, before, "nothing was changed");

    // Nor does it get around its own by another one's.
    let made = json!({"name": "Faster", "scopes": ["applications.read"]});
    let made = ask(&server, &secret, Method::POST, "/api/applications", Some(made)).await;
    assert_eq!(made.problem(), refused);
    let keys = |id: &str| format!("/api/applications/{id}/keys");
    for (id, status, code) in
        [(&beside, 403, "person_needed"), (&free, 403, "person_needed"), (&elsewhere, 404, "not_found")]
    {
        let made = ask(&server, &secret, Method::POST, &keys(id), Some(json!({}))).await;
        assert_eq!(made.problem(), (status, code.to_owned()));
    }
    let plain = json!({"scopes": ["applications.write"], "rate_limit_per_minute": 1_000});
    let plain = application(&server, &owner, &home, plain).await;
    let (_, plain_secret) = key(&server, &owner, &plain).await;
    let next = ask(&server, &plain_secret, Method::POST, &keys(&plain), Some(json!({}))).await;
    assert_eq!(next.status, StatusCode::CREATED, "its own next key: {}", next.text);

    let path = format!("/api/applications/{own}");
    let renamed = ask(&server, &secret, Method::PATCH, &path, Some(json!({"name": "Renamed"}))).await;
    assert_eq!((renamed.status, &renamed.json()["name"]), (StatusCode::OK, &json!("Renamed")));
    let rate = Some(json!({"rate_limit_per_minute": 2_000}));
    let by_person = ask(&server, &owner, Method::PATCH, &path, rate).await;
    assert_eq!(by_person.json()["rate_limit_per_minute"], 2_000, "{}", by_person.text);
}

/// Somebody whose role lets him make applications, with a few more permissions.
#[tokio::test]
async fn nobody_gives_more_than_he_has() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let id = text(&server.get("/auth/me", &ann).await.json(), "id").parse().expect("an id");
    let (role, now) = (RoleId::from_uuid(SystemIds.next()), server.clock.now());
    let tx = server.store.db().begin().await.expect("begin");
    let permissions = ["applications.read", "applications.write", "executions.run"].map(str::to_owned).into();
    let organization_id = Some(home.parse().expect("an id"));
    let new = NewRole { id: role, organization_id, name: "integrator".into(), permissions, created_at: now };
    tx.insert_role(new).await.expect("a role");
    tx.assign_role(id, role, None, now).await.expect("assigned");
    tx.commit().await.expect("commit");
    server.clock.advance(chrono::Duration::seconds(1));

    let own = application(&server, &ann, &home, json!({"scopes": ["executions.run"]})).await;
    key(&server, &ann, &own).await;
    let beyond = (403, "scope_beyond_own".to_owned());
    let more = json!({"name": "x", "scopes": ["executions.read_all"]});
    assert_eq!(server.post("/api/applications", &ann, more).await.problem(), beyond);
    let path = format!("/api/applications/{own}");
    let more = Some(json!({"scopes": ["executions.run", "users.write"]}));
    assert_eq!(ask(&server, &ann, Method::PATCH, &path, more).await.problem(), beyond);
    let not_allowed = (403, "assertion_not_allowed".to_owned());
    let assert = json!({"allow_user_assertion": true});
    assert_eq!(ask(&server, &ann, Method::PATCH, &path, Some(assert)).await.problem(), not_allowed);

    // One that has more than he: he may rename it, and get no key of it.
    let strong =
        application(&server, &admin, &home, json!({"scopes": ["users.write"], "is_active": false})).await;
    let path = format!("/api/applications/{strong}");
    let renamed = ask(&server, &ann, Method::PATCH, &path, Some(json!({"name": "y"}))).await;
    assert_eq!(renamed.status, StatusCode::OK, "{}", renamed.text);
    assert_eq!(server.post(&format!("{path}/keys"), &ann, json!({})).await.problem(), beyond);
    let activate = Some(json!({"is_active": true}));
    assert_eq!(ask(&server, &ann, Method::PATCH, &path, activate).await.problem(), beyond);
    let asserting = application(&server, &admin, &home, json!({"allow_user_assertion": true})).await;
    let keys = format!("/api/applications/{asserting}/keys");
    assert_eq!(server.post(&keys, &ann, json!({})).await.problem(), not_allowed);
    // Nor does he have keys of one that acts for others hold again; an administrator does.
    let path = format!("/api/applications/{asserting}");
    for (who, is_active, refused) in [(&admin, false, false), (&ann, true, true), (&admin, true, false)] {
        let reply = ask(&server, who, Method::PATCH, &path, Some(json!({"is_active": is_active}))).await;
        if refused {
            assert_eq!(reply.problem(), not_allowed);
        } else {
            assert_eq!((reply.status, &reply.json()["is_active"]), (StatusCode::OK, &json!(is_active)));
        }
    }
}
