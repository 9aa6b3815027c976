//! Nobody, and who has been let go: whatever was shown once opens nothing any more.

use super::{
    Attacker, attack,
    dump::Dump,
    routes,
    scene::{PASSWORD, Scene, make, text},
    told,
};
use crate::{
    oidc::bearers,
    support::{Server, tokens},
};
use axum::http::{Method, StatusCode};
use bifrost_domain::rights::MembershipRole;
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![nobody_and_who_was_let_go_get_nowhere,];

/// Asks, and wants it done.
async fn done(server: &Server, token: &str, method: Method, path: &str, body: Option<Value>) {
    let bearer = format!("Bearer {token}");
    let reply = server.ask(method, path, &[("authorization", &bearer)], body).await;
    assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text);
}

/// Somebody of Acme who has everything that one can have: his address, id, access token, key.
async fn somebody(scene: &Scene, name: &str) -> (String, String, String, String) {
    let email = format!("{name}@acme.example");
    let acme = &scene.acme.things["organization"];
    let token = scene.server.ranked(&email, acme, MembershipRole::Admin).await;
    let id = text(&scene.server.get("/auth/me", &token).await.json(), "id");
    let key = text(&make(&scene.server, &token, "/api/sdk/keys", json!({})).await, "key");
    (email, id, token, key)
}

/// An application of Acme with all rights there: its id, its key's id, its key.
async fn application(scene: &Scene) -> (String, String, String) {
    let (server, owner) = (&scene.server, &scene.acme.owner);
    let body = json!({"name": "Gone", "scopes": super::scene::all_scopes()});
    let id = text(&make(server, owner, "/api/applications", body).await, "id");
    let key = make(server, owner, &format!("/api/applications/{id}/keys"), json!({})).await;
    (id, text(&key, "id"), text(&key, "key"))
}

/// Everybody who was let go, each by the way in which that is done.
pub(super) async fn outsiders(scene: &Scene) -> Vec<Attacker> {
    let (server, owner) = (&scene.server, scene.acme.owner.as_str());
    let mut all = vec![
        Attacker { name: "nobody", headers: vec![] },
        Attacker::bearer("nonsense", "x.y.z"),
        Attacker::bearer("a key that nobody has", &format!("bfsk_{}", "A".repeat(43))),
        Attacker::bearer("a workflow's key", &scene.acme.workflow_key),
        Attacker {
            name: "a workflow's key in its own header",
            headers: vec![("x-api-key", scene.acme.workflow_key.clone())],
        },
        Attacker {
            name: "somebody's id in a header",
            headers: vec![("x-user-id", scene.acme.owner_id.clone())],
        },
    ];

    let (email, _, left, _) = somebody(scene, "left").await;
    let refresh = tokens(&server.login(&email, PASSWORD).await).1;
    done(server, &left, Method::POST, "/auth/logout", None).await;
    all.push(Attacker::bearer("a session that was left", &left));
    all.push(Attacker::bearer("a refresh token", &refresh));

    let (_, id, revoked, key) = somebody(scene, "revoked").await;
    let body = Some(json!({"user_id": id}));
    done(server, owner, Method::POST, "/auth/admin/revoke-user", body).await;
    all.push(Attacker::bearer("a session that was revoked", &revoked));
    all.push(Attacker::bearer("a key of before the revocation", &key));

    let (_, _, everything, key) = somebody(scene, "everything").await;
    done(server, &everything, Method::POST, "/auth/revoke-all", None).await;
    all.push(Attacker::bearer("a session of somebody who ended all", &everything));
    all.push(Attacker::bearer("a key of somebody who ended all", &key));

    let (email, id, suspended, key) = somebody(scene, "suspended").await;
    let (_, bearer) = bearers(server, &scene.admin, "another", &[&email]).await;
    done(server, owner, Method::PATCH, &format!("/api/users/{id}"), Some(json!({"is_active": false}))).await;
    all.push(Attacker::bearer("somebody suspended", &suspended));
    all.push(Attacker::bearer("a key of somebody suspended", &key));
    all.push(Attacker::bearer("somebody suspended, by a provider's token", &bearer[0]));
    let (_, _, application_key) = application(scene).await;
    // May act, but not for who may not.
    let asserted = Attacker::bearer("an application for somebody suspended", &application_key);
    all.push(asserted.and("x-on-behalf-of", &id));

    let (_, id, deleted, key) = somebody(scene, "deleted").await;
    done(server, owner, Method::DELETE, &format!("/api/users/{id}"), None).await;
    all.push(Attacker::bearer("somebody deleted", &deleted));
    all.push(Attacker::bearer("a key of somebody deleted", &key));

    let (_, _, person, key) = somebody(scene, "careful").await;
    let keys = server.get("/api/sdk/keys", &person).await.json();
    let path = format!("/api/sdk/keys/{}", text(&keys[0], "id"));
    done(server, &person, Method::DELETE, &path, None).await;
    all.push(Attacker::bearer("a person's key that was revoked", &key));

    let (id, key_id, key) = application(scene).await;
    done(server, owner, Method::DELETE, &format!("/api/applications/{id}/keys/{key_id}"), None).await;
    all.push(Attacker::bearer("an application's key that was revoked", &key));
    let (id, _, key) = application(scene).await;
    done(server, owner, Method::PATCH, &format!("/api/applications/{id}"), Some(json!({"is_active": false})))
        .await;
    all.push(Attacker::bearer("an application that is off", &key));
    let (id, _, key) = application(scene).await;
    done(server, owner, Method::DELETE, &format!("/api/applications/{id}"), None).await;
    all.push(Attacker::bearer("an application that was deleted", &key));

    all.extend(closed(scene).await);
    // What is known of a session or a key is a second old at most.
    server.clock.advance(chrono::Duration::seconds(1));
    all
}

