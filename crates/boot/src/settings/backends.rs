//! Which database, queue, bus and object store: each chosen on its own by whether its address is set.

use super::{
    Mode,
    reader::{Reader, absolute, check_path, quote},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use url::Url;

/// How a connection to PostgreSQL is secured, as `sslmode` of libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// When the server insists.
    Allow,
    /// When the server can.
    Prefer,
    /// Always, whoever the server is.
    Require,
    /// Always, with a known authority.
    VerifyCa,
    /// Always, with a known authority and the server's own name.
    VerifyFull,
}

const SSL_MODES: &[(&str, SslMode)] = &[
    ("prefer", SslMode::Prefer),
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl SslMode {
    /// Whether the server has to show a certificate of a known authority.
    const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }

    /// The spelling in `sslmode`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Where records are kept.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite {
        /// Its absolute path.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// `postgres://…`, with `sslmode` set to `ssl_mode`.
        url: SecretString,
        /// Connections kept open.
        pool_min: u32,
        /// Most connections of this process.
        pool_max: u32,
        /// How the connection is secured.
        ssl_mode: SslMode,
    },
}

/// The queue.
#[derive(Debug, Clone)]
pub enum BrokerChoice {
    /// Inside this process.
    InProcess,
    /// RabbitMQ.
    RabbitMq {
        /// `amqp://…` or `amqps://…`.
        url: SecretString,
        /// First part of every queue and exchange name.
        prefix: String,
    },
}

/// Live events, cache and rate limits.
#[derive(Debug, Clone)]
pub enum BusChoice {
    /// Inside this process.
    InProcess,
    /// Redis.
    Redis {
        /// `redis://…` or `rediss://…`.
        url: SecretString,
        /// First part of every key and channel.
        prefix: String,
    },
}

/// Large results and uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectsChoice {
    /// A folder of this machine (or one mounted on all of them).
    Folder {
        /// Its absolute path.
        path: PathBuf,
    },
}

impl Database {
    /// What it is and where, without credentials.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("sqlite at {}", path.display()),
            Self::Postgres { url, .. } => describe("postgres", url),
        }
    }
}

impl BrokerChoice {
    /// What it is and where, without credentials.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InProcess => "in process".to_owned(),
            Self::RabbitMq { url, .. } => describe("rabbitmq", url),
        }
    }
}

impl BusChoice {
    /// What it is and where, without credentials.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InProcess => "in process".to_owned(),
            Self::Redis { url, .. } => describe("redis", url),
        }
    }
}

