//! `bifrost doctor`, and what the programs say at their start, before servers that are not as they should be.

use crate::{
    in_both_modes,
    support::{
        Mode, PATIENCE, PrivateRedis, Process, World, command, postgres_url, rabbitmq_url, redis_url, unique,
    },
};
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::{fs, os::unix::fs::PermissionsExt};

in_both_modes!(a_good_installation_is_said_to_be_one);

type Settings = Vec<(String, String)>;

async fn doctor(arguments: &[&str], settings: &Settings) -> (i32, Value) {
    let arguments: Vec<&str> = ["doctor", "--json"].into_iter().chain(arguments.iter().copied()).collect();
    let output =
        command(env!("CARGO_BIN_EXE_bifrost"), &arguments, settings).output().await.expect("it runs");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("not ended by a signal"), report)
}

/// What was found, of one kind: state, and detail with advice.
fn of<'a>(report: &'a Value, check: &str) -> Vec<(&'a str, String)> {
    let checks = report["checks"].as_array().expect("checks");
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    checks
        .iter()
        .filter(|finding| finding["check"] == check)
        .map(|finding| {
            (
                finding["state"].as_str().expect("a state"),
                text(finding, "detail") + " " + &text(finding, "advice"),
            )
        })
        .collect()
}

#[track_caller]
fn has(report: &Value, check: &str, state: &str, words: &str) {
    let found = of(report, check);
    assert!(
        found.iter().any(|(is, text)| *is == state && text.contains(words)),
        "{check} {state} `{words}`: {found:?}"
    );
}

