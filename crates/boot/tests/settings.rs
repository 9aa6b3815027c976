//! What the settings accept and refuse. The process environment plays no part here.

#![expect(clippy::panic, reason = "helpers of tests say what they found instead")]

mod support;

use bifrost_boot::settings::{
    AllowedOrigins, BrokerChoice, BusChoice, Database, DatabaseSettings, DevBypass, Environment, LogFormat,
    Mode, ObjectsChoice, Settings, VARIABLES,
};
use secrecy::ExposeSecret as _;
use std::{collections::HashMap, time::Duration};
use support::{STACK, accepted, map, refused};

const KEY: &str = "q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e";
/// 32 bytes, all different, in base64.
const WRAPPING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn with_stack<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    STACK.iter().copied().chain(pairs.iter().copied()).collect()
}

#[test]
fn nothing_set_is_a_development_machine() {
    let settings = accepted(&[]);
    assert_eq!(settings.environment, Environment::Development);
    assert_eq!(settings.server.address().to_string(), "127.0.0.1:8000");
    assert_eq!(settings.server.public_url, "http://localhost:8000");
    assert_eq!(settings.server.allowed_origins, AllowedOrigins::List(vec![]));
    assert!(!settings.server.cookies_secure());
    assert!(settings.data_dir.is_absolute() && settings.data_dir.ends_with(".bifrost"));
    assert!(
        matches!(&settings.database, Database::Sqlite { path } if *path == settings.data_dir.join("bifrost.db"))
    );
    assert!(matches!(settings.broker, BrokerChoice::InProcess));
    assert!(matches!(settings.bus, BusChoice::InProcess));
    assert_eq!(settings.objects, ObjectsChoice::Folder { path: settings.data_dir.join("objects") });
    let user = settings.identity.dev_user.expect("a development user");
    assert_eq!((user.email.as_str(), user.password.expose_secret()), ("admin@localhost", "admin"));
    assert_eq!(settings.identity.dev_bypass, DevBypass::Loopback);
    assert!(settings.identity.registration_enabled);
    assert_eq!(settings.identity.login_attempts_per_minute.map(u32::from), Some(10));
    assert_eq!(settings.identity.mfa_attempts_per_minute.map(u32::from), Some(5));
    assert!(!settings.identity.mfa_required);
    let (min_length, memory, passes) = (
        settings.identity.password_min_length,
        settings.identity.argon2_memory_kib,
        settings.identity.argon2_passes,
    );
    assert_eq!((min_length, memory, passes), (8, 19_456, 2));
    assert_eq!(settings.identity.account_failures.map(u32::from), Some(20));
    assert_eq!(settings.server.trusted_proxies, []);
    assert_eq!(settings.worker.max_concurrency, 16);
    assert_eq!(settings.worker.limits.memory_bytes, 512 * 1024 * 1024);
    assert_eq!(settings.worker.lease, Duration::from_secs(10));
    assert_eq!(settings.telemetry.format, LogFormat::Text);
    assert_eq!(settings.telemetry.filter, "info");
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn each_value_past_its_bound_is_one_problem_of_that_variable() {
    let long = "x".repeat(64 * 1024 + 1);
    let long_path = format!("/{}", "p".repeat(4096));
    let long_filter = vec!["info"; 1000].join(",");
    let origins = (0..65).map(|n| format!("http://h{n}")).collect::<Vec<_>>().join(",");
    let proxies = (0..65).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(",");
    let cases: &[(&str, &[&str])] = &[
        ("ENVIRONMENT", &["prod", "live"]),
        ("HOST", &["example.org", "256.0.0.1", "::1::"]),
        ("PORT", &["0", "65536", "-1", "http", "80.5"]),
        ("DATA_DIR", &[&long_path, "a\u{0}b"]),
        ("WORKSPACE_DIR", &[&long_path, "a\nb"]),
        ("PUBLIC_URL", &["localhost:8000", "https://a/b", "ftp://a", "https://u:p@a"]),
        ("ALLOWED_ORIGINS", &["example.org", "https://a/path", "*,https://a", &origins]),
        ("TRUSTED_PROXIES", &["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1:80", "*", &proxies]),
        ("BODY_LIMIT_BYTES", &["1023", "1073741825", "10MB"]),
        ("SYNC_WAIT_MAX", &["0", "3601"]),
        ("KEEP_ALIVE_SECONDS", &["0", "3601"]),
        ("SHUTDOWN_GRACE_SECONDS", &["3601", "-1"]),
        (
            "DATABASE_URL",
            &[
                "mysql://a/b",
                "postgres://h",
                "postgres:x",
                "sqlite::memory:",
                "sqlite:",
                "sqlite:a\nb",
                "nonsense",
            ],
        ),
        ("DATABASE_SSL_MODE", &["maybe"]),
        ("DATABASE_SSL_ROOT_CERT", &["/dev/zero", "/nowhere/ca.crt", &long_path, "a\u{0}b"]),
        ("DATABASE_POOL_MIN_SIZE", &["1001", "17"]),
        ("DATABASE_POOL_MAX_SIZE", &["0", "1001"]),
        ("RABBITMQ_URL", &["http://h", "amqp:", "rabbit"]),
        ("BROKER_PREFIX", &["has space", &long_path, "a/b"]),
        ("REDIS_URL", &["http://h", "redis:", "cache:6379"]),
        ("BUS_PREFIX", &["a*", &long_path]),
        ("OBJECT_STORE_URL", &["s3://bucket", "azure://c", "file:///", "file:relative?x", "/folder"]),
        ("SECRET_KEY", &[&KEY[1..], &long]),
        ("SECRET_KEY_PREVIOUS", &["short", &"k".repeat(4097)]),
        ("ENCRYPTION_KEY", &["not base64", "AAEC", &"A".repeat(88)]),
        ("DEV_USER_EMAIL", &["admin", "@localhost", "a b@c", "a@b@c", &format!("a@{}", "b".repeat(254))]),
        ("DEV_USER_PASSWORD", &[&"p".repeat(129)]),
        ("DEV_AUTH_BYPASS", &["yes"]),
        ("REGISTRATION_ENABLED", &["perhaps"]),
        ("RATE_LIMIT_LOGIN_PER_MINUTE", &["-1", "100001"]),
        ("USER_PURGE_DAYS", &["-1", "366", "never"]),
        ("RATE_LIMIT_MFA_PER_MINUTE", &["-1", "100001"]),
        ("MFA_REQUIRED", &["sometimes"]),
        ("PASSWORD_MIN_LENGTH", &["7", "129"]),
        ("ARGON2_MEMORY_KIB", &["8191", "1048577"]),
        ("ARGON2_PASSES", &["0", "17"]),
        ("RATE_LIMIT_ACCOUNT_FAILURES", &["-1", "100001", "many"]),
        ("MAX_CONCURRENCY", &["0", "1025", "many"]),
        ("BIFROST_ISOLATION", &["thread"]),
        ("BIFROST_PYTHON", &[&long_path, "a\u{7}b"]),
        ("RUN_MEMORY_MB", &["31", "1048577", "18446744073709551616"]),
        ("RUN_OPEN_FILES", &["15", "1048577"]),
        ("RUN_PROCESSES", &["0", "65537"]),
        ("CANCEL_GRACE_SECONDS", &["0", "301"]),
        ("LOG_MAX_LINES", &["0", "10000001"]),
        ("LOG_MAX_LINE_BYTES", &["255", "524289"]),
        ("RESULT_MAX_BYTES", &["1023", "62914561"]),
        ("WORKER_LEASE_SECONDS", &["3", "301"]),
        ("LOG_FORMAT", &["xml"]),
        ("LOG_LEVEL", &["loud"]),
        ("RUST_LOG", &["bifrost=loud", &long_filter]),
        ("METRICS_ADDRESS", &["9464", "127.0.0.1", "127.0.0.1:0", "example.org:9464", "127.0.0.1:65536"]),
        ("METRICS_TOKEN", &["short", "a token with spaces", &"t".repeat(4097), &long]),
    ];
    for (name, values) in cases {
        for value in *values {
            let problems = refused(&[(name, value)], Mode::Dev);
            let shown: String = value.chars().take(40).collect();
            assert_eq!(problems.len(), 1, "{name}={shown}: {problems:?}");
            assert!(problems[0].starts_with(&format!("{name}: ")), "{name}={shown}: {problems:?}");
            assert!(problems[0].len() < 400, "{name}={shown}: the message repeats the value");
        }
    }
    let parts = ["DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER", "DATABASE_PASSWORD"];
    for variable in VARIABLES.iter().filter(|variable| !parts.contains(&variable.name)) {
        assert!(
            cases.iter().any(|(name, _)| *name == variable.name),
            "{} has no bad value here",
            variable.name
        );
    }
}

#[test]
fn each_bound_itself_is_accepted() {
    for (name, values) in [
        ("PORT", ["1", "65535"]),
        ("BODY_LIMIT_BYTES", ["1024", "1073741824"]),
        ("SYNC_WAIT_MAX", ["1", "3600"]),
        ("KEEP_ALIVE_SECONDS", ["1", "3600"]),
        ("SHUTDOWN_GRACE_SECONDS", ["0", "3600"]),
        ("DATABASE_POOL_MIN_SIZE", ["0", "16"]),
        ("DATABASE_POOL_MAX_SIZE", ["1", "1000"]),
        ("RATE_LIMIT_LOGIN_PER_MINUTE", ["0", "100000"]),
        ("RATE_LIMIT_MFA_PER_MINUTE", ["0", "100000"]),
        ("PASSWORD_MIN_LENGTH", ["8", "128"]),
        ("ARGON2_MEMORY_KIB", ["8192", "1048576"]),
        ("ARGON2_PASSES", ["1", "16"]),
        ("MAX_CONCURRENCY", ["1", "1024"]),
        ("RUN_MEMORY_MB", ["32", "1048576"]),
        ("RUN_OPEN_FILES", ["16", "1048576"]),
        ("RUN_PROCESSES", ["1", "65536"]),
        ("CANCEL_GRACE_SECONDS", ["1", "300"]),
        ("LOG_MAX_LINES", ["1", "10000000"]),
        ("LOG_MAX_LINE_BYTES", ["256", "524288"]),
        ("RESULT_MAX_BYTES", ["1024", "62914560"]),
        ("WORKER_LEASE_SECONDS", ["4", "300"]),
    ] {
        for value in values {
            accepted(&[(name, value)]);
        }
    }
    accepted(&[
        ("SECRET_KEY", KEY),
        ("SECRET_KEY_PREVIOUS", &"k".repeat(4096)),
        ("ENCRYPTION_KEY", WRAPPING_KEY),
    ]);
    accepted(&[("DEV_USER_PASSWORD", &"p".repeat(128)), ("BROKER_PREFIX", &"b".repeat(64))]);
    accepted(&[("ENVIRONMENT", "testing"), ("PORT", "0")]);
}

#[test]
fn all_problems_come_at_once() {
    let problems = refused(
        &[
            ("PORT", "0"),
            ("LOG_FORMAT", "xml"),
            ("MAX_CONCURRENCY", "0"),
            ("BIFROST_COLOUR", "red"),
            ("DATABSE_URL", "x"),
        ],
        Mode::Dev,
    );
    let names: Vec<&str> = problems.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["PORT", "MAX_CONCURRENCY", "LOG_FORMAT", "BIFROST_COLOUR", "DATABSE_URL"]);
    assert!(problems[4].contains("DATABASE_URL"), "{problems:?}");
}

