//! The tree of organizations, and what a group's administrator may in the companies below, while he may.

use super::{House, NOBODY, field, id_of, problem};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;

on_both_databases![
    a_tree_has_kinds_three_levels_and_no_cycle,
    a_group_admin_acts_in_the_companies_below_while_they_are_below,
    a_switched_session_does_not_outlive_the_right_to_be_there,
    in_a_deactivated_organization_nobody_goes_on,
    what_is_inherited_ends_with_the_group_and_takes_its_roles_along,
];

async fn a_tree_has_kinds_three_levels_and_no_cycle(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let provider = house.organization("Provider", "provider", None).await;
    let group = house.organization("Group", "group", Some(&provider)).await;
    let company = house.organization("Company", "company", Some(&group)).await;
    let loose = house.organization("Loose", "group", None).await;
    let deep = house.organization("Deep", "group", Some(&loose)).await;
    let shown = house.server.get(&format!("/api/organizations/{company}"), admin).await.json();
    assert_eq!(
        (&shown["kind"], &shown["parent_id"], &shown["time_zone"]),
        (&json!("company"), &json!(group), &json!("UTC"))
    );
    for (body, path) in [
        (json!({"name": "n", "kind": "kingdom"}), "kind"),
        (json!({"name": "n", "parent_id": "x"}), "parent_id"),
        (json!({"name": "n", "parent_id": NOBODY}), "parent_id"),
        (json!({"name": "n", "parent_id": company}), "parent_id"),
        (json!({"name": "n", "kind": "provider", "parent_id": provider}), "parent_id"),
        (json!({"name": "n", "time_zone": "Europe/Nowhere"}), "time_zone"),
        (json!({"name": "n", "time_zone": ""}), "time_zone"),
        (json!({"name": "n", "time_zone": "x".repeat(65)}), "time_zone"),
    ] {
        let reply = house.server.post("/api/organizations", admin, body.clone()).await;
        assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path), "{body}");
    }
    for (id, body, path) in [
        (&group, json!({"kind": "company"}), "kind"),
        (&loose, json!({"parent_id": loose}), "parent_id"),
        (&loose, json!({"parent_id": deep}), "parent_id"),
        (&loose, json!({"parent_id": group}), "parent_id"),
        (&loose, json!({"parent_id": company}), "parent_id"),
        (&company, json!({"time_zone": "Mars/Olympus"}), "time_zone"),
    ] {
        let reply = house.patch(admin, &format!("/api/organizations/{id}"), body.clone()).await;
        assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path), "{body}: {}", reply.text);
    }
    let reply = house
        .patch(
            admin,
            &format!("/api/organizations/{deep}"),
            json!({"parent_id": provider, "time_zone": "Europe/Oslo"}),
        )
        .await;
    assert_eq!(reply.json()["time_zone"], "Europe/Oslo", "{}", reply.text);
    let kept = house.delete(admin, &format!("/api/organizations/{group}")).await;
    assert_eq!(kept.problem(), problem(409, "organization_in_use"));
    let bad = house.patch(admin, &format!("/api/organizations/{deep}"), json!({"parent_id": deep})).await;
    assert_eq!(bad.fields(), field("parent_id", "place"));
}

async fn a_group_admin_acts_in_the_companies_below_while_they_are_below(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let group = house.organization("Group", "group", None).await;
    let below = house.organization("Below", "company", Some(&group)).await;
    let chief = house.person("chief@group.example", &group, "admin").await;
    let ann = house.person("ann@below.example", &below, "member").await;
    let plain = house.person("plain@group.example", &group, "member").await;
    let ann_path = format!("/api/users/{}", ann.id);
    let rename = || house.ask_in(&below, &chief.token, Method::PATCH, &ann_path, Some(json!({"name": "A"})));

    assert_eq!(rename().await.status, StatusCode::OK);
    let seen = house.server.get("/api/organizations", &chief.token).await;
    assert_eq!(super::ids_of(&seen), [group.clone(), below.clone()]);
    let made = house
        .ask_in(&below, &chief.token, Method::POST, "/api/users", Some(json!({"email": "new@below.example"})))
        .await;
    assert_eq!((made.status, &made.json()["organization_id"]), (StatusCode::CREATED, &json!(below)));
    let from_home = house.patch(&chief.token, &ann_path, json!({"name": "B"})).await;
    assert_eq!(from_home.problem().0, 404, "only in the organization that he acts in");
    assert_eq!(
        house.ask_in(&below, &plain.token, Method::GET, "/auth/me", None).await.problem(),
        problem(403, "not_a_member")
    );

    // It moves away: a second later it is not his any more, and when it comes back it is.
    let path = format!("/api/organizations/{below}");
    for (parent, expected) in [(json!(null), 403), (json!(group), 200)] {
        let moved = house.patch(admin, &path, json!({"parent_id": parent})).await;
        assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
        house.a_second_later();
        let reply = rename().await;
        assert_eq!(reply.status.as_u16(), expected, "{}", reply.text);
    }
    // His rank is lowered, and raised again.
    for (rank, expected) in [("member", 403), ("owner", 200)] {
        house.rank(&group, &chief.id, rank).await;
        house.a_second_later();
        assert_eq!(rename().await.status.as_u16(), expected, "{rank}");
    }
    // Not a company any more, nor a group.
    house.patch(admin, &path, json!({"parent_id": null})).await;
    house.patch(admin, &format!("/api/organizations/{group}"), json!({"kind": "company"})).await;
    house.a_second_later();
    assert_eq!(rename().await.status.as_u16(), 403);
}

