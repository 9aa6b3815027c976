//! One live connection.

use super::{
    UNAUTHENTICATED,
    channel::Channel,
    messages::{ClientMessage, ServerMessage},
};
use crate::state::ApiState;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bifrost_domain::policy::Caller;
use std::{collections::HashMap, time::Duration};
use tokio::{sync::mpsc, task::AbortHandle};

/// Channels of one connection at most.
const MAX_CHANNELS: usize = 100;
/// Messages that wait for a slow client; channels wait beyond that.
const QUEUE: usize = 256;
/// So often it is asked whether the session still holds.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// So often an idle client is pinged, so that proxies keep the connection and dead peers are noticed.
const PING: Duration = Duration::from_secs(20);

struct Open {
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    state: ApiState,
    caller: Caller,
    open: HashMap<String, Open>,
    out: mpsc::Sender<ServerMessage>,
}

/// Serves until the client goes away or its session ends.
pub(super) async fn serve(
    state: ApiState,
    caller: Caller,
    mut socket: WebSocket,
    channels: Vec<(String, Option<i64>)>,
) {
    let (out, mut messages) = mpsc::channel(QUEUE);
    let session = caller.session_id;
    let mut connection = Connection { state: state.clone(), caller, open: HashMap::new(), out };
    let mut replies = connection.begin(channels).await;
    let mut check = tokio::time::interval(SESSION_CHECK);
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    let mut unanswered = 0_u8;
    loop {
        for reply in replies.drain(..) {
            if send(&mut socket, &reply).await.is_err() {
                return;
            }
        }
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => replies = connection.handle(&text).await,
                Some(Ok(Message::Binary(_))) => replies.push(ServerMessage::error("send JSON as text")),
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Pong(_))) => unanswered = 0,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            Some(message) = messages.recv() => {
                if send(&mut socket, &message).await.is_err() {
                    return;
                }
            }
            _ = check.tick() => {
                if let Some(id) = session
                    && matches!(state.auth.session_holds(id).await, Ok(false))
                {
                    let frame = CloseFrame { code: UNAUTHENTICATED, reason: "the session has ended".into() };
                    let _ = socket.send(Message::Close(Some(frame))).await;
                    return;
                }
            }
            _ = ping.tick() => {
                unanswered += 1;
                if unanswered > 2 || socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn send(socket: &mut WebSocket, message: &ServerMessage) -> Result<(), axum::Error> {
    let text = serde_json::to_string(message).map_err(axum::Error::new)?;
    socket.send(Message::Text(text.into())).await
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
        let channel = Channel::open(&self.state, &self.caller, name)
            .await
            .map_err(|error| refused(error.to_string()))?;
        let cursor = channel.start(&self.state, after).await.map_err(|error| refused(error.to_string()))?;
        Ok((channel, cursor))
    }

    /// A second subscription to the same channel takes the place of the first.
    fn start(&mut self, name: String, channel: Channel, cursor: i64) {
        let task = tokio::spawn(channel.run(self.state.clone(), cursor, self.out.clone())).abort_handle();
        self.open.insert(name, Open { task });
    }
}