fn describe(what: &str, url: &SecretString) -> String {
    let Ok(url) = Url::parse(url.expose_secret()) else { return what.to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{what} at {}{port}{}", url.host_str().unwrap_or("a socket"), url.path())
}

fn two_processes(what: &str, need: &str) -> String {
    format!(
        "{what} bifrost-api and bifrost-jobs are two processes that {need} (`bifrost dev` runs both in one process without)"
    )
}

pub(super) fn database(reader: &mut Reader<'_>, mode: Mode, data_dir: &Path) -> Database {
    let pool_min = reader.number("DATABASE_POOL_MIN_SIZE", 0..=1000);
    let pool_max = reader.number("DATABASE_POOL_MAX_SIZE", 1..=1000);
    if pool_min > pool_max {
        reader.problem(
            "DATABASE_POOL_MIN_SIZE",
            format!("{pool_min} is more than DATABASE_POOL_MAX_SIZE {pool_max}"),
        );
    }
    let wanted_ssl = reader.given("DATABASE_SSL_MODE").is_some();
    let ssl_mode = reader.choice("DATABASE_SSL_MODE", SSL_MODES);
    let root_cert = root_certificate(reader);
    let direct = reader.secret("DATABASE_URL");
    let variable = if direct.is_some() { "DATABASE_URL" } else { "DATABASE_HOST" };
    let parts = from_parts(reader, direct.is_some());
    let fallback = || Database::Sqlite { path: data_dir.join("bifrost.db") };
    let Some(text) = direct.or(parts) else {
        if mode.is_stack() {
            reader.problem("DATABASE_URL", two_processes("is missing, and", "need PostgreSQL"));
        }
        return fallback();
    };
    if text.expose_secret().starts_with("sqlite") {
        if mode.is_stack() {
            reader.problem("DATABASE_URL", two_processes("names SQLite, but", "need PostgreSQL"));
        }
        return sqlite(reader, text.expose_secret()).unwrap_or_else(fallback);
    }
    match postgres_url(text.expose_secret(), wanted_ssl.then_some(ssl_mode), root_cert.as_deref()) {
        Ok((_, ssl_mode)) if root_cert.is_some() && !ssl_mode.verifies() => {
            let message = format!(
                "is not looked at with sslmode {}; set DATABASE_SSL_MODE=verify-full",
                ssl_mode.as_str()
            );
            reader.problem("DATABASE_SSL_ROOT_CERT", message);
            fallback()
        }
        Ok((url, ssl_mode)) => Database::Postgres { url, pool_min, pool_max, ssl_mode },
        Err(message) => {
            reader.problem(variable, message);
            fallback()
        }
    }
}

/// How a certificate begins in PEM.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// More than any list of authorities.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// The file that `DATABASE_SSL_ROOT_CERT` names, when it holds certificates: said here once, and not by every connection that fails.
fn root_certificate(reader: &mut Reader<'_>) -> Option<String> {
    let path = reader.given("DATABASE_SSL_ROOT_CERT")?;
    let text = File::open(&path).and_then(|file| {
        let mut text = Vec::new();
        file.take(MAX_CERTIFICATES_BYTES).read_to_end(&mut text)?;
        Ok(text)
    });
    let refusal = match text {
        Ok(text) if text.windows(PEM.len()).any(|part| part == PEM) => return Some(path),
        Ok(_) => "holds no certificate".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    reader.problem("DATABASE_SSL_ROOT_CERT", format!("{} {refusal}", quote(&path)));
    None
}

/// The address made of `DATABASE_HOST` and its companions, when those are set and `DATABASE_URL` is not.
fn from_parts(reader: &mut Reader<'_>, url_is_set: bool) -> Option<SecretString> {
    let host = reader.given("DATABASE_HOST");
    let port = reader.optional_number("DATABASE_PORT", 1..=u16::MAX);
    let name = reader.given("DATABASE_NAME");
    let user = reader.given("DATABASE_USER");
    let password = reader.secret("DATABASE_PASSWORD");
    let given = [
        ("DATABASE_HOST", host.is_some()),
        ("DATABASE_PORT", port.is_some()),
        ("DATABASE_NAME", name.is_some()),
        ("DATABASE_USER", user.is_some()),
        ("DATABASE_PASSWORD", password.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if url_is_set {
        for name in given {
            reader.problem(name, "is set together with DATABASE_URL; set one of them");
        }
        return None;
    }
    let Some(host) = host else {
        for name in given {
            reader.problem(name, "is set but DATABASE_HOST is not");
        }
        return None;
    };
    let port = port.unwrap_or(5432);
    let socket = host.starts_with('/');
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if !socket && !host.bytes().all(is_host) {
        reader.problem("DATABASE_HOST", format!("{} is not a host name, address or folder", quote(&host)));
        return None;
    }
    let shown = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) if socket => "localhost".to_owned(),
        Err(_) => host.clone(),
    };
    let Ok(mut url) = Url::parse(&format!("postgres://{shown}:{port}/")) else {
        reader.problem("DATABASE_HOST", format!("{} is not a host name, address or folder", quote(&host)));
        return None;
    };
    // These setters fail only for addresses without a host, and this one has one.
    let _ = url.set_username(user.as_deref().unwrap_or("bifrost"));
    let _ = url.set_password(password.as_ref().map(ExposeSecret::expose_secret));
    url.set_path(name.as_deref().unwrap_or("bifrost"));
    if socket {
        url.query_pairs_mut().append_pair("host", &host);
    }
    Some(SecretString::from(url.as_str()))
}

/// Accepts `postgres`, `postgresql` and SQLAlchemy's `postgresql+asyncpg`; the message never repeats the address.
fn postgres_url(
    text: &str,
    wanted: Option<SslMode>,
    root_cert: Option<&str>,
) -> Result<(SecretString, SslMode), String> {
    let (scheme, rest) = text.split_once("://").ok_or("is not postgres://… or sqlite:PATH")?;
    let driver = scheme.split_once('+').map_or(scheme, |(base, _)| base);
    if !matches!(driver, "postgres" | "postgresql") {
        return Err("is not postgres://… or sqlite:PATH".to_owned());
    }
    let mut url =
        Url::parse(&format!("postgres://{rest}")).map_err(|error| format!("cannot be read: {error}"))?;
    if url.path().trim_matches('/').is_empty() {
        return Err("names no database (postgres://user:password@host:5432/name)".to_owned());
    }
    let is_ssl = |key: &str| matches!(key, "sslmode" | "ssl-mode" | "ssl");
    let in_url = url.query_pairs().find(|(key, _)| is_ssl(key)).map(|(_, value)| value.into_owned());
    let in_url = in_url
        .map(|text| {
            let found = SSL_MODES.iter().find(|(known, _)| *known == text).map(|(_, mode)| *mode);
            found.ok_or_else(|| format!("has an unknown sslmode {}", quote(&text)))
        })
        .transpose()?;
    if let (Some(a), Some(b)) = (in_url, wanted)
        && a != b
    {
        return Err(format!("has sslmode {}, but DATABASE_SSL_MODE is {}", a.as_str(), b.as_str()));
    }
    let ssl_mode = in_url.or(wanted).unwrap_or(SslMode::Prefer);
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| !is_ssl(key))
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    let is_root_cert = |key: &str| matches!(key, "sslrootcert" | "ssl-root-cert" | "ssl-ca");
    if root_cert.is_some() && others.iter().any(|(key, _)| is_root_cert(key)) {
        return Err("has a sslrootcert, and DATABASE_SSL_ROOT_CERT is set, too; set one of them".to_owned());
    }
    url.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair("sslmode", ssl_mode.as_str())
        .extend_pairs(root_cert.map(|path| ("sslrootcert", path)));
    Ok((SecretString::from(url.as_str()), ssl_mode))
}

fn sqlite(reader: &mut Reader<'_>, text: &str) -> Option<Database> {
    let path = text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    let path = path.map(|path| path.split_once('?').map_or(path, |(path, _)| path));
    let refusal = match path {
        None => "is not sqlite:PATH".to_owned(),
        Some("") => "names no file (sqlite:PATH)".to_owned(),
        Some(":memory:" | "memory:") => "a database in memory is not supported; name a file".to_owned(),
        Some(path) => match check_path(path) {
            Ok(()) => return Some(Database::Sqlite { path: absolute(Path::new(path)) }),
            Err(message) => message,
        },
    };
    reader.problem("DATABASE_URL", refusal);
    None
}

pub(super) fn broker(reader: &mut Reader<'_>, mode: Mode) -> BrokerChoice {
    let prefix = reader.checked("BROKER_PREFIX", check_prefix);
    match server_url(reader, "RABBITMQ_URL", &["amqp", "amqps"]) {
        Given::Url(url) => BrokerChoice::RabbitMq { url, prefix },
        Given::Bad => BrokerChoice::InProcess,
        Given::Nothing => {
            if mode.is_stack() {
                reader.problem("RABBITMQ_URL", two_processes("is missing, and", "meet over RabbitMQ"));
            }
            BrokerChoice::InProcess
        }
    }
}

pub(super) fn bus(reader: &mut Reader<'_>, mode: Mode) -> BusChoice {
    let prefix = reader.checked("BUS_PREFIX", check_prefix);
    match server_url(reader, "REDIS_URL", &["redis", "rediss"]) {
        Given::Url(url) => BusChoice::Redis { url, prefix },
        Given::Bad => BusChoice::InProcess,
        Given::Nothing => {
            if mode.is_stack() {
                reader.problem("REDIS_URL", two_processes("is missing, and", "meet over Redis"));
            }
            BusChoice::InProcess
        }
    }
}

enum Given {
    Nothing,
    Bad,
    Url(SecretString),
}

fn server_url(reader: &mut Reader<'_>, name: &'static str, schemes: &[&str]) -> Given {
    let Some(secret) = reader.secret(name) else { return Given::Nothing };
    let wanted = || format!("is not {}://host…", schemes.join("://… or "));
    let message = match Url::parse(secret.expose_secret().trim()) {
        Ok(url) if !schemes.contains(&url.scheme()) => wanted(),
        Ok(url) if url.host_str().is_none_or(str::is_empty) => "names no host".to_owned(),
        Ok(_) => return Given::Url(SecretString::from(secret.expose_secret().trim())),
        Err(_) => wanted(),
    };
    reader.problem(name, message);
    Given::Bad
}

fn check_prefix(text: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if fits { Ok(()) } else { Err(format!("{} is not 1 to 64 of a-z A-Z 0-9 _ . -", quote(text))) }
}

pub(super) fn objects(reader: &mut Reader<'_>, data_dir: &Path) -> ObjectsChoice {
    let fallback = ObjectsChoice::Folder { path: data_dir.join("objects") };
    let name = "OBJECT_STORE_URL";
    let Some(secret) = reader.secret(name) else { return fallback };
    let refusal = match Url::parse(secret.expose_secret()) {
        Ok(url) if url.scheme() == "file" => match url.to_file_path() {
            // `file:relative` parses too, as a path from the root: nobody means that.
            Ok(path) if path != Path::new("/") && secret.expose_secret().starts_with("file:///") => {
                return ObjectsChoice::Folder { path };
            }
            _ => "is not file:///absolute/folder".to_owned(),
        },
        Ok(url) if matches!(url.scheme(), "s3" | "az" | "azure" | "abfs" | "abfss" | "adl" | "gs") => {
            format!(
                "{}:// is not supported yet; use file:///absolute/folder on a shared volume",
                url.scheme()
            )
        }
        _ => "is not file:///absolute/folder".to_owned(),
    };
    reader.problem(name, refusal);
    fallback
}
