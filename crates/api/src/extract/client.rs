//! Where a request came from.

use super::forwarded;
use crate::{layers::request::RequestId, state::ApiState};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, header, request::Parts},
};
use bifrost_app::auth::Client;
use bifrost_domain::network::Network;
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

/// Address (what a trusted proxy says, else the peer's), browser and id of the request.
#[derive(Debug)]
pub struct ClientInfo(pub Client);

/// The peer of the connection, whatever it says of itself.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}

/// Whether a request came from a proxy of ours, whose word is taken.
pub(crate) fn is_from_proxy(extensions: &Extensions, trusted: &[Network]) -> bool {
    peer(extensions).is_some_and(|peer| forwarded::is_proxy(peer, trusted))
}

impl FromRequestParts<ApiState> for ClientInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Infallible> {
        let user_agent = parts.headers.get(header::USER_AGENT);
        Ok(Self(Client {
            ip: forwarded::client(peer(&parts.extensions), &parts.headers, &state.settings.trusted_proxies),
            user_agent: user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        }))
    }
}
