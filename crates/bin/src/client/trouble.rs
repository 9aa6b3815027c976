//! Answers that are none, as sentences that say what to do.

use super::{Exit, Failure, Server, http::Token, shapes::Problem};
use reqwest::StatusCode;
use std::error::Error as _;

/// What the server said instead of a good answer; `problem` when it said so as Bifrost does.
pub(super) fn refusal(
    server: &Server,
    token: &Token,
    status: StatusCode,
    problem: Option<Problem>,
) -> Failure {
    let Some(problem) = problem else {
        return Failure::unreachable(format!(
            "{server} answers {status}, but not as Bifrost does: is it the right address?"
        ));
    };
    let detail = &problem.detail;
    match status.as_u16() {
        401 => match token {
            Token::None => Failure::new(
                Exit::NotAllowed,
                format!("{server} does not know you: run `bifrost login {server}`, or set BIFROST_TOKEN"),
            ),
            Token::Given(_) => Failure::new(
                Exit::NotAllowed,
                format!(
                    "{server} does not accept BIFROST_TOKEN ({detail}): unset it and run `bifrost login`, or set a valid one"
                ),
            ),
            Token::Session(session) => Failure::new(
                Exit::NotAllowed,
                format!(
                    "the session of {} at {server} has ended: run `bifrost login {server}`",
                    session.email
                ),
            ),
        },
        403 => Failure::new(Exit::NotAllowed, format!("not allowed: {detail}")),
        404 => Failure::new(Exit::NotFound, detail.clone()),
        422 => {
            let fields: Vec<String> =
                problem.errors.iter().map(|field| format!("  {}: {}", field.path, field.message)).collect();
            let message = match fields.len() {
                0 => detail.clone(),
                _ => "the input was refused:".to_owned(),
            };
            Failure::new(Exit::Refused, message).with(fields)
        }
        429 => Failure::unreachable(format!("{detail} (the server asks to wait a moment)")),
        400..=499 => Failure::new(Exit::Refused, detail.clone()),
        _ => {
            let id = problem.request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
            Failure::unreachable(format!("{server} cannot answer now: {detail}{id}"))
        }
    }
}

/// Why there is no answer, and what to do.
pub(super) fn unanswered(server: &Server, error: &reqwest::Error) -> Failure {
    let why = cause(error);
    let lower = why.to_ascii_lowercase();
    let message = if error.is_timeout() {
        format!("{server} does not answer in time: is it the right address, and does it run?")
    } else if lower.contains("certificate") {
        format!(
            "the certificate of {server} is not trusted ({why}): correct the address, or name its authority's file in SSL_CERT_FILE"
        )
    } else if lower.contains("corrupt message") || lower.contains("invalidcontenttype") {
        format!("{server} speaks no TLS: use http:// if that is meant")
    } else if lower.contains("dns") || lower.contains("lookup") {
        format!("the host of {server} is not known ({why}): correct the address")
    } else if error.is_connect() && server.is_this_machine() {
        format!(
            "nothing answers at {server} ({why}): start it (`bifrost dev`), or name another server with --url or BIFROST_URL"
        )
    } else if error.is_connect() {
        format!("{server} cannot be reached ({why}): is it the right address, and does it run?")
    } else {
        let tls = if server.is_tls() { "" } else { "; if it speaks TLS, use https://" };
        format!("the connection to {server} broke ({why}): try again{tls}")
    };
    Failure::unreachable(message)
}

/// The last word of an error's chain.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}