#[test]
fn production_names_everything_that_is_unsafe() {
    let unsafe_ones = with_stack(&[
        ("ENVIRONMENT", "production"),
        ("DEV_USER_PASSWORD", "admin"),
        ("DEV_AUTH_BYPASS", "always"),
        ("ALLOWED_ORIGINS", "*"),
        ("TRUSTED_PROXIES", "10.0.0.5,0.0.0.0/0"),
        ("RATE_LIMIT_LOGIN_PER_MINUTE", "0"),
        ("RATE_LIMIT_ACCOUNT_FAILURES", "0"),
        ("DATABASE_URL", "postgres://bifrost:bifrost@db:5432/bifrost"),
        ("RABBITMQ_URL", "amqp://guest:guest@rabbit:5672/%2f"),
        ("REDIS_URL", "redis://:changeme@cache:6379/0"),
    ]);
    let problems = refused(&unsafe_ones, Mode::Api);
    let mut names: Vec<&str> = problems.iter().filter_map(|line| line.split(':').next()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "ALLOWED_ORIGINS",
            "DATABASE_URL",
            "DEV_AUTH_BYPASS",
            "DEV_USER_PASSWORD",
            "ENCRYPTION_KEY",
            "RABBITMQ_URL",
            "RATE_LIMIT_ACCOUNT_FAILURES",
            "RATE_LIMIT_LOGIN_PER_MINUTE",
            "REDIS_URL",
            "SECRET_KEY",
            "TRUSTED_PROXIES"
        ]
    );
    for secret in ["guest", "bifrost:bifrost", "changeme@"] {
        assert!(!problems.iter().any(|line| line.contains(secret)), "{problems:?}");
    }
    let host = [
        ("ENVIRONMENT", "production"),
        ("DATABASE_HOST", "db"),
        ("DATABASE_PASSWORD", "Postgres"),
        STACK[1],
        STACK[2],
        ("SECRET_KEY", KEY),
        ("ENCRYPTION_KEY", WRAPPING_KEY),
    ];
    let problems = refused(&host, Mode::Api);
    assert!(problems.len() == 1 && problems[0].starts_with("DATABASE_PASSWORD: "), "{problems:?}");

    let defaults = with_stack(&[
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", "change-me-change-me-change-me-change-me"),
        ("SECRET_KEY_PREVIOUS", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("ENCRYPTION_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("DEV_AUTH_BYPASS", "auto"),
    ]);
    let problems = refused(&defaults, Mode::Api);
    assert_eq!(problems.len(), 4, "{problems:?}");

    let safe = with_stack(&[
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", KEY),
        ("ENCRYPTION_KEY", WRAPPING_KEY),
        ("DEV_AUTH_BYPASS", "off"),
        ("DEV_USER_PASSWORD", "a good one"),
        ("PUBLIC_URL", "https://bifrost.example.org"),
    ]);
    let settings = Settings::from_map(&map(&safe), Mode::Api).expect("a safe production");
    // Nobody is made of it: production does not start while an account has it.
    assert_eq!(settings.identity.dev_user.expect("what was given").email, "admin@localhost");
    assert_eq!(settings.identity.dev_bypass, DevBypass::Off);
    assert!(!settings.identity.registration_enabled);
    assert!(settings.server.cookies_secure());
    assert!(
        settings.warnings.iter().any(|line| line.contains("DEV_USER_PASSWORD")),
        "{:?}",
        settings.warnings
    );
    assert!(!settings.warnings.iter().any(|line| line.contains("PUBLIC_URL")), "{:?}", settings.warnings);
    for public_url in ["", "http://bifrost.example.org"] {
        let pairs: Vec<_> = safe
            .iter()
            .map(|&(name, value)| (name, if name == "PUBLIC_URL" { public_url } else { value }))
            .collect();
        let warnings = Settings::from_map(&map(&pairs), Mode::Api).expect("accepted").warnings;
        let said: Vec<_> = warnings.iter().filter(|line| line.contains("PUBLIC_URL")).collect();
        assert!(said.len() == 1 && said[0].contains("without Secure"), "{public_url}: {warnings:?}");
    }
}

#[test]
fn the_bypass_needs_development_said_aloud() {
    let bypass = |pairs: &[(&str, &str)], mode| {
        Settings::from_map(&map(&with_stack(pairs)), mode).expect("accepted").identity.dev_bypass
    };
    assert_eq!(bypass(&[], Mode::Api), DevBypass::Off);
    assert_eq!(bypass(&[("ENVIRONMENT", "development")], Mode::Api), DevBypass::Loopback);
    assert_eq!(bypass(&[], Mode::Dev), DevBypass::Loopback);
    assert_eq!(bypass(&[("HOST", "0.0.0.0")], Mode::Dev), DevBypass::Off);
    assert_eq!(bypass(&[("HOST", "::1")], Mode::Dev), DevBypass::Loopback);
    assert_eq!(bypass(&[("DEV_AUTH_BYPASS", "off")], Mode::Dev), DevBypass::Off);
    assert_eq!(bypass(&[("ENVIRONMENT", "testing")], Mode::Dev), DevBypass::Off);
    assert_eq!(bypass(&[("HOST", "0.0.0.0"), ("DEV_AUTH_BYPASS", "always")], Mode::Dev), DevBypass::Always);
    for pairs in [&[][..], &[("ENVIRONMENT", "testing")][..]] {
        let pairs = [&[("DEV_AUTH_BYPASS", "always")], pairs].concat();
        let problems = refused(&with_stack(&pairs), Mode::Api);
        assert!(problems[0].starts_with("DEV_AUTH_BYPASS: "), "{problems:?}");
    }
}

#[test]
fn what_is_allowed_but_risky_is_a_warning() {
    let warned = |pairs: &[(&str, &str)]| accepted(pairs).warnings.join("\n");
    assert!(warned(&[("DEV_AUTH_BYPASS", "always")]).contains("DEV_AUTH_BYPASS"));
    assert!(warned(&[("HOST", "0.0.0.0")]).contains("default password"));
    assert_eq!(warned(&[("HOST", "0.0.0.0"), ("DEV_USER_PASSWORD", "a good one")]), "");
}

#[test]
fn what_production_is_warned_of_is_nobody_elses_matter() {
    let warned = |environment: &str, pairs: &[(&str, &str)]| {
        let production = with_stack(&[
            ("ENVIRONMENT", environment),
            ("SECRET_KEY", KEY),
            ("ENCRYPTION_KEY", WRAPPING_KEY),
            ("PUBLIC_URL", "https://bifrost.example.org"),
        ]);
        let all = [production.as_slice(), pairs].concat();
        Settings::from_map(&map(&all), Mode::Api).expect("accepted").warnings
    };
    let argon2 = |memory: &str, passes: &str| {
        warned("production", &[("ARGON2_MEMORY_KIB", memory), ("ARGON2_PASSES", passes)])
    };
    assert_eq!(warned("production", &[("REGISTRATION_ENABLED", "false")]), [""; 0]);
    let said = warned("production", &[("REGISTRATION_ENABLED", "true")]);
    assert!(said.len() == 1 && said[0].starts_with("REGISTRATION_ENABLED=true: "), "{said:?}");
    for (memory, passes) in
        [("19456", "2"), ("47104", "1"), ("12288", "3"), ("9216", "4"), ("8192", "5"), ("65536", "3")]
    {
        assert_eq!(argon2(memory, passes), [""; 0], "{memory} {passes}");
    }
    for (memory, passes) in [("19455", "2"), ("47103", "1"), ("12287", "3"), ("9215", "4"), ("8192", "1")] {
        let said = argon2(memory, passes);
        assert!(said.len() == 1 && said[0].contains("ARGON2_PASSES"), "{memory} {passes}: {said:?}");
        assert!(said[0].contains(&format!("ARGON2_MEMORY_KIB={memory} ")), "{said:?}");
    }
    let all = [("REGISTRATION_ENABLED", "true"), ("ARGON2_MEMORY_KIB", "8192"), ("ARGON2_PASSES", "1")];
    for elsewhere in ["development", "testing"] {
        assert_eq!(warned(elsewhere, &all), [""; 0], "{elsewhere}");
    }
}

#[test]
fn secrets_are_read_from_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.to_str().expect("UTF-8").to_owned()
    };
    let key = file("key", format!("{KEY}\n").as_bytes());
    let settings = accepted(&[("SECRET_KEY_FILE", &key)]);
    assert_eq!(settings.identity.secret_key.expect("a key").expose_secret(), KEY);
    let password = file("password", b" spaces stay \r\n");
    let user = accepted(&[("DEV_USER_PASSWORD_FILE", &password)]).identity.dev_user.expect("a user");
    assert_eq!(user.password.expose_secret(), " spaces stay ");

    let fits = file("fits", &vec![b'k'; 64 * 1024]);
    assert!(refused(&[("SECRET_KEY_FILE", &fits)], Mode::Dev)[0].contains("65536 characters"));
    for (path, reason) in [
        (file("large", &vec![b'k'; 64 * 1024 + 1]), "larger than 65536 bytes"),
        (file("binary", &[0xff; 40]), "not UTF-8"),
        (file("empty", b"\n"), "empty"),
        (folder.path().join("none").display().to_string(), "cannot be read"),
        (folder.path().display().to_string(), "cannot be read"),
    ] {
        let problems = refused(&[("SECRET_KEY_FILE", &path)], Mode::Dev);
        assert!(problems[0].starts_with("SECRET_KEY_FILE: ") && problems[0].contains(reason), "{problems:?}");
    }
    let problems = refused(&[("SECRET_KEY", KEY), ("SECRET_KEY_FILE", &key)], Mode::Dev);
    assert!(problems[0].contains("set one of them"), "{problems:?}");
    assert!(refused(&[("PORT_FILE", &key)], Mode::Dev)[0].starts_with("PORT_FILE: "));
}

