//! Live connections at their bounds: who gets in, how long, how many, and what a client that misbehaves hears.

use crate::support::{Server, tokens};
use axum::http::{HeaderValue, Method};
use bifrost_api::{AllowedOrigins, DevBypass};
use bifrost_app::auth::Environment;
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    ids::{OrganizationId, RoleId, UserId},
};
use bifrost_storage::users::NewRole;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Live connections of one person.
const MOST: usize = 64;

/// A WebSocket of a client, and the id of the request that opened it.
pub(crate) struct Live(WebSocketStream<TcpStream>, String);

/// Status and body of a connection that was not opened.
pub(crate) type Refused = (u16, Value);

impl Live {
    pub(crate) async fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refused> {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header"));
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        // Small, so that a server that sends to somebody who does not read is soon stuck.
        socket.set_recv_buffer_size(8 * 1024).expect("a buffer");
        let stream = socket.connect(address).await.expect("connected");
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer") {
            Ok((socket, answer)) => {
                let id = answer.headers()["x-request-id"].to_str().expect("a text").to_owned();
                Ok(Self(socket, id))
            }
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(other) => panic!("no connection: {other}"),
        }
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.1
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.expect("sent");
    }

    /// The next message, or the code of the end.
    pub(crate) async fn hear(&mut self) -> Result<Value, u16> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// Whether it was let in.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.hear().await.is_ok_and(|hello| hello["type"] == "connected")
    }
}

pub(crate) async fn ticket(server: &Server, token: &str) -> String {
    let reply = server.post("/api/live/ticket", token, json!({})).await;
    reply.json()["ticket"].as_str().expect("a ticket").to_owned()
}

#[tokio::test]
async fn parameters_that_cannot_be_read_are_named_and_the_ticket_is_not_passed_over() {
    // Whoever comes without a token is the development user here: a ticket that does not hold must not make anybody that user.
    let server = Server::start_with(|setup| {
        setup.api.environment = Environment::Development;
        setup.auth.environment = Environment::Development;
        setup.api.dev_bypass = DevBypass::Loopback;
        setup.api.listens_on_loopback = true;
    })
    .await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let ticket = ticket(&server, &admin).await;
    for (query, path) in [
        (format!("ticket={ticket}&after=x"), "after"),
        ("ticket=made-up&after=x".to_owned(), "after"),
        (format!("ticket={ticket}&ticket=other"), "ticket"),
        ("channels=system&channels=system".to_owned(), "channels"),
    ] {
        for route in ["/ws/connect", "/ws/execution/01890a5d-ac96-774b-bcce-b302099a8057"] {
            let refused = Live::open(address, &format!("{route}?{query}"), &[]).await.err();
            let (status, body) = refused.unwrap_or_else(|| panic!("{query} opened"));
            assert_eq!((status, &body["errors"][0]["path"]), (422, &json!(path)), "{query}: {body}");
        }
    }
    let mut forged = Live::open(address, "/ws/connect?ticket=made-up", &[]).await.expect("open");
    assert_eq!(forged.hear().await, Err(4001));
    let path = format!("/ws/connect?ticket={ticket}");
    assert!(Live::open(address, &path, &[]).await.expect("open").is_open().await, "it is still good");
}

#[tokio::test]
async fn any_origin_may_connect_but_not_with_cookies() {
    let server = Server::start_with(|setup| setup.api.allowed_origins = AllowedOrigins::Any).await;
    let address = server.listen().await;
    let signed_in = server.login("admin@localhost", "admin").await;
    let cookie = format!("access_token={}", signed_in.cookie("access_token").0);
    let (admin, _) = tokens(&signed_in);
    let foreign = ("origin", "https://elsewhere.example");
    let mut by_cookie =
        Live::open(address, "/ws/connect", &[foreign, ("cookie", &cookie)]).await.expect("open");
    assert_eq!(by_cookie.hear().await, Err(4001), "a cookie comes along with whatever page asks");
    let path = format!("/ws/connect?ticket={}", ticket(&server, &admin).await);
    assert!(Live::open(address, &path, &[foreign]).await.expect("open").is_open().await);
    let own = format!("http://{address}");
    let own = [("origin", own.as_str()), ("cookie", &cookie)];
    assert!(Live::open(address, "/ws/connect", &own).await.expect("open").is_open().await);
}

