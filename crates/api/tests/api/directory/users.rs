//! Who sees and changes whom.

use super::{House, NOBODY, PASSWORD, field, id_of, ids_of, problem};
use crate::{account::enrol, support::tokens};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![
    a_user_through_his_life,
    what_is_refused,
    lists_are_filtered_and_paged,
    an_organizations_admin_reaches_his_people_alone,
    a_password_gives_nothing_that_its_giver_does_not_have,
    the_last_admin_and_the_system_user_stay,
    all_sessions_of_somebody_end,
    a_lost_factor_is_taken_away_by_who_may_set_the_password,
    a_new_home_is_a_membership,
    who_is_deleted_is_removed_for_good_after_the_grace_period,
    ones_own_address_is_changed_just_after_a_sign_in,
    of_two_who_suspend_each_other_one_stays,
];

async fn a_user_through_his_life(db: TestDatabase) {
    let house = House::new(db).await;
    let (server, admin) = (&house.server, house.admin.as_str());
    let body = json!({"email": " Ann@ACME.example ", "name": " Ann ", "organization_id": house.acme});
    let made = server.post("/api/users", admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let ann = made.json();
    assert_eq!(
        ann,
        json!({
            "id": ann["id"], "email": "ann@acme.example", "name": "Ann", "is_active": true, "is_superuser": false,
            "is_verified": false, "is_registered": false, "mfa_enabled": false, "user_type": "ORG",
            "organization_id": house.acme, "last_login": null, "purge_at": null,
            "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"
        })
    );
    let path = format!("/api/users/{}", id_of(&ann));
    assert_eq!(server.get(&path, admin).await.json(), ann);

    // The stub is registered by the person, who is a member at home.
    let body = json!({"email": "ANN@acme.example", "password": PASSWORD});
    assert_eq!(server.ask(Method::POST, "/auth/register", &[], Some(body)).await.status, StatusCode::CREATED);
    let token = house.sign_in("ann@acme.example").await;
    assert_eq!(house.me(&token).await["current_organization_id"], json!(house.acme));

    // Suspended: the sessions end within a second, and nobody signs in; taken back: older sessions stay ended.
    let suspended = house.patch(admin, &path, json!({"is_active": false})).await.json();
    assert_eq!(suspended["is_active"], false);
    house.a_second_later();
    assert_eq!(server.get("/auth/me", &token).await.problem(), problem(401, "token_invalid"));
    assert_eq!(server.login("ann@acme.example", PASSWORD).await.problem(), problem(401, "account_inactive"));
    house.patch(admin, &path, json!({"is_active": true})).await;
    house.a_second_later();
    assert_eq!(server.get("/auth/me", &token).await.problem().0, 401);
    let token = house.sign_in("ann@acme.example").await;

    // Deleted: suspended at once, removed after the grace period, taken back until then.
    assert_eq!(house.delete(admin, &path).await.status, StatusCode::NO_CONTENT);
    house.a_second_later();
    assert_eq!(server.get("/auth/me", &token).await.problem().0, 401);
    let deleted = server.get(&path, admin).await.json();
    assert_eq!(
        (&deleted["is_active"], &deleted["purge_at"]),
        (&json!(false), &json!("2026-12-20T12:00:02Z"))
    );
    assert_eq!(house.delete(admin, &path).await.status, StatusCode::NO_CONTENT, "again: nothing more");
    assert_eq!(server.get(&path, admin).await.json(), deleted);
    let back = house.patch(admin, &path, json!({"is_active": true})).await.json();
    assert_eq!((&back["is_active"], &back["purge_at"]), (&json!(true), &json!(null)));
    house.delete(admin, &path).await;

    let told = house.audited("user.update").await;
    assert_eq!(told[0], json!({"is_active": {"old": true, "new": false}}));
    assert_eq!(house.audited("user.delete").await.len(), 2, "a repeated deletion is none");
    let created = house.audited("user.create").await;
    assert_eq!(created[0]["email"], json!({"old": null, "new": "ann@acme.example"}));
}

async fn what_is_refused(db: TestDatabase) {
    let house = House::new(db).await;
    let (server, admin) = (&house.server, house.admin.as_str());
    let acme = &house.acme;
    for (body, path, code) in [
        (json!({}), "email", "required"),
        (json!({"email": "nobody"}), "email", "format"),
        (json!({"email": format!("{}@a.example", "a".repeat(65))}), "email", "format"),
        (json!({"email": "a@b.example", "name": "n".repeat(256)}), "name", "too_long"),
        (json!({"email": "a@b.example", "name": "a\u{7}b"}), "name", "format"),
        (json!({"email": "a@b.example", "password": "seven77"}), "password", "too_short"),
        (json!({"email": "a@b.example", "password": "p".repeat(257)}), "password", "too_long"),
        (json!({"email": "a@b.example", "user_type": "KING"}), "user_type", "value"),
        (json!({"email": "a@b.example", "user_type": "SYSTEM"}), "user_type", "value"),
        (json!({"email": "a@b.example", "user_type": "ORG"}), "organization_id", "required"),
        (json!({"email": "a@b.example", "organization_id": NOBODY}), "organization_id", "value"),
        (json!({"email": "a@b.example", "organization_id": "x"}), "organization_id", "format"),
        (
            json!({"email": "a@b.example", "user_type": "PLATFORM", "organization_id": acme}),
            "organization_id",
            "value",
        ),
        (
            json!({"email": "a@b.example", "organization_id": acme, "is_superuser": true}),
            "is_superuser",
            "value",
        ),
        (json!({"email": "a@b.example", "is_active": "yes"}), "is_active", "type"),
    ] {
        let reply = server.post("/api/users", admin, body).await;
        assert_eq!(reply.problem(), problem(422, "invalid"), "{path} {code}: {}", reply.text);
        assert_eq!(reply.fields(), field(path, code));
    }
    let ann = house.person("ann@acme.example", acme, "member").await;
    for email in ["ANN@Acme.Example", " ann@acme.example"] {
        let taken = server.post("/api/users", admin, json!({"email": email})).await;
        assert_eq!(taken.problem(), problem(409, "email_taken"), "{email}");
    }
    let bob = house.person("bob@acme.example", acme, "member").await;
    let path = format!("/api/users/{}", bob.id);
    let taken = house.patch(admin, &path, json!({"email": "ANN@acme.example"})).await;
    assert_eq!(taken.problem(), problem(409, "email_taken"));
    for (body, path_of, code) in [
        (json!({"email": ""}), "email", "format"),
        (json!({"password": "short"}), "password", "too_short"),
        (json!({"is_superuser": true}), "is_superuser", "value"),
        (json!({"organization_id": null}), "organization_id", "required"),
        (json!({"organization_id": NOBODY}), "organization_id", "value"),
    ] {
        let reply = house.patch(admin, &path, body).await;
        assert_eq!(
            (reply.problem().0, reply.fields()),
            (422, field(path_of, code).to_vec()),
            "{}",
            reply.text
        );
    }
    for (query, path) in [
        ("type=KING", "type"),
        ("orgId=x", "orgId"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("continuation_token=x", "continuation_token"),
        (&*format!("q={}", "x".repeat(201)), "q"),
        ("q=%00", "q"),
    ] {
        let reply = server.get(&format!("/api/users?{query}"), admin).await;
        assert_eq!((reply.problem().0, reply.fields()[0].0.as_str()), (422, path), "{query}");
    }
    for (method, body) in
        [(Method::GET, None), (Method::PATCH, Some(json!({"name": "x"}))), (Method::DELETE, None)]
    {
        let reply = house.ask(admin, method.clone(), &format!("/api/users/{NOBODY}"), body.clone()).await;
        assert_eq!(reply.problem(), problem(404, "not_found"), "{method}");
        let reply = house.ask(&ann.token, method.clone(), &path, body).await;
        assert_eq!(reply.problem(), problem(403, "permission_missing"), "a member may not {method}");
    }
}

async fn lists_are_filtered_and_paged(db: TestDatabase) {
    let house = House::new(db).await;
    let (server, admin) = (&house.server, house.admin.as_str());
    let me = id_of(&house.me(admin).await);
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let bob = house
        .make(json!({"email": "bob_b@other.example", "name": "Robert", "organization_id": house.other}))
        .await;
    house.rank(&house.acme, &bob, "limited").await;
    for (query, expected) in [
        ("", vec![&me, &ann.id, &bob]),
        ("type=PLATFORM", vec![&me]),
        ("type=ORG", vec![&ann.id, &bob]),
        ("orgId=GLOBAL", vec![&me]),
        (&*format!("orgId={}", house.acme), vec![&ann.id, &bob]),
        (&*format!("orgId=org-{}", house.other), vec![&bob]),
        (&*format!("orgId={NOBODY}"), vec![]),
        ("q=ACME", vec![&ann.id]),
        ("q=rob", vec![&bob]),
        ("q=b_b", vec![&bob]),
        ("q=%25", vec![]),
        (&*format!("q=example&type=ORG&orgId={}", house.other), vec![&bob]),
    ] {
        let found = server.get(&format!("/api/users?{query}"), admin).await;
        assert_eq!(ids_of(&found).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let in_acme = house.ask_in(&house.acme, admin, Method::GET, "/api/users", None).await;
    assert_eq!(ids_of(&in_acme), [ann.id.clone(), bob.clone()], "the header narrows");
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let page = server.get(&format!("/api/users?limit=2&continuation_token={token}"), admin).await;
        seen.extend(ids_of(&page));
        token = page.header("x-continuation-token").to_owned();
    }
    assert_eq!((seen, token.as_str()), (vec![me, ann.id, bob], ""));
}

/// An admin of an organization is asked about his own people, a guest, a person of the platform, and strangers.
async fn an_organizations_admin_reaches_his_people_alone(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let owner = house.person("owner@acme.example", &house.acme, "owner").await;
    let guest = house.person("guest@other.example", &house.other, "member").await;
    house.rank(&house.acme, &guest.id, "member").await;
    let stranger = house.person("stranger@other.example", &house.other, "owner").await;
    let helper = house.make(json!({"email": "helper@localhost", "password": PASSWORD})).await;
    house.rank(&house.acme, &helper, "admin").await;
    let root = id_of(&house.me(admin).await);

    let listed = ids_of(&house.server.get("/api/users", &boss.token).await);
    assert_eq!(listed, [&boss.id, &ann.id, &owner.id, &guest.id, &helper].map(Clone::clone));
    let foreign = house.server.get(&format!("/api/users?orgId={}", house.other), &boss.token).await;
    assert!(ids_of(&foreign).is_empty(), "who of the own people is a member elsewhere is not told");

    let unknown = house.server.get(&format!("/api/users/{NOBODY}"), &boss.token).await;
    let same = |text: &str| text.split("\"request_id\"").next().map(str::to_owned);
    for (who, id, read, write) in [
        ("ann", &ann.id, 200, 200),
        ("owner", &owner.id, 200, 403),
        ("guest", &guest.id, 200, 403),
        ("helper", &helper, 200, 403),
        ("stranger", &stranger.id, 404, 404),
        ("root", &root, 404, 404),
    ] {
        let path = format!("/api/users/{id}");
        let found = house.server.get(&path, &boss.token).await;
        assert_eq!(found.status.as_u16(), read, "{who}: {}", found.text);
        let changed = house.patch(&boss.token, &path, json!({"name": "N"})).await;
        assert_eq!(changed.status.as_u16(), write, "{who}: {}", changed.text);
        let suspended = house.patch(&boss.token, &path, json!({"is_active": true})).await;
        assert_eq!(suspended.status.as_u16(), write, "{who}: {}", suspended.text);
        let body = Some(json!({"user_id": id}));
        let revoked = house.ask(&boss.token, Method::POST, "/auth/admin/revoke-user", body).await;
        assert_eq!(revoked.status.as_u16(), write, "{who}: {}", revoked.text);
        for more in ["roles", "forms"] {
            let found = house.server.get(&format!("{path}/{more}"), &boss.token).await;
            assert_eq!(found.status.as_u16(), read, "{who} {more}: {}", found.text);
        }
        if read == 404 {
            assert_eq!(same(&found.text), same(&unknown.text), "as one who does not exist");
            assert_eq!(house.delete(&boss.token, &path).await.problem().0, 404);
        }
    }
    // Neither kind nor home nor power is his to give.
    let path = format!("/api/users/{}", ann.id);
    for body in [
        json!({"is_superuser": true}),
        json!({"user_type": "PLATFORM"}),
        json!({"organization_id": house.other}),
        json!({"organization_id": null}),
    ] {
        assert_eq!(house.patch(&boss.token, &path, body.clone()).await.problem().0, 403, "{body}");
    }
    for (body, expected) in [
        (json!({"email": "new1@acme.example"}), 201),
        (json!({"email": "new2@acme.example", "organization_id": house.acme, "user_type": "ORG"}), 201),
        (json!({"email": "new3@acme.example", "organization_id": house.other}), 404),
        (json!({"email": "new4@acme.example", "organization_id": NOBODY}), 404),
        (json!({"email": "new5@acme.example", "user_type": "PLATFORM"}), 403),
        (json!({"email": "new6@acme.example", "is_superuser": true}), 403),
    ] {
        let made = house.server.post("/api/users", &boss.token, body.clone()).await;
        assert_eq!(made.status.as_u16(), expected, "{body}: {}", made.text);
        if expected == 201 {
            assert_eq!(
                (&made.json()["organization_id"], &made.json()["user_type"]),
                (&json!(house.acme), &json!("ORG"))
            );
        }
    }
    assert_eq!(house.delete(&boss.token, &path).await.status, StatusCode::NO_CONTENT);
    let himself = house.delete(&boss.token, &format!("/api/users/{}", boss.id)).await;
    assert_eq!(himself.problem(), problem(409, "yourself"));
}

/// Whoever sets a password can sign in with it.
async fn a_password_gives_nothing_that_its_giver_does_not_have(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let path = format!("/api/users/{}", ann.id);
    let new = json!({"password": "another long one"});
    assert_eq!(house.patch(&boss.token, &path, new.clone()).await.status, StatusCode::OK);
    assert_eq!(house.server.login("ann@acme.example", PASSWORD).await.problem().0, 401);
    tokens(&house.server.login("ann@acme.example", "another long one").await);
    house.a_second_later();
    assert_eq!(house.server.get("/auth/me", &ann.token).await.problem().0, 401, "older sessions end");
    let told = house.audited("user.update").await;
    assert_eq!(told[0], json!({"password": {"old": "[SECRET]", "new": "[SECRET]"}}));

    // A member with `users.write` gets no further than his own permissions.
    let role = json!({"name": "helpdesk", "organization_id": house.acme, "permissions": ["users.write", "users.read"]});
    let helpdesk = id_of(&house.server.post("/api/roles", admin, role).await.json());
    let role = json!({"name": "keeper", "organization_id": house.acme, "permissions": ["config.write"]});
    let keeper = id_of(&house.server.post("/api/roles", admin, role).await.json());
    let hal = house.person("hal@acme.example", &house.acme, "member").await;
    for (role, user) in [(&helpdesk, &hal.id), (&keeper, &ann.id)] {
        let given =
            house.server.post(&format!("/api/roles/{role}/users"), admin, json!({"user_ids": [user]})).await;
        assert_eq!(given.status, StatusCode::NO_CONTENT, "{}", given.text);
    }
    house.a_second_later();
    let refused = house.patch(&hal.token, &path, new.clone()).await;
    assert_eq!(refused.problem(), problem(403, "not_grantable"));
    assert!(refused.text.contains("config.write"), "{}", refused.text);
    assert_eq!(house.patch(&hal.token, &path, json!({"name": "Ann"})).await.status, StatusCode::OK);
    let boss_path = format!("/api/users/{}", boss.id);
    assert_eq!(
        house.patch(&hal.token, &boss_path, json!({"name": "B"})).await.problem(),
        problem(403, "rank_too_high")
    );

    // Who is a member elsewhere could be followed there.
    house.rank(&house.other, &ann.id, "owner").await;
    for body in [new, json!({"email": "mine@evil.example"})] {
        let refused = house.patch(&boss.token, &path, body).await;
        assert_eq!(refused.problem(), problem(403, "member_elsewhere"));
    }
    let himself = house.patch(&boss.token, &boss_path, json!({"password": "yet another one"})).await;
    assert_eq!(himself.problem(), problem(409, "yourself"));
}

async fn the_last_admin_and_the_system_user_stay(db: TestDatabase) {
    let house = House::new(db).await;
    let admin = house.admin.as_str();
    let system = house.server.auth.ensure_system_user().await.expect("the system user").id;
    let path = format!("/api/users/{system}");
    for (method, body) in [(Method::PATCH, Some(json!({"name": "x"}))), (Method::DELETE, None)] {
        let refused = house.ask(admin, method, &path, body).await;
        assert_eq!(refused.problem(), problem(409, "system_user"));
    }
    let body = json!({"user_id": system});
    assert_eq!(house.server.post("/auth/admin/revoke-user", admin, body).await.problem().0, 409);
    assert_eq!(house.server.login("system@bifrost.internal", "").await.problem().0, 401);

    let me = format!("/api/users/{}", id_of(&house.me(admin).await));
    for (body, code) in [
        (json!({"is_active": false}), "yourself"),
        (json!({"is_superuser": false}), "last_admin"),
        (json!({"user_type": "ORG", "organization_id": house.acme, "is_superuser": false}), "last_admin"),
    ] {
        assert_eq!(house.patch(admin, &me, body).await.problem(), problem(409, code));
    }
    assert_eq!(house.delete(admin, &me).await.problem(), problem(409, "yourself"));
    // A stub or a suspended one is nobody who could take over.
    let stub = house.make(json!({"email": "stub@localhost", "is_superuser": true})).await;
    assert_eq!(house.patch(admin, &me, json!({"is_superuser": false})).await.problem().1, "last_admin");
    house
        .patch(admin, &format!("/api/users/{stub}"), json!({"password": PASSWORD, "is_active": false}))
        .await;
    assert_eq!(house.patch(admin, &me, json!({"is_superuser": false})).await.problem().1, "last_admin");
    let next = house.platform_admin("next@localhost").await;
    let demoted = house.patch(&next.token, &me, json!({"is_superuser": false})).await;
    assert_eq!(demoted.status, StatusCode::OK, "{}", demoted.text);
    house.a_second_later();
    assert_eq!(house.server.get("/api/users", admin).await.problem().0, 403, "demoted within a second");
    let last = house.delete(&next.token, &format!("/api/users/{}", next.id)).await;
    assert_eq!(last.problem().0, 409);
}

async fn all_sessions_of_somebody_end(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let (second, refresh) = tokens(&house.server.login("ann@acme.example", PASSWORD).await);
    let ended = house.server.post("/auth/admin/revoke-user", &house.admin, json!({"user_id": ann.id})).await;
    assert_eq!(
        (ended.status, ended.json()),
        (StatusCode::OK, json!({"message": "sessions revoked", "sessions_revoked": 2}))
    );
    house.a_second_later();
    for token in [&ann.token, &second] {
        assert_eq!(house.server.get("/auth/me", token).await.problem().0, 401);
    }
    let body = json!({"refresh_token": refresh});
    assert_eq!(house.server.ask(Method::POST, "/auth/refresh", &[], Some(body)).await.problem().0, 401);
    let again = house.server.post("/auth/admin/revoke-user", &house.admin, json!({"user_id": ann.id})).await;
    assert_eq!(again.json()["sessions_revoked"], 0);
    house.sign_in("ann@acme.example").await;
    let bad = house.server.post("/auth/admin/revoke-user", &house.admin, json!({"user_id": 5})).await;
    assert_eq!((bad.problem().0, bad.fields()[0].0.as_str()), (422, "user_id"));
}

async fn a_lost_factor_is_taken_away_by_who_may_set_the_password(db: TestDatabase) {
    let house = House::new(db).await;
    let boss = house.person("boss@acme.example", &house.acme, "admin").await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let eve = house.person("eve@other.example", &house.other, "owner").await;
    let path = |id: &str| format!("/api/users/{id}/mfa");
    let none = house.delete(&boss.token, &path(&ann.id)).await;
    assert_eq!((none.problem(), none.text.contains("second factor")), (problem(404, "not_found"), true));

    enrol(&house.server, &ann.token).await;
    for (token, status, code) in [
        (&ann.token, 403, "permission_missing"),
        (&eve.token, 404, "not_found"),
        (&boss.token, 204, ""),
        (&boss.token, 404, "not_found"),
    ] {
        let reply = house.delete(token, &path(&ann.id)).await;
        match status {
            204 => assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text),
            _ => assert_eq!(reply.problem(), problem(status, code)),
        }
    }
    house.a_second_later();
    assert_eq!(house.server.get("/auth/me", &ann.token).await.problem().0, 401, "all sessions end");
    let again = house.sign_in("ann@acme.example").await;
    assert_eq!(house.server.get("/auth/mfa/status", &again).await.json()["mfa_enabled"], false);

    // One's own, and somebody's who is a member elsewhere, are not an organization's admin's to take.
    let own = house.delete(&boss.token, &path(&boss.id)).await;
    assert_eq!(own.problem(), problem(409, "yourself"));
    house.rank(&house.other, &ann.id, "member").await;
    enrol(&house.server, &again).await;
    let guest = house.delete(&boss.token, &path(&ann.id)).await;
    assert_eq!(guest.problem(), problem(403, "member_elsewhere"));
    let by_platform = house.delete(&house.admin, &path(&ann.id)).await;
    assert_eq!(by_platform.status, StatusCode::NO_CONTENT, "{}", by_platform.text);
}

async fn a_new_home_is_a_membership(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "admin").await;
    let path = format!("/api/users/{}", ann.id);
    let moved = house.patch(&house.admin, &path, json!({"organization_id": house.other})).await;
    assert_eq!(moved.json()["organization_id"], json!(house.other));
    house.a_second_later();
    let me = house.me(&ann.token).await;
    assert_eq!(me["current_organization_id"], json!(house.other));
    let ranks: Vec<(&Value, &Value)> = me["memberships"]
        .as_array()
        .expect("memberships")
        .iter()
        .map(|one| (&one["organization_id"], &one["role"]))
        .collect();
    assert_eq!(ranks, [(&json!(house.acme), &json!("admin")), (&json!(house.other), &json!("member"))]);
    let gone =
        house.delete(&house.admin, &format!("/api/organizations/{}/members/{}", house.acme, ann.id)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

async fn who_is_deleted_is_removed_for_good_after_the_grace_period(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "member").await;
    let bob = house.person("bob@acme.example", &house.acme, "member").await;
    let path = |id: &str| format!("/api/users/{id}");
    for id in [&ann.id, &bob.id] {
        house.delete(&house.admin, &path(id)).await;
    }
    let back = house.patch(&house.admin, &path(&bob.id), json!({"is_active": true})).await;
    assert_eq!(back.status, StatusCode::OK, "{}", back.text);
    house.server.clock.advance(chrono::Duration::days(30));
    let (admin, _) = house.server.admin().await;
    assert_eq!(house.server.get(&path(&ann.id), &admin).await.status, StatusCode::OK, "until the next round");
    for _ in 0..2 {
        house.server.app.upkeep().await.expect("upkeep");
    }
    assert_eq!(house.server.get(&path(&ann.id), &admin).await.problem(), problem(404, "not_found"));
    assert_eq!(house.server.get(&path(&bob.id), &admin).await.status, StatusCode::OK);
    let sql = "SELECT CAST(detail AS text) AS line FROM audit_logs WHERE action = 'user.purge'";
    let told = bifrost_test_support::lines(house.server.store.db(), sql).await;
    let told: Vec<Value> = told.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(told, [json!({"email": "ann@acme.example", "name": "ann"})]);
    let again = json!({"email": "ann@acme.example", "organization_id": house.acme});
    assert_eq!(house.server.post("/api/users", &admin, again).await.status, StatusCode::CREATED);
}

async fn ones_own_address_is_changed_just_after_a_sign_in(db: TestDatabase) {
    let house = House::new(db).await;
    let boss = house.person("boss@acme.example", &house.acme, "owner").await;
    let path = format!("/api/users/{}", boss.id);
    let moved = house.patch(&boss.token, &path, json!({"email": "head@acme.example"})).await;
    assert_eq!(moved.json()["email"], "head@acme.example", "{}", moved.text);
    house.server.clock.advance(chrono::Duration::minutes(10));
    let late = house.patch(&boss.token, &path, json!({"email": "found@evil.example"})).await;
    assert_eq!(late.problem(), problem(403, "sign_in_again"));
    let named = house.patch(&boss.token, &path, json!({"name": "Boss"})).await;
    assert_eq!(named.status, StatusCode::OK, "{}", named.text);
}

async fn of_two_who_suspend_each_other_one_stays(db: TestDatabase) {
    let house = House::new(db).await;
    let ann = house.person("ann@acme.example", &house.acme, "owner").await;
    let bob = house.person("bob@acme.example", &house.acme, "owner").await;
    let suspend = async |by: &str, whom: &str| {
        house.patch(by, &format!("/api/users/{whom}"), json!({"is_active": false})).await.status.as_u16()
    };
    let both = tokio::join!(suspend(&ann.token, &bob.id), suspend(&bob.token, &ann.id));
    assert!(matches!(both, (200, 401) | (401, 200)), "{both:?}");
}