#[test]
fn no_secret_is_shown() {
    let marker = "Sup3rS3cretV4lue";
    let key = format!("{marker}{KEY}");
    let pairs = [
        ("DATABASE_URL", format!("postgres://u:{marker}@h/n")),
        ("RABBITMQ_URL", format!("amqp://u:{marker}@h/v")),
        ("REDIS_URL", format!("redis://:{marker}@h/0")),
        ("SECRET_KEY", key.clone()),
        ("SECRET_KEY_PREVIOUS", key),
        ("ENCRYPTION_KEY", WRAPPING_KEY.to_owned()),
        ("DEV_USER_PASSWORD", marker.to_owned()),
    ];
    let good: HashMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let settings = Settings::from_map(&good, Mode::Api).expect("accepted");
    let shown = format!(
        "{settings:?} {:#?} {} {} {}",
        settings,
        settings.database.describe(),
        settings.broker.describe(),
        settings.bus.describe()
    );
    assert!(!shown.contains(marker), "{shown}");
    assert!(!shown.contains(WRAPPING_KEY), "{shown}");
    assert!(!shown.contains("0, 1, 2, 3"), "{shown}");
    assert!(shown.contains("postgres at h/n"), "{shown}");

    for variable in VARIABLES.iter().filter(|variable| variable.secret) {
        let value = format!("{marker} {}", "x".repeat(5000));
        if let Err(problems) = Settings::from_map(&map(&[(variable.name, &value)]), Mode::Dev) {
            assert!(!problems.to_string().contains(marker), "{problems}");
            assert!(!format!("{problems:?}").contains(marker), "{}", variable.name);
        }
    }
}

