//! Live events: WebSocket at `/ws/connect` and `/ws/execution/{id}`, the ticket that opens one from a browser, and one
//! execution's stream over Server-Sent Events (`stream`).
//!
//! A connection has a set of channels. Each channel is a task that follows the bus and reads the store (`channel`); the
//! connection (`socket`) forwards what they send, answers the client, and ends when its session does. The store is the
//! truth: a channel sends lines by sequence from a cursor, so that none is lost and none comes twice.

mod channel;
mod messages;
mod socket;
mod stream;

use crate::{
    extract::{Json, SignedIn},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::{
        FromRequestParts, Path, Query, Request, State, WebSocketUpgrade,
        ws::{CloseFrame, Message},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bifrost_app::auth::TICKET_SECONDS;
use bifrost_domain::policy::Caller;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Close code for a connection without a valid identity.
const UNAUTHENTICATED: u16 = 4001;
/// Largest message that a client may send, bytes.
const MAX_CLIENT_MESSAGE: usize = 64 * 1024;

/// The routes that stay open.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(connect)).routes(routes!(execution)).routes(routes!(stream::stream))
}

/// The route of the ticket.
pub(crate) fn ticket_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ticket))
}

/// A ticket for one live connection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveTicket)]
pub(crate) struct TicketOut {
    /// To be sent as `?ticket=`.
    ticket: String,
    /// How long it is valid, seconds.
    #[schema(example = 30)]
    expires_in: i64,
}

/// Get a ticket for a live connection
///
/// Valid once, for 30 seconds: a browser cannot send the header `Authorization` with a WebSocket.
#[utoipa::path(
    post, path = "/api/live/ticket", tag = "live",
    responses(
        (status = 200, body = TicketOut),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ticket(State(state): State<ApiState>, signed_in: SignedIn) -> Result<Json<TicketOut>> {
    let ticket = state.auth.issue_ticket(&signed_in.caller).await?;
    Ok(Json(TicketOut { ticket, expires_in: TICKET_SECONDS }))
}

/// How a live connection begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectQuery {
    /// Channels to begin with, separated by commas: `execution:{id}`, `history:{scope}`, `user:{id}`, `notification:{id}`, `system`.
    channels: Option<String>,
    /// A ticket, instead of a header or cookie.
    ticket: Option<String>,
    /// For `/ws/execution/{id}`: lines with a higher sequence are sent first. Without it only new lines are.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Open a live connection
///
/// A WebSocket (RFC 6455). Without a valid identity it is closed with code 4001. See docs/live.md for its messages.
#[utoipa::path(
    get, path = "/ws/connect", tag = "live", params(ConnectQuery),
    responses(
        (status = 101, description = "the connection is open"),
        (status = 400, body = ProblemOut, content_type = "application/problem+json", description = "not a WebSocket request"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json", description = "a foreign origin"),
    ),
)]
pub(crate) async fn connect(State(state): State<ApiState>, request: Request) -> Response {
    open(state, request, None).await
}

/// Follow one execution
///
/// As `/ws/connect?channels=execution:{id}`.
#[utoipa::path(
    get, path = "/ws/execution/{id}", tag = "live", params(("id" = Uuid, Path), ConnectQuery),
    responses(
        (status = 101, description = "the connection is open"),
        (status = 400, body = ProblemOut, content_type = "application/problem+json", description = "not a WebSocket request"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json", description = "a foreign origin"),
    ),
)]
pub(crate) async fn execution(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    open(state, request, Some(id)).await
}

async fn open(state: ApiState, request: Request, id: Option<String>) -> Response {
    use bifrost_domain::error::Error;
    let (mut parts, _) = request.into_parts();
    if !origin_is_ours(&state, &parts.headers) {
        return crate::problem::Problem::from(Error::forbidden("this origin may not open live connections"))
            .into_response();
    }
    let query: ConnectQuery = match Query::try_from_uri(&parts.uri) {
        Ok(Query(query)) => query,
        Err(_) => ConnectQuery::default(),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &state).await {
        Ok(upgrade) => upgrade.max_message_size(MAX_CLIENT_MESSAGE).max_frame_size(MAX_CLIENT_MESSAGE),
        Err(_) => {
            let error = Error::bad_request("this address speaks WebSocket: send an upgrade request");
            return crate::problem::Problem::from(error).into_response();
        }
    };
    let caller: Option<Caller> = match &query.ticket {
        Some(ticket) => state.auth.redeem_ticket(ticket).await.ok(),
        None => SignedIn::from_request_parts(&mut parts, &state).await.ok().map(|signed_in| signed_in.caller),
    };
    upgrade.on_upgrade(async move |mut socket| {
        let Some(caller) = caller else {
            let frame = CloseFrame { code: UNAUTHENTICATED, reason: "sign in first".into() };
            let _ = socket.send(Message::Close(Some(frame))).await;
            return;
        };
        let mut channels: Vec<(String, Option<i64>)> = Vec::new();
        if let Some(id) = id {
            channels.push((format!("execution:{id}"), query.after));
        }
        for channel in query.channels.iter().flat_map(|list| list.split(',')).map(str::trim) {
            if !channel.is_empty() {
                channels.push((channel.to_owned(), None));
            }
        }
        socket::serve(state, caller, socket, channels).await;
    })
}

/// A browser sends `Origin`: it has to be our own host or one of the settings' list. Programs send none.
fn origin_is_ours(state: &ApiState, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if state.settings.allowed_origins.iter().any(|allowed| allowed == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, rest)| rest);
    authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}
