//! `Idempotency-Key`: what creates or runs is done once, however often it is sent.

use crate::support::{Reply, Server};
use axum::http::{Method, StatusCode};
use bifrost_domain::{
    clock::{Ids, SystemIds},
    rights::MembershipRole,
};
use chrono::Duration;
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use uuid::Uuid;

impl Server {
    async fn post_with_key(&self, path: &str, token: &str, key: &str, body: Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        self.ask(Method::POST, path, &headers, Some(body)).await
    }

    async fn organizations_named(&self, token: &str, name: &str) -> usize {
        let all = self.get("/api/organizations", token).await.json();
        all.as_array().expect("a list").iter().filter(|one| one["name"] == name).count()
    }
}

const PATH: &str = "/api/organizations";

#[tokio::test]
async fn a_request_that_is_sent_again_gets_its_first_answer() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let body = json!({"name": "Contoso"});
    let first = server.post_with_key(PATH, &token, "a-1", body.clone()).await;
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (StatusCode::CREATED, ""),
        "{}",
        first.text
    );
    // In quotes, as the draft has it.
    let again = server.post_with_key(PATH, &token, "\"a-1\"", body.clone()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!((again.json(), again.header("content-type")), (first.json(), "application/json"));
    assert_eq!(server.organizations_named(&token, "Contoso").await, 1);

    // After a day the key is a new one.
    server.clock.advance(Duration::hours(24));
    let (token, _) = server.admin().await;
    let later = server.post_with_key(PATH, &token, "a-1", json!({"name": "Fabrikam"})).await;
    assert_eq!(
        (later.status, later.header("idempotency-replayed")),
        (StatusCode::CREATED, ""),
        "{}",
        later.text
    );
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let home = server.organization(&token, "Home").await;
    assert_eq!(
        server.post_with_key(PATH, &token, "k", json!({"name": "A"})).await.status,
        StatusCode::CREATED
    );
    let refused = |reply: Reply| {
        assert_eq!(reply.problem(), (422, "idempotency_key_reused".into()), "{}", reply.text);
        assert_eq!(reply.fields(), [("headers.Idempotency-Key".into(), "reused".into())]);
    };
    refused(server.post_with_key(PATH, &token, "k", json!({"name": "B"})).await);
    refused(server.post_with_key("/api/roles", &token, "k", json!({"name": "A"})).await);
    refused(server.post_with_key(&format!("{PATH}?x=1"), &token, "k", json!({"name": "A"})).await);
    // In another organization it is another request.
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", bearer.as_str()), ("idempotency-key", "k"), ("x-organization-id", home.as_str())];
    refused(server.ask(Method::POST, PATH, &headers, Some(json!({"name": "A"}))).await);
    assert_eq!(server.organizations_named(&token, "B").await, 0);
}

#[tokio::test]
async fn a_key_is_its_callers_alone() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let home = server.organization(&token, "Home").await;
    let ann = server.ranked("ann@example.com", &home, MembershipRole::Admin).await;
    let bob = server.ranked("bob@example.com", &home, MembershipRole::Admin).await;
    for (who, name) in [(&ann, "Ann's"), (&bob, "Bob's")] {
        let made = server.post_with_key("/api/roles", who, "same", json!({"name": name})).await;
        assert_eq!(
            (made.status, made.header("idempotency-replayed")),
            (StatusCode::CREATED, ""),
            "{}",
            made.text
        );
    }
    // Who has lost the right since does not even get the first answer; what is known of him is a moment old.
    server.suspend("ann@example.com").await;
    server.clock.advance(Duration::seconds(2));
    let suspended = server.post_with_key("/api/roles", &ann, "same", json!({"name": "Ann's"})).await;
    assert_eq!(suspended.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn of_many_at_once_one_is_done() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let sent = (0..20).map(|_| server.post_with_key(PATH, &token, "burst", json!({"name": "Once"})));
    let replies = join_all(sent).await;
    let made: Vec<&Reply> = replies.iter().filter(|reply| reply.status == StatusCode::CREATED).collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|reply| reply.json() == made[0].json()));
    for reply in replies.iter().filter(|reply| reply.status != StatusCode::CREATED) {
        assert_eq!(reply.problem(), (409, "idempotency_key_in_use".into()));
    }
    assert_eq!(server.organizations_named(&token, "Once").await, 1);
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    for bad in [json!({"name": ""}), json!({"name": 1}), json!([])] {
        let refused = server.post_with_key(PATH, &token, "fix", bad).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("idempotency-replayed")),
            (422, ""),
            "{}",
            refused.text
        );
    }
    let fixed = server.post_with_key(PATH, &token, "fix", json!({"name": "Fixed"})).await;
    assert_eq!(fixed.status, StatusCode::CREATED, "{}", fixed.text);
}