#[test]
fn testing_has_no_rate_limit_unless_asked() {
    let limit = |pairs: &[(&str, &str)]| accepted(pairs).identity.login_attempts_per_minute.map(u32::from);
    assert_eq!(limit(&[("ENVIRONMENT", "testing")]), None);
    assert_eq!(limit(&[("ENVIRONMENT", "testing"), ("RATE_LIMIT_LOGIN_PER_MINUTE", "3")]), Some(3));
    assert_eq!(limit(&[("RATE_LIMIT_LOGIN_PER_MINUTE", "0")]), None);
}

#[test]
fn origins_objects_filters_and_empty_values() {
    let settings = accepted(&[
        ("ALLOWED_ORIGINS", " https://a.example , http://localhost:3000/,https://a.example,"),
        ("OBJECT_STORE_URL", "file:///srv/objects"),
        ("RUST_LOG", "warn,bifrost_jobs=debug"),
        ("LOG_LEVEL", "TRACE"),
        ("PORT", ""),
        ("RABBITMQ_URL", ""),
    ]);
    let origins = vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()];
    assert_eq!(settings.server.allowed_origins, AllowedOrigins::List(origins));
    assert_eq!(settings.objects, ObjectsChoice::Folder { path: "/srv/objects".into() });
    assert_eq!(settings.telemetry.filter, "warn,bifrost_jobs=debug");
    assert_eq!(settings.server.port, 8000);
    assert!(matches!(settings.broker, BrokerChoice::InProcess));
    assert_eq!(accepted(&[("ALLOWED_ORIGINS", "*")]).server.allowed_origins, AllowedOrigins::Any);
    assert_eq!(accepted(&[("LOG_LEVEL", "Warning")]).telemetry.filter, "warn");
}

#[test]
fn who_works_on_the_database_alone_needs_no_other_setting() {
    let production = [("ENVIRONMENT", "production"), ("PORT", "99999"), STACK[0]];
    let settings = DatabaseSettings::from_map(&map(&production)).expect("enough");
    assert_eq!(settings.environment, Environment::Production);
    assert_eq!(settings.database.describe(), "postgres at db:5432/bifrost");
    let settings = DatabaseSettings::from_map(&map(&[("DATA_DIR", "/srv/bifrost")])).expect("enough");
    assert_eq!(settings.database.describe(), "sqlite at /srv/bifrost/bifrost.db");
    // What may be the address, mistyped, is not passed over.
    let wrong = [("DATABSE_URL", "postgres://x/y"), ("DATABASE_PORT", "0"), ("ENVIRONMENT", "live")];
    let problems = DatabaseSettings::from_map(&map(&wrong)).expect_err("three are wrong").to_string();
    for (name, _) in wrong {
        assert!(problems.contains(name), "{name}: {problems}");
    }
}
