//! `cargo run -p migration -- …`, which knows nothing but `DATABASE_URL` and `ENVIRONMENT`.

#![expect(clippy::expect_used, reason = "a case that cannot go on has failed")]

use std::{
    fs::File,
    path::Path,
    process::{Command, Output, Stdio},
};

fn run(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_migration"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_schema_goes_up_and_down_by_its_address_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = [("DATABASE_URL", "sqlite:bifrost.db")];
    let up = run(folder.path(), &file, &["up"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert!(text(&up.stdout).contains("applied     m20261120_000001_identity ("), "{}", text(&up.stdout));
    assert!(run(folder.path(), &file, &["status", "--check"]).status.success());
    assert!(run(folder.path(), &file, &["check"]).status.success());
    // As an option, too.
    let down = run(folder.path(), &[], &["down", "2", "--yes", "--database-url", "sqlite:bifrost.db"]);
    assert!(
        text(&down.stdout).contains("2 migrations taken back"),
        "{}{}",
        text(&down.stdout),
        text(&down.stderr)
    );
    assert_eq!(run(folder.path(), &file, &["status", "--check"]).status.code(), Some(1));

    let production = [file[0], ("ENVIRONMENT", "production")];
    let refused = run(folder.path(), &production, &["down", "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--yes-in-production"), "{}", text(&refused.stderr));
}

#[test]
fn an_address_that_is_none_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for settings in [&[][..], &[("DATABASE_URL", "mysql://bob:secret@x/y")]] {
        let said = run(folder.path(), settings, &["up"]);
        assert_eq!(said.status.code(), Some(78));
        let error = text(&said.stderr);
        assert!(error.starts_with("migration: DATABASE_URL ") && error.lines().count() == 1, "{error}");
        assert!(error.contains("sqlite:PATH") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn the_folder_of_a_running_bifrost_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = [("DATABASE_URL", "sqlite:bifrost.db")];
    let lock = File::create(folder.path().join("lock")).expect("made");
    lock.lock().expect("held");
    let refused = run(folder.path(), &file, &["up"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is in use by a running Bifrost"), "{}", text(&refused.stderr));
    assert!(!folder.path().join("bifrost.db").exists());
    assert!(run(folder.path(), &file, &["status"]).status.success(), "looking is allowed");
    drop(lock);
    assert!(run(folder.path(), &file, &["up"]).status.success());
}

#[test]
fn a_skeleton_is_written_into_the_checkout_around() {
    let folder = tempfile::tempdir().expect("a folder");
    let sources = folder.path().join("migration/src");
    std::fs::create_dir_all(&sources).expect("made");
    let refused = run(&sources, &[], &["generate", "add_phone"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("there is no migration/src here or above"),
        "{}",
        text(&refused.stderr)
    );
    for file in ["lib.rs", "m20261120_000001_identity.rs"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        std::fs::copy(from, sources.join(file)).expect("copied");
    }
    let written = run(&sources, &[], &["generate", "add_phone"]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let said = text(&written.stdout);
    let path = said.lines().next().and_then(|line| line.strip_prefix("wrote ")).expect("where");
    assert!(path.ends_with("_add_phone.rs") && Path::new(path).is_file(), "{said}");
    let refused = run(folder.path(), &[], &["generate", "Add-Phone"]);
    assert!(text(&refused.stderr).contains("`Add-Phone` is not a name"), "{}", text(&refused.stderr));
}
