//! What belongs to another organization does not exist, whoever asks for it and however it is mixed with what is one's own.

use super::{
    Attacker, NOWHERE, Route, attack,
    dump::Dump,
    routes,
    scene::{PASSWORD, Scene, Shown, Things},
    told,
};
use crate::support::{Reply, tokens};
use axum::http::Method;
use bifrost_domain::policy::Rule;
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![
    what_is_anothers_does_not_exist,
    what_is_ones_own_does,
    no_filter_reaches_further,
    nobody_acts_in_an_organization_that_is_not_his,
];

/// What is answered when something foreign is named, where that is not 404.
const ELSE: [(&str, &[u16]); 3] = [
    // A name or a filter in a body that names nothing.
    ("POST /api/workflow-keys", &[422]),
    ("POST /api/workflows/execute", &[404, 422]),
    ("POST /auth/switch-organization", &[403]),
];

/// For these a session of ours is needed, and what is answered without.
const FOR_SESSIONS: [(&str, &[u16]); 3] = [
    // A key is as good; a provider's token is not.
    ("GET /api/executions/{id}/stream", &[403, 404]),
    ("POST /auth/oauth/link/{provider}", &[403]),
    ("POST /auth/switch-organization", &[400]),
];

fn values(route: &Route, things: &Things) -> Vec<String> {
    route.places.iter().map(|kind| things[kind].clone()).collect()
}

fn refusals(route: &Route, shown: Shown) -> &'static [u16] {
    let listed = |table: &'static [(&str, &'static [u16])]| {
        table.iter().find(|(name, _)| *name == route.name()).map(|(_, codes)| *codes)
    };
    match route.rule() {
        Some(Rule::PlatformAdmin) => &[403],
        Some(Rule::Person | Rule::Waiting) if shown.is_key() => &[403],
        Some(Rule::SignedIn) | None if shown == Shown::Application => &[403],
        _ => {
            let for_sessions = listed(&FOR_SESSIONS).filter(|_| shown != Shown::Session);
            for_sessions.or_else(|| listed(&ELSE)).unwrap_or(&[404])
        }
    }
}

/// Nothing of Acme's is told, but for what was asked about.
fn tells_nothing(reply: &Reply, alone: &Things, asked: &[String], name: &str) {
    let hidden = alone.values().map(String::as_str).chain(["acme.example", "\"acme\""]);
    for value in hidden.filter(|value| !asked.iter().any(|asked| asked == value)) {
        assert!(!reply.text.contains(value), "{name} tells of {value}: {}", reply.text);
    }
}

async fn what_is_anothers_does_not_exist(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let (strangers, alone) = (scene.strangers(), scene.of_acme_alone());
    let mut before = Dump::of(&scene.server).await;
    for route in routes() {
        // A code of a device is whoever's types it.
        let is_about_something = route.places.iter().any(|kind| *kind != "user_code");
        if !is_about_something || route.is_public() || route.is_socket() {
            continue;
        }
        let (own, theirs) = (values(&route, &scene.other.things), values(&route, &scene.acme.things));
        for (shown, attacker) in &strangers {
            for foreign in 1..1_usize << own.len() {
                let is_foreign = |place: usize| foreign & (1 << place) != 0;
                let mixed = |foreign: &dyn Fn(usize) -> String| -> Vec<String> {
                    let one =
                        |place: usize| if is_foreign(place) { foreign(place) } else { own[place].clone() };
                    (0..own.len()).map(one).collect()
                };
                let named = mixed(&|place| theirs[place].clone());
                let nowhere = mixed(&|_| NOWHERE.to_owned());
                let name = format!("{}: {} of {named:?}", attacker.name, route.name());
                let reply = attack(&scene.server, &route, &named, &attacker.headers).await;
                let unknown = attack(&scene.server, &route, &nowhere, &attacker.headers).await;
                assert_eq!(told(&reply), told(&unknown), "{name} tells that there is something");
                let expected = refusals(&route, *shown);
                assert!(expected.contains(&reply.problem().0), "{name}: {} {}", reply.status, reply.text);
                tells_nothing(&reply, &alone, &named, &name);
            }
        }
        let after = Dump::of(&scene.server).await;
        before.same(&after, &route.name());
        before = after;
    }
}

