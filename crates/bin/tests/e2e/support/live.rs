//! A live connection.

use super::PATIENCE;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Value),
    /// Closed with this code.
    Closed(u16),
}

/// The status of a connection that was not opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16);

pub(crate) struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

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
        match timeout(PATIENCE, connect_async(request)).await.expect("an answer") {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => Err(Refused(response.status().as_u16())),
            Err(other) => panic!("no connection: {other}"),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    /// The next message or the end.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Message(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(Some(frame)))) => return Heard::Closed(frame.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message of this type.
    pub(crate) async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Everything up to the update that says a terminal status: the lines, and that update.
    pub(crate) async fn follow(&mut self) -> (Vec<Value>, Value) {
        let mut lines = Vec::new();
        loop {
            let message = self.message().await;
            match message["type"].as_str() {
                Some("execution_log") => lines.push(message),
                Some("execution_update") => {
                    let status = message["status"].as_str().expect("a status");
                    if !["Scheduled", "Pending", "Running", "Cancelling"].contains(&status) {
                        return (lines, message);
                    }
                }
                _ => {}
            }
        }
    }
}
