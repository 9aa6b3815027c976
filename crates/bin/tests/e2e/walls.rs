//! What a worker with few rights, or with none, can put between runs.

use crate::support::{Mode, PATIENCE, World, base64, until};
use nix::unistd::{Gid, Uid, chown, geteuid};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// The user of both images, by `docker/as-worker.sh`.
const USER: u32 = 10_001;
const ENTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/as-worker.sh");

/// Leaves a folder that nobody but its owner could open, and says as who it ran, with which rights.
const CODE: &str = r#"
import os
os.makedirs("closed/deeper")
open("closed/deeper/file", "w").close()
os.chmod("closed", 0)
rights = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapInh", "CapPrm", "CapEff", "CapAmb"))]
return {"user": os.getuid(), "group": os.getgid(), "groups": os.getgroups(), "rights": rights, "temp": os.getcwd()}
"#;

/// A world whose only process was given these capabilities (by the container, say) and came in by the image's entry point. Only root can
/// give and take them; for any other user they are none already.
async fn world_with(capabilities: &str) -> World {
    let mut world = World::new(Mode::Embedded).await;
    // Readable by every user, where there is one: the user of a test may have another in a home folder.
    if Path::new("/usr/bin/python3").exists() {
        world = world.with("BIFROST_PYTHON", "/usr/bin/python3");
    }
    if !geteuid().is_root() {
        return world;
    }
    fs::create_dir(world.data()).expect("made");
    chown(&world.data(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).expect("given");
    // The checkout may lie where that user cannot read.
    let entry = world.data().with_file_name("as-worker.sh");
    fs::copy(ENTRY, &entry).expect("copied");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("permissions");
    let bounds = format!("-all{capabilities}");
    let entry = entry.display().to_string();
    let command = [
        "setpriv",
        "--bounding-set",
        &bounds,
        "--inh-caps",
        "-all",
        "--no-new-privs",
        "sh",
        "-c",
        COPY,
        &entry,
    ];
    world.started_by(&command)
}

/// Runs a copy of the program that the last user can read: `$0` the entry point, `$1` the program.
const COPY: &str =
    r#"cp "$1" "$(dirname "$0")/program" && shift && exec "$0" "$(dirname "$0")/program" "$@""#;

async fn ran(world: &World) -> Value {
    let done = world.admin().await.execute(json!({"code": base64(CODE)})).await.of(200);
    assert_eq!(done["status"], "Success", "{done}");
    let result = done["result"].clone();
    for rights in result["rights"].as_array().expect("four") {
        assert_eq!(rights, "0000000000000000", "{result}");
    }
    let temp = result["temp"].as_str().expect("a path").to_owned();
    until("its folder is removed", PATIENCE, async || (!Path::new(&temp).exists()).then_some(())).await;
    result
}

#[tokio::test]
async fn four_capabilities_give_each_run_a_user_of_its_own() {
    let case = async |world: &mut World| {
        let owner = fs::metadata(world.data().join("keys")).expect("its keys").uid();
        let result = ran(world).await;
        let api = world.api.as_mut().expect("started");
        if geteuid().is_root() {
            assert_eq!(owner, USER);
            let user = result["user"].as_u64().expect("a number");
            assert!(user >= 60_000 && result["group"] == user && result["groups"] == json!([]), "{result}");
            assert!(api.says("ready to run workflows").await.contains("own_uid"));
        } else {
            assert_eq!(result["user"], owner);
            api.says("it has no CAP_KILL, CAP_SETGID, CAP_SETUID").await;
        }
    };
    world_with(",+chown,+setuid,+setgid,+kill").await.run(case).await;
}

#[tokio::test]
async fn a_worker_without_the_right_to_hand_over_folders_says_so_and_works() {
    let case = async |world: &mut World| {
        let owner = fs::metadata(world.data().join("keys")).expect("its keys").uid();
        assert_eq!(ran(world).await["user"], owner);
        let missing = if geteuid().is_root() { "the worker has no CAP_CHOWN" } else { "it has no CAP_KILL" };
        world.api.as_mut().expect("started").says(missing).await;
    };
    world_with(",+setuid,+setgid,+kill").await.run(case).await;
}
