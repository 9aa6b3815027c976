//! One live connection.

use super::{
    MAX_CLIENT_MESSAGE, UNAUTHENTICATED,
    channel::{Channel, Outlet},
    messages::{ClientMessage, ServerMessage},
    note_channel,
    places::Place,
};
use crate::state::ApiState;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bifrost_app::auth::Client;
use bifrost_domain::policy::Caller;
use std::{collections::HashMap, time::Duration};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Interval, interval, timeout},
};

/// Channels of one connection at most.
const MAX_CHANNELS: usize = 100;
/// Messages that wait for a slow client; channels wait beyond that.
const QUEUE: usize = 256;
/// So often it is asked whether the session still holds, with the rights it had.
pub(super) const SESSION_CHECK: Duration = Duration::from_secs(1);
/// So often an idle client is pinged, so that proxies keep the connection and dead peers are noticed.
const PING: Duration = Duration::from_secs(20);
/// How long the closing handshake may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Close code for a message that is too long (RFC 6455, 7.4.1).
const TOO_BIG: u16 = 1009;

/// Why a connection ends.
pub(super) enum End {
    /// The client has gone, or does not read: there is nobody to tell.
    Gone,
    /// The client is told.
    Close { code: u16, reason: &'static str },
}

impl End {
    const fn too_big() -> Self {
        Self::Close { code: TOO_BIG, reason: "a message has at most 64 KiB" }
    }
}

impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        let source = std::error::Error::source(&error);
        match source.and_then(|source| source.downcast_ref()) {
            Some(tungstenite::Error::Capacity(_)) => Self::too_big(),
            _ => Self::Gone,
        }
    }
}

/// Serves until the client goes away, does not read, or its session ends or has other rights than at the beginning.
pub(super) async fn serve(
    state: ApiState,
    (caller, client): (Caller, Client),
    place: Place,
    socket: WebSocket,
    channels: Vec<(String, Option<i64>)>,
) {
    let mut peer = Peer {
        socket,
        check: interval(SESSION_CHECK),
        state: state.clone(),
        caller: caller.clone(),
        send_within: state.settings.live_send_timeout,
    };
    let (out, messages) = mpsc::channel(QUEUE);
    let connection = Connection { state, caller, client, open: HashMap::new(), last: 0, out };
    let End::Close { code, reason } = run(&mut peer, connection, messages, channels).await else { return };
    drop(place);
    farewell(peer.socket, code, reason).await;
}

async fn run(
    peer: &mut Peer,
    mut connection: Connection,
    mut messages: mpsc::Receiver<(u64, ServerMessage)>,
    channels: Vec<(String, Option<i64>)>,
) -> End {
    let mut replies = connection.begin(channels).await;
    let mut ping = interval(PING);
    ping.reset();
    let mut unanswered = 0_u8;
    loop {
        for reply in replies.drain(..) {
            if let Err(end) = peer.say(&reply).await {
                return end;
            }
        }
        let step = tokio::select! {
            received = peer.socket.recv() => match received {
                Some(Ok(Message::Text(text))) if text.len() > MAX_CLIENT_MESSAGE => Err(End::too_big()),
                Some(Ok(Message::Binary(bytes))) if bytes.len() > MAX_CLIENT_MESSAGE => Err(End::too_big()),
                Some(Ok(Message::Text(text))) => {
                    replies = connection.handle(&text).await;
                    Ok(())
                }
                Some(Ok(Message::Binary(_))) => {
                    replies.push(ServerMessage::error("send JSON as text"));
                    Ok(())
                }
                Some(Ok(Message::Ping(_))) => Ok(()),
                Some(Ok(Message::Pong(_))) => {
                    unanswered = 0;
                    Ok(())
                }
                Some(Err(error)) => Err(error.into()),
                Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            },
            Some((subscription, message)) = messages.recv() => {
                // What a subscription that has ended left in the queue is not for the client any more.
                if connection.follows(subscription) { peer.say(&message).await } else { Ok(()) }
            }
            _ = peer.check.tick() => ended(&peer.state, &peer.caller).await.map_or(Ok(()), Err),
            _ = ping.tick() => {
                unanswered += 1;
                if unanswered > 2 { Err(End::Gone) } else { peer.send(Message::Ping(Vec::new().into())).await }
            }
        };
        if let Err(end) = step {
            return end;
        }
    }
}

/// Closes, and reads on until the client has heard it: a connection that is dropped with something unread is reset, and the
/// client might never see why.
async fn farewell(mut socket: WebSocket, code: u16, reason: &'static str) {
    let closing = async {
        let frame = CloseFrame { code, reason: reason.into() };
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        while let Some(received) = socket.recv().await {
            if received.is_err() {
                // A message of any length that cannot be read past: the client gets the time that is left.
                std::future::pending::<()>().await;
            }
        }
    };
    let _ = timeout(FAREWELL, closing).await;
}

/// Refuses a connection.
pub(super) async fn refuse(
    mut socket: WebSocket,
    said: Option<&ServerMessage>,
    code: u16,
    reason: &'static str,
) {
    if let Some(text) = said.and_then(|message| serde_json::to_string(message).ok()) {
        let _ = timeout(FAREWELL, socket.send(Message::Text(text.into()))).await;
    }
    farewell(socket, code, reason).await;
}

/// Why the connection of `caller` may not go on, if it may not. While the store is away nothing is decided.
pub(super) async fn ended(state: &ApiState, caller: &Caller) -> Option<End> {
    let reason = match still(state, caller).await {
        Ok(true) => return None,
        Ok(false) => "your rights have changed: connect again",
        Err(error) if error.kind == bifrost_domain::error::Kind::Unauthenticated => "the session has ended",
        Err(_) => return None,
    };
    Some(End::Close { code: UNAUTHENTICATED, reason })
}

