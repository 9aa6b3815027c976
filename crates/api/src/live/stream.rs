//! The stream of one execution over Server-Sent Events (WHATWG HTML, 9.2): the same messages as the WebSocket's, for `curl -N`, for
//! `EventSource`, and for whatever reconnects with `Last-Event-ID`.

use super::{
    caller_of,
    channel::{Channel, Outlet},
    messages::ServerMessage,
    note_channel,
    socket::{self, SESSION_CHECK},
};
use crate::{
    extract::{ClientInfo, Path, Query},
    metrics::Transport,
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bifrost_domain::{error::Error, execution::Status, ids::ExecutionId, policy::Caller};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    time::interval,
};
use utoipa::IntoParams;

/// Messages that wait for a slow reader; the channel waits beyond that.
const QUEUE: usize = 64;
/// How long a client that lost the connection waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);
/// The id of the last event: whoever comes back with it has heard everything.
const END: &str = "end";

/// Ends the connection that a request came over. Whoever serves connections puts one into each request's extensions and waits for it: an
/// answer that nobody reads cannot be ended from within.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<Notify>);

impl Hangup {
    /// Ends the connection.
    pub fn hang_up(&self) {
        self.0.notify_one();
    }

    /// Waits until the connection is to end.
    pub async fn hung_up(&self) {
        self.0.notified().await;
    }
}

/// Where the stream begins, and who asks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Lines with a higher sequence are sent. `Last-Event-ID` goes before it.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// A ticket, instead of a header or cookie.
    ticket: Option<String>,
}

/// Follow an execution over Server-Sent Events
///
/// Sends every line from the first (or from behind `Last-Event-ID` or `after`), then what comes, and ends after the `execution_update` with
/// a terminal status. The event's name is the message's `type`; the id of an `execution_log` is its sequence, that of the last event is
/// `end`. A client that comes back with `end` gets 204, which tells an `EventSource` to stay away.
#[utoipa::path(
    get, path = "/api/executions/{id}/stream", tag = "live",
    params(
        ("id" = Uuid, Path), StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that was received"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 204, description = "the execution has ended, and the caller has heard it"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, body = ProblemOut, content_type = "application/problem+json", description = "64 live connections are open"),
    ),
)]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    Path(id): Path<ExecutionId>,
    request: Request,
) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    let Query(query) = Query::<StreamQuery>::from_request_parts(&mut parts, &state).await?;
    let begin = begin(&parts.headers, query.after)?;
    let caller = caller_of(&state, &mut parts, query.ticket.as_deref()).await?;
    let place = state.live.take(caller.user_id, Transport::Sse)?;
    let Ok(ClientInfo(client)) = ClientInfo::from_request_parts(&mut parts, &state).await;
    let name = format!("execution:{id}");
    let channel = Channel::open(&state, &caller, &name)
        .await
        .inspect_err(|error| note_channel(&state, &caller, &client, &name, error))?;
    let after = match begin {
        Begin::After(after) => after,
        Begin::End => {
            let (execution, _) = state.app.find_execution(&caller, id).await?;
            return if execution.status.is_terminal() {
                Ok(StatusCode::NO_CONTENT.into_response())
            } else {
                Err(Error::invalid("Last-Event-ID", "value", "says that it has ended, and it has not").into())
            };
        }
    };
    let cursor = channel.start(&state, Some(after)).await?;
    let (out, messages) = mpsc::channel(QUEUE);
    let hangup = parts.extensions.get::<Hangup>().cloned();
    let outlet = Outlet::impatient(out, state.settings.live_send_timeout);
    let (running, checking) = (state.clone(), state.clone());
    tokio::spawn(async move {
        let unread = outlet.clone();
        channel.run(running, cursor, outlet).await;
        // It ended because the answer did, or because its reader takes nothing more and has to be let go.
        if !unread.is_closed()
            && let Some(hangup) = hangup
        {
            tracing::debug!("a live client does not read");
            hangup.hang_up();
        }
        drop(place);
    });
    let events = events(checking, caller, messages);
    let comments = KeepAlive::new().interval(state.settings.live_comment_every);
    let mut response = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(comments).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Asks nginx, and those that took it over, to hand on each event as it comes.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a client goes on.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    /// Behind this line.
    After(i64),
    /// It has heard the end.
    End,
}

