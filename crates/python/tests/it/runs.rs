//! What a run gives back: result, lines, errors, bounds.

use crate::support::{World, code, file};
use bifrost_domain::{
    execution::{LogLevel, Status},
    ports::python::{End, PythonRuntime},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_gets_parameters_and_returns() {
    let world = World::new().await;
    let ran = world.run(file("noop", json!({}))).await;
    assert_eq!(ran.result(), json!({"ok": true}));
    assert_eq!(ran.returned().status, Status::Success);
    assert!(ran.started);
    assert!(ran.peak_memory_bytes.is_some_and(|bytes| bytes > 1_000_000), "{ran:?}");
    assert!(ran.cpu_seconds.is_some_and(|seconds| seconds < 5.0), "{ran:?}");

    let ran = world.run(file("echo", json!({"text": "grüße", "number": 7}))).await;
    assert_eq!(ran.result(), json!({"text": "grüße", "number": 7}));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_in_order_and_before_the_end() {
    let world = World::new().await;
    let ran = world.run(file("lines", json!({"count": 500}))).await;
    let expected: Vec<_> = (0..500).map(|index| format!("line {index}")).collect();
    assert_eq!(ran.messages(), expected);
    assert_eq!(ran.result(), json!(500));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_type_message_and_traceback() {
    let world = World::new().await;
    let ran = world.run(file("fails", json!({}))).await;
    let returned = ran.returned();
    assert_eq!(returned.status, Status::Failed);
    assert_eq!(returned.error_type.as_deref(), Some("RuntimeError"));
    assert!(returned.error_message.as_deref().is_some_and(|text| text.contains("inside")));
    assert_eq!(returned.user_message.as_deref(), Some("An error occurred during execution"));
    let traceback = ran.lines.iter().find(|line| line.level == LogLevel::Traceback).expect("a traceback");
    assert!(traceback.message.contains("main.py") && traceback.message.contains("inside"), "{traceback:?}");
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posted_code_runs_and_a_missing_file_fails() {
    let world = World::new().await;
    assert_eq!(world.run(code("print('hello')\nreturn {'sum': 1 + 2}")).await.result(), json!({"sum": 3}));
    let ran = world.run(code("this is not python")).await;
    assert_eq!(ran.returned().status, Status::Failed);

    let ran = world.run(file("nobody", json!({}))).await;
    assert_eq!(ran.returned().status, Status::Failed);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_lines_arrive_whole() {
    let world = World::new().await;
    let ran = world.run(file("lines", json!({"count": 200_000}))).await;
    assert_eq!(ran.lines.len(), 200_000);
    for (index, line) in ran.lines.iter().enumerate() {
        assert_eq!(line.message, format!("line {index}"));
    }
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_ten_megabytes_is_cut_and_says_so() {
    let world = World::new().await;
    let ran = world.run(code("print('x' * 10_000_000)\nreturn 1")).await;
    assert_eq!(ran.result(), json!(1));
    let line = &ran.lines[0].message;
    let (kept, missing) = line.split_once("… [line cut: ").expect("it says so");
    let missing: usize =
        missing.strip_suffix(" bytes]").and_then(|count| count.parse().ok()).expect("a count");
    assert!(kept.len() <= 32 * 1024, "{} bytes", kept.len());
    assert_eq!(kept.len() + missing, 10_000_000);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_no_json_or_too_large() {
    let world = World::with(|settings| settings.result_bytes = 1024 * 1024).await;
    let ran = world.run(code("return {'nan': float('nan'), 'nul': 'a\\0b', 'lone': '\\ud800'}")).await;
    assert_eq!(ran.result(), json!({"nan": null, "nul": "a\u{fffd}b", "lone": "\u{fffd}"}));
    assert!(ran.lines.iter().any(|line| line.level == LogLevel::Warning), "{:?}", ran.lines);

    let ran = world.run(code("return object()")).await;
    assert!(matches!(ran.returned().status, Status::Success | Status::Failed));

    let ran = world.run(code("return 'x' * 2_000_000")).await;
    assert_eq!(ran.returned().status, Status::Failed);
    assert_eq!(ran.returned().error_type.as_deref(), Some("ResultTooLarge"));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_stops_the_child() {
    let world = World::new().await;
    // Far more than the channel and the socket hold: the child has to wait in the middle.
    let mut running = world.start(code("for i in range(50_000):\n    print('x' * 1000)\nreturn 'done'"));
    running.until(|lines| !lines.is_empty()).await;
    let waited = tokio::time::timeout(std::time::Duration::from_millis(500), running.stop.closed()).await;
    assert!(waited.is_err(), "the run goes on as long as nobody reads");
    let ran = running.ended().await;
    assert_eq!(ran.lines.len(), 50_000);
    assert_eq!(ran.result(), json!("done"));
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_answers_sdk_requests() {
    let world = World::new().await;
    let source = "
from bifrost import config
import asyncio
values = await asyncio.gather(*[config.get(f'k{i}') for i in range(40)])
secret = await config.get('secret')
print('the secret is', secret)
try:
    await config.get('panic')
except RuntimeError as error:
    print('refused')
return {'values': values, 'secret': secret}
";
    let ran = world.run(code(source)).await;
    let result = ran.result();
    assert_eq!(result["values"][39], json!("value of k39"));
    assert!(!result.to_string().contains("hunter2"), "{result}");
    assert!(ran.messages().iter().all(|line| !line.contains("hunter2")), "{:?}", ran.messages());
    assert!(ran.messages().contains(&"refused"), "{:?}", ran.messages());
    assert_eq!(world.sdk.asked.lock().expect("asked").len(), 42);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_fit_are_not_started() {
    let world = World::new().await;
    let ran = world.run(file("echo", json!({"text": "x".repeat(17 * 1024 * 1024)}))).await;
    let End::NotStarted(reason) = &ran.end else { panic!("{:?}", ran.end) };
    assert!(reason.contains("at most"), "{reason}");
    assert!(!ran.started);
    world.python.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_code_sees_nothing_of_the_worker() {
    let world = World::new().await;
    let source = "
import os
allowed = {'PATH', 'LANG', 'TZ', 'HOME', 'TMPDIR', 'LC_ALL', 'LC_CTYPE'}
fds = {}
for name in os.listdir('/proc/self/fd'):
    try:
        fds[name] = os.readlink(f'/proc/self/fd/{name}')
    except OSError:
        pass
known = ('socket:', 'pipe:', 'anon_inode:[eventpoll]', '/dev/null')
strange = [path for path in fds.values() if not path.startswith(known)]
def readable(path):
    try:
        with open(path, 'rb') as f:
            return len(f.read())
    except OSError as error:
        return None
return {'extra': sorted(set(os.environ) - allowed), 'uid': os.getuid(), 'strange': strange, 'sockets': len([f for f in fds.values() if 'socket' in f]),
        'worker': readable('/proc/%d/environ' % WORKER), 'temp': os.environ['TMPDIR'], 'cwd': os.getcwd(), 'home': os.environ['HOME']}
"
    .replace("WORKER", &std::process::id().to_string());
    let ran = world.run(code(&source)).await;
    let result = ran.result();
    assert_eq!(result["extra"], json!([]), "{result}");
    assert_eq!(result["strange"], json!([]), "{result}");
    // The run socket, and the pair with which an event loop wakes itself.
    assert_eq!(result["sockets"], json!(3), "{result}");
    assert_eq!(result["temp"], result["home"]);
    let walls = world.python.info().expect("ready").walls;
    let own_uid = walls.iter().any(|wall| wall.name == "own_uid" && wall.missing.is_none());
    if own_uid {
        assert!(result["uid"].as_u64().is_some_and(|uid| uid >= 60_000), "{result}");
        assert_eq!(result["worker"], Value::Null, "{result}");
    }
    // The folder goes with the run.
    let temp = result["temp"].as_str().expect("path").to_owned();
    crate::support::eventually("the folder is removed", || !std::path::Path::new(&temp).exists()).await;
    world.python.shutdown().await;
}
