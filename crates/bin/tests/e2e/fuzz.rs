//! Requests made from the document of the running program (schemathesis): no fault of ours, and no answer that the document does not
//! describe.

use crate::{in_both_modes, support::World};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

in_both_modes!(every_answer_is_in_the_document);

/// All of schemathesis, each package in one version.
const PINNED: &str = include_str!("fuzz.txt");
/// Seconds that requests are made for.
const TIME: &str = "60";
/// Until it must have ended: it finishes what it has begun.
const PATIENCE: Duration = Duration::from_secs(150);
/// One at a time: Python 3.11 loses count when two threads read source at once.
const WORKERS: &str = "1";
/// What an answer is checked for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";
/// Live connections, which do not end, and what would end the session that asks.
const LEFT_OUT: &str = "^/ws/|/stream$|^/auth/(logout|revoke-all|sessions/.*|admin/revoke-user)$";

/// The program, installed at its first use.
async fn schemathesis() -> PathBuf {
    let python = std::env::var_os("BIFROST_PYTHON").unwrap_or_else(|| "python3".into());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("schemathesis.lock")).expect("a file");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.expect("no panic");
    let _lock = lock.expect("locked");
    let (place, done) = (folder.join("schemathesis"), folder.join("schemathesis.installed"));
    if fs::read_to_string(&done).is_ok_and(|installed| installed == PINNED) && place.exists() {
        return place.join("bin/schemathesis");
    }
    let list = folder.join("schemathesis.txt");
    fs::write(&list, PINNED).expect("written");
    let pip = place.join("bin/pip");
    for (program, arguments) in [
        (PathBuf::from(python), vec!["-m".into(), "venv".into(), "--clear".into(), place.clone()]),
        (pip, vec!["install".into(), "--quiet".into(), "-r".into(), list]),
    ] {
        let output = Command::new(&program).args(&arguments).stdin(Stdio::null()).output().await;
        let output = output.expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
    }
    fs::write(done, PINNED).expect("written");
    place.join("bin/schemathesis")
}

async fn every_answer_is_in_the_document(world: &mut World) {
    let program = schemathesis().await;
    let admin = world.admin().await;
    let address = format!("http://{}", world.address());
    let authorization = format!("Authorization: Bearer {}", admin.token.as_deref().expect("a token"));
    let mut command = Command::new(program);
    command
        .args(["run", &format!("{address}/openapi.json"), "--url", &address, "-H", &authorization])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-time", TIME])
        .args(["--workers", WORKERS, "--continue-on-failure", "--request-timeout", "30", "--warnings", "off"])
        .args([
            "--seed",
            "7",
            "--suppress-health-check",
            "all",
            "--no-color",
            "--generation-with-security-parameters",
            "false",
        ])
        .args(["--exclude-path-regex", LEFT_OUT])
        .current_dir(world.data())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // Whoever asked is still somebody: otherwise all of it was refusals.
    admin.get("/auth/me").await.of(200);
    assert_eq!(world.nobody().get("/health/ready").await.of(200)["status"], "healthy");
}
