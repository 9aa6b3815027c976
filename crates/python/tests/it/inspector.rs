//! The inspector reads source, survives what it is given, and is bounded.

use crate::support::python;
use bifrost_domain::{definition::Severity, ports::python::Inspector};
use bifrost_python::{InspectorProcess, PythonSettings};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

struct Bench {
    inspector: InspectorProcess,
    folder: tempfile::TempDir,
}

fn bench(change: impl FnOnce(&mut PythonSettings)) -> Bench {
    let folder = tempfile::tempdir().expect("folder");
    let mut settings = PythonSettings::new(folder.path());
    settings.python = python();
    change(&mut settings);
    Bench { inspector: InspectorProcess::new(&settings), folder }
}

const SOURCE: &str = "from bifrost import workflow\n\n@workflow\nasync def greet(name: str):\n    '''Greets.'''\n    return name\n";

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_issues_are_found() {
    let bench = bench(|_| {});
    let report = bench.inspector.inspect("a.py", SOURCE).await.expect("inspected");
    assert_eq!(report.definitions.len(), 1);
    assert_eq!(report.definitions[0].parameters[0].name, "name");
    assert!(report.issues.is_empty(), "{report:?}");

    let report = bench.inspector.inspect("b.py", "x = 1\ndef oops(:\n").await.expect("inspected");
    assert_eq!((report.issues[0].line, report.issues[0].severity), (2, Severity::Error));

    assert!(bench.inspector.check_code("return {'a': 1}").await.expect("checked").is_empty());
    let issues = bench.inspector.check_code("x = (\n").await.expect("checked");
    assert_eq!(issues[0].severity, Severity::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_over_the_bound_is_not_read() {
    let bench = bench(|_| {});
    let report = bench.inspector.inspect("a.py", &"#".repeat(1024 * 1024 + 1)).await.expect("answered");
    assert!(report.issues[0].message.contains("larger than 1024 KiB"), "{report:?}");
    let issues = bench.inspector.check_code(&"#".repeat(1024 * 1024 + 1)).await.expect("answered");
    assert_eq!(issues.len(), 1);
    // The bound itself is allowed.
    let report = bench.inspector.inspect("a.py", &"#".repeat(1024 * 1024)).await.expect("answered");
    assert!(report.issues.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_sources_cost_themselves_only() {
    let bench = bench(|_| {});
    let workflow = "from bifrost import workflow\n@workflow\n";
    for source in [
        "(".repeat(500_000),
        "-".repeat(900_000) + "1",
        "\0".to_owned(),
        "x = 'é'\u{feff}".to_owned(),
        "(".repeat(10_000) + &")".repeat(10_000),
        format!("{workflow}def f(a: float = 1e999): ..."),
        format!("{workflow}def f():\n  '''A \\ud800 \\x00.'''"),
        format!("{workflow}def f(a: int = {}): ...", "9".repeat(4_000)),
    ] {
        let report = bench.inspector.inspect("a.py", &source).await.expect("answered");
        assert!(!report.issues.is_empty(), "{report:?}");
        let report = bench.inspector.inspect("b.py", SOURCE).await.expect("the next one is read");
        assert_eq!(report.definitions.len(), 1);
    }
}

/// An interpreter that behaves until it is asked to inspect: then it does what `script` says, once.
fn faulty(folder: &std::path::Path, fault: &str) -> PathBuf {
    let path = folder.join("python");
    let real = python();
    let flag = folder.join("happened");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *inspector.py*) if [ ! -e {flag} ]; then touch {flag}; {fault}; fi;; *-c*) exec {real} -I -c \"$3\" | sed 's#\"executable\": \"[^\"]*\"#\"executable\": \"{me}\"#'; exit;; esac\nexec {real} \"$@\"\n",
        flag = flag.display(),
        real = real.display(),
        me = path.display(),
    );
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_hang_cost_one_request() {
    for (fault, text) in [("exit 3", "ended while"), ("exec sleep 1000", "did not read this source within")] {
        let tools = tempfile::tempdir().expect("folder");
        let bench = bench(|settings| {
            settings.python = faulty(tools.path(), fault);
            settings.inspect_timeout = Duration::from_secs(3);
        });
        let report = bench.inspector.inspect("a.py", SOURCE).await.expect("an issue");
        assert!(report.issues[0].message.contains(text), "{report:?}");
        assert_eq!((report.issues[0].severity, report.definitions.len()), (Severity::Error, 0));
        let report = bench.inspector.inspect("a.py", SOURCE).await.expect("started again");
        assert_eq!(report.definitions.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_inspector_ends_and_comes_back() {
    let bench = bench(|settings| settings.inspector_idle = Duration::from_millis(200));
    let running = || crate::support::helpers(bench.folder.path(), "inspector.py").len();
    bench.inspector.inspect("a.py", SOURCE).await.expect("inspected");
    crate::support::eventually("it has ended", || running() == 0).await;
    bench.inspector.inspect("a.py", SOURCE).await.expect("inspected again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_python_it_says_what_to_install() {
    let bench = bench(|settings| settings.python = PathBuf::from("/nowhere/python3"));
    let error = bench.inspector.inspect("a.py", SOURCE).await.expect_err("no python");
    assert!(error.contains("install Python 3.10 or newer"), "{error}");
}
