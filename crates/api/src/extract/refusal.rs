//! Refusals of somebody who is known, for the audit log.

use super::ClientInfo;
use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::{StatusCode, request::Parts},
};
use bifrost_app::auth::{Client, Denial, Known};
use serde_json::{Map, Value, json};

/// What was asked, and from where.
#[derive(Debug)]
pub(crate) struct Asked {
    request: String,
    /// The route: the same for every object.
    route: String,
    /// From where.
    pub(crate) client: Client,
}

impl Asked {
    /// What these parts ask.
    pub(crate) async fn of(parts: &mut Parts, state: &ApiState) -> Self {
        let path = parts.uri.path();
        let route = parts.extensions.get::<MatchedPath>().map_or(path, MatchedPath::as_str);
        let (request, route) = (format!("{} {path}", parts.method), format!("{} {route}", parts.method));
        let Ok(ClientInfo(client)) = ClientInfo::from_request_parts(parts, state).await;
        Self { request, route, client }
    }

    /// Its refusal, of `by`, with what else is worth knowing.
    pub(crate) fn refused(&self, by: Known, reason: &'static str, more: Map<String, Value>) -> Denial {
        let mut detail = more;
        detail.insert("reason".to_owned(), reason.into());
        detail.insert("request".to_owned(), self.request.as_str().into());
        Denial { by, detail: Value::Object(detail), like: format!("{reason} {}", self.route) }
    }

    /// Notes that policy, or the command behind it, refused who may not do what needs `permission`.
    pub(crate) fn note(&self, state: &ApiState, by: Known, permission: &'static str, reason: &'static str) {
        let more = Map::from_iter([("permission".to_owned(), permission.into())]);
        state.auth.note_denial(self.refused(by, reason, more), &self.client);
    }
}

/// Why a request has no caller; when it is known who asked, and he may not, this is to be noted.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Problem,
    denial: Option<Box<(Denial, Client)>>,
}

impl Refusal {
    /// `by`: who it was, when that is known. `named`: the organization and the person that the headers name.
    pub(super) async fn new(
        problem: Problem,
        by: Option<Known>,
        named: [(&str, Option<String>); 2],
        parts: &mut Parts,
        state: &ApiState,
    ) -> Self {
        let denial = match by.filter(|_| problem.status() == StatusCode::FORBIDDEN) {
            None => None,
            Some(by) => {
                let asked = Asked::of(parts, state).await;
                let named = named.into_iter().filter_map(|(name, id)| Some((name.to_owned(), json!(id?))));
                Some(Box::new((asked.refused(by, problem.code(), named.collect()), asked.client)))
            }
        };
        Self { problem, denial }
    }

    /// The answer; the refusal is noted.
    pub(crate) fn noted(self, state: &ApiState) -> Problem {
        if let Some(denial) = self.denial {
            let (denial, client) = *denial;
            state.auth.note_denial(denial, &client);
        }
        self.problem
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, denial: None }
    }
}
