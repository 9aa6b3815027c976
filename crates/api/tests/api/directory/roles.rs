//! Roles: nobody gives what he does not have, and only members have them.

use super::{House, NOBODY, field, id_of, ids_of, problem};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![
    a_role_through_its_life,
    what_is_refused,
    nobody_gives_what_he_does_not_have,
    a_role_is_for_the_members_of_its_organization,
    a_role_opens_the_forms_of_its_organization,
];

impl House {
    async fn role(&self, token: &str, body: Value) -> String {
        let made = self.server.post("/api/roles", token, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        id_of(&made.json())
    }

    async fn give(&self, token: &str, role: &str, users: &[&str]) -> (u16, String) {
        let path = format!("/api/roles/{role}/users");
        let given = self.server.post(&path, token, json!({"user_ids": users})).await;
        if given.status == StatusCode::NO_CONTENT { (204, String::new()) } else { given.problem() }
    }

    /// A form of an organization, or a global one.
    async fn form(&self, id: u8, organization: Option<&str>) -> String {
        let text = format!("01890a5d-ac96-774b-bcce-0000000000{id:02x}");
        self.server.make_form(&text, organization).await;
        text
    }
}

async fn a_role_through_its_life(db: TestDatabase) {
    let house = House::new(db).await;
    let (server, admin) = (&house.server, house.admin.as_str());
    let body = json!({
        "name": " operators ", "description": "Run things", "organization_id": house.acme,
        "permissions": ["executions.run", "executions.read_all", "executions.run"]
    });
    let made = server.post("/api/roles", admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let role = made.json();
    let me = house.me(admin).await;
    assert_eq!(
        role,
        json!({
            "id": role["id"], "name": "operators", "description": "Run things", "organization_id": house.acme,
            "permissions": ["executions.read_all", "executions.run"], "is_active": true, "created_by": me["id"],
            "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"
        })
    );
    let path = format!("/api/roles/{}", id_of(&role));
    assert_eq!(server.get(&path, admin).await.json(), role);
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    assert_eq!(house.give(admin, &id_of(&role), &[&ann.id]).await.0, 204);
    assert_eq!(house.give(admin, &id_of(&role), &[&ann.id, &ann.id]).await.0, 204, "who has it keeps it");
    assert_eq!(server.get(&format!("{path}/users"), admin).await.json(), json!({"user_ids": [ann.id]}));
    let user = format!("/api/users/{}", ann.id);
    assert_eq!(server.get(&format!("{user}/roles"), admin).await.json(), json!({"role_ids": [role["id"]]}));
    house.a_second_later();
    let now = house.me(&ann.token).await;
    assert_eq!((&now["roles"], &now["permissions"]), (&json!(["operators"]), &role["permissions"]));

    // Both ways to change it leave what is not named; who has it has less within a second.
    house.patch(admin, &path, json!({"permissions": ["executions.run"]})).await;
    let renamed =
        house.ask(admin, Method::PUT, &path, Some(json!({"name": "ops", "description": null}))).await;
    let renamed = renamed.json();
    assert_eq!(
        (&renamed["name"], &renamed["description"], &renamed["permissions"]),
        (&json!("ops"), &json!(null), &json!(["executions.run"]))
    );
    house.a_second_later();
    assert_eq!(house.me(&ann.token).await["permissions"], json!(["executions.run"]));
    house.patch(admin, &path, json!({"is_active": false})).await;
    house.a_second_later();
    assert_eq!(house.me(&ann.token).await["permissions"], json!([]));
    house.patch(admin, &path, json!({"is_active": true})).await;

    let mine = format!("{path}/users/{}", ann.id);
    assert_eq!(house.delete(admin, &mine).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.delete(admin, &mine).await.problem(), problem(404, "not_found"));
    house.give(admin, &id_of(&role), &[&ann.id]).await;
    assert_eq!(house.delete(admin, &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.delete(admin, &path).await.problem().0, 404);
    house.a_second_later();
    assert_eq!(house.me(&ann.token).await["roles"], json!([]));
    let told = house.audited("role.update").await;
    assert_eq!(
        told[0],
        json!({"permissions": {"old": ["executions.read_all", "executions.run"], "new": ["executions.run"]}})
    );
    assert_eq!(house.audited("role.delete").await.len(), 1);
}

async fn what_is_refused(db: TestDatabase) {
    let house = House::new(db).await;
    let (server, admin) = (&house.server, house.admin.as_str());
    let many = vec!["executions.run"; 201];
    for (body, path, code) in [
        (json!({}), "name", "required"),
        (json!({"name": " "}), "name", "length"),
        (json!({"name": "n".repeat(101)}), "name", "length"),
        (json!({"name": "a\u{0}"}), "name", "length"),
        (json!({"name": "r", "description": "d".repeat(1001)}), "description", "too_long"),
        (json!({"name": "r", "permissions": "executions.run"}), "permissions", "type"),
        (json!({"name": "r", "permissions": ["executions.run", "all.things"]}), "permissions[1]", "value"),
        (json!({"name": "r", "permissions": ["organizations.write"]}), "permissions[0]", "value"),
        (json!({"name": "r", "permissions": ["account.use"]}), "permissions[0]", "value"),
        (json!({"name": "r", "permissions": many}), "permissions", "too_long"),
        (json!({"name": "r", "organization_id": NOBODY}), "organization_id", "value"),
    ] {
        let reply = server.post("/api/roles", admin, body).await;
        assert_eq!(reply.problem(), problem(422, "invalid"), "{path} {code}: {}", reply.text);
        assert_eq!(reply.fields(), field(path, code));
    }
    // A name is unique in its organization, and among those of the platform.
    for organization in [json!(house.acme), json!(null)] {
        let body = json!({"name": "ops", "organization_id": organization});
        let first = house.role(admin, body.clone()).await;
        assert_eq!(server.post("/api/roles", admin, body).await.problem(), problem(409, "role_exists"));
        let second = house.role(admin, json!({"name": "dev", "organization_id": organization})).await;
        assert_eq!(
            house.patch(admin, &format!("/api/roles/{second}"), json!({"name": "ops"})).await.problem(),
            problem(409, "role_exists")
        );
        for (users, path) in
            [(json!([]), "user_ids"), (json!(["x"]), "user_ids[0]"), (json!(vec![NOBODY; 1001]), "user_ids")]
        {
            let reply =
                server.post(&format!("/api/roles/{first}/users"), admin, json!({"user_ids": users})).await;
            assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path));
        }
    }
    house.role(admin, json!({"name": "ops", "organization_id": house.other})).await;
    let all = server.get("/api/roles", admin).await;
    assert_eq!(ids_of(&all).len(), 5);
    for (scope, count) in [("GLOBAL".to_owned(), 2), (house.acme.clone(), 2), (house.other.clone(), 1)] {
        assert_eq!(
            ids_of(&server.get(&format!("/api/roles?scope={scope}"), admin).await).len(),
            count,
            "{scope}"
        );
    }
    let page = server.get("/api/roles?limit=3", admin).await;
    let token = page.header("x-continuation-token").to_owned();
    let rest = server.get(&format!("/api/roles?limit=3&continuation_token={token}"), admin).await;
    assert_eq!([ids_of(&page), ids_of(&rest)].concat(), ids_of(&all));
    assert_eq!(server.get("/api/roles?scope=x", admin).await.fields()[0].0, "scope");
    for path in ["/api/roles/x", "/api/roles/x/users/y"] {
        assert_eq!(house.delete(admin, path).await.fields()[0].0, "id");
    }
}

async fn nobody_gives_what_he_does_not_have(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let make = |name: &str, permissions: Value| json!({"name": name, "organization_id": house.acme, "permissions": permissions});
    let writer = house.role(admin, make("writer", json!(["roles.write", "roles.read", "users.read"]))).await;
    let strong = house.role(admin, make("strong", json!(["config.write"]))).await;
    let hal = house.person("hal@acme.example", &house.acme, "member").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    assert_eq!(house.give(admin, &writer, &[&hal.id]).await.0, 204);
    house.a_second_later();
    let hals = |body: Value| house.server.post("/api/roles", &hal.token, body);
    let refused = hals(json!({"name": "mine", "permissions": ["users.read", "config.write"]})).await;
    assert_eq!(refused.problem(), problem(403, "not_grantable"));
    assert!(refused.json()["detail"].as_str().expect("a text").contains("config.write"), "{}", refused.text);
    let mine = house.role(&hal.token, json!({"name": "mine", "permissions": ["users.read"]})).await;
    let path = format!("/api/roles/{mine}");
    for body in [
        json!({"permissions": ["config.write"]}),
        json!({"permissions": ["config.write"], "is_active": false}),
    ] {
        assert_eq!(house.patch(&hal.token, &path, body).await.problem(), problem(403, "not_grantable"));
    }
    assert_eq!(house.give(&hal.token, &mine, &[&ann.id]).await.0, 204);
    for user in [&hal.id, &ann.id] {
        assert_eq!(house.give(&hal.token, &strong, &[user]).await, problem(403, "not_grantable"));
    }
    // To take it away, or to leave what it gives as it is, needs nothing more; to wake it does.
    let path = format!("/api/roles/{strong}");
    assert_eq!(house.patch(&hal.token, &path, json!({"description": "d"})).await.status, StatusCode::OK);
    assert_eq!(house.patch(&hal.token, &path, json!({"is_active": false})).await.status, StatusCode::OK);
    assert_eq!(
        house.patch(&hal.token, &path, json!({"is_active": true})).await.problem(),
        problem(403, "not_grantable")
    );
    // An admin has all of his organization.
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    assert_eq!(house.patch(&boss.token, &path, json!({"is_active": true})).await.status, StatusCode::OK);
    assert_eq!(house.give(&boss.token, &strong, &[&ann.id]).await.0, 204);
}

async fn a_role_is_for_the_members_of_its_organization(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let stranger = house.person("stranger@other.example", &house.other, "admin").await;
    let role = house.role(&boss.token, json!({"name": "ops", "permissions": ["executions.run"]})).await;
    let platform = house.role(admin, json!({"name": "ops", "permissions": ["executions.run"]})).await;
    let foreign = house.role(&stranger.token, json!({"name": "ops"})).await;
    assert_eq!(ids_of(&house.server.get("/api/roles", &boss.token).await), std::slice::from_ref(&role));
    let widened = house.server.get("/api/roles?scope=GLOBAL", &boss.token).await;
    assert!(ids_of(&widened).is_empty(), "a filter reaches no further");
    for user in [stranger.id.as_str(), NOBODY] {
        assert_eq!(house.give(&boss.token, &role, &[&boss.id, user]).await, problem(404, "not_found"));
        assert_eq!(house.give(admin, &role, &[user]).await, problem(404, "not_found"));
    }
    let users = house.server.get(&format!("/api/roles/{role}/users"), &boss.token).await;
    assert_eq!(users.json(), json!({"user_ids": []}), "all or nobody");
    // Roles of others and of the platform are not there.
    for id in [platform.as_str(), foreign.as_str(), NOBODY] {
        let path = format!("/api/roles/{id}");
        for (method, path, body) in [
            (Method::GET, path.clone(), None),
            (Method::PATCH, path.clone(), Some(json!({"name": "x"}))),
            (Method::PUT, path.clone(), Some(json!({"name": "x"}))),
            (Method::DELETE, path.clone(), None),
            (Method::GET, format!("{path}/users"), None),
            (Method::POST, format!("{path}/users"), Some(json!({"user_ids": [boss.id]}))),
            (Method::DELETE, format!("{path}/users/{}", boss.id), None),
            (Method::GET, format!("{path}/forms"), None),
            (Method::POST, format!("{path}/forms"), Some(json!({"form_ids": [NOBODY]}))),
            (Method::DELETE, format!("{path}/forms/{NOBODY}"), None),
        ] {
            let reply = house.ask(&boss.token, method.clone(), &path, body).await;
            assert_eq!(reply.problem(), problem(404, "not_found"), "{method} {path}");
        }
    }
    for organization in [json!(house.other), json!(NOBODY)] {
        let body = json!({"name": "mine", "organization_id": organization});
        assert_eq!(
            house.server.post("/api/roles", &boss.token, body).await.problem(),
            problem(404, "not_found")
        );
    }
    let system = house.server.auth.ensure_system_user().await.expect("the system user").id.to_string();
    assert_eq!(house.give(admin, &platform, &[&system]).await, problem(404, "not_found"));
    // Of somebody's roles an organization's admin sees those of the organization.
    house.rank(&house.other, &boss.id, "member").await;
    assert_eq!(house.give(admin, &platform, &[&boss.id]).await.0, 204);
    assert_eq!(house.give(admin, &foreign, &[&boss.id]).await.0, 204);
    assert_eq!(house.give(admin, &role, &[&boss.id]).await.0, 204);
    let path = format!("/api/users/{}/roles", boss.id);
    assert_eq!(house.server.get(&path, &boss.token).await.json(), json!({"role_ids": [role]}));
    let seen = house.server.get(&path, &stranger.token).await;
    assert_eq!(seen.json(), json!({"role_ids": [foreign]}));
    assert_eq!(house.server.get(&path, admin).await.json()["role_ids"].as_array().expect("ids").len(), 3);
    // Who leaves loses the role.
    house.delete(admin, &format!("/api/organizations/{}/members/{}", house.other, boss.id)).await;
    assert_eq!(
        house.server.get(&format!("/api/roles/{foreign}/users"), admin).await.json(),
        json!({"user_ids": []})
    );
}

async fn a_role_opens_the_forms_of_its_organization(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let role = house.role(&boss.token, json!({"name": "ops"})).await;
    let own = house.form(1, Some(&house.acme)).await;
    let global = house.form(2, None).await;
    let foreign = house.form(3, Some(&house.other)).await;
    let path = format!("/api/roles/{role}/forms");
    for (who, token, form, expected) in [
        ("boss", &boss.token, &own, 204),
        ("boss", &boss.token, &global, 404),
        ("boss", &boss.token, &foreign, 404),
        ("admin", &house.admin, &global, 204),
        ("admin", &house.admin, &foreign, 404),
    ] {
        let reply = house.server.post(&path, token, json!({"form_ids": [form]})).await;
        assert_eq!(reply.status.as_u16(), expected, "{who} {form}: {}", reply.text);
    }
    assert_eq!(house.server.get(&path, &boss.token).await.json(), json!({"form_ids": [own, global]}));
    let forms = |id: &str| format!("/api/users/{id}/forms");
    let none = json!({"user_type": "ORG", "has_access_to_all_forms": false, "form_ids": []});
    assert_eq!(house.server.get(&forms(&ann.id), &boss.token).await.json(), none);
    assert_eq!(house.give(&boss.token, &role, &[&ann.id]).await.0, 204);
    let both = json!({"user_type": "ORG", "has_access_to_all_forms": false, "form_ids": [own, global]});
    assert_eq!(house.server.get(&forms(&ann.id), &boss.token).await.json(), both);
    let all = json!({"user_type": "ORG", "has_access_to_all_forms": true, "form_ids": []});
    assert_eq!(house.server.get(&forms(&boss.id), admin).await.json(), all);
    assert_eq!(house.delete(&boss.token, &format!("{path}/{own}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        house.delete(&boss.token, &format!("{path}/{own}")).await.problem(),
        problem(404, "not_found")
    );
    assert_eq!(house.server.get(&path, &boss.token).await.json(), json!({"form_ids": [global]}));
    let bad = house.server.post(&path, &boss.token, json!({"form_ids": []})).await;
    assert_eq!(bad.fields(), field("form_ids", "length"));
}
