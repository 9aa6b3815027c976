//! Path and query parameters.

use super::fields::{from_urlencoded, words};
use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use bifrost_domain::error::Error;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// The last parameter of the path, e.g. the id in `/api/organizations/{id}`; 422 when it cannot be read.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T> FromRequestParts<ApiState> for Path<T>
where
    T: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::bad_request("the path is not UTF-8"))?;
        let last = params.iter().last();
        Ok(Self(read(last)?))
    }
}

/// The two parameters of the path, e.g. both ids in `/api/roles/{id}/users/{user_id}`; 422 when one cannot be read.
#[derive(Debug)]
pub struct Paths<A, B>(pub A, pub B);

impl<A, B> FromRequestParts<ApiState> for Paths<A, B>
where
    A: FromStr<Err: std::fmt::Display> + Send,
    B: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::bad_request("the path is not UTF-8"))?;
        let mut params = params.iter();
        Ok(Self(read(params.next())?, read(params.next())?))
    }
}

fn read<T: FromStr<Err: std::fmt::Display>>(parameter: Option<(&str, &str)>) -> Result<T, Error> {
    let (name, text) = parameter.ok_or_else(|| Error::internal("the route has no such parameter"))?;
    text.parse().map_err(|error: T::Err| Error::invalid(name, "format", words(&error.to_string()).1))
}

/// The query; 422 when a parameter cannot be read. Unknown ones are ignored.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        Ok(Self(from_urlencoded(parts.uri.query().unwrap_or_default().as_bytes())?))
    }
}