/// The requests are such as succeed: it is the foreign object alone that they are refused for.
async fn what_is_ones_own_does(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let alone = scene.of_acme_alone();
    let before = Dump::of(&scene.server).await;
    let mut routes: Vec<Route> =
        routes().into_iter().filter(|route| !route.is_public() && !route.is_live()).collect();
    // What is taken away goes last, and what hangs on something before that; then the sessions.
    let ends = |route: &Route| ENDS.iter().position(|name| *name == route.name());
    routes.sort_by_key(|route| {
        let is_delete = route.method == Method::DELETE;
        (ends(route), is_delete, if is_delete { usize::MAX - route.path.len() } else { 0 })
    });
    let mut wrong = Vec::new();
    for route in routes {
        let own = values(&route, &scene.other.things);
        let token = match route.rule() {
            Some(Rule::PlatformAdmin) => scene.admin.clone(),
            _ if ends(&route).is_some() => {
                tokens(&scene.server.login("owner@other.example", PASSWORD).await).0
            }
            _ => scene.other.owner.clone(),
        };
        let who = Attacker::bearer("who may", &token);
        let reply = attack(&scene.server, &route, &own, &who.headers).await;
        let name = route.name();
        let is_right = match BUT.iter().find(|(known, _)| *known == name) {
            Some((_, status)) => reply.status == *status,
            None => reply.status.is_success(),
        };
        if !is_right {
            wrong.push(format!("{name}: {} {}", reply.status, reply.text));
        }
        if route.rule() != Some(Rule::PlatformAdmin) {
            tells_nothing(&reply, &alone, &own, &name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Not a row of Acme's is another one.
    before.same_about(&Dump::of(&scene.server).await, &alone, "an owner at home");
}

/// What ends sessions, in an order in which all of it can be asked.
const ENDS: [&str; 4] = [
    "DELETE /auth/sessions/{id}",
    "POST /auth/logout",
    "POST /auth/revoke-all",
    "POST /api/profile/password",
];

/// What does not succeed here, and why.
const BUT: [(&str, u16); 6] = [
    // It was approved just before.
    ("POST /auth/device/lookup", 404),
    // For platform admins alone, once it is known whose execution it is.
    ("GET /api/executions/{id}/variables", 403),
    // There is no picture yet.
    ("GET /api/profile/avatar", 404),
    // People belong to it.
    ("DELETE /api/organizations/{id}", 409),
    // There is no Python.
    ("POST /api/workflows/validate", 503),
    // The code is made up.
    ("POST /auth/mfa/prove", 400),
];

/// Lists, searches and exports with a filter that names something foreign answer as if it named nothing.
async fn no_filter_reaches_further(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let alone = scene.of_acme_alone();
    let filters = [
        ("/api/users?orgId=", "organization"),
        ("/api/users?q=acme&orgId=", "organization"),
        ("/api/users?continuation_token=", "user"),
        ("/api/roles?scope=", "organization"),
        ("/api/audit?organization=", "organization"),
        ("/api/audit?actor=", "user"),
        ("/api/audit?resource=user/", "user"),
        ("/api/audit?resource=organization/", "organization"),
        ("/api/audit/export?format=json&organization=", "organization"),
        ("/api/audit/export?format=csv&resource=role/", "role"),
        ("/api/executions?scope=", "organization"),
        ("/api/executions?formId=", "form"),
        ("/api/executions?executedBy=", "user"),
        ("/api/executions?q=acme&workflowName=", "workflow"),
    ];
    for (shown, attacker) in scene.strangers() {
        for (path, kind) in filters {
            let ask = async |value: &str| {
                let headers: Vec<(&str, &str)> =
                    attacker.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                scene.server.ask(Method::GET, &format!("{path}{value}"), &headers, None).await
            };
            let value = &scene.acme.things[kind];
            let (reply, unknown) = (ask(value).await, ask(NOWHERE).await);
            let name = format!("{} ({shown:?}): {path}", attacker.name);
            assert!(!reply.status.is_server_error(), "{name}: {}", reply.text);
            assert_eq!(told(&reply), told(&unknown), "{name}");
            tells_nothing(&reply, &alone, std::slice::from_ref(value), &name);
        }
    }
}

/// Whoever names Acme in the header is told the same as if he named nothing, by every route.
async fn nobody_acts_in_an_organization_that_is_not_his(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let before = Dump::of(&scene.server).await;
    for route in routes().iter().filter(|route| !route.is_public() && !route.is_socket()) {
        for (shown, attacker) in scene.strangers() {
            let mut told_of = Vec::new();
            for named in [scene.acme.things["organization"].as_str(), NOWHERE] {
                let mut headers = attacker.headers.clone();
                headers.push(("x-organization-id", named.to_owned()));
                let theirs = values(route, &scene.acme.things);
                let reply = attack(&scene.server, route, &theirs, &headers).await;
                let code = match shown {
                    Shown::SdkKey => "key_of_another_organization",
                    _ => "not_a_member",
                };
                let name = format!("{}: {}: {}", attacker.name, route.name(), reply.text);
                assert_eq!(reply.problem(), (403, code.to_owned()), "{name}");
                told_of.push(told(&reply));
            }
            assert_eq!(told_of[0], told_of[1]);
        }
    }
    before.same(&Dump::of(&scene.server).await, "a header");
}
