//! Who sets up a second factor: somebody signed in himself (no key), or somebody whose sign-in waits for it and who shows the token of the
//! challenge.

use super::{SignedIn, refusal::Refusal};
use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use bifrost_app::auth::mfa::Subject;
use bifrost_domain::policy::actions::ShowFactor;
use std::convert::Infallible;

/// Who asks. A token in the body goes before what the headers show.
#[derive(Debug)]
pub(crate) enum FactorCaller {
    /// The token of a challenge, as `Authorization: Bearer`.
    Waiting(Box<Subject>),
    /// A session.
    SignedIn(Box<SignedIn>),
    /// Neither; the answer unless the body has a token.
    Nobody(Box<Refusal>),
}

impl FactorCaller {
    /// For whom the factor is to be.
    pub(crate) async fn subject(self, state: &ApiState, token: Option<&str>) -> Result<Subject, Problem> {
        if let Some(token) = token {
            return Ok(state.mfa.waiting(token).await?);
        }
        match self {
            Self::Waiting(subject) => Ok(*subject),
            Self::SignedIn(me) => Ok(state.mfa.signed_in(me.user, me.caller.session_id).await?),
            Self::Nobody(refusal) => Err(refusal.noted(state)),
        }
    }
}

impl FromRequestParts<ApiState> for FactorCaller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Infallible> {
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = shown.and_then(|text| text.split_once(' '))
            && scheme.eq_ignore_ascii_case("bearer")
            && let Ok(subject) = state.mfa.waiting(token.trim()).await
        {
            return Ok(Self::Waiting(Box::new(subject)));
        }
        // A key, of an API client or of a person, is never the person himself.
        let me = SignedIn::identify(parts, state).await;
        Ok(match me.and_then(|me| Ok(me.permit::<ShowFactor>().map(|_| me)?)) {
            Ok(me) => Self::SignedIn(Box::new(me)),
            Err(refusal) => Self::Nobody(Box::new(refusal)),
        })
    }
}