#[tokio::test]
async fn listed_origins_alone_may_connect() {
    let server = Server::start_with(|setup| {
        setup.api.allowed_origins = AllowedOrigins::List(vec!["https://console.example".into()]);
    })
    .await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let bearer = format!("Bearer {admin}");
    for (origin, refused) in [("https://console.example", None), ("https://elsewhere.example", Some(403))] {
        let headers = [("origin", origin), ("authorization", bearer.as_str())];
        let outcome = Live::open(address, "/ws/connect", &headers).await;
        assert_eq!(outcome.err().map(|(status, _)| status), refused, "{origin}");
    }
}

#[tokio::test]
async fn a_connection_ends_when_its_rights_change() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let home = server.organization(&admin, "Home").await;
    let ann = server.person("ann@home.example", &home).await;
    let me = server.get("/auth/me", &ann).await.json();
    let open = async || {
        let path = format!("/ws/connect?ticket={}", ticket(&server, &ann).await);
        let mut live = Live::open(address, &path, &[]).await.expect("open");
        assert!(live.is_open().await);
        live
    };
    let mut live = open().await;
    // While nothing changes it is asked and goes on.
    server.clock.advance(chrono::Duration::seconds(2));
    sleep(Duration::from_millis(1_200)).await;
    live.send("{\"type\":\"ping\"}").await;
    assert_eq!(live.hear().await, Ok(json!({"type": "pong"})));

    let now = server.clock.now();
    let role = RoleId::from_uuid(SystemIds.next());
    let user: UserId = me["id"].as_str().expect("an id").parse().expect("an id");
    let organization: OrganizationId = home.parse().expect("an id");
    let tx = server.store.db().begin().await.expect("begin");
    let permissions = ["executions.read_all".to_owned()].into();
    let new = NewRole {
        id: role,
        organization_id: Some(organization),
        name: "reader".to_owned(),
        permissions,
        created_at: now,
    };
    tx.insert_role(new).await.expect("a role");
    tx.assign_role(user, role, None, now).await.expect("assigned");
    tx.commit().await.expect("commit");
    server.clock.advance(chrono::Duration::seconds(2));
    assert_eq!(live.hear().await, Err(4001), "it has the rights of before");
    open().await;
}

/// Who asks once a second is not told what was true a second ago.
#[tokio::test]
async fn a_connection_does_not_outlive_a_session_that_another_replica_ended() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let bearer = format!("Bearer {admin}");
    let mut live = Live::open(address, "/ws/connect", &[("authorization", &bearer)]).await.expect("open");
    assert!(live.is_open().await);
    let sessions = server.get("/auth/sessions", &admin).await.json();
    let session = sessions[0]["id"].as_str().expect("an id").parse().expect("an id");
    let tx = server.store.db().begin().await.expect("begin");
    assert!(tx.end_session(session, "logout", server.clock.now()).await.expect("ended"));
    tx.commit().await.expect("commit");
    // The clock stands still: what is cached of the session says that it holds.
    assert_eq!(server.get("/auth/me", &admin).await.status, 200);
    assert_eq!(live.hear().await, Err(4001));
}

#[tokio::test]
async fn a_person_has_so_many_connections() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str())];
    let mut open = Vec::new();
    for _ in 0..MOST {
        let mut live = Live::open(address, "/ws/connect", &headers).await.expect("open");
        assert!(live.is_open().await);
        open.push(live);
    }
    let mut refused = Live::open(address, "/ws/connect", &headers).await.expect("open");
    let said = refused.hear().await.expect("a message");
    assert_eq!(said["type"], "error");
    assert!(said["message"].as_str().is_some_and(|text| text.contains("64 live connections")), "{said}");
    assert_eq!(refused.hear().await, Err(1013));
    // Another person is not concerned, and a place that is given back is free.
    let home = server.organization(&admin, "Home").await;
    let ann = format!("Bearer {}", server.person("ann@home.example", &home).await);
    let mut other = Live::open(address, "/ws/connect", &[("authorization", &ann)]).await.expect("open");
    assert!(other.is_open().await);
    open.pop();
    comes_in(address, &bearer).await;
}

