//! Who may read the numbers of a process, and where.

use super::{
    Environment,
    reader::{Reader, quote},
};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;

const TOKEN: std::ops::RangeInclusive<usize> = 16..=4096;

/// `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where it has a port of its own; `None`: at the API's, for this machine.
    pub address: Option<SocketAddr>,
    /// What whoever reads it has to show.
    pub token: Option<SecretString>,
}

pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Metrics {
    Metrics { address: address(reader, environment), token: token(reader) }
}

fn address(reader: &mut Reader<'_>, environment: Environment) -> Option<SocketAddr> {
    let name = "METRICS_ADDRESS";
    let text = reader.given(name)?;
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.clone(),
    };
    match numeric.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 || environment == Environment::Testing => Some(address),
        Ok(_) => {
            reader.problem(name, "has port 0 (any free port), which is for testing only");
            None
        }
        Err(_) => {
            reader.problem(name, format!("{} is not ADDRESS:PORT, like 127.0.0.1:9464", quote(&text)));
            None
        }
    }
}

fn token(reader: &mut Reader<'_>) -> Option<SecretString> {
    let name = "METRICS_TOKEN";
    let token = reader.secret(name)?;
    let text = token.expose_secret();
    if !TOKEN.contains(&text.len()) {
        reader.problem(name, format!("has to have {} to {} characters", TOKEN.start(), TOKEN.end()));
        return None;
    }
    // It has to come through a header as it is.
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        reader.problem(
            name,
            "has a character that a token may not have: letters, digits and signs of ASCII only",
        );
        return None;
    }
    Some(token)
}
