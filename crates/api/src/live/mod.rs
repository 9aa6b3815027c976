//! Live events: WebSocket at `/ws/connect` and `/ws/execution/{id}`, the ticket that opens one from a browser, and one
//! execution's stream over Server-Sent Events (`stream`).
//!
//! A connection has a set of channels. Each channel is a task that follows the bus and reads the store (`channel`); the
//! connection (`socket`) forwards what they send, answers the client, and ends when its session does. The store is the
//! truth: a channel sends lines by sequence from a cursor, so that none is lost and none comes twice.

mod channel;
mod messages;
mod places;
mod socket;
mod stream;

pub(crate) use places::Places;
pub use stream::Hangup;

use crate::{
    access::{allowed, live},
    extract::{Asked, ClientInfo, Json, Path, Query, SignedIn},
    metrics::Transport,
    problem::{Problem, ProblemOut, Result},
    state::{AllowedOrigins, ApiState},
};
use axum::{
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, header, request::Parts},
    response::Response,
};
use bifrost_app::auth::{Client, Denial, Known, TICKET_SECONDS};
use bifrost_domain::{
    error::{Error, Kind},
    policy::{Action, Caller, actions::UseLive, authorize},
};
use messages::ServerMessage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Close code for a connection without a valid identity.
const UNAUTHENTICATED: u16 = 4001;
/// Close code for one connection more than a person may have (RFC 6455's registry: try again later).
const TRY_AGAIN_LATER: u16 = 1013;
/// Largest message that a client may send, bytes.
const MAX_CLIENT_MESSAGE: usize = 64 * 1024;
/// What is read of a message at most. More than is allowed, so that a client hears what was wrong and is not cut off in the
/// middle of sending.
const MAX_READ: usize = 1024 * 1024;

/// The routes that stay open.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(live(routes!(connect)))
        .routes(live(routes!(execution)))
        .routes(live(routes!(stream::stream)))
}

/// The route of the ticket.
pub(crate) fn ticket_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(allowed::<UseLive>(routes!(ticket)))
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
/// Valid once, for 30 seconds: a browser cannot send the header `Authorization` with a WebSocket or an `EventSource`.
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
/// A WebSocket (RFC 6455). Without a valid identity it is closed with code 4001, also when the session ends later or its rights
/// change, and with 1013 when the person has 64 open already. See docs/live.md for its messages.
#[utoipa::path(
    get, path = "/ws/connect", tag = "live", params(ConnectQuery),
    responses(
        (status = 101, description = "the connection is open"),
        (status = 400, body = ProblemOut, content_type = "application/problem+json", description = "not a WebSocket request"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json", description = "a foreign origin"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json", description = "bad parameters"),
        (status = 503, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn connect(State(state): State<ApiState>, request: Request) -> Result<Response> {
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
        (status = 422, body = ProblemOut, content_type = "application/problem+json", description = "bad parameters"),
        (status = 503, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn execution(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    open(state, request, Some(id)).await
}

async fn open(state: ApiState, request: Request, id: Option<String>) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    match origin(&state, &parts.headers) {
        Origin::Ours => {}
        Origin::Any => {
            parts.headers.remove(header::COOKIE);
        }
        Origin::Foreign => return Err(Error::forbidden("this origin may not open live connections").into()),
    }
    let Query(query) = Query::<ConnectQuery>::from_request_parts(&mut parts, &state).await?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state)
        .await
        .map_err(|_| Error::bad_request("this address speaks WebSocket: send an upgrade request"))?
        .max_message_size(MAX_READ)
        .max_frame_size(MAX_READ);
    let Ok(ClientInfo(client)) = ClientInfo::from_request_parts(&mut parts, &state).await;
    let caller: Option<Caller> = match caller_of(&state, &mut parts, query.ticket.as_deref()).await {
        Ok(caller) => Some(caller),
        Err(problem) if problem.status().is_server_error() => return Err(problem),
        Err(_) => None,
    };
    Ok(upgrade.on_upgrade(async move |socket| {
        let Some(caller) = caller else {
            return socket::refuse(socket, None, UNAUTHENTICATED, "sign in first").await;
        };
        let place = match state.live.take(caller.user_id, Transport::WebSocket) {
            Ok(place) => place,
            Err(error) => {
                let said = ServerMessage::error(error.to_string());
                return socket::refuse(socket, Some(&said), TRY_AGAIN_LATER, "too many connections").await;
            }
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
        socket::serve(state, (caller, client), place, socket, channels).await;
    }))
}

/// Whoever shows a ticket is judged by it: nothing else is tried.
async fn caller_of(state: &ApiState, parts: &mut Parts, ticket: Option<&str>) -> Result<Caller> {
    let caller = match ticket {
        Some(ticket) => state.auth.redeem_ticket(ticket).await?,
        None => SignedIn::identify(parts, state).await.map_err(|refusal| refusal.noted(state))?.caller,
    };
    if let Err(error) = authorize::<UseLive>(&caller) {
        let problem = Problem::from(error);
        let asked = Asked::of(parts, state).await;
        asked.note(state, Known::from(&caller), UseLive::PERMISSION, problem.code());
        return Err(problem);
    }
    state.auth.check_can_stay(&caller).await?;
    Ok(caller)
}

/// Notes that a channel was refused: told as missing where the caller is not to know that it is there, which is a refusal all the same.
fn note_channel(state: &ApiState, caller: &Caller, client: &Client, name: &str, error: &Error) {
    if !matches!(error.kind, Kind::Forbidden | Kind::NotFound) {
        return;
    }
    let name: String = name.chars().take(200).collect();
    let kind = name.split(':').next().unwrap_or_default();
    let like = format!("channel {kind}");
    let reason = error.code.unwrap_or(if error.kind == Kind::Forbidden { "forbidden" } else { "not_found" });
    let detail = json!({"channel": name, "reason": reason});
    state.auth.note_denial(Denial { by: caller.into(), detail, like }, client);
}

/// What a browser's `Origin` allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Our own host or public URL (a proxy may ask under another host), one of the settings' list, or a program, which sends none: everything.
    Ours,
    /// Any other when the settings allow any: to connect, but not with the browser's cookies.
    Any,
    /// Nothing.
    Foreign,
}

pub(crate) fn origin(state: &ApiState, headers: &HeaderMap) -> Origin {
    let Some(origin) = headers.get(header::ORIGIN) else { return Origin::Ours };
    let text = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = text.split_once("://").map(|(_, rest)| rest);
    if authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host)) {
        return Origin::Ours;
    }
    if text == state.settings.public_url.origin().ascii_serialization() {
        return Origin::Ours;
    }
    match &state.settings.allowed_origins {
        AllowedOrigins::Any => Origin::Any,
        AllowedOrigins::List(origins) if origins.iter().any(|allowed| allowed == text) => Origin::Ours,
        AllowedOrigins::List(_) => Origin::Foreign,
    }
}
