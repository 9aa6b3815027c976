//! Members: ranks within the own one, what is inherited, homes and last owners.

use super::{House, NOBODY, field, problem};
use crate::support::Reply;
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![
    a_membership_through_its_life,
    what_is_refused,
    nobody_names_above_his_own_rank,
    only_people_whom_the_caller_looks_after_become_members,
    what_is_inherited_is_changed_in_the_group,
];

impl House {
    async fn put_member(&self, token: &str, organization: &str, user: &str, body: Value) -> Reply {
        let path = format!("/api/organizations/{organization}/members/{user}");
        self.ask(token, Method::PUT, &path, Some(body)).await
    }

    async fn remove_member(&self, token: &str, organization: &str, user: &str) -> Reply {
        self.delete(token, &format!("/api/organizations/{organization}/members/{user}")).await
    }

    /// User, rank, source and the group of each membership.
    async fn members(&self, token: &str, organization: &str) -> Vec<(String, String, String, String)> {
        let reply = self.server.get(&format!("/api/organizations/{organization}/members"), token).await;
        let text = |one: &Value, name: &str| one[name].as_str().expect("a text").to_owned();
        let body = reply.json();
        let list = body["members"].as_array().unwrap_or_else(|| panic!("{body}"));
        list.iter()
            .map(|one| (text(one, "email"), text(one, "role"), text(one, "source"), text(one, "via")))
            .collect()
    }
}

async fn a_membership_through_its_life(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let ann = house.make(json!({"email": "ann@acme.example", "organization_id": house.acme})).await;
    let body = json!({"role": "limited", "attributes": {"department": "Sales"}});
    let put = house.put_member(admin, &house.other, &ann, body).await;
    assert_eq!(
        (put.status, put.json()),
        (
            StatusCode::OK,
            json!({
                "user_id": ann, "email": "ann@acme.example", "name": null, "is_active": true,
                "organization_id": house.other, "role": "limited", "source": "direct", "via": house.other,
                "attributes": {"department": "Sales"},
                "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"
            })
        )
    );
    house.a_second_later();
    let put = house.put_member(admin, &house.other, &ann, json!({"role": "member"})).await.json();
    assert_eq!(put["attributes"], json!({"department": "Sales"}), "they stay");
    assert_eq!(
        (&put["created_at"], &put["updated_at"]),
        (&json!("2026-11-20T12:00:00Z"), &json!("2026-11-20T12:00:01Z"))
    );
    let put = house.put_member(admin, &house.other, &ann, json!({"role": "member", "attributes": {}})).await;
    assert_eq!(put.json()["attributes"], json!({}));
    let home = house.remove_member(admin, &house.acme, &ann).await;
    assert_eq!(home.problem(), problem(409, "home_membership"));
    assert_eq!(house.remove_member(admin, &house.other, &ann).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.remove_member(admin, &house.other, &ann).await.problem(), problem(404, "not_found"));
    assert!(house.members(admin, &house.other).await.is_empty());
    let told = house.audited("membership.update").await;
    assert_eq!(told[0], json!({"role": {"old": "limited", "new": "member"}}));
    assert_eq!(house.audited("membership.create").await.len(), 1);
    assert_eq!(house.audited("membership.delete").await.len(), 1);
}