async fn a_switched_session_does_not_outlive_the_right_to_be_there(db: TestDatabase) {
    let house = House::new(db).await;
    let group = house.organization("Group", "group", None).await;
    let below = house.organization("Below", "company", Some(&group)).await;
    let chief = house.person("chief@group.example", &group, "admin").await;
    let body = json!({"organization_id": below});
    let switched = house.server.post("/auth/switch-organization", &chief.token, body).await;
    let (token, _) = crate::support::tokens(&switched);
    assert_eq!(house.me(&token).await["current_organization_id"], json!(below));
    house.patch(&house.admin, &format!("/api/organizations/{below}"), json!({"parent_id": null})).await;
    house.a_second_later();
    assert_eq!(house.me(&token).await["current_organization_id"], json!(group), "home counts again");
}

async fn in_a_deactivated_organization_nobody_goes_on(db: TestDatabase) {
    let house = House::new(db).await;
    let group = house.organization("Group", "group", None).await;
    let below = house.organization("Below", "company", Some(&group)).await;
    let chief = house.person("chief@group.example", &group, "admin").await;
    let boss = house.person("boss@below.example", &below, "owner").await;
    house.rank(&house.acme, &boss.id, "member").await;
    let ann = house.person("ann@below.example", &below, "member").await;
    let path = format!("/api/organizations/{below}");
    house.patch(&house.admin, &path, json!({"is_active": false})).await;
    house.a_second_later();
    assert_eq!(house.server.get("/auth/me", &ann.token).await.problem().0, 401);
    assert_eq!(
        house.server.login("ann@below.example", super::PASSWORD).await.problem().1,
        "account_inactive"
    );
    let there = house.ask_in(&below, &chief.token, Method::GET, "/auth/me", None).await;
    assert_eq!(there.problem(), problem(403, "not_a_member"), "nor from above");
    assert_eq!(house.server.get(&path, &chief.token).await.problem().0, 404);
    let switch =
        house.server.post("/auth/switch-organization", &chief.token, json!({"organization_id": below})).await;
    assert_eq!(switch.problem(), problem(403, "not_a_member"));
    // Who is a member elsewhere goes on there.
    assert_eq!(house.me(&boss.token).await["current_organization_id"], json!(house.acme));
    house.patch(&house.admin, &path, json!({"is_active": true})).await;
    house.a_second_later();
    assert_eq!(house.me(&boss.token).await["current_organization_id"], json!(below));
    assert_eq!(id_of(&house.me(&ann.token).await), ann.id, "the session had not been ended");
}

async fn what_is_inherited_ends_with_the_group_and_takes_its_roles_along(db: TestDatabase) {
    let house = House::new(db).await;
    let group = house.organization("Group", "group", None).await;
    let company = house.organization("Company", "company", Some(&group)).await;
    let ann = house.person("ann@group.example", &group, "admin").await;
    let role = json!({"name": "Desk", "organization_id": company, "permissions": ["users.read"]});
    let made = house.server.post("/api/roles", &house.admin, role).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let role = id_of(&made.json());
    let holders = format!("/api/roles/{role}/users");
    let listed = async || house.server.get(&holders, &house.admin).await.json()["user_ids"].clone();
    let may = async || {
        house.a_second_later();
        house.ask_in(&company, &ann.token, Method::GET, "/api/users", None).await.status.as_u16()
    };
    let place = format!("/api/organizations/{company}");
    let group_path = format!("/api/organizations/{group}");
    for (path, away, back) in [
        (&place, json!({"parent_id": null}), json!({"parent_id": group})),
        (&group_path, json!({"is_active": false}), json!({"is_active": true})),
    ] {
        let given = house.server.post(&holders, &house.admin, json!({"user_ids": [ann.id]})).await;
        assert!(given.status.is_success(), "{}", given.text);
        assert_eq!((listed().await, may().await), (json!([ann.id]), 200));
        assert_eq!(house.patch(&house.admin, path, away.clone()).await.status, 200, "{away}");
        assert_eq!(
            (listed().await, may().await),
            (json!([]), if away["is_active"] == false { 401 } else { 403 }),
            "{away}"
        );
        assert_eq!(house.patch(&house.admin, path, back).await.status, 200);
        assert_eq!((listed().await, may().await), (json!([]), 200), "the rank is back, the role is not");
    }
}
