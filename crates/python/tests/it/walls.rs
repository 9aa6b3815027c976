//! Walls between runs, and what is told about those that are missing.

use crate::support::{World, code};
use bifrost_domain::ports::python::PythonRuntime;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};

const KNOWN: [&str; 8] = [
    "landlock",
    "memory_limit",
    "memory_sum",
    "mount_namespace",
    "no_new_privs",
    "own_uid",
    "pid_namespace",
    "signals",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_wall_is_told() {
    let world = World::new().await;
    let info = world.python.info().expect("ready");
    assert!(info.python.starts_with("3."), "{info:?}");
    let mut names: Vec<_> = info.walls.iter().map(|wall| wall.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, KNOWN);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_data_folder_costs_the_uid_wall_and_says_why() {
    let world = World::with(|settings| {
        let private = settings.data_dir.join("private");
        fs::create_dir_all(&private).expect("folder");
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("mode");
        settings.data_dir = private.join("data");
    })
    .await;
    let info = world.python.info().expect("ready");
    let wall = info.walls.iter().find(|wall| wall.name == "own_uid").expect("known");
    assert!(wall.missing.is_some(), "{wall:?}");
    if nix::unistd::geteuid().is_root() {
        assert!(wall.missing.as_deref().is_some_and(|reason| reason.contains("private")), "{wall:?}");
    }
    // Without it the code still runs.
    assert_eq!(world.run(code("return 1")).await.result(), json!(1));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_the_same_time_have_different_uids_and_folders() {
    let world = World::new().await;
    let source = "import os, time\nprint(f'id={os.getuid()}:{os.getcwd()}')\ntime.sleep(1000)";
    let mut one = world.start(code(source));
    let mut other = world.start(code(source));
    one.until(|lines| !lines.is_empty()).await;
    other.until(|lines| !lines.is_empty()).await;
    assert_ne!(one.value("id").split(':').nth(1), other.value("id").split(':').nth(1));
    let own_uid = world.python.info().expect("ready").walls;
    if own_uid.iter().any(|wall| wall.name == "own_uid" && wall.missing.is_none()) {
        assert_ne!(one.value("id").split(':').next(), other.value("id").split(':').next());
    }
    drop((one, other));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_on_the_path_runs_code_too() {
    // Often behind a version manager's shim, and in a home folder that others cannot read.
    let world = World::with(|settings| settings.python = "python3".into()).await;
    assert_eq!(world.run(code("return 1")).await.result(), json!(1));
    world.python.shutdown().await;
}