/// Makes no id, but panics, while it is broken.
#[derive(Default)]
struct Breakable {
    is_broken: AtomicBool,
}

impl Ids for Breakable {
    fn next(&self) -> Uuid {
        assert!(!self.is_broken.load(Ordering::SeqCst), "broken by the test");
        SystemIds.next()
    }
}

#[tokio::test]
async fn the_outcome_of_a_handler_that_panicked_is_unknown() {
    let ids = Arc::new(Breakable::default());
    let server = Server::start_with(|setup| setup.role_ids = ids.clone()).await;
    let (token, _) = server.admin().await;
    let body = json!({"name": "Operators"});

    ids.is_broken.store(true, Ordering::SeqCst);
    let failed = server.post_with_key("/api/roles", &token, "panic", body.clone()).await;
    assert_eq!(failed.problem(), (500, "internal".into()), "{}", failed.text);
    assert!(!failed.text.contains("broken by the test"), "{}", failed.text);

    // Known as soon as it is answered, and whole again does not change it.
    ids.is_broken.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let again = server.post_with_key("/api/roles", &token, "panic", body.clone()).await;
        assert_eq!(again.problem(), (409, "idempotency_outcome_unknown".into()), "{}", again.text);
    }
    let anew = server.post_with_key("/api/roles", &token, "another", body).await;
    assert_eq!(anew.status, StatusCode::CREATED, "{}", anew.text);
}

#[tokio::test]
async fn a_client_that_goes_away_finds_it_done() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    for round in 0..10_u64 {
        let (key, name) = (format!("gone-{round}"), format!("Gone {round}"));
        let request = server.post_with_key(PATH, &token, &key, json!({"name": name}));
        let _gone = tokio::time::timeout(std::time::Duration::from_micros(round * 700), request).await;
        let mut made = None;
        for _ in 0..200 {
            let reply = server.post_with_key(PATH, &token, &key, json!({"name": name})).await;
            if reply.status == StatusCode::CREATED {
                made = Some(reply);
                break;
            }
            assert_eq!(reply.problem(), (409, "idempotency_key_in_use".into()));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(made.is_some(), "round {round}");
        assert_eq!(server.organizations_named(&token, &name).await, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_credential_is_not_shown_again() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let first = server.post_with_key("/api/sdk/keys", &token, "key", json!({"name": "laptop"})).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let again = server.post_with_key("/api/sdk/keys", &token, "key", json!({"name": "laptop"})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    let text = first.json()["key"].as_str().expect("a key").to_owned();
    assert!(!again.text.contains(&text), "{}", again.text);
    let mut expected = first.json();
    expected.as_object_mut().expect("an object").remove("key");
    assert_eq!(again.json(), expected);
}

/// Their answers are credentials: none may be found in a backup of the database.
#[tokio::test]
async fn what_answers_with_a_credential_knows_no_key() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    for round in 0..2 {
        let ticket = server.post_with_key("/api/live/ticket", &token, "ticket", json!({})).await;
        assert_eq!((ticket.status, ticket.header("idempotency-replayed")), (StatusCode::OK, ""), "{round}");
    }
    let change = json!({"current_password": "admin", "new_password": "another long password"});
    let changed = server.post_with_key("/api/profile/password", &token, "password", change.clone()).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let token = changed.json()["access_token"].as_str().expect("a token").to_owned();
    let again = server.post_with_key("/api/profile/password", &token, "password", change).await;
    assert_eq!(again.problem(), (400, "password_wrong".into()), "it is looked at anew");
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let server = Server::start().await;
    let (token, _) = server.admin().await;
    let longest = "k".repeat(255);
    for bad in ["", "\"\"", "a b", "k\u{e9}", &format!("{longest}k")] {
        let reply = server.post_with_key(PATH, &token, bad, json!({"name": "Never"})).await;
        assert_eq!(reply.problem(), (400, "idempotency_key_invalid".into()), "{bad:?}");
    }
    let bearer = format!("Bearer {token}");
    let twice = [("authorization", bearer.as_str()), ("idempotency-key", "a"), ("idempotency-key", "b")];
    let reply = server.ask(Method::POST, PATH, &twice, Some(json!({"name": "Never"}))).await;
    assert_eq!(reply.problem(), (400, "idempotency_key_invalid".into()));
    assert_eq!(server.organizations_named(&token, "Never").await, 0);
    let made = server.post_with_key(PATH, &token, &longest, json!({"name": "Long"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    // Sign-in and reading know no key.
    let headers = [("idempotency-key", ""), ("authorization", bearer.as_str())];
    assert_eq!(server.ask(Method::GET, PATH, &headers, None).await.status, StatusCode::OK);
    assert_eq!(server.ask(Method::POST, "/auth/logout", &headers, None).await.status, StatusCode::OK);
}
