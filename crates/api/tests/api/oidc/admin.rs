//! Providers through their life.

use super::stand_in::{Pair, StandIn};
use crate::support::Server;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const NOBODY: &str = "/api/identity-providers/01890a5d-ac96-774b-bcce-b302099a8057";

async fn ask(
    server: &Server,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> crate::support::Reply {
    let bearer = format!("Bearer {token}");
    server.ask(method, path, &[("authorization", &bearer)], body).await
}

#[tokio::test]
async fn a_provider_through_its_life() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let stand_in = StandIn::start(&[&Pair::ed("ed")]).await;
    let made = server.provider(&admin, &stand_in.issuer(), json!({"icon": "microsoft"})).await;
    let me = server.get("/auth/me", &admin).await.json();
    let rules = json!({
        "scopes": [], "allowed_tenants": [], "accept_bearer": true, "bearer_audience": "api://bifrost",
        "required_scopes": [], "required_roles": [], "allowed_domains": [], "jit_enabled": false, "groups_claim": null,
        "group_rules": []
    });
    assert_eq!(
        made,
        json!({
            "id": made["id"], "name": "stand-in", "display_name": "Stand-in", "icon": "microsoft", "kind": "generic",
            "issuer": stand_in.issuer(), "client_id": "client", "has_secret": true, "is_active": true, "rules": rules,
            "created_by": me["id"], "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"
        })
    );
    let path = format!("/api/identity-providers/{}", made["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path, &admin).await.json(), made);
    assert_eq!(server.get("/api/identity-providers", &admin).await.json(), json!([made]));
    let kept = format!("{:?}", server.audit(10).await);
    assert!(kept.contains("identity_provider.create") && !kept.contains("a secret"), "{kept}");

    let report = ask(&server, &admin, Method::POST, &format!("{path}/test"), None).await.json();
    assert_eq!((&report["ok"], &report["keys"]), (&json!(true), &json!(1)), "{report}");
    assert_eq!(report["redirect_uri"], "http://localhost:8000/auth/callback/stand-in");
    stand_in.claim_issuer("https://id.example");
    let report = ask(&server, &admin, Method::POST, &format!("{path}/test"), None).await.json();
    let problem = report["problems"][0].as_str().expect("a problem");
    assert!(problem.contains("https://id.example") && report["ok"] == json!(false), "{problem}");

    let body = json!({"display_name": "Other", "icon": null, "client_secret": null, "rules": {"required_scopes": ["run"]}});
    let changed = ask(&server, &admin, Method::PATCH, &path, Some(body)).await.json();
    assert_eq!(
        (
            &changed["display_name"],
            &changed["icon"],
            &changed["has_secret"],
            &changed["rules"]["accept_bearer"]
        ),
        (&json!("Other"), &json!(null), &json!(false), &json!(true))
    );
    assert_eq!(changed["rules"]["required_scopes"], json!(["run"]));
    // What cannot be changed is not looked at.
    let same = ask(&server, &admin, Method::PATCH, &path, Some(json!({"issuer": "https://id.example"})))
        .await
        .json();
    assert_eq!(same["issuer"], json!(stand_in.issuer()));

    let gone = ask(&server, &admin, Method::DELETE, &path, None).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for (method, body) in [(Method::GET, None), (Method::PATCH, Some(json!({}))), (Method::DELETE, None)] {
        for path in [path.as_str(), NOBODY] {
            assert_eq!(ask(&server, &admin, method.clone(), path, body.clone()).await.problem().0, 404);
        }
    }
    assert_eq!(ask(&server, &admin, Method::POST, &format!("{NOBODY}/test"), None).await.problem().0, 404);
}

#[tokio::test]
async fn what_is_refused() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let good = json!({
        "name": "one", "display_name": "One", "kind": "generic", "issuer": "https://id.example", "client_id": "c"
    });
    for (change, path, code) in [
        (json!({"name": null}), "name", "type"),
        (json!({"name": "A"}), "name", "format"),
        (json!({"kind": "other"}), "kind", "value"),
        (json!({"issuer": "http://id.example"}), "issuer", "format"),
        (json!({"issuer": "http://169.254.169.254"}), "issuer", "format"),
        (json!({"client_secret": ""}), "client_secret", "length"),
        (json!({"client_secret": "s".repeat(1025)}), "client_secret", "length"),
        (json!({"rules": {"accept_bearer": true}}), "rules.bearer_audience", "required"),
        (
            json!({"rules": {"allowed_tenants": [{"tenant_id": 5}]}}),
            "rules.allowed_tenants[0].tenant_id",
            "type",
        ),
        (json!({"rules": {"jit_enabled": true}}), "rules.allowed_domains", "required"),
    ] {
        let mut body = good.clone();
        for (name, value) in change.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let reply = server.post("/api/identity-providers", &admin, body).await;
        assert_eq!(reply.problem(), (422, "invalid".to_owned()), "{change}");
        let fields = reply.fields();
        assert_eq!(fields.len(), 1, "{fields:?}");
        assert_eq!(fields[0].0, path, "{change}");
        assert!(fields[0].1 == code || path == "name" || path == "kind", "{fields:?}");
    }
    assert_eq!(
        server.post("/api/identity-providers", &admin, good.clone()).await.status,
        StatusCode::CREATED
    );
    let twice = server.post("/api/identity-providers", &admin, good.clone()).await;
    assert_eq!(twice.problem(), (409, "name_taken".to_owned()));
    for n in 1..50 {
        let mut body = good.clone();
        body["name"] = format!("p{n}").into();
        assert_eq!(server.post("/api/identity-providers", &admin, body).await.status, StatusCode::CREATED);
    }
    let mut body = good;
    body["name"] = "one-more".into();
    let many = server.post("/api/identity-providers", &admin, body).await;
    assert_eq!(many.problem(), (409, "too_many_providers".to_owned()));
}

#[tokio::test]
async fn people_of_an_organization_may_not() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let test = format!("{NOBODY}/test");
    for (method, path) in [
        (Method::GET, "/api/identity-providers"),
        (Method::POST, "/api/identity-providers"),
        (Method::GET, NOBODY),
        (Method::PATCH, NOBODY),
        (Method::DELETE, NOBODY),
        (Method::POST, test.as_str()),
    ] {
        assert_eq!(
            ask(&server, &ann, method.clone(), path, Some(json!({}))).await.problem().0,
            403,
            "{method} {path}"
        );
        assert_eq!(server.ask(method.clone(), path, &[], None).await.problem().0, 401, "{method} {path}");
    }
}