/// The people and the programs of an organization that was closed.
async fn closed(scene: &Scene) -> Vec<Attacker> {
    let server = &scene.server;
    let id = server.organization(&scene.admin, "Closed").await;
    let owner = server.ranked("owner@closed.example", &id, MembershipRole::Owner).await;
    let key = make(server, &owner, "/api/sdk/keys", json!({})).await;
    let application = make(server, &owner, "/api/applications", json!({"name": "Sync"})).await;
    let path = format!("/api/applications/{}/keys", text(&application, "id"));
    let application_key = make(server, &owner, &path, json!({})).await;
    let path = format!("/api/organizations/{id}");
    done(server, &scene.admin, Method::PATCH, &path, Some(json!({"is_active": false}))).await;
    vec![
        Attacker::bearer("an owner of what was closed", &owner),
        Attacker::bearer("a key of an owner of what was closed", &text(&key, "key")),
        Attacker::bearer("an application of what was closed", &text(&application_key, "key")),
    ]
}

async fn nobody_and_who_was_let_go_get_nowhere(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let outsiders = outsiders(&scene).await;
    let before = Dump::of(&scene.server).await;
    for route in routes().iter().filter(|route| !route.is_public() && !route.is_socket()) {
        let things: Vec<String> = route.places.iter().map(|kind| scene.acme.things[kind].clone()).collect();
        for attacker in &outsiders {
            let reply = attack(&scene.server, route, &things, &attacker.headers).await;
            let unknown = attack(&scene.server, route, &route.nowhere(), &attacker.headers).await;
            let name = format!("{}: {}: {}", attacker.name, route.name(), reply.text);
            // Whoever speaks through an application is not who is asked for a sign-in.
            let is_asserted = attacker.headers.iter().any(|(name, _)| *name == "x-on-behalf-of");
            let expected = if is_asserted { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            assert_eq!(reply.problem().0, expected.as_u16(), "{name}");
            assert_eq!(told(&reply), told(&unknown), "{name}");
        }
    }
    before.same(&Dump::of(&scene.server).await, "somebody");
}
