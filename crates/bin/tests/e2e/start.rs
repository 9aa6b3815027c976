//! Starts that cannot succeed: one clear message, an exit code, nothing left behind.

use crate::support::{Mode, Process, World, postgres_url, rabbitmq_url, redis_url};
use std::{fs, path::Path};

fn settings(folder: &Path, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let workspace = folder.join("workspace");
    fs::create_dir_all(&workspace).expect("made");
    let mut all = vec![
        ("ENVIRONMENT".to_owned(), "testing".to_owned()),
        ("PORT".to_owned(), "0".to_owned()),
        ("DATA_DIR".to_owned(), folder.join("data").display().to_string()),
        ("WORKSPACE_DIR".to_owned(), workspace.display().to_string()),
    ];
    for (name, value) in more {
        all.retain(|(known, _)| known != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
    all
}

/// What it complains of: the lines of the complaint, without the log around it.
fn complaint(said: &str) -> &str {
    said.find("bifrost: ").map(|at| &said[at..]).unwrap_or_else(|| panic!("no complaint: {said}"))
}

#[tokio::test]
async fn the_programs_of_the_stack_take_no_arguments() {
    for program in [env!("CARGO_BIN_EXE_bifrost-api"), env!("CARGO_BIN_EXE_bifrost-jobs")] {
        for (argument, code, said) in [
            ("--port=9000", 2, "bifrost: `--port=9000` is not known: settings come from the environment"),
            ("--version", 0, "bifrost 0."),
            ("--help", 0, "settings come from the environment"),
        ] {
            let ended = tokio::process::Command::new(program).arg(argument).output().await.expect("ended");
            let text = String::from_utf8_lossy(if code == 0 { &ended.stdout } else { &ended.stderr });
            assert_eq!(ended.status.code(), Some(code), "{program} {argument}");
            assert!(text.contains(said), "{program} {argument}: {text}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, said) = Process::start("bifrost", &settings(folder.path(), &[("PORT", &port)])).fails().await;
    assert_ne!(code, 0);
    let complaint = complaint(&said);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains(&port) && complaint.contains("set PORT"), "{complaint}");
    assert!(!folder.path().join("data").exists(), "it touched nothing");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    // Permission bits do not bind root, so the places are such that nobody can write there.
    fs::write(folder.path().join("file"), "x").expect("written");
    let under_a_file = folder.path().join("file/data").display().to_string();
    fs::create_dir_all(folder.path().join("folder.db")).expect("made");
    let is_a_folder = format!("sqlite:{}", folder.path().join("folder.db").display());
    let no_folder = format!("sqlite:{}", folder.path().join("file/bifrost.db").display());
    fs::write(folder.path().join("text.db"), "this is no database, whatever its name says ".repeat(100))
        .expect("written");
    let is_text = format!("sqlite:{}", folder.path().join("text.db").display());
    for (name, value) in [
        ("DATA_DIR", under_a_file),
        ("DATABASE_URL", is_a_folder),
        ("DATABASE_URL", no_folder),
        ("DATABASE_URL", is_text),
    ] {
        let (code, said) =
            Process::start("bifrost", &settings(folder.path(), &[(name, &value)])).fails().await;
        assert_ne!(code, 0, "{value}");
        let complaint = complaint(&said);
        assert_eq!(complaint.lines().count(), 1, "{value}: {complaint}");
        let place = value.trim_start_matches("sqlite:");
        assert!(complaint.contains(place), "{value}: {complaint}");
    }
}

#[tokio::test]
async fn a_second_start_on_the_same_data_is_refused() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let (code, said) = Process::start("bifrost", &world.settings()).fails().await;
            assert_ne!(code, 0);
            let complaint = complaint(&said);
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            assert!(complaint.contains("another `bifrost dev`"), "{complaint}");
            assert!(complaint.contains(&world.data().display().to_string()), "{complaint}");
            world.admin().await.get("/auth/me").await.of(200);
        })
        .await;
}

#[tokio::test]
async fn production_does_not_start_with_a_password_of_development() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut before = Process::start("bifrost", &settings(folder.path(), &[]));
    let port = before.address().await.port().to_string();
    before.stop().await.expect("stopped");
    let production = [
        ("ENVIRONMENT", "production"),
        ("PORT", &port),
        ("SECRET_KEY", "q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e"),
        ("ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("DEV_AUTH_BYPASS", "off"),
        ("PUBLIC_URL", "https://bifrost.example.org"),
    ];
    let (code, said) = Process::start("bifrost", &settings(folder.path(), &production)).fails().await;
    assert_ne!(code, 0);
    let complaint = complaint(&said);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains("admin@localhost") && complaint.contains("DEV_USER_PASSWORD"), "{complaint}");
}

#[tokio::test]
async fn all_wrong_settings_are_named_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = [
        ("PORT", "99999"),
        ("HOST", "not a host"),
        ("MAX_CONCURRENCY", "many"),
        ("BIFROST_ISOLATION", "none"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://x"),
        ("BIFROST_ISOLATON", "fork"),
    ];
    for program in ["bifrost", "bifrost-api", "bifrost-jobs"] {
        let (code, said) = Process::start(program, &settings(folder.path(), &wrong)).fails().await;
        assert_eq!(code, 78, "{said}");
        for (name, _) in wrong {
            assert!(said.contains(name), "{program}: {name} is not named in: {said}");
        }
        assert!(!said.contains("mysql://x"), "secrets are not shown: {said}");
        assert!(!folder.path().join("data").exists(), "nothing was opened");
    }
}

#[tokio::test]
async fn the_stack_names_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (postgres, rabbitmq, redis) = (postgres_url(), rabbitmq_url(), redis_url());
    let all = [("DATABASE_URL", postgres.as_str()), ("RABBITMQ_URL", &rabbitmq), ("REDIS_URL", &redis)];
    for program in ["bifrost-api", "bifrost-jobs"] {
        for missing in ["RABBITMQ_URL", "REDIS_URL"] {
            let given: Vec<_> = all.iter().copied().filter(|(name, _)| *name != missing).collect();
            let (code, said) = Process::start(program, &settings(folder.path(), &given)).fails().await;
            assert_eq!(code, 78, "{said}");
            let lines: Vec<_> = said.lines().filter(|line| line.contains(missing)).collect();
            assert!(lines.len() == 1 && lines[0].contains("bifrost dev"), "{program}: {said}");
        }
    }
}
