//! Public routes, attacked with everything that one can show: what is shown makes no difference, and they tell nothing of anybody.

use super::{
    Attacker, attack,
    dump::Dump,
    outsiders::outsiders,
    routes,
    scene::{Scene, Shown},
    told,
};
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![public_routes_ask_nobody_and_tell_nothing,];

/// These also know a session, and set up a second factor for it.
const SEE_A_SESSION: [&str; 4] = [
    "POST /auth/mfa/setup",
    "POST /auth/mfa/totp/setup",
    "POST /auth/mfa/totp/verify",
    "POST /auth/mfa/verify",
];

/// What succeeds for nobody, and is no reading.
const GIVES: &str = "POST /auth/device/code";

async fn public_routes_ask_nobody_and_tell_nothing(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let alone = scene.of_acme_alone();
    let mut attackers = outsiders(&scene).await;
    let inside = [scene.strangers(), scene.people_of_acme()].into_iter().flatten();
    let (inside, sessions): (Vec<_>, Vec<_>) =
        inside.partition(|(shown, _)| !matches!(shown, Shown::Session));
    attackers.extend(inside.into_iter().map(|(_, attacker)| attacker));
    let sessions: Vec<Attacker> = sessions.into_iter().map(|(_, attacker)| attacker).collect();
    let before = Dump::of(&scene.server).await;
    let mut asked = 0;
    for route in routes().iter().filter(|route| route.is_public()) {
        let things: Vec<String> = route.places.iter().map(|kind| scene.acme.things[kind].clone()).collect();
        let nobodys = attack(&scene.server, route, &things, &[]).await;
        let name = route.name();
        let is_reading = route.method == axum::http::Method::GET;
        assert!(!nobodys.status.is_server_error(), "{name}: {}", nobodys.text);
        assert!(
            !matches!(nobodys.status.as_u16(), 415 | 422),
            "{name} is not sent what it takes: {}",
            nobodys.text
        );
        assert!(
            is_reading || name == GIVES || nobodys.status.is_client_error(),
            "{name} lets nobody do something: {}",
            nobodys.text
        );
        let sees = SEE_A_SESSION.contains(&name.as_str());
        for (n, attacker) in attackers.iter().chain(sessions.iter().filter(|_| !sees)).enumerate() {
            let mut headers = attacker.headers.clone();
            headers.push(("x-forwarded-for", format!("10.0.0.{n}")));
            let reply = attack(&scene.server, route, &things, &headers).await;
            let name = format!("{}: {name}", attacker.name);
            assert_eq!(reply.status, nobodys.status, "{name}: {}", reply.text);
            if !reply.status.is_success() {
                assert_eq!(told(&reply), told(&nobodys), "{name}");
            }
            let hidden = alone.values().map(String::as_str).chain(["acme.example", "\"acme\""]);
            for value in hidden.filter(|value| !things.iter().any(|asked| asked == value)) {
                assert!(!reply.text.contains(value), "{name} tells of {value}: {}", reply.text);
            }
            asked += 1;
        }
    }
    assert!(asked > 500, "{asked}");
    before.same_about(&Dump::of(&scene.server).await, &alone, "a public route");
}
