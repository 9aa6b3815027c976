//! The workspace is followed; what is broken breaks only itself.

use crate::support::{World, call, code, eventually, file, helpers};
use bifrost_domain::{
    definition::Severity,
    ports::python::{End, PythonRuntime, Target, Workspace},
};
use serde_json::json;
use std::{
    fs,
    time::{Duration, Instant},
};

fn workflow(name: &str, result: u32) -> String {
    format!("from bifrost import workflow\n\n@workflow\nasync def {name}():\n    return {result}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_live_within_a_second() {
    let world = World::with_files(&[("main.py", &workflow("answer", 1))], |_| {}).await;
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(1));
    let first = world.report(|report| report.files.len() == 1).await;
    assert_eq!(first.files[0].definitions[0].function, "answer");

    let begun = Instant::now();
    world.write("main.py", &workflow("answer", 2));
    world.write("sub/deeper/other.py", &workflow("other", 3));
    let second = world.report(|report| report.version != first.version && report.files.len() == 2).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(2));

    // Back to the first text: the same version again.
    world.write("main.py", &workflow("answer", 1));
    fs::remove_dir_all(world.workspace.join("sub")).expect("removed");
    let third = world.report(|report| report.version == first.version).await;
    assert_eq!(third.files, first.files);
    assert_ne!(second.version, third.version);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_execution_is_not_changed_by_an_edit() {
    let reads = "
from bifrost import workflow
import asyncio

@workflow
async def late():
    print('begun')
    while True:
        import helper, importlib
        importlib.reload(helper)
        await asyncio.sleep(0.01)
        if context_file().exists():
            return helper.VALUE

def context_file():
    import pathlib
    return pathlib.Path('go')
";
    let world = World::with_files(&[("main.py", reads), ("helper.py", "VALUE = 1\n")], |_| {}).await;
    let before = world.report(|report| report.files.len() == 2).await.version.clone();
    let mut running = world.start(file("late", json!({})));
    running.until(|lines| !lines.is_empty()).await;
    world.write("helper.py", "VALUE = 2\n");
    world.report(|report| report.version != before).await;
    // The run's own folder is the newest one that is in use.
    let temp = fs::read_dir(world.data.join("temp")).expect("temp").flatten().next().expect("one").path();
    for folder in fs::read_dir(temp).expect("folders").flatten().filter(|entry| entry.path().is_dir()) {
        fs::write(folder.path().join("go"), "").expect("written");
    }
    assert_eq!(running.ended().await.result(), json!(1));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_breaks_only_itself() {
    let files = [("main.py", workflow("answer", 1)), ("broken.py", "def oops(:\n    pass\n".to_owned())];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let world = World::with_files(&files, |_| {}).await;
    let report = world.report(|report| report.files.len() == 2).await;
    let broken = report.files.iter().find(|file| file.path == "broken.py").expect("listed");
    assert_eq!((broken.issues[0].line, broken.issues[0].severity), (1, Severity::Error));
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(1));
    let target = Target::File { path: "broken.py".into(), function: "oops".into(), workflow: "oops".into() };
    let ran = world.run(call(target, json!({}))).await;
    assert_eq!(ran.returned().error_type.as_deref(), Some("SyntaxError"), "{ran:?}");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_error_is_the_runs_own() {
    let files = [(
        "main.py",
        "import nowhere_to_be_found\nfrom bifrost import workflow\n\n@workflow\nasync def answer():\n    return 1\n",
    )];
    let world = World::with_files(&files, |_| {}).await;
    let ran = world.run(file("answer", json!({}))).await;
    assert_eq!(ran.returned().error_type.as_deref(), Some("ModuleNotFoundError"), "{ran:?}");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_an_empty_workspace_until_it_appears() {
    let world = World::with(|settings| {
        let missing = settings.data_dir.parent().expect("parent").join("later");
        settings.workspace_dir = Some(missing);
    })
    .await;
    let report = world.python.reports().borrow().clone().expect("a report");
    assert!(report.files.is_empty());
    let ran = world.run(file("answer", json!({}))).await;
    assert!(!matches!(ran.end, End::NotStarted(_)), "{ran:?}");

    let later = world.data.parent().expect("parent").join("later");
    fs::create_dir(&later).expect("made");
    fs::write(later.join("main.py"), workflow("answer", 4)).expect("written");
    world.report(|report| report.files.len() == 1).await;
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(4));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_removed() {
    let world = World::with_files(&[("main.py", &workflow("answer", 0))], |_| {}).await;
    for number in 1..8 {
        let former = world.report(|_| true).await.version.clone();
        world.write("main.py", &workflow("answer", number));
        world.report(|report| report.version != former).await;
    }
    let snapshots = world.data.join("snapshots");
    let count =
        || fs::read_dir(&snapshots).expect("snapshots").flatten().filter(|e| e.path().is_dir()).count();
    eventually("only the last three are kept", || count() == 3).await;
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(7));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_import_replaces_the_zygote_and_disturbs_no_run() {
    let world = World::with_files(&[("main.py", &workflow("answer", 1))], |_| {}).await;
    let before = helpers(&world.data, "zygote.py");
    let mut running = world.start(code("import os\nprint('begun')\nwhile not os.path.exists('go'):\n    await __import__('asyncio').sleep(0.01)\nprint(f'cwd={os.getcwd()}')\nreturn 'undisturbed'"));
    running.until(|lines| !lines.is_empty()).await;
    world.write("other.py", "import nowhere_to_be_found_either\n");
    let left_out = || {
        world.python.info().is_some_and(|info| {
            info.left_out.iter().any(|package| package.contains("nowhere_to_be_found_either"))
        })
    };
    eventually("the new zygote knows the package", left_out).await;
    assert_eq!(world.run(file("answer", json!({}))).await.result(), json!(1));
    let both = helpers(&world.data, "zygote.py");
    assert_eq!(both.len(), 2, "the former one lives as long as its run");

    let temp = fs::read_dir(world.data.join("temp")).expect("temp").flatten().next().expect("one").path();
    for folder in fs::read_dir(temp).expect("folders").flatten().filter(|entry| entry.path().is_dir()) {
        fs::write(folder.path().join("go"), "").expect("written");
    }
    assert_eq!(running.ended().await.result(), json!("undisturbed"));
    eventually("the former zygote ends", || {
        let now = helpers(&world.data, "zygote.py");
        now.len() == 1 && now != before
    })
    .await;
    world.python.shutdown().await;
}
