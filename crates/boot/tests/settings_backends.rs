//! Which backends the settings choose, and from how many spellings.

#![expect(clippy::panic, reason = "helpers of tests say what they found instead")]

mod support;

use bifrost_boot::settings::{BrokerChoice, BusChoice, Database, Mode, Settings, SslMode};
use secrecy::ExposeSecret as _;
use std::path::Path;
use support::{STACK, accepted, map, refused};

fn postgres(pairs: &[(&str, &str)]) -> (String, SslMode) {
    match accepted(pairs).database {
        Database::Postgres { url, ssl_mode, .. } => (url.expose_secret().to_owned(), ssl_mode),
        Database::Sqlite { path } => panic!("SQLite at {}", path.display()),
    }
}

#[test]
fn two_processes_refuse_what_lives_inside_one() {
    for mode in [Mode::Api, Mode::Jobs] {
        let problems = refused(&[], mode);
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, name) in problems.iter().zip(["DATABASE_URL", "RABBITMQ_URL", "REDIS_URL"]) {
            assert!(
                problem.starts_with(name) && problem.contains("`bifrost dev` runs both in one process"),
                "{problem}"
            );
        }
        let mut pairs = STACK;
        pairs[0].1 = "sqlite:/tmp/a.db";
        let problems = refused(&pairs, mode);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("names SQLite") && problems[0].contains("need PostgreSQL"),
            "{problems:?}"
        );
        let settings = Settings::from_map(&map(&STACK), mode).expect("a whole stack");
        assert!(matches!(settings.broker, BrokerChoice::RabbitMq { ref prefix, .. } if prefix == "bifrost"));
        assert!(matches!(settings.bus, BusChoice::Redis { ref prefix, .. } if prefix == "bifrost"));
    }
    let one = accepted(&[STACK[1]]);
    assert!(matches!(one.broker, BrokerChoice::RabbitMq { .. }) && matches!(one.bus, BusChoice::InProcess));
}

#[test]
fn a_database_has_one_address_however_it_is_written() {
    for scheme in ["postgres", "postgresql", "postgresql+asyncpg"] {
        let (url, ssl) =
            postgres(&[("DATABASE_URL", &format!("{scheme}://u:p%40w@h:5433/n?application_name=b"))]);
        assert_eq!(url, "postgres://u:p%40w@h:5433/n?application_name=b&sslmode=prefer");
        assert_eq!(ssl, SslMode::Prefer);
    }
    let parts = [
        ("DATABASE_HOST", "db.example"),
        ("DATABASE_PORT", "5433"),
        ("DATABASE_NAME", "records"),
        ("DATABASE_USER", "me"),
        ("DATABASE_PASSWORD", "a/b@c:d?e#f"),
        ("DATABASE_SSL_MODE", "verify-full"),
    ];
    let (url, ssl) = postgres(&parts);
    let parsed = url::Url::parse(&url).expect("an address");
    assert_eq!(
        (parsed.host_str(), parsed.port(), parsed.path()),
        (Some("db.example"), Some(5433), "/records")
    );
    assert_eq!((parsed.username(), parsed.password()), ("me", Some("a%2Fb%40c%3Ad%3Fe%23f")));
    assert_eq!((parsed.query(), ssl), (Some("sslmode=verify-full"), SslMode::VerifyFull));
    assert_eq!(
        postgres(&[("DATABASE_HOST", "/run/postgresql")]).0,
        "postgres://bifrost@localhost:5432/bifrost?host=%2Frun%2Fpostgresql&sslmode=prefer"
    );
    assert_eq!(
        postgres(&[("DATABASE_HOST", "::1")]).0,
        "postgres://bifrost@[::1]:5432/bifrost?sslmode=prefer"
    );
}

#[test]
fn an_authority_of_ones_own_is_a_file_that_is_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let ca = file("ca.crt", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n");
    let key = file("ca.key", "-----BEGIN PRIVATE KEY-----\n");
    let host = ("DATABASE_HOST", "db");
    let full = ("DATABASE_SSL_MODE", "verify-full");
    let (url, _) = postgres(&[host, full, ("DATABASE_SSL_ROOT_CERT", &ca)]);
    let url = url::Url::parse(&url).expect("an address");
    assert_eq!(url.query_pairs().find(|(name, _)| name == "sslrootcert").expect("named").1, ca);

    let absent = dir.path().join("absent").display().to_string();
    let twice = ("DATABASE_URL", "postgres://h/n?sslmode=verify-full&sslrootcert=/x");
    for (pairs, path, variable, text) in [
        (vec![host, full], &absent, "DATABASE_SSL_ROOT_CERT", "cannot be read"),
        (vec![host, full], &key, "DATABASE_SSL_ROOT_CERT", "holds no certificate"),
        (vec![host], &ca, "DATABASE_SSL_ROOT_CERT", "verify-full"),
        (vec![twice], &ca, "DATABASE_URL", "set one of them"),
    ] {
        let pairs: Vec<_> = pairs.into_iter().chain([("DATABASE_SSL_ROOT_CERT", path.as_str())]).collect();
        let problems = refused(&pairs, Mode::Dev);
        assert_eq!(problems.len(), 1, "{pairs:?}: {problems:?}");
        assert!(
            problems[0].starts_with(&format!("{variable}: ")) && problems[0].contains(text),
            "{pairs:?}: {problems:?}"
        );
    }
}

#[test]
fn a_half_set_database_is_refused() {
    let url = STACK[0];
    for (pairs, variable) in [
        (vec![url, ("DATABASE_HOST", "h")], "DATABASE_HOST"),
        (vec![url, ("DATABASE_PASSWORD", "p")], "DATABASE_PASSWORD"),
        (vec![("DATABASE_NAME", "n")], "DATABASE_NAME"),
        (vec![("DATABASE_PASSWORD", "p")], "DATABASE_PASSWORD"),
        (vec![("DATABASE_HOST", "u@h")], "DATABASE_HOST"),
        (vec![("DATABASE_HOST", "h"), ("DATABASE_PORT", "0")], "DATABASE_PORT"),
        (
            vec![("DATABASE_URL", "postgres://h/n?sslmode=disable"), ("DATABASE_SSL_MODE", "require")],
            "DATABASE_URL",
        ),
        (vec![("DATABASE_URL", "postgres://h/n?sslmode=maybe")], "DATABASE_URL"),
    ] {
        let problems = refused(&pairs, Mode::Dev);
        assert_eq!(problems.len(), 1, "{pairs:?}: {problems:?}");
        assert!(problems[0].starts_with(&format!("{variable}: ")), "{pairs:?}: {problems:?}");
    }
}

#[test]
fn sqlite_is_a_file() {
    for (text, path) in [
        ("sqlite:/tmp/b.db", Path::new("/tmp/b.db")),
        ("sqlite:///tmp/b.db?mode=rwc", Path::new("/tmp/b.db")),
    ] {
        assert!(
            matches!(accepted(&[("DATABASE_URL", text)]).database, Database::Sqlite { path: found } if found == path),
            "{text}"
        );
    }
    assert!(
        matches!(accepted(&[("DATABASE_URL", "sqlite://b.db")]).database, Database::Sqlite { path } if path.is_absolute())
    );
}