async fn what_is_refused(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let ann = house.make(json!({"email": "ann@acme.example", "organization_id": house.acme})).await;
    for (body, path, code) in [
        (json!({}), "role", "required"),
        (json!({"role": "king"}), "role", "value"),
        (json!({"role": "member", "attributes": []}), "attributes", "type"),
        (json!({"role": "member", "attributes": {"a": "x".repeat(16 * 1024)}}), "attributes", "too_long"),
        (json!({"role": "member", "attributes": {"a": "\u{0}"}}), "attributes", "format"),
    ] {
        let reply = house.put_member(admin, &house.acme, &ann, body).await;
        assert_eq!((reply.problem().0, reply.fields()), (422, field(path, code).to_vec()), "{}", reply.text);
    }
    for (organization, user, expected) in [
        (house.acme.as_str(), NOBODY, 404),
        (NOBODY, ann.as_str(), 404),
        ("x", &ann, 422),
        (&house.acme, "x", 422),
    ] {
        let reply = house.put_member(admin, organization, user, json!({"role": "member"})).await;
        assert_eq!(reply.problem().0, expected, "{organization} {user}");
        assert_eq!(house.remove_member(admin, organization, user).await.problem().0, expected);
    }
    let unknown = house.server.get(&format!("/api/organizations/{NOBODY}/members"), admin).await;
    assert_eq!(unknown.problem(), problem(404, "not_found"));
    let system = house.server.auth.ensure_system_user().await.expect("the system user").id.to_string();
    let refused = house.put_member(admin, &house.acme, &system, json!({"role": "member"})).await;
    assert_eq!(refused.problem(), problem(409, "system_user"));
    for query in ["limit=0", "limit=1001", "continuation_token=x"] {
        let path = format!("/api/organizations/{}/members?{query}", house.acme);
        assert_eq!(house.server.get(&path, admin).await.problem().0, 422, "{query}");
    }
    let mut expected = vec![ann];
    for n in 0..4 {
        let body = json!({"email": format!("u{n}@acme.example"), "organization_id": house.acme});
        expected.push(house.make(body).await);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let path = format!("/api/organizations/{}/members?limit=2&continuation_token={token}", house.acme);
        let page = house.server.get(&path, admin).await.json();
        let members = page["members"].as_array().expect("members");
        seen.extend(members.iter().map(|one| one["user_id"].as_str().expect("an id").to_owned()));
        token = page["continuation_token"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((seen, token.as_str()), (expected, ""));
}

async fn nobody_names_above_his_own_rank(db: TestDatabase) {
    let house = House::new(db).await;
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let owner = house.person("owner@acme.example", &house.acme, "owner").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    for (who, caller, user, rank, expected) in [
        ("boss", &boss, &ann, "owner", 403),
        ("boss", &boss, &owner, "member", 403),
        ("boss", &boss, &boss, "owner", 403),
        ("boss", &boss, &ann, "admin", 200),
        ("boss", &boss, &ann, "limited", 200),
        ("owner", &owner, &owner, "admin", 409),
        ("owner", &owner, &ann, "owner", 200),
        ("owner", &owner, &owner, "admin", 200),
        ("ann", &ann, &boss, "member", 200),
        ("ann", &ann, &ann, "member", 409),
    ] {
        let reply = house.put_member(&caller.token, &house.acme, &user.id, json!({"role": rank})).await;
        assert_eq!(reply.status.as_u16(), expected, "{who} → {rank}: {}", reply.text);
        match expected {
            403 => assert_eq!(reply.problem().1, "rank_too_high"),
            409 => assert_eq!(reply.problem().1, "last_owner"),
            _ => house.a_second_later(),
        }
    }
    assert_eq!(
        house.put_member(&house.admin, &house.acme, &ann.id, json!({"role": "member"})).await.status,
        200
    );
    let boss_now = house.put_member(&boss.token, &house.acme, &ann.id, json!({"role": "member"})).await;
    assert_eq!(boss_now.problem(), problem(403, "permission_missing"), "lowered within a second");
}

async fn only_people_whom_the_caller_looks_after_become_members(db: TestDatabase) {
    let house = House::new(db).await;
    let group = house.organization("Group", "group", None).await;
    let below = house.organization("Below", "company", Some(&group)).await;
    let chief = house.person("chief@group.example", &group, "admin").await;
    let ann = house.person("ann@below.example", &below, "member").await;
    let stranger = house.person("stranger@acme.example", &house.acme, "owner").await;
    for (organization, user, expected) in [
        (&group, &ann.id, 200),
        (&below, &stranger.id, 404),
        (&group, &stranger.id, 404),
        (&house.acme, &ann.id, 404),
    ] {
        let reply = house.put_member(&chief.token, organization, user, json!({"role": "member"})).await;
        assert_eq!(reply.status.as_u16(), expected, "{}", reply.text);
        if expected == 404 {
            let removed = house.remove_member(&chief.token, organization, user).await;
            assert_eq!(removed.problem(), problem(404, "not_found"));
        }
    }
    let foreign = house.server.get(&format!("/api/organizations/{}/members", house.acme), &chief.token).await;
    assert_eq!(foreign.problem(), problem(404, "not_found"));
    assert_eq!(house.remove_member(&chief.token, &group, &ann.id).await.status, StatusCode::NO_CONTENT);
}

async fn what_is_inherited_is_changed_in_the_group(db: TestDatabase) {
    let house = House::new(db).await;
    let group = house.organization("Group & Sons", "group", None).await;
    let below = house.organization("Below", "company", Some(&group)).await;
    let chief = house.person("chief@group.example", &group, "admin").await;
    let boss = house.person("boss@below.example", &below, "owner").await;
    assert_eq!(
        house.members(&boss.token, &below).await,
        [
            ("chief@group.example".to_owned(), "admin".to_owned(), "inherited".to_owned(), group.clone()),
            ("boss@below.example".to_owned(), "owner".to_owned(), "direct".to_owned(), below.clone()),
        ]
    );
    for token in [&boss.token, &house.admin] {
        let put = house.put_member(token, &below, &chief.id, json!({"role": "member"})).await;
        assert_eq!(put.problem(), problem(409, "membership_inherited"));
        assert!(put.text.contains("Group & Sons"), "{}", put.text);
        assert_eq!(house.remove_member(token, &below, &chief.id).await.problem().1, "membership_inherited");
    }
    // Both at once: the given one may be changed.
    let group_again = house.organization("Second", "group", None).await;
    let two = house.organization("Two", "company", None).await;
    house.rank(&two, &chief.id, "limited").await;
    house.rank(&group_again, &chief.id, "owner").await;
    let moved = house
        .patch(&house.admin, &format!("/api/organizations/{two}"), json!({"parent_id": group_again}))
        .await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
    assert_eq!(house.members(&house.admin, &two).await.len(), 2);
    assert_eq!(house.remove_member(&house.admin, &two, &chief.id).await.status, StatusCode::NO_CONTENT);
    let left = house.members(&house.admin, &two).await;
    assert_eq!((left.len(), left[0].2.as_str()), (1, "inherited"));
}