async fn still(state: &ApiState, caller: &Caller) -> bifrost_domain::error::Result<bool> {
    match caller.key_id {
        Some(_) => state.machines.has_rights_still(caller).await,
        None => state.auth.has_rights_still(caller).await,
    }
}

/// The client's side of the connection.
struct Peer {
    socket: WebSocket,
    check: Interval,
    state: ApiState,
    caller: Caller,
    send_within: Duration,
}

impl Peer {
    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        match serde_json::to_string(message) {
            Ok(text) => self.send(Message::Text(text.into())).await,
            Err(error) => {
                tracing::error!(error = %error, "a live message could not be written");
                Err(End::Gone)
            }
        }
    }

    /// Sends, for so long as the settings allow; a session that ends meanwhile ends the sending too.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let Self { socket, check, state, caller, send_within } = self;
        let sending = timeout(*send_within, socket.send(message));
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return match sent {
                    Ok(sent) => sent.map_err(Into::into),
                    Err(_) => {
                        tracing::debug!("a live client does not read");
                        Err(End::Gone)
                    }
                },
                _ = check.tick() => {
                    if let Some(end) = ended(state, caller).await {
                        return Err(end);
                    }
                }
            }
        }
    }
}

struct Open {
    task: AbortHandle,
    subscription: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    state: ApiState,
    caller: Caller,
    client: Client,
    open: HashMap<String, Open>,
    /// The number of the last subscription: each has its own.
    last: u64,
    out: mpsc::Sender<(u64, ServerMessage)>,
}

impl Connection {
    async fn begin(&mut self, channels: Vec<(String, Option<i64>)>) -> Vec<ServerMessage> {
        let mut opened = Vec::new();
        let mut errors = Vec::new();
        let mut starts = Vec::new();
        for (name, after) in channels {
            match self.prepare(&name, after, opened.len()).await {
                Ok((channel, cursor)) => {
                    opened.push(name.clone());
                    starts.push((name, channel, cursor));
                }
                Err(error) => errors.push(error),
            }
        }
        let hello = ServerMessage::Connected { channels: opened, user_id: self.caller.user_id.to_string() };
        for (name, channel, cursor) in starts {
            self.start(name, channel, cursor);
        }
        std::iter::once(hello).chain(errors).collect()
    }

    async fn handle(&mut self, text: &str) -> Vec<ServerMessage> {
        match serde_json::from_str(text) {
            Ok(ClientMessage::Ping) => vec![ServerMessage::Pong],
            Ok(ClientMessage::Subscribe { channels, after }) => self.subscribe(channels, &after).await,
            Ok(ClientMessage::Unsubscribe { channels }) => {
                for channel in &channels {
                    self.open.remove(channel);
                }
                vec![ServerMessage::Unsubscribed { channels }]
            }
            Err(error) if error.is_data() => vec![ServerMessage::error(
                "unknown message: `type` is `subscribe`, `unsubscribe` or `ping`, with `channels` as a list of texts",
            )],
            Err(_) => vec![ServerMessage::error("this is not JSON")],
        }
    }

    async fn subscribe(&mut self, channels: Vec<String>, after: &HashMap<String, i64>) -> Vec<ServerMessage> {
        let mut replies = Vec::new();
        let mut subscribed = Vec::new();
        let mut next_after = HashMap::new();
        let mut starts = Vec::new();
        // One more than can be open, so that a client that asks for too many hears it.
        for name in channels.into_iter().take(MAX_CHANNELS + 1) {
            match self.prepare(&name, after.get(&name).copied(), subscribed.len()).await {
                Ok((channel, cursor)) => {
                    if matches!(channel, Channel::Execution { .. }) {
                        next_after.insert(name.clone(), cursor);
                    }
                    subscribed.push(name.clone());
                    starts.push((name, channel, cursor));
                }
                Err(error) => replies.push(error),
            }
        }
        replies.insert(0, ServerMessage::Subscribed { channels: subscribed, next_after });
        for (name, channel, cursor) in starts {
            self.start(name, channel, cursor);
        }
        replies
    }

    /// `ahead`: channels of the same message that are accepted and not started yet.
    async fn prepare(
        &self,
        name: &str,
        after: Option<i64>,
        ahead: usize,
    ) -> Result<(Channel, i64), ServerMessage> {
        let refused = |message: String| ServerMessage::Error {
            message,
            channel: Some(name.chars().take(200).collect()),
        };
        if self.open.len() + ahead >= MAX_CHANNELS && !self.open.contains_key(name) {
            return Err(refused(format!("a connection has at most {MAX_CHANNELS} channels")));
        }
        let channel = Channel::open(&self.state, &self.caller, name).await.map_err(|error| {
            note_channel(&self.state, &self.caller, &self.client, name, &error);
            refused(error.to_string())
        })?;
        let cursor = channel.start(&self.state, after).await.map_err(|error| refused(error.to_string()))?;
        Ok((channel, cursor))
    }

    /// A second subscription to the same channel takes the place of the first.
    fn start(&mut self, name: String, channel: Channel, cursor: i64) {
        self.last += 1;
        let outlet = Outlet::new(self.last, self.out.clone());
        let task = tokio::spawn(channel.run(self.state.clone(), cursor, outlet)).abort_handle();
        self.open.insert(name, Open { task, subscription: self.last });
    }

    fn follows(&self, subscription: u64) -> bool {
        self.open.values().any(|open| open.subscription == subscription)
    }
}
