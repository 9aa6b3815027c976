//! Keyset pages: `limit` and an opaque `continuation_token`.

use super::Json;
use axum::{
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::error::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use uuid::Uuid;

const MAX_LIMIT: u32 = 1000;

/// Which page is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageIn {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page before ended, as it said.
    pub continuation_token: Option<String>,
}

impl PageIn {
    /// The limit, and the id after which the page begins.
    ///
    /// # Errors
    /// Invalid when the limit is out of its bounds or the token is not ours.
    pub fn resolve(&self, default_limit: u32) -> Result<(u32, Option<Uuid>)> {
        let limit = self.limit.unwrap_or(default_limit);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::invalid("limit", "range", format!("must be between 1 and {MAX_LIMIT}")));
        }
        let after = match self.continuation_token.as_deref() {
            None | Some("") => None,
            Some(token) => Some(decode_token(token).ok_or_else(|| {
                Error::invalid("continuation_token", "format", "is not a token that this list gave")
            })?),
        };
        Ok((limit, after))
    }
}

/// The token of a page that ended with `id`.
#[must_use]
pub fn encode_token(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// The token of the page behind what was found, when there is one; `id` is what it begins after.
pub fn next_token<T>(found: &[T], more: bool, id: impl FnOnce(&T) -> Uuid) -> Option<String> {
    found.last().filter(|_| more).map(|last| encode_token(id(last)))
}

/// A page whose body has no place for the token: it is in the header. `body` makes the body of what was found.
pub fn page<T, Out: Serialize>(
    (found, more): (Vec<T>, bool),
    id: impl FnOnce(&T) -> Uuid,
    body: impl FnOnce(Vec<T>) -> Out,
) -> Response {
    let next = next_token(&found, more, id);
    let mut response = Json(body(found)).into_response();
    if let Some(token) = next.and_then(|token| HeaderValue::from_str(&token).ok()) {
        response.headers_mut().insert("x-continuation-token", token);
    }
    response
}

/// A page whose body is a bare array.
pub fn array<T, Out: From<T> + Serialize>(found: (Vec<T>, bool), id: impl FnOnce(&T) -> Uuid) -> Response {
    page(found, id, |found| found.into_iter().map(Out::from).collect::<Vec<_>>())
}

fn decode_token(token: &str) -> Option<Uuid> {
    (token.len() == 22).then_some(())?;
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_bounds() {
        let id = Uuid::from_u128(7);
        let page =
            |limit, token: Option<&str>| PageIn { limit, continuation_token: token.map(str::to_owned) };
        assert_eq!(page(None, Some(&encode_token(id))).resolve(25).expect("ours"), (25, Some(id)));
        assert_eq!(page(Some(1000), None).resolve(25).expect("at the bound"), (1000, None));
        for (limit, token) in
            [(Some(0), None), (Some(1001), None), (None, Some("x")), (None, Some("!".repeat(22).as_str()))]
        {
            assert!(page(limit, token).resolve(25).is_err(), "{limit:?} {token:?}");
        }
    }
}
