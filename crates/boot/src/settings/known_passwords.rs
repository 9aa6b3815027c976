//! Passwords of servers that everybody knows.

use super::{BrokerChoice, BusChoice, Database, reader::Reader};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Passwords that stand in somebody's documentation, and so in everybody's list of guesses.
const KNOWN_PASSWORDS: &[&str] = &[
    "admin",
    "bifrost",
    "bifrost_dev",
    "changeme",
    "change-me",
    "default",
    "example",
    "guest",
    "password",
    "postgres",
    "rabbitmq",
    "redis",
    "root",
    "secret",
];

/// In production no server is trusted whose password everybody knows.
pub(super) fn refuse(reader: &mut Reader<'_>, database: &Database, broker: &BrokerChoice, bus: &BusChoice) {
    let of_database =
        if reader.given("DATABASE_HOST").is_some() { "DATABASE_PASSWORD" } else { "DATABASE_URL" };
    let mut check = |name: &str, url: &SecretString| {
        let Ok(url) = Url::parse(url.expose_secret()) else { return };
        let Some(password) = url.password() else { return };
        let known = KNOWN_PASSWORDS.iter().any(|known| password.eq_ignore_ascii_case(known));
        if known || password == url.username() {
            reader.problem(
                name,
                "has a password that everybody knows; production needs a random one (openssl rand -hex 24)",
            );
        }
    };
    if let Database::Postgres { url, .. } = database {
        check(of_database, url);
    }
    if let BrokerChoice::RabbitMq { url, .. } = broker {
        check("RABBITMQ_URL", url);
    }
    if let BusChoice::Redis { url, .. } = bus {
        check("REDIS_URL", url);
    }
}
