//! Members without rights, among what is really there: refused, and nothing is looked at or changed.

use super::{
    Attacker, attack,
    dump::Dump,
    routes,
    scene::{Scene, make, text},
};
use bifrost_domain::{
    policy::Rule,
    rights::MembershipRole::{self, Admin, Member},
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::json;
use std::collections::BTreeSet;

on_both_databases![a_member_gets_nothing_of_anothers_execution];

/// Somebody of Acme.
struct Insider {
    attacker: Attacker,
    rank: MembershipRole,
    /// Whether he shows a key.
    has_key: bool,
    /// Whether it is an application's, which has no scopes.
    is_application: bool,
}

impl Insider {
    fn may(&self, rule: Rule) -> bool {
        match rule {
            Rule::Person | Rule::Waiting => !self.has_key,
            Rule::SignedIn => !self.is_application,
            Rule::Member => !self.is_application && self.rank.reaches(Member),
            Rule::Permission => !self.is_application && self.rank.reaches(Admin),
            Rule::PlatformAdmin => false,
        }
    }
}

/// Everybody of each rank, with a session and with a key, and an application without scopes.
async fn insiders(scene: &Scene) -> Vec<Insider> {
    let server = &scene.server;
    let mut all = Vec::new();
    for rank in MembershipRole::ALL {
        let email = format!("{rank}@acme.example");
        let token = match rank {
            MembershipRole::Owner => scene.acme.owner.clone(),
            _ => server.ranked(&email, &scene.acme.things["organization"], *rank).await,
        };
        let key = text(&make(server, &token, "/api/sdk/keys", json!({})).await, "key");
        for (has_key, shown) in [(false, token), (true, key)] {
            let attacker = Attacker::bearer(rank.as_str(), &shown);
            all.push(Insider { attacker, rank: *rank, has_key, is_application: false });
        }
    }
    let application = make(server, &scene.acme.owner, "/api/applications", json!({"name": "Bare"})).await;
    let path = format!("/api/applications/{}/keys", text(&application, "id"));
    let key = text(&make(server, &scene.acme.owner, &path, json!({})).await, "key");
    let attacker = Attacker::bearer("an application without scopes", &key);
    all.push(Insider { attacker, rank: MembershipRole::Limited, has_key: true, is_application: true });
    all
}

/// On one database: none is asked.
#[tokio::test]
async fn who_has_no_right_is_refused_before_anything_is_looked_at() {
    let scene = Scene::new(TestDatabase::sqlite().await).await;
    let insiders = insiders(&scene).await;
    let mut before = Dump::of(&scene.server).await;
    // A key is its person: what both are refused within a minute is one line.
    let mut denials = BTreeSet::new();
    for route in routes() {
        let Some(rule) = route.rule() else { continue };
        let things: Vec<String> = route.places.iter().map(|kind| scene.acme.things[kind].clone()).collect();
        for insider in insiders.iter().filter(|insider| !insider.may(rule)) {
            let reply = attack(&scene.server, &route, &things, &insider.attacker.headers).await;
            let name = format!("{}: {}: {}", insider.attacker.name, route.name(), reply.text);
            assert_eq!(reply.problem(), (403, "permission_missing".to_owned()), "{name}");
            assert_eq!(reply.json()["detail"], "Superuser privileges required", "{name}");
            denials.insert((insider.rank.as_str(), insider.is_application, route.name()));
        }
        before.same(&Dump::of(&scene.server).await, &route.name());
        // Who may is not refused for that.
        for insider in insiders.iter().filter(|insider| insider.may(rule)) {
            if matches!(rule, Rule::SignedIn | Rule::Person | Rule::Waiting) {
                continue;
            }
            let reply = attack(&scene.server, &route, &route.nowhere(), &insider.attacker.headers).await;
            let name = format!("{}: {}: {}", insider.attacker.name, route.name(), reply.text);
            // The audit log itself tells of refusals.
            let is_refused = reply.status == 403 && reply.text.contains("permission_missing");
            assert!(!is_refused, "{name}");
        }
        before = Dump::of(&scene.server).await;
    }
    scene.server.until_audited("access.denied", denials.len()).await;
}

/// A member sees his own executions: those of others in the same organization are refused, not denied to be there.
async fn a_member_gets_nothing_of_anothers_execution(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let insiders = insiders(&scene).await;
    let before = Dump::of(&scene.server).await;
    let mut asked = 0;
    for route in routes().iter().filter(|route| route.places == ["execution"] && !route.is_socket()) {
        let things = [scene.acme.things["execution"].clone()];
        for insider in insiders.iter().filter(|insider| !insider.rank.reaches(Admin)) {
            let reply = attack(&scene.server, route, &things, &insider.attacker.headers).await;
            let name = format!("{}: {}: {}", insider.attacker.name, route.name(), reply.text);
            assert_eq!(reply.problem().0, 403, "{name}");
            assert!(!reply.text.contains("greet_acme"), "{name}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    before.same(&Dump::of(&scene.server).await, "a member");
}
