//! Where it listens, and what a request may be.

use super::{
    Environment,
    reader::{Reader, quote},
};
use bifrost_domain::network::Network;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use url::Url;

const MAX_ORIGINS: usize = 64;
const MAX_PROXIES: usize = 64;

/// Which browser origins may call the API besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Any origin; never in production.
    Any,
    /// These, as `scheme://host[:port]`.
    List(Vec<String>),
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Where people reach the API, without a slash at the end.
    pub public_url: String,
    /// Which browser origins may call.
    pub allowed_origins: AllowedOrigins,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// Largest request body in bytes.
    pub body_limit_bytes: usize,
    /// Longest wait of a synchronous execution.
    pub sync_wait_max: Duration,
    /// How long a connection may be idle, and a request's head may take.
    pub keep_alive: Duration,
    /// How long shutdown waits for running work.
    pub shutdown_grace: Duration,
}

impl Server {
    /// The address and port to bind.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Whether cookies carry `Secure`.
    #[must_use]
    pub fn cookies_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}

pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Server {
    let host = host(reader);
    let lowest = if environment == Environment::Testing { 0 } else { 1 };
    let port = reader.number("PORT", lowest..=u16::MAX);
    Server {
        host,
        port,
        public_url: public_url(reader, environment).unwrap_or_else(|| format!("http://localhost:{port}")),
        allowed_origins: allowed_origins(reader, environment),
        trusted_proxies: trusted_proxies(reader, environment),
        body_limit_bytes: reader.number("BODY_LIMIT_BYTES", 1024..=1024 * 1024 * 1024),
        sync_wait_max: Duration::from_secs(reader.number("SYNC_WAIT_MAX", 1..=3600)),
        keep_alive: Duration::from_secs(reader.number("KEEP_ALIVE_SECONDS", 1..=3600)),
        shutdown_grace: Duration::from_secs(reader.number("SHUTDOWN_GRACE_SECONDS", 0..=3600)),
    }
}

fn host(reader: &mut Reader<'_>) -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(text) = reader.given("HOST") else { return loopback };
    if text.eq_ignore_ascii_case("localhost") {
        return loopback;
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().unwrap_or_else(|_| {
        reader.problem("HOST", format!("{} is neither an IP address nor localhost", quote(&text)));
        loopback
    })
}

fn public_url(reader: &mut Reader<'_>, environment: Environment) -> Option<String> {
    let production = environment == Environment::Production;
    let Some(text) = reader.given("PUBLIC_URL") else {
        if production {
            reader
                .warn("PUBLIC_URL is not set: links lead to localhost, and cookies are sent without Secure");
        }
        return None;
    };
    let origin = origin(&text);
    if production && origin.as_ref().is_some_and(|origin| !origin.starts_with("https://")) {
        reader.warn("PUBLIC_URL is not https: cookies are sent without Secure");
    }
    if origin.is_none() {
        reader.problem("PUBLIC_URL", format!("{} is not http(s)://host[:port]", quote(&text)));
    }
    origin
}

fn allowed_origins(reader: &mut Reader<'_>, environment: Environment) -> AllowedOrigins {
    let name = "ALLOWED_ORIGINS";
    let Some(text) = reader.given(name) else { return AllowedOrigins::List(Vec::new()) };
    if text == "*" {
        if environment == Environment::Production {
            reader.problem(name, "production does not allow every origin; name them");
        }
        return AllowedOrigins::Any;
    }
    let mut origins = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match origin(part) {
            Some(origin) if !origins.contains(&origin) => origins.push(origin),
            Some(_) => {}
            None if part == "*" => reader.problem(name, "* stands alone: it means every origin"),
            None => reader.problem(name, format!("{} is not http(s)://host[:port]", quote(part))),
        }
    }
    if origins.len() > MAX_ORIGINS {
        reader.problem(name, format!("has {} origins; at most {MAX_ORIGINS} are read", origins.len()));
        origins.truncate(MAX_ORIGINS);
    }
    AllowedOrigins::List(origins)
}

fn trusted_proxies(reader: &mut Reader<'_>, environment: Environment) -> Vec<Network> {
    let name = "TRUSTED_PROXIES";
    let Some(text) = reader.given(name) else { return Vec::new() };
    let mut networks: Vec<Network> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<Network>() {
            Ok(network) if environment == Environment::Production && network.is_everything() => {
                reader.problem(name, format!("{} is everybody; name the proxies", quote(part)));
            }
            Ok(network) if !networks.contains(&network) => networks.push(network),
            Ok(_) => {}
            Err(error) => reader.problem(name, format!("{} {error}", quote(part))),
        }
    }
    if networks.len() > MAX_PROXIES {
        reader.problem(name, format!("has {} networks; at most {MAX_PROXIES} are read", networks.len()));
        networks.truncate(MAX_PROXIES);
    }
    networks
}

/// `scheme://host[:port]` as a browser writes it, or `None` when `text` says more, less or something else.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    bare.then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Bifrost.example:443/").as_deref(), Some("https://bifrost.example"));
        assert_eq!(origin("http://[::1]:3000").as_deref(), Some("http://[::1]:3000"));
        for text in [
            "bifrost.example",
            "ftp://a",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u:p@a",
            "https://",
            "*",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
