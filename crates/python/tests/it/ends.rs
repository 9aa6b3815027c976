//! How runs end when they do not return: nothing of them is left alive.

use crate::support::{World, code, eventually, file, helpers, marked_processes};
use bifrost_domain::ports::python::{End, PythonRuntime, Stop};
use serde_json::json;
use std::time::{Duration, Instant};

/// Code that leaves two descendants which would live for long: a child process, and a daemon in its own session. Both
/// carry `mark` on their command line.
fn with_descendants(mark: &str, then: &str) -> String {
    format!(
        "
import os, subprocess, sys, time
command = [sys.executable, '-I', '-c', 'import time; time.sleep(1000)', '{mark}']
subprocess.Popen(command)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(command[0], command)
    os._exit(0)
os.wait()
deadline = time.monotonic() + 10
print('begun')
{then}
"
    )
}

fn mark(name: &str) -> String {
    format!("bifrost-test-{name}-{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_no_process() {
    let world = World::new().await;
    let mark = mark("timeout");
    let mut call = code(&with_descendants(&mark, "import asyncio\nawait asyncio.sleep(1000)"));
    call.timeout = Some(Duration::from_millis(1500));
    let begun = Instant::now();
    let mut running = world.start(call);
    running.until(|lines| !lines.is_empty()).await;
    eventually("both descendants run", || marked_processes(&mark).len() == 2).await;
    let ran = running.ended().await;
    assert_eq!(ran.end, End::TimedOut);
    assert_eq!(marked_processes(&mark), Vec::<i32>::new());
    assert!(begun.elapsed() >= Duration::from_millis(1500), "nothing ends it earlier");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_run_leaves_no_process_either() {
    let world = World::new().await;
    let mark = mark("return");
    let ran = world.run(code(&with_descendants(&mark, "return 5"))).await;
    assert_eq!(ran.result(), json!(5));
    assert_eq!(marked_processes(&mark), Vec::<i32>::new());
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_is_cooperative_first() {
    let world = World::new().await;
    let source = "
import asyncio
print('begun')
try:
    await asyncio.sleep(1000)
except asyncio.CancelledError:
    print('cancelled:', bool(context.cancelled))
    raise
";
    let mut running = world.start(code(source));
    running.until(|lines| !lines.is_empty()).await;
    let begun = Instant::now();
    running.stop.send_replace(Stop::Cancel);
    let ran = running.ended().await;
    assert_eq!(ran.end, End::Cancelled);
    assert_eq!(ran.messages()[1], "cancelled: True");
    assert!(begun.elapsed() < Duration::from_millis(800), "it took {:?}", begun.elapsed());
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_ignores_everything_is_killed_after_the_grace() {
    let world = World::new().await;
    let mark = mark("stubborn");
    let stubborn = "
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print('armed')
while True:
    try:
        time.sleep(1000)
    except BaseException:
        pass
";
    let mut running = world.start(code(&with_descendants(&mark, stubborn)));
    running.until(|lines| lines.iter().any(|line| line.message == "armed")).await;
    let begun = Instant::now();
    running.stop.send_replace(Stop::Cancel);
    let ran = running.ended().await;
    assert_eq!(ran.end, End::Cancelled);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(850) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(marked_processes(&mark), Vec::<i32>::new());
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_came_first_stands() {
    let world = World::new().await;
    let source = "
import asyncio
print('begun')
try:
    await asyncio.sleep(1000)
except asyncio.CancelledError:
    return 'cleaned up'
";
    let mut running = world.start(code(source));
    running.until(|lines| !lines.is_empty()).await;
    running.stop.send_replace(Stop::Cancel);
    let ran = running.ended().await;
    // Either is sound: what must not happen is a failure, or a process that stays.
    assert!(matches!(ran.end, End::Returned(_) | End::Cancelled), "{ran:?}");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_exits_or_is_killed_says_how_and_keeps_its_lines() {
    let world = World::new().await;
    let ran = world.run(code("import os\nprint('last words')\nos._exit(7)")).await;
    assert_eq!(ran.end, End::Died { code: Some(7), signal: None, why: None });
    assert_eq!(ran.messages(), ["last words"]);

    let ran = world.run(code("import ctypes\nprint('one')\nctypes.string_at(0)")).await;
    assert_eq!(ran.end, End::Died { code: None, signal: Some(11), why: None });
    assert_eq!(ran.messages(), ["one"]);
    // The runtime is as well as before.
    assert_eq!(world.run(file("noop", json!({}))).await.result(), json!({"ok": true}));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_eats_memory_ends_alone() {
    let world = World::new().await;
    let ran = world.run(code("data = []\nwhile True:\n    data.append(bytearray(16 * 1024 * 1024))")).await;
    match &ran.end {
        End::Returned(returned) => assert_eq!(returned.error_type.as_deref(), Some("MemoryError")),
        other => assert!(matches!(other, End::Died { .. }), "{other:?}"),
    }
    assert_eq!(world.run(file("noop", json!({}))).await.result(), json!({"ok": true}));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_frame_end_the_run() {
    let world = World::new().await;
    let source = "
import os, time
for name in sorted(os.listdir('/proc/self/fd'), key=int):
    try:
        if 'socket' in os.readlink(f'/proc/self/fd/{name}'):
            os.write(int(name), b'\\xff' * 64)
    except OSError:
        pass
time.sleep(1000)
";
    let ran = world.run(code(source)).await;
    let End::Protocol(reason) = &ran.end else { panic!("{ran:?}") };
    assert!(reason.contains("unknown frame kind"), "{reason}");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_run() {
    let world = World::new().await;
    let mark = mark("abandoned");
    let mut running = world.start(code(&with_descendants(&mark, "time.sleep(1000)")));
    running.until(|lines| !lines.is_empty()).await;
    eventually("both descendants run", || marked_processes(&mark).len() == 2).await;
    drop(running);
    eventually("all of them are gone", || marked_processes(&mark).is_empty()).await;
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_interrupts_what_runs_and_what_waits() {
    let world = World::with(|settings| settings.max_concurrency = 1).await;
    let mark = mark("shutdown");
    let mut running = world.start(code(&with_descendants(&mark, "time.sleep(1000)")));
    running.until(|lines| !lines.is_empty()).await;
    let waiting = world.start(file("noop", json!({})));
    let begun = Instant::now();
    world.python.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(running.ended().await.end, End::Interrupted);
    let waited = waiting.ended().await;
    assert_eq!((waited.end, waited.started), (End::Interrupted, false));
    assert_eq!(marked_processes(&mark), Vec::<i32>::new());
    assert!(world.python.ready().await.is_err());
    let left = std::fs::read_dir(world.data.join("temp")).expect("temp").count();
    assert_eq!(left, 0, "temporary folders are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_does_not_hold_a_run() {
    let world = World::new().await;
    let mut call = code("from bifrost import config\nprint('begun')\nawait config.get('never')");
    call.timeout = Some(Duration::from_millis(800));
    assert_eq!(world.run(call).await.end, End::TimedOut);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_serves_in_order() {
    let world = World::with(|settings| settings.max_concurrency = 1).await;
    let mut runs: Vec<_> =
        (0..5).map(|number| world.start(file("echo", json!({"number": number})))).collect();
    for (number, running) in runs.drain(..).enumerate() {
        assert_eq!(running.ended().await.result()["number"], json!(number));
    }
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_zygote_is_replaced_and_its_runs_are_interrupted() {
    let world = World::new().await;
    let mut running = world.start(code("import time\nprint('begun')\ntime.sleep(1000)"));
    running.until(|lines| !lines.is_empty()).await;
    let zygotes = helpers(&world.data, "zygote.py");
    assert_eq!(zygotes.len(), 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(zygotes[0]), nix::sys::signal::Signal::SIGKILL)
        .expect("killed");
    assert_eq!(running.ended().await.end, End::Interrupted);
    assert_eq!(world.run(file("noop", json!({}))).await.result(), json!({"ok": true}));
    world.python.shutdown().await;
}
