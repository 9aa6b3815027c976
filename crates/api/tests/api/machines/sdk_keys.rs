//! Keys of people, and of workflow endpoints.

use super::{NOWHERE, ask, text};
use crate::support::Server;
use axum::http::{Method, StatusCode};
use bifrost_domain::rights::MembershipRole;
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_is_its_person_but_not_the_account() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let ann = server.person("ann@home.example", &home).await;
    let made = server.post("/api/sdk/keys", &ann, json!({"name": "laptop"})).await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (StatusCode::CREATED, "no-store"),
        "{}",
        made.text
    );
    let made = made.json();
    let secret = text(&made, "key");
    assert_eq!(
        made,
        json!({
            "id": made["id"], "key": secret, "name": "laptop", "prefix": &secret[..13], "organization_id": home,
            "created_at": "2026-11-20T12:00:00Z", "expires_at": null, "last_used_at": null,
        })
    );
    let me = server.get("/auth/me", &secret).await.json();
    assert_eq!((&me["email"], &me["current_organization_id"]), (&json!("ann@home.example"), &json!(home)));
    assert_eq!(server.get("/api/workflows", &secret).await.status, StatusCode::OK);
    let not_allowed = (403, "permission_missing".to_owned());
    for (method, path) in [
        (Method::GET, "/api/sdk/keys"),
        (Method::POST, "/api/sdk/keys"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/auth/device/lookup"),
        (Method::POST, "/auth/device/authorize"),
    ] {
        let body = (method == Method::POST).then(|| json!({}));
        assert_eq!(ask(&server, &secret, method, path, body).await.problem(), not_allowed, "{path}");
    }
    let ticket = ask(&server, &secret, Method::POST, "/api/live/ticket", None).await;
    assert_eq!(ticket.problem(), (403, "key_not_allowed".to_owned()));
    let bearer = format!("Bearer {secret}");
    for (named, status) in [(home.as_str(), 200), (other.as_str(), 403), (NOWHERE, 403)] {
        let headers = [("authorization", bearer.as_str()), ("x-organization-id", named)];
        assert_eq!(
            server.ask(Method::GET, "/auth/me", &headers, None).await.status.as_u16(),
            status,
            "{named}"
        );
    }

    let listed = server.get("/api/sdk/keys", &ann).await;
    assert!(!listed.text.contains(&secret), "shown once");
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    assert_eq!(server.get("/api/sdk/keys", &owner).await.json(), json!([]), "those of others are theirs");
    let path = format!("/api/sdk/keys/{}", text(&made, "id"));
    assert_eq!(ask(&server, &owner, Method::DELETE, &path, None).await.problem().0, 404);
    assert_eq!(ask(&server, &ann, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/auth/me", &secret).await.problem(), (401, "key_invalid".to_owned()));
    server.until_audited("sdk_key.create", 1).await;
    server.until_audited("sdk_key.revoke", 1).await;

    // A platform admin's key acts where it was made, as an owner and not as a platform admin.
    let headers = [("authorization", &*format!("Bearer {admin}")), ("x-organization-id", home.as_str())];
    let narrow = server.ask(Method::POST, "/api/sdk/keys", &headers, None).await.json();
    let me = server.get("/auth/me", &text(&narrow, "key")).await.json();
    assert_eq!((&me["is_superuser"], &me["current_organization_id"]), (&json!(false), &json!(home)));
}

/// What a person holds elsewhere is not the key's, and neither is it an administrator's.
#[tokio::test]
async fn a_key_reaches_its_organization_alone() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let ann = server.ranked("ann@home.example", &home, MembershipRole::Owner).await;
    let me = text(&server.get("/auth/me", &ann).await.json(), "id");
    let membership = format!("/api/organizations/{other}/members/{me}");
    let role = Some(json!({"role": "owner"}));
    let joined = ask(&server, &admin, Method::PUT, &membership, role).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.text);
    server.clock.advance(chrono::Duration::seconds(1));
    let in_home =
        |token: &str| [("authorization", format!("Bearer {token}")), ("x-organization-id", home.clone())];
    let unknown = format!("/api/organizations/{NOWHERE}");
    for token in [&ann, &admin] {
        let organizations = async |token: &str| -> Vec<String> {
            let listed = server.get("/api/organizations", token).await;
            listed.json().as_array().expect("a list").iter().map(|one| text(one, "id")).collect()
        };
        assert_eq!(organizations(token).await, [home.clone(), other.clone()]);
        let headers = in_home(token);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let key = text(&server.ask(Method::POST, "/api/sdk/keys", &headers, None).await.json(), "key");
        assert_eq!(organizations(&key).await, std::slice::from_ref(&home));
        for (method, path, body) in [
            (Method::GET, format!("/api/organizations/{other}"), None),
            (Method::GET, format!("/api/organizations/{other}/members"), None),
            (Method::PUT, membership.clone(), Some(json!({"role": "member"}))),
            (Method::DELETE, membership.clone(), None),
        ] {
            assert_ne!(ask(&server, token, Method::GET, &path, None).await.status, StatusCode::NOT_FOUND);
            let refused = ask(&server, &key, method.clone(), &path, body.clone()).await;
            let nowhere = path.replace(&format!("/api/organizations/{other}"), &unknown);
            let nowhere = ask(&server, &key, method.clone(), &nowhere, body).await;
            assert_eq!(
                (refused.problem().0, nowhere.problem().0),
                (404, 404),
                "{method} {path}: {}",
                refused.text
            );
            assert_eq!(refused.json()["detail"], nowhere.json()["detail"]);
        }
        for path in [format!("/api/users?orgId={other}"), format!("/api/roles?scope={other}")] {
            assert_eq!(server.get(&path, &key).await.json(), json!([]), "{path}");
        }
        let audit = server.get(&format!("/api/audit?organization={other}"), &key).await.json();
        assert_eq!(audit["entries"], json!([]));
        let memberships = server.get("/auth/me", &key).await.json()["memberships"].clone();
        let elsewhere = memberships
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| one["organization_id"] == other.as_str());
        assert!(!elsewhere, "{memberships}");
    }
}