/// Waits until one more connection gets a place.
async fn comes_in(address: SocketAddr, bearer: &str) {
    let again = async {
        loop {
            let headers = [("authorization", bearer)];
            let mut live = Live::open(address, "/ws/connect", &headers).await.expect("open");
            if live.is_open().await {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("a free place");
}

/// Opens all connections that a person has, one of which asks for more than it reads: the server is stuck sending to it.
async fn with_a_deaf_one(address: SocketAddr, deaf: &str, others: &str) -> Vec<Live> {
    let mut open = Vec::new();
    for number in 0..MOST {
        let bearer = if number == 0 { deaf } else { others };
        let mut live = Live::open(address, "/ws/connect", &[("authorization", bearer)]).await.expect("open");
        assert!(live.is_open().await);
        open.push(live);
    }
    // Each of these is answered with a hundred errors.
    let nonsense = json!({"type": "subscribe", "channels": vec![""; 101]}).to_string();
    let flood = async {
        for _ in 0..3_000 {
            open[0].send(nonsense.clone()).await;
        }
    };
    // The rest is not taken any more when the server has stopped reading.
    let _ = timeout(Duration::from_secs(1), flood).await;
    open
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let server = Server::start_with(|setup| setup.api.live_send_timeout = Duration::from_secs(3)).await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let bearer = format!("Bearer {admin}");
    let _open = with_a_deaf_one(address, &bearer, &bearer).await;
    let mut refused = Live::open(address, "/ws/connect", &[("authorization", &bearer)]).await.expect("open");
    assert!(!refused.is_open().await, "its place is taken until then");
    comes_in(address, &bearer).await;
}

#[tokio::test]
async fn a_session_that_ends_ends_a_connection_that_is_stuck() {
    let server = Server::start_with(|setup| setup.api.live_send_timeout = Duration::from_secs(3_600)).await;
    let address = server.listen().await;
    let [(first, _), (second, _)] = [server.admin().await, server.admin().await];
    let bearers = [&first, &second].map(|token| format!("Bearer {token}"));
    let _open = with_a_deaf_one(address, &bearers[0], &bearers[1]).await;
    let reply = server.ask(Method::POST, "/auth/logout", &[("authorization", &bearers[0])], None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    comes_in(address, &bearers[1]).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_said_so() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (admin, _) = server.admin().await;
    let bearer = format!("Bearer {admin}");
    let open = async || {
        let mut live = Live::open(address, "/ws/connect", &[("authorization", &bearer)]).await.expect("open");
        assert!(live.is_open().await);
        live
    };
    let padded = |length: usize| {
        let ping = "{\"type\":\"ping\"}";
        format!("{ping}{}", " ".repeat(length - ping.len()))
    };
    let mut live = open().await;
    live.send(padded(64 * 1024)).await;
    assert_eq!(live.hear().await, Ok(json!({"type": "pong"})), "at the bound");
    live.send(padded(64 * 1024 + 1)).await;
    assert_eq!(live.hear().await, Err(1009));
    for length in [100 * 1024, 1024 * 1024] {
        let mut live = open().await;
        live.send(padded(length)).await;
        assert_eq!(live.hear().await, Err(1009), "{length}");
    }
    // Past what is read at all, while the client is still sending.
    let (mut sink, mut stream) = open().await.0.split();
    let sending = tokio::spawn(async move { sink.send(Message::text(padded(2 * 1024 * 1024))).await });
    let heard = timeout(PATIENCE, stream.next()).await.expect("an end in time");
    let Some(Ok(Message::Close(Some(frame)))) = heard else { panic!("unexpected: {heard:?}") };
    assert_eq!(u16::from(frame.code), 1009);
    sending.abort();
    let mut live = open().await;
    live.0.send(Message::binary(vec![0; 65 * 1024])).await.expect("sent");
    assert_eq!(live.hear().await, Err(1009));
}
