//! Runs that do their worst. Each ends in a stated way, leaves nothing behind and harms nobody: not the worker, not the zygote, not a run
//! beside it.
//!
//! The cases stand in `workspace/hostile.py`; the table here says how each of them ends. They run side by side in one world, of which
//! there are three: with every wall, over the stack with the Python on the PATH (whose folders other users may not read, often), and as an
//! ordinary user, who can build the fewest walls. Where a wall is missing that should stand the test fails.

use crate::support::{BIFROST, Client, Mode, PATIENCE, Process, World, leave_out, processes, unique, until};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// Memory of a run, MiB, and its processes and threads.
const MEMORY: &str = "160";
const PROCESSES: &str = "24";
/// Runs at a time.
const SLOTS: &str = "6";
/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// An end: status, class of the error, and a part of its text.
type End = (&'static str, &'static str, &'static str);

const WENT_ON: End = ("Success", "", "");
const KILLED: End = ("Failed", "ProcessDied", "killed (signal 9)");
const IN_NATIVE_CODE: End = ("Failed", "ProcessDied", "in native code");
const NO_MEMORY: End = ("Failed", "MemoryError", "its limit of 160 MiB (RUN_MEMORY_MB)");
const MEMORY_OF_ALL: End =
    ("Failed", "ProcessDied", "together used more memory than the limit of 160 MiB (RUN_MEMORY_MB)");
const CLOSED: End = ("Failed", "ProcessDied", "were its files closed?");
const CLOSED_ITS_SOCKET: End = ("Failed", "ProtocolError", "closed its connection");
const TOO_MANY: End =
    ("Failed", "ProcessDied", "more than the limit of 24 processes and threads (RUN_PROCESSES)");

/// What ends by itself, and its possible ends: with and without this or that wall.
const CASES: &[(&str, &[End])] = &[
    ("exits", &[("Failed", "SystemExit", "sys.exit(3)")]),
    ("leaves", &[("Failed", "ProcessDied", "exited with code 3")]),
    ("aborts", &[IN_NATIVE_CODE]),
    ("crashes", &[IN_NATIVE_CODE]),
    // The first process of a namespace cannot end itself this way.
    ("kills_itself", &[WENT_ON, KILLED]),
    ("kills_its_group", &[WENT_ON, KILLED]),
    ("kills_its_parent", &[WENT_ON]),
    ("kills_everybody", &[WENT_ON]),
    ("closes_files", &[CLOSED, CLOSED_ITS_SOCKET]),
    ("closes_files_and_stays", &[CLOSED, CLOSED_ITS_SOCKET]),
    ("writes_everywhere", &[("Failed", "ProtocolError", "unknown frame kind")]),
    ("takes_memory", &[NO_MEMORY]),
    ("takes_memory_in_small_parts", &[NO_MEMORY]),
    ("takes_memory_at_once", &[NO_MEMORY]),
    ("takes_memory_in_a_grandchild", &[WENT_ON]),
    ("takes_shared_memory", &[MEMORY_OF_ALL]),
    ("takes_memory_in_a_family", &[MEMORY_OF_ALL]),
    (
        "forks_on_and_on",
        &[("Failed", "BlockingIOError", "24 processes and threads (RUN_PROCESSES)"), TOO_MANY],
    ),
    ("begins_threads", &[("Failed", "RuntimeError", "24 processes and threads (RUN_PROCESSES)"), TOO_MANY]),
    ("opens_files", &[("Failed", "OSError", "1024 open files (RUN_OPEN_FILES)")]),
    ("writes_a_large_file", &[("Failed", "OSError", "a file of a run may have 1024 MiB")]),
    ("calls_itself", &[("Failed", "RecursionError", "maximum recursion depth")]),
    ("raises_what_cannot_be_told", &[("Failed", "Mute", "Mute")]),
    ("has_a_bad_finaliser", &[WENT_ON]),
    ("hangs_at_exit", &[WENT_ON]),
    ("leaves_daemons", &[WENT_ON]),
    ("leaves_daemons_and_fails", &[("Failed", "ValueError", "failed")]),
    ("leaves_daemons_and_dies", &[("Failed", "ProcessDied", "exited with code 3")]),
    ("leaves_its_output_open", &[WENT_ON]),
    ("lets_others_print", &[WENT_ON]),
    ("prints_without_end", &[WENT_ON]),
    ("prints_bytes", &[WENT_ON]),
    ("returns_a_deep_list", &[("Failed", "ResultNotSerializable", "more than 100 deep")]),
    ("returns_a_trap", &[("Failed", "ResultNotSerializable", "a trap")]),
    ("leaves_deep_folders", &[WENT_ON]),
    ("leaves_closed_folders", &[WENT_ON]),
];

/// What has to be ended; the workflow that runs it until it is cancelled, and the one that runs it for two seconds.
const STAYING: &[(&str, &str, &str)] = &[
    ("ignores_signals", "hostile", "hostile_for_a_moment"),
    ("blocks_signals", "hostile", "hostile_for_a_moment"),
    ("is_lost_in_a_pattern", "hostile", "hostile_for_a_moment"),
    ("waits_for_a_thread", "hostile", "hostile_for_a_moment"),
    ("blocks_signals", "hostile_in_a_thread", "hostile_for_a_moment_in_a_thread"),
    ("is_lost_in_a_pattern", "hostile_in_a_thread", "hostile_for_a_moment_in_a_thread"),
    ("waits_for_a_thread", "hostile_in_a_thread", "hostile_for_a_moment_in_a_thread"),
];

/// All there are; the first one needs a Python that other users may read.
const WALLS: [&str; 8] = [
    "own_uid",
    "landlock",
    "memory_limit",
    "memory_sum",
    "mount_namespace",
    "no_new_privs",
    "pid_namespace",
    "signals",
];

fn world(world: World) -> World {
    world
        .with("RUN_MEMORY_MB", MEMORY)
        .with("RUN_PROCESSES", PROCESSES)
        .with("MAX_CONCURRENCY", SLOTS)
        .with("CANCEL_GRACE_SECONDS", "1")
}

#[tokio::test]
async fn with_every_wall() {
    let python = readable_python();
    let case = async |world: &mut World| {
        has(&walls(world).await, &WALLS);
        all_cases(world).await;
    };
    world(World::new(Mode::Embedded).await).with("BIFROST_PYTHON", python).run(case).await;
}

#[tokio::test]
async fn over_the_stack() {
    let case = async |world: &mut World| {
        // An ordinary user builds few, and the test above has said so.
        if nix::unistd::geteuid().is_root() {
            has(&walls(world).await, &WALLS[1..]);
        }
        all_cases(world).await;
    };
    world(World::new(Mode::Stack).await).run(case).await;
}

#[tokio::test]
async fn as_an_ordinary_user() {
    let python = readable_python();
    let mut around = world(World::new(Mode::Embedded).await).with("BIFROST_PYTHON", python);
    // Whoever runs the tests as an ordinary user has been one in every test already.
    if nix::unistd::geteuid().is_root() {
        around = around.launched(as_nobody);
    }
    around.run(all_cases).await;
}

/// An interpreter that other users may read, too, where there is one.
fn readable_python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// `bifrost dev` as a user who may read and write the world's folder and nothing else of interest.
fn as_nobody(folder: &Path) -> Command {
    let program = folder.join("bifrost");
    fs::copy(BIFROST, &program).expect("copied");
    give_away(folder);
    let mut command = Command::new(program);
    command.arg("dev").uid(NOBODY).gid(NOBODY);
    command
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("given");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("listed") {
            give_away(&entry.expect("an entry").path());
        }
    }
}