/// Beside the running programs: it disturbs nothing, sees that the port is theirs, and leaves nothing behind.
async fn a_good_installation_is_said_to_be_one(world: &mut World) {
    let mut settings = world.settings();
    settings.push(("PORT".to_owned(), world.address().port().to_string()));
    let arguments: &[&str] = if world.mode == Mode::Stack { &["--stack"] } else { &[] };
    let before: Vec<_> =
        fs::read_dir(world.data()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    let (code, report) = doctor(arguments, &settings).await;
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report:#}");
    has(&report, "settings", "ok", "testing");
    has(&report, "python", "ok", "a run took");
    has(&report, "isolation", "ok", "around each run");
    has(&report, "database", "ok", "schema up to date");
    has(&report, "port", "ok", "a running Bifrost");
    has(&report, "keys", "ok", "");
    has(&report, "data folder", "ok", "can be written");
    if world.mode == Mode::Stack {
        assert_eq!(report["mode"], "stack");
        has(&report, "database", "ok", "PostgreSQL 1");
        has(&report, "clock", "ok", "off the database's");
        has(&report, "broker", "ok", "RabbitMQ ");
        has(&report, "redis", "ok", "Redis ");
    } else {
        assert_eq!(report["mode"], "embedded");
        has(&report, "database", "ok", "SQLite ");
    }
    let after: Vec<_> =
        fs::read_dir(world.data()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(before.len(), after.len(), "{after:?}");
    world.admin().await.get("/auth/me").await.of(200);
    let text = report.to_string();
    assert!(!text.contains("guest:guest") && !text.contains(crate::support::SECRET_KEY), "{text}");
}

fn settings(folder: &std::path::Path, more: &[(&str, &str)]) -> Settings {
    let mut settings: Settings = [
        ("ENVIRONMENT", "testing".to_owned()),
        ("PORT", "0".to_owned()),
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("WORKSPACE_DIR", folder.join("workspace").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    settings
}

#[tokio::test]
async fn what_is_missing_on_this_machine_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, report) =
        doctor(&["--stack"], &settings(folder.path(), &[("PORT", "x"), ("LOG_LEVEL", "loud")])).await;
    assert_eq!(code, 1);
    let told = of(&report, "settings");
    for name in ["PORT: ", "LOG_LEVEL: ", "DATABASE_URL: ", "RABBITMQ_URL: ", "REDIS_URL: "] {
        assert!(
            told.iter().any(|(state, text)| *state == "fail" && text.starts_with(name)),
            "{name}: {told:?}"
        );
    }

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let keys = folder.path().join("data/keys");
    fs::create_dir_all(&keys).expect("made");
    fs::write(keys.join("secret_key"), "k".repeat(40)).expect("written");
    fs::set_permissions(keys.join("secret_key"), fs::Permissions::from_mode(0o644)).expect("mode");
    fs::write(folder.path().join("text.db"), "this is no database ".repeat(100)).expect("written");
    let database = format!("sqlite:{}", folder.path().join("text.db").display());
    let wrong =
        [("PORT", port.as_str()), ("BIFROST_PYTHON", "/nowhere/python3"), ("DATABASE_URL", &database)];
    let (code, report) = doctor(&[], &settings(folder.path(), &wrong)).await;
    assert_eq!((code, &report["ok"]), (1, &Value::Bool(false)));
    has(&report, "python", "fail", "install Python 3.10 or newer");
    has(&report, "port", "fail", "set PORT");
    has(&report, "keys", "fail", "chmod 600");
    has(&report, "workspace", "warn", "WORKSPACE_DIR");
    has(&report, "database", "fail", "text.db");

    let shown =
        command(env!("CARGO_BIN_EXE_bifrost"), &["doctor"], &settings(folder.path(), &wrong)).output().await;
    let shown = String::from_utf8(shown.expect("it runs").stdout).expect("UTF-8");
    assert!(
        shown.contains("  fail  keys") && shown.contains("→ chmod 600") && shown.contains("failures"),
        "{shown}"
    );
}

/// Servers that take connections and say nothing: it is over soon, and names each.
#[tokio::test]
async fn servers_that_hang_do_not_hang_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let hanging = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(connection) = listener.accept().await {
            kept.push(connection);
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (database, broker, redis) =
        (format!("postgres://x@{address}/x"), format!("amqp://{address}"), format!("redis://{address}"));
    let servers = [
        ("DATABASE_URL", database.as_str()),
        ("RABBITMQ_URL", broker.as_str()),
        ("REDIS_URL", redis.as_str()),
    ];
    let settings = settings(folder.path(), &servers);
    let (code, report) =
        tokio::time::timeout(PATIENCE, doctor(&["--stack"], &settings)).await.expect("in time");
    hanging.abort();
    assert_eq!(code, 1);
    has(&report, "database", "fail", "does not answer");
    has(&report, "broker", "fail", "no answer from rabbitmq");
    has(&report, "redis", "fail", "no answer from redis");
}

/// With each of these the doctor and the start say the same line, and health says what to do without naming anybody.
#[tokio::test]
async fn a_broker_and_a_bus_that_refuse_are_told_at_the_start() {
    let redis = PrivateRedis::start().await;
    let mut no_vhost = url::Url::parse(&rabbitmq_url()).expect("a URL");
    no_vhost.set_path("/not-there");
    let mut wrong_password = url::Url::parse(&rabbitmq_url()).expect("a URL");
    wrong_password.set_password(Some("wrong")).expect("a password");
    let cases = [
        (
            no_vhost.to_string(),
            redis.url(None),
            "rabbitmqctl add_vhost not-there",
            "asks for a password: put it into REDIS_URL",
        ),
        (
            wrong_password.to_string(),
            redis.url(Some("wrong")),
            "refuses the password of user",
            "refuses the user name or password: correct REDIS_URL",
        ),
    ];
    for (rabbitmq, redis, of_broker, of_bus) in &cases {
        World::new(Mode::Embedded)
            .await
            .with("RABBITMQ_URL", rabbitmq)
            .with("REDIS_URL", redis)
            .run(async |world: &mut World| {
                let said = world.api.as_mut().expect("it runs");
                for words in [of_broker, of_bus] {
                    let line = said.says(words).await;
                    assert!(line.contains(" ERROR "), "{line}");
                    let again = said.said().into_iter().filter(|line| line.contains(words)).count();
                    assert_eq!(again, 1, "once, not with each attempt");
                }
                let health = world.nobody().get("/health/detailed").await.of(200);
                for (part, variable) in [("broker", "RABBITMQ_URL"), ("redis", "REDIS_URL")] {
                    let detail = health["components"][part]["detail"].as_str().expect("a detail");
                    assert!(detail.contains(variable), "{health}");
                    assert!(!detail.contains("127.0.0.1") && !detail.contains("guest"), "{health}");
                }
                let (code, report) = doctor(&[], &world.settings()).await;
                assert_eq!(code, 1);
                has(&report, "broker", "fail", of_broker);
                has(&report, "redis", "fail", of_bus);
            })
            .await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let url = redis.url(Some(PrivateRedis::PASSWORD));
    let (code, report) = doctor(&[], &settings(folder.path(), &[("REDIS_URL", &url)])).await;
    assert_eq!(code, 0, "{report:#}");
    has(&report, "redis", "ok", "Redis ");
    let none = format!("{url}/99");
    let (_, report) = doctor(&[], &settings(folder.path(), &[("REDIS_URL", &none)])).await;
    has(&report, "redis", "fail", "no database of that number");
    redis.stop().await;
}

/// A role that may not make tables, a password that is wrong, a database that is not there: one line each, the same in both.
#[tokio::test]
async fn a_database_that_refuses_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = postgres_url();
    let mut admin = PgConnection::connect(&server).await.expect("the PostgreSQL server");
    let role = unique("bifrost_e2e").replace('-', "_");
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'right'");
    admin.execute(create.as_str()).await.expect("a role");
    admin.execute(format!("CREATE DATABASE {role}").as_str()).await.expect("a database");
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_username(&role).expect("a user");
    url.set_password(Some("right")).expect("a password");
    url.set_path(&role);
    let without_rights = url.to_string();
    url.set_path(&format!("{role}_not_there"));
    let not_there = url.to_string();
    url.set_username(&format!("{role}_nobody")).expect("a user");
    let nobody = url.to_string();
    let (rabbitmq, redis) = (rabbitmq_url(), redis_url());
    let mut outcomes = Vec::new();
    for (database, words) in [
        (without_rights, format!("GRANT CREATE, USAGE ON SCHEMA public TO \"{role}\"")),
        (not_there, "CREATE DATABASE".to_owned()),
        // By password where the server asks for one, by name where it trusts.
        (nobody, "correct ".to_owned()),
    ] {
        let servers = [
            ("DATABASE_URL", database.as_str()),
            ("RABBITMQ_URL", rabbitmq.as_str()),
            ("REDIS_URL", redis.as_str()),
        ];
        let settings = settings(folder.path(), &servers);
        let (_, report) = doctor(&["--stack"], &settings).await;
        let mut started = Vec::new();
        for program in ["bifrost-api", "bifrost-jobs", "bifrost"] {
            started.push(Process::start(program, &settings).fails().await);
        }
        outcomes.push((words, report, started));
    }
    admin.execute(format!("DROP DATABASE {role}").as_str()).await.expect("dropped");
    admin.execute(format!("DROP ROLE {role}").as_str()).await.expect("dropped");
    for (words, report, started) in outcomes {
        has(&report, "database", "fail", &words);
        for (code, said) in started {
            assert_eq!(code, 1, "{said}");
            let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("bifrost: ")).collect();
            assert!(complaints.len() == 1 && complaints[0].contains(&words), "`{words}`: {said}");
            assert!(!said.contains("right@"), "no password: {said}");
        }
    }
}
