//! The stream of one execution over Server-Sent Events: the same messages as the WebSocket's, for `curl -N` and for clients that
//! reconnect by themselves with `Last-Event-ID`.

use super::{
    channel::{Channel, Outlet},
    messages::ServerMessage,
    socket,
};
use crate::{
    extract::{Path, SignedIn},
    metrics::Transport,
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use bifrost_domain::{error::Error, execution::Status, ids::ExecutionId};
use futures::{Stream, StreamExt};
use std::{convert::Infallible, time::Duration};
use tokio::sync::mpsc;

/// Messages that wait for a slow reader; the channel waits beyond that.
const QUEUE: usize = 64;
/// A comment is sent so often, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follow an execution over Server-Sent Events
///
/// Sends every line from the first (or from behind `Last-Event-ID`), then what comes, and ends after the `execution_update` with a
/// terminal status. The event's name is the message's `type`; the id of an `execution_log` is its sequence.
#[utoipa::path(
    get, path = "/api/executions/{id}/stream", tag = "live",
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<i64>, Header, description = "the last sequence that was received")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, body = ProblemOut, content_type = "application/problem+json", description = "64 live connections are open"),
    ),
)]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::invalid("Last-Event-ID", "format", "is not the sequence of a line"))?,
    };
    let place = state.live.take(signed_in.caller.user_id, Transport::Sse)?;
    let channel = Channel::open(&state, &signed_in.caller, &format!("execution:{id}")).await?;
    let cursor = channel.start(&state, Some(after)).await?;
    let (out, messages) = mpsc::channel(QUEUE);
    tokio::spawn(channel.run(state.clone(), cursor, Outlet::new(0, out)));
    let caller = signed_in.caller;
    let events = futures::stream::unfold((messages, place, false), move |(mut messages, place, ended)| {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            if ended {
                return None;
            }
            let (_, message) = messages.recv().await?;
            // A session that has ended or has other rights now reads no further.
            if socket::ended(&state, &caller).await.is_some() {
                return None;
            }
            let last = is_last(&message);
            Some((event_of(&message), (messages, place, last)))
        }
    });
    Ok(Sse::new(events.map(Ok)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn is_last(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::ExecutionUpdate { status, .. } => status.parse().is_ok_and(Status::is_terminal),
        _ => false,
    }
}

fn event_of(message: &ServerMessage) -> Event {
    let event = Event::default().event(message.name());
    let event = match message {
        ServerMessage::ExecutionLog { sequence, .. } => event.id(sequence.to_string()),
        _ => event,
    };
    event.json_data(message).unwrap_or_else(|_| Event::default().comment("a message could not be written"))
}