/// A key for an organization is an owner's there, also when a platform admin made it: providers are the platform's.
#[tokio::test]
async fn an_organizations_key_changes_no_providers() {
    let server = Server::start().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let headers = [("authorization", &*format!("Bearer {admin}")), ("x-organization-id", home.as_str())];
    let key = server.ask(Method::POST, "/api/sdk/keys", &headers, Some(json!({}))).await.json();
    let key = key["key"].as_str().expect("a key");
    let rules = json!({"group_rules": [{"group": "staff", "organization_id": home, "role": "owner"}]});
    let body = json!({
        "name": "one", "display_name": "One", "kind": "generic", "issuer": "https://id.example", "client_id": "c",
        "rules": rules
    });
    let refused = server.post("/api/identity-providers", key, body.clone()).await;
    assert_eq!(refused.problem(), (403, "permission_missing".to_owned()));
    let made = server.post("/api/identity-providers", &admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = format!("/api/identity-providers/{}", made.json()["id"].as_str().expect("an id"));
    for (method, body) in [(Method::PATCH, json!({"rules": rules})), (Method::DELETE, json!({}))] {
        let refused = ask(&server, key, method, &path, Some(body)).await;
        assert_eq!(refused.problem(), (403, "permission_missing".to_owned()));
    }
}