#[tokio::test]
async fn a_key_ends_with_its_person() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let secret = text(&server.post("/api/sdk/keys", &ann, json!({})).await.json(), "key");
    assert_eq!(server.get("/auth/me", &secret).await.status, StatusCode::OK);
    server.suspend("ann@home.example").await;
    server.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &secret).await.problem(), (401, "key_invalid".to_owned()));
}

#[tokio::test]
async fn a_workflow_key_through_its_life() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let stranger = server.ranked("owner@other.example", &other, MembershipRole::Owner).await;
    let made = server.post("/api/workflow-keys", &owner, json!({"name": "webhook"})).await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (StatusCode::CREATED, "no-store"),
        "{}",
        made.text
    );
    let made = made.json();
    let secret = text(&made, "key");
    assert_eq!(
        (&made["workflow_name"], &made["organization_id"], &made["name"]),
        (&Value::Null, &json!(home), &json!("webhook"))
    );
    assert!(secret.starts_with("bfwk_"), "{secret}");
    assert_eq!(server.get("/auth/me", &secret).await.problem().0, 401, "it says not who calls");
    let listed = server.get("/api/workflow-keys", &owner).await;
    assert!(!listed.text.contains(&secret), "shown once");
    assert_eq!(listed.json().as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/api/workflow-keys", &stranger).await.json(), json!([]));
    for (body, path) in [
        (json!({"workflow_name": "no_such"}), "workflow_name"),
        (json!({"name": " "}), "name"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
    ] {
        let reply = server.post("/api/workflow-keys", &owner, body).await;
        assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path));
    }
    // Without an organization it is the platform's, and seen by platform admins alone.
    let global = server.post("/api/workflow-keys", &admin, json!({})).await.json();
    assert_eq!(global["organization_id"], Value::Null);
    assert_eq!(server.get("/api/workflow-keys", &owner).await.json().as_array().map(Vec::len), Some(1));
    let path = format!("/api/workflow-keys/{}", text(&global, "id"));
    assert_eq!(ask(&server, &owner, Method::DELETE, &path, None).await.problem().0, 404);
    let path = format!("/api/workflow-keys/{}", text(&made, "id"));
    assert_eq!(ask(&server, &stranger, Method::DELETE, &path, None).await.problem().0, 404);
    assert_eq!(ask(&server, &owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    server.until_audited("workflow_key.revoke", 1).await;
}

/// Whatever is done with it ends with it: no tenant but its own is reached, and nobody made who could come back.
#[tokio::test]
async fn a_platform_admins_key_is_an_owners_and_leaves_nobody_behind() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let (home, other) =
        (server.organization(&admin, "Home").await, server.organization(&admin, "Other").await);
    let me = async |token: &str| text(&server.get("/auth/me", token).await.json(), "id");
    let ann = me(&server.person("ann@home.example", &home).await).await;
    let bob = me(&server.person("bob@other.example", &other).await).await;
    let boss = me(&admin).await;
    let headers = [("authorization", &*format!("Bearer {admin}")), ("x-organization-id", home.as_str())];
    let key = text(&server.ask(Method::POST, "/api/sdk/keys", &headers, None).await.json(), "key");
    let by_key = async |method: Method, path: &str, body: Value| {
        let reply = ask(&server, &key, method, path, Some(body)).await;
        (reply.status.as_u16(), reply.problem().1)
    };
    let long = "another long password";
    for (method, path, body, status, code) in [
        (Method::PATCH, format!("/api/users/{bob}"), json!({"name": "Taken"}), 404, "not_found"),
        (Method::DELETE, format!("/api/users/{bob}/mfa"), json!({}), 404, "not_found"),
        (Method::DELETE, format!("/api/users/{bob}"), json!({}), 404, "not_found"),
        (Method::DELETE, format!("/api/users/{boss}/mfa"), json!({}), 404, "not_found"),
        (Method::POST, "/auth/admin/revoke-user".into(), json!({"user_id": bob}), 404, "not_found"),
        (
            Method::POST,
            "/api/users".into(),
            json!({"email": "x@other.example", "organization_id": other}),
            404,
            "not_found",
        ),
        (
            Method::POST,
            "/api/users".into(),
            json!({"email": "x@y.example", "user_type": "PLATFORM", "is_superuser": true}),
            403,
            "person_needed",
        ),
        (
            Method::POST,
            "/api/users".into(),
            json!({"email": "x@home.example", "password": long}),
            403,
            "person_needed",
        ),
        (Method::PATCH, format!("/api/users/{ann}"), json!({"password": long}), 403, "person_needed"),
        (
            Method::PATCH,
            format!("/api/organizations/{other}"),
            json!({"name": "x"}),
            403,
            "permission_missing",
        ),
        (Method::POST, "/api/organizations".into(), json!({"name": "x"}), 403, "permission_missing"),
        (Method::POST, "/api/roles".into(), json!({"name": "x", "organization_id": other}), 404, "not_found"),
        (
            Method::PUT,
            format!("/api/organizations/{home}/members/{ann}"),
            json!({"role": "admin"}),
            403,
            "rank_too_high",
        ),
    ] {
        assert_eq!(by_key(method.clone(), &path, body).await, (status, code.to_owned()), "{method} {path}");
    }
    let path = format!("/api/users/{ann}");
    let named = ask(&server, &key, Method::PATCH, &path, Some(json!({"name": "Ann"}))).await;
    assert_eq!(named.status, StatusCode::OK, "at home it is an owner's");
    // Whoever says which provider is believed lets people in who stay: that is no key's, of the whole platform's neither.
    let everywhere = text(&server.post("/api/sdk/keys", &admin, json!({})).await.json(), "key");
    let provider = json!({"name": "mine", "display_name": "Mine", "kind": "generic", "issuer": "https://id.example", "client_id": "c"});
    let made =
        ask(&server, &everywhere, Method::POST, "/api/identity-providers", Some(provider.clone())).await;
    assert_eq!(made.problem(), (403, "person_needed".to_owned()));
    let made = server.post("/api/identity-providers", &admin, provider).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = format!("/api/identity-providers/{}", text(&made.json(), "id"));
    for (key, refused) in [(&everywhere, (403, "person_needed")), (&key, (403, "permission_missing"))] {
        let changed = ask(&server, key, Method::PATCH, &path, Some(json!({"is_active": true}))).await;
        assert_eq!(changed.problem(), (refused.0, refused.1.to_owned()));
    }
    // Its own person's account is not the key's either.
    let owner = server.ranked("owner@home.example", &home, MembershipRole::Owner).await;
    let own = text(&server.post("/api/sdk/keys", &owner, json!({})).await.json(), "key");
    let path = format!("/api/users/{}", me(&owner).await);
    let moved = ask(&server, &own, Method::PATCH, &path, Some(json!({"email": "mine@home.example"}))).await;
    assert_eq!(moved.problem(), (403, "person_needed".to_owned()));
}