async fn all_cases(world: &mut World) {
    let walls = walls(world).await;
    eprintln!("walls: {walls}");
    let admin = world.admin().await;
    let bystander = unique("by");
    let beside = admin.begin("stay", json!({"mark": &bystander[..15], "seconds": 600.0})).await;
    admin.line(&beside, "round 1").await;

    let cases = CASES.iter().filter(|(what, _)| may_be_tried(what, &walls));
    join_all(cases.map(|(what, ends)| ends_by_itself(&admin, &walls, "hostile", what, ends))).await;
    // With a user of its own it only fills its own limit, until its time is over.
    let bomb = "forks_daemons_on_and_on";
    ends_by_itself(&admin, &walls, "hostile_for_a_moment", bomb, &[TOO_MANY, ("Timeout", "Timeout", "")])
        .await;
    join_all(STAYING.iter().map(|(what, workflow, _)| is_cancelled(&admin, what, workflow))).await;
    join_all(STAYING.iter().map(|(what, _, workflow)| runs_out_of_time(&admin, what, workflow))).await;

    let log = admin.log(&beside).await;
    assert_eq!(admin.execution(&beside).await["status"], "Running", "{:?}", log.last());
    for (number, line) in log.iter().enumerate().skip(1) {
        assert_eq!(line["message"], format!("round {number}"), "the run beside them went on undisturbed");
    }
    admin.post(&format!("/api/executions/{beside}/cancel"), json!({})).await.of(200);
    assert_eq!(admin.ended(&beside).await["status"], "Cancelled");
    assert_eq!(processes(&bystander), [0_u32; 0]);

    let said = worker(world).said().join("\n");
    assert!(!said.contains("the zygote is gone"), "one zygote served all of them");
    assert!(!said.contains("lease ended"), "the worker kept its lease");
    until("the runs' folders are gone", PATIENCE, async || {
        left_in_folders(&world.data().join("temp")).is_empty().then_some(())
    })
    .await;
}

