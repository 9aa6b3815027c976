//! Live connections, really opened: by whom they are refused, what is not heard there, and when they end.

use super::{
    Attacker, NOWHERE,
    outsiders::outsiders,
    scene::{Scene, Shown, make, text},
};
use crate::live::{Live, ticket};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bifrost_domain::rights::MembershipRole;
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

on_both_databases![
    who_may_not_sign_in_opens_no_socket,
    a_strangers_socket_hears_nothing_of_others,
    a_member_without_rights_follows_his_own_executions_alone,
    what_is_open_ends_with_its_session_its_key_and_its_person,
];

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(address: SocketAddr, path: &str, attacker: &Attacker) -> Live {
    let headers: Vec<(&'static str, &str)> =
        attacker.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let opened = Live::open(address, path, &headers).await;
    opened.unwrap_or_else(|refused| panic!("{}: {path}: {refused:?}", attacker.name))
}

/// Follows a channel: the refusal's text, if it is one.
async fn follow(live: &mut Live, channel: &str) -> Option<String> {
    live.send(json!({"type": "subscribe", "channels": [channel]}).to_string()).await;
    let subscribed = live.hear().await.expect("an answer");
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    if subscribed["channels"] == json!([channel]) {
        return None;
    }
    assert_eq!(subscribed["channels"], json!([]));
    let error = live.hear().await.expect("a reason");
    assert_eq!((&error["type"], &error["channel"]), (&json!("error"), &json!(channel)), "{error}");
    Some(text(&error, "message"))
}

async fn who_may_not_sign_in_opens_no_socket(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let mut attackers = outsiders(&scene).await;
    let address = scene.server.listen().await;
    let run = &scene.acme.things["execution"];
    let everybody = [scene.strangers(), scene.people_of_acme()].into_iter().flatten();
    attackers.extend(everybody.filter(|(shown, _)| *shown == Shown::Application).map(|(_, one)| one));
    let named = scene.strangers().into_iter();
    attackers.extend(named.map(|(_, one)| one.and("x-organization-id", &scene.acme.things["organization"])));
    let made_up = ["ticket=made-up".to_owned(), format!("ticket={}", "A".repeat(43))];
    for attacker in &attackers {
        for path in ["/ws/connect".to_owned(), format!("/ws/execution/{run}")] {
            let mut live = open(address, &path, attacker).await;
            assert_eq!(live.hear().await, Err(4001), "{}: {path}", attacker.name);
        }
        for query in &made_up {
            let mut live = open(address, &format!("/ws/connect?{query}"), attacker).await;
            assert_eq!(live.hear().await, Err(4001), "{}: {query}", attacker.name);
        }
    }
}

async fn a_strangers_socket_hears_nothing_of_others(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let address = scene.server.listen().await;
    let of = |things: &dyn Fn(&str) -> String, owner: &str| {
        [
            format!("execution:{}", things("execution")),
            format!("history:{}", things("organization")),
            format!("history:org-{}", things("organization")),
            format!("user:{owner}"),
            format!("notification:{owner}"),
            format!("nothing:{owner}"),
        ]
    };
    let theirs = of(&|kind| scene.acme.things[kind].clone(), &scene.acme.owner_id);
    let nowhere = of(&|_| NOWHERE.to_owned(), NOWHERE);
    for (shown, attacker) in scene.strangers() {
        let attacker = &attacker;
        match shown {
            Shown::Session | Shown::SdkKey => {}
            // Refused (above).
            Shown::Application => continue,
            // It has neither a session nor a key that could be asked about: it is refused on the way in.
            Shown::Bearer => {
                let path = format!("/ws/connect?channels={}", theirs.join(","));
                let mut live = open(address, &path, attacker).await;
                assert_eq!(live.hear().await.expect_err("nothing is told"), 4001);
                continue;
            }
        }
        // On the way in.
        for (foreign, unknown) in theirs.iter().zip(&nowhere) {
            let mut said = Vec::new();
            for channel in [foreign, unknown] {
                let mut live = open(address, &format!("/ws/connect?channels={channel}"), attacker).await;
                let hello = live.hear().await.expect("open");
                assert_eq!(
                    (&hello["type"], &hello["channels"]),
                    (&json!("connected"), &json!([])),
                    "{}: {channel}",
                    attacker.name
                );
                let error = live.hear().await.expect("a reason");
                said.push(text(&error, "message").replace(channel.as_str(), "it"));
            }
            assert_eq!(said[0], said[1], "{}: {foreign}", attacker.name);
        }
        let run = &scene.acme.things["execution"];
        let mut live = open(address, &format!("/ws/execution/{run}"), attacker).await;
        assert_eq!(live.hear().await.expect("open")["channels"], json!([]));
        assert_eq!(live.hear().await.expect("a reason")["type"], "error");

        // Later, and beside what is one's own.
        for (foreign, unknown) in theirs.iter().zip(&nowhere) {
            let one = follow(&mut live, foreign).await.unwrap_or_else(|| panic!("{foreign} is followed"));
            let other = follow(&mut live, unknown).await.unwrap_or_else(|| panic!("{unknown} is followed"));
            assert_eq!(one.replace(foreign, "it"), other.replace(unknown, "it"));
        }
        let own = format!("history:{}", scene.other.things["organization"]);
        assert_eq!(follow(&mut live, &own).await, None);
        let mut runs = Vec::new();
        for house in [&scene.acme, &scene.other] {
            let body = json!({"workflow_name": house.things["workflow"]});
            let run = make(&scene.server, &house.owner, "/api/workflows/execute", body).await;
            runs.push(text(&run, "execution_id"));
        }
        let heard = live.hear().await.expect("a message");
        assert!(heard.to_string().contains(&runs[1]), "{}: {heard}", attacker.name);
        assert!(!heard.to_string().contains(&runs[0]), "{}: {heard}", attacker.name);
    }
}

async fn a_member_without_rights_follows_his_own_executions_alone(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let address = scene.server.listen().await;
    let home = &scene.acme.things["organization"];
    let run = &scene.acme.things["execution"];
    for rank in [MembershipRole::Member, MembershipRole::Limited] {
        let token = scene.server.ranked(&format!("{rank}@acme.example"), home, rank).await;
        let member = Attacker::bearer("a member", &token);
        let mut live = open(address, &format!("/ws/execution/{run}"), &member).await;
        assert_eq!(live.hear().await.expect("open")["channels"], json!([]), "{rank}");
        assert_eq!(live.hear().await.expect("a reason")["type"], "error", "{rank}");
        let is_member = rank.reaches(MembershipRole::Member);
        let history = follow(&mut live, &format!("history:{home}")).await;
        assert_eq!(history.is_none(), is_member, "{rank}: {history:?}");
        // Of the history he hears what is his own.
        make(
            &scene.server,
            &scene.acme.owner,
            "/api/workflows/execute",
            json!({"workflow_name": "greet_acme"}),
        )
        .await;
        live.send("{\"type\":\"ping\"}").await;
        assert_eq!(live.hear().await, Ok(json!({"type": "pong"})), "{rank}");
        let path = format!("/api/executions/{run}/stream?ticket={}", ticket(&scene.server, &token).await);
        let refused = scene.server.ask(Method::GET, &path, &[], None).await;
        assert_eq!(refused.problem().0, 403, "{rank}");
        let again = scene.server.ask(Method::GET, &path, &[], None).await;
        assert_eq!(again.problem().0, 401, "{rank}: a ticket is used once");
    }
    let path = format!("/api/executions/{run}/stream?ticket=");
    let stranger = ticket(&scene.server, &scene.other.owner).await;
    let refused = scene.server.ask(Method::GET, &format!("{path}{stranger}"), &[], None).await;
    assert_eq!(refused.problem().0, 404);
}

async fn what_is_open_ends_with_its_session_its_key_and_its_person(db: TestDatabase) {
    let scene = Scene::new(db).await;
    let server = &scene.server;
    let address = server.listen().await;
    let home = &scene.acme.things["organization"];
    let owner = scene.acme.owner.as_str();
    for how in ["logout", "revoked", "suspended", "deleted", "everything"] {
        let email = format!("{how}@acme.example");
        let token = server.ranked(&email, home, MembershipRole::Admin).await;
        let id = text(&server.get("/auth/me", &token).await.json(), "id");
        let key = text(&make(server, &token, "/api/sdk/keys", json!({})).await, "key");
        let run =
            make(server, &token, "/api/workflows/execute", json!({"workflow_name": "greet_acme"})).await;
        let run = text(&run, "execution_id");
        let mut sockets = Vec::new();
        let path = format!("/ws/connect?ticket={}", ticket(server, &token).await);
        let by_ticket = Attacker { name: "by a ticket", headers: vec![] };
        sockets.push((open(address, &path, &by_ticket).await, by_ticket.name));
        for shown in [Attacker::bearer("by a session", &token), Attacker::bearer("by a key", &key)] {
            sockets.push((open(address, "/ws/connect", &shown).await, shown.name));
        }
        let request = Request::get(format!("/api/executions/{run}/stream"))
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        let stream = server.respond(request).await;
        assert_eq!(stream.status(), StatusCode::OK);
        for (live, name) in &mut sockets {
            assert!(live.is_open().await, "{name}");
        }

        let user = format!("/api/users/{id}");
        let (who, method, path, body): (&str, Method, &str, Option<Value>) = match how {
            "logout" => (token.as_str(), Method::POST, "/auth/logout", None),
            "everything" => (token.as_str(), Method::POST, "/auth/revoke-all", None),
            "revoked" => (owner, Method::POST, "/auth/admin/revoke-user", Some(json!({"user_id": id}))),
            "suspended" => (owner, Method::PATCH, &user, Some(json!({"is_active": false}))),
            _ => (owner, Method::DELETE, &user, None),
        };
        let bearer = format!("Bearer {who}");
        let done = server.ask(method, path, &[("authorization", &bearer)], body).await;
        assert!(done.status.is_success(), "{how}: {}", done.text);
        // What is known of a key is a second old at most.
        server.clock.advance(chrono::Duration::seconds(1));
        for (mut live, name) in sockets {
            if how == "logout" && name == "by a key" {
                live.send("{\"type\":\"ping\"}").await;
                assert_eq!(live.hear().await, Ok(json!({"type": "pong"})), "a key is no session");
                continue;
            }
            assert_eq!(live.hear().await, Err(4001), "{how}: {name}");
        }
        let rest = timeout(PATIENCE, axum::body::to_bytes(stream.into_body(), 1 << 20)).await;
        rest.unwrap_or_else(|_| panic!("{how}: the stream goes on")).expect("an end");
    }
}