fn begin(headers: &HeaderMap, after: Option<i64>) -> Result<Begin, Error> {
    let mut ids = headers.get_all("last-event-id").iter();
    let id = match (ids.next(), ids.next()) {
        (Some(id), None) => id.to_str().map_err(|_| bad_id())?.trim(),
        (None, _) => "",
        (Some(_), Some(_)) => return Err(bad_id()),
    };
    match (id, after) {
        ("", None) => Ok(Begin::After(0)),
        ("", Some(after)) if after >= 0 => Ok(Begin::After(after)),
        ("", Some(_)) => Err(Error::invalid("after", "range", "must be 0 or more")),
        (END, _) => Ok(Begin::End),
        (id, _) => {
            let sequence = id.parse().ok().filter(|sequence: &i64| *sequence >= 0);
            sequence.map(Begin::After).ok_or_else(bad_id)
        }
    }
}

fn bad_id() -> Error {
    Error::invalid("Last-Event-ID", "format", "must be the id of one event: the sequence of a line, or `end`")
}

/// The events, from the advice when to come again to the terminal update.
fn events(
    state: ApiState,
    caller: Caller,
    messages: mpsc::Receiver<(u64, ServerMessage)>,
) -> impl Stream<Item = Event> {
    let first = futures::stream::once(async { Event::default().retry(RETRY) });
    let begun = (messages, interval(SESSION_CHECK), false);
    let rest = futures::stream::unfold(begun, move |(mut messages, mut check, ended)| {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            if ended {
                return None;
            }
            let message = loop {
                tokio::select! {
                    received = messages.recv() => break received?.1,
                    // A session that has ended or has other rights now reads no further.
                    _ = check.tick() => if socket::ended(&state, &caller).await.is_some() {
                        return None;
                    },
                }
            };
            let last = is_last(&message);
            Some((event_of(&message, last), (messages, check, last)))
        }
    });
    first.chain(rest)
}

fn is_last(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::ExecutionUpdate { status, .. } => status.parse().is_ok_and(Status::is_terminal),
        _ => false,
    }
}

fn event_of(message: &ServerMessage, is_last: bool) -> Event {
    let event = Event::default().event(message.name());
    let event = match message {
        ServerMessage::ExecutionLog { sequence, .. } => event.id(sequence.to_string()),
        _ if is_last => event.id(END),
        _ => event,
    };
    event.json_data(message).unwrap_or_else(|_| Event::default().comment("a message could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_client_goes_on() {
        let begin = |ids: &[&str], after| {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append("last-event-id", HeaderValue::from_bytes(id.as_bytes()).expect("a header"));
            }
            begin(&headers, after).map_err(|error| error.fields[0].path.clone())
        };
        let bad = || Err("Last-Event-ID".to_owned());
        for (ids, after, expected) in [
            (vec![], None, Ok(Begin::After(0))),
            (vec![], Some(7), Ok(Begin::After(7))),
            (vec![], Some(i64::MAX), Ok(Begin::After(i64::MAX))),
            (vec![], Some(-1), Err("after".to_owned())),
            (vec![""], Some(7), Ok(Begin::After(7))),
            (vec!["0"], Some(7), Ok(Begin::After(0))),
            (vec![" 12 "], Some(7), Ok(Begin::After(12))),
            (vec!["9223372036854775807"], None, Ok(Begin::After(i64::MAX))),
            (vec!["9223372036854775808"], None, bad()),
            (vec!["-1"], None, bad()),
            (vec!["1.5"], None, bad()),
            (vec!["x"], None, bad()),
            (vec!["ü"], None, bad()),
            (vec!["1", "2"], None, bad()),
            (vec!["end"], None, Ok(Begin::End)),
            (vec!["End"], None, bad()),
        ] {
            assert_eq!(begin(&ids, after), expected, "{ids:?} {after:?}");
        }
    }
}