fn worker(world: &mut World) -> &mut Process {
    world.jobs.first_mut().or(world.api.as_mut()).expect("started")
}

/// What stands between runs, by the worker's word.
async fn walls(world: &mut World) -> String {
    worker(world).says("ready to run workflows").await
}

/// Cases were tried behind these walls, not behind fewer.
fn has(walls: &str, wanted: &[&str]) {
    let missing: Vec<_> = wanted.iter().filter(|wall| !walls.contains(**wall)).collect();
    if !missing.is_empty() {
        leave_out(&format!("what is hostile is not tried behind {missing:?}: {walls}"));
    }
}

fn may_be_tried(what: &str, walls: &str) -> bool {
    // Without this wall it would end the worker, the tests, and whatever else is its user's: the worker says so at start.
    let may = what != "kills_everybody" && what != "kills_its_parent" || walls.contains("signals");
    if !may {
        eprintln!("not tried without the wall `signals`: {what}");
    }
    may
}

async fn ends_by_itself(admin: &Client, walls: &str, workflow: &str, what: &str, ends: &[End]) {
    let mark = &unique("h")[..15];
    let id = admin.begin(workflow, json!({"what": what, "mark": mark})).await;
    let ended = ended(admin, &id).await;
    let ends: &[End] =
        if what == "takes_memory_in_a_family" && !walls.contains("memory_sum") { &[WENT_ON] } else { ends };
    let is_one_of_them = ends.iter().any(|(status, kind, text)| {
        ended["status"] == *status
            && ended["error_type"].as_str().unwrap_or_default() == *kind
            && ended["error_message"].as_str().unwrap_or_default().contains(text)
    });
    assert!(is_one_of_them, "{what}: {ended}");
    if ended["status"] == "Success" && what != "takes_memory_in_a_grandchild" {
        assert_eq!(ended["result"], "went on", "{what}");
        // Nothing waits for the kernel to clear away what succeeded.
        until(what, PATIENCE, async || processes(mark).is_empty().then_some(())).await;
    }
    leaves_nothing(admin, what, &id, mark).await;
}

async fn is_cancelled(admin: &Client, what: &str, workflow: &str) {
    let mark = &unique("h")[..15];
    let id = admin.begin(workflow, json!({"what": what, "mark": mark})).await;
    admin.line(&id, "armed").await;
    admin.post(&format!("/api/executions/{id}/cancel"), json!({})).await.of(200);
    let ended = ended(admin, &id).await;
    assert_eq!(
        (&ended["status"], &ended["error_type"], &ended["error_message"]),
        (&json!("Cancelled"), &json!("Cancelled"), &json!("the run was cancelled")),
        "{workflow}, {what}: {ended}"
    );
    leaves_nothing(admin, what, &id, mark).await;
}

async fn runs_out_of_time(admin: &Client, what: &str, workflow: &str) {
    let mark = &unique("h")[..15];
    let id = admin.begin(workflow, json!({"what": what, "mark": mark})).await;
    let ended = ended(admin, &id).await;
    assert_eq!(
        (&ended["status"], &ended["error_type"], &ended["error_message"]),
        (&json!("Timeout"), &json!("Timeout"), &json!("the run took longer than its limit of 2 seconds")),
        "{workflow}, {what}: {ended}"
    );
    leaves_nothing(admin, what, &id, mark).await;
}

/// The end of a run that may have to wait for others.
async fn ended(admin: &Client, id: &str) -> Value {
    until(&format!("the end of {id}"), 4 * PATIENCE, async || {
        let execution = admin.execution(id).await;
        let is_open =
            ["Pending", "Running", "Cancelling"].contains(&execution["status"].as_str().expect("a status"));
        (!is_open).then_some(execution)
    })
    .await
    .0
}

/// Its processes have ended, what it said is kept, and the next run is served.
async fn leaves_nothing(admin: &Client, what: &str, id: &str, mark: &str) {
    assert_eq!(processes(mark), [0_u32; 0], "{what}");
    let log = admin.log(id).await;
    assert!(log.iter().any(|line| line["message"] == "armed"), "{what}: {log:?}");
    for (number, line) in log.iter().enumerate() {
        assert_eq!(line["sequence"], number + 1, "{what}");
    }
    let next = admin.run("add", json!({"a": 1})).await;
    assert_eq!(next["status"], "Success", "after {what}: {next}");
}

/// Folders of runs below the temporary folder that hold something.
fn left_in_folders(temp: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    };
    let is_used = |folder: &PathBuf| {
        folder.metadata().is_ok_and(|meta| meta.is_dir() && meta.nlink() > 2) || !list(folder).is_empty()
    };
    list(temp).iter().flat_map(|process| list(process)).filter(|run| run.is_dir()).filter(is_used).collect()
}
