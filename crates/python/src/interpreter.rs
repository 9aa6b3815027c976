//! Finds the interpreter, once: behind the shims of version managers, and with its version checked.

use crate::error::Error;
use serde::Deserialize;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

const QUESTION: &str = "import json,sys\n\
    print(json.dumps({'executable': sys.executable, 'version': list(sys.version_info[:3]), \
    'prefixes': [sys.prefix, sys.base_prefix, getattr(sys, '_base_executable', '') or sys.executable], \
    'stdlib': sorted(getattr(sys, 'stdlib_module_names', []))}))";
const OLDEST: [u32; 2] = [3, 10];

/// The interpreter that runs everything.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Interpreter {
    /// Its real path; a virtual environment's own when it is in one.
    pub executable: PathBuf,
    /// Major, minor, micro.
    pub version: Vec<u32>,
    /// Folders (and the real program) that a child has to read.
    pub prefixes: Vec<PathBuf>,
    /// Top-level modules of the standard library.
    pub stdlib: HashSet<String>,
}

impl Interpreter {
    /// Asks `python` who it is. Here alone the worker's own environment is passed on: shims need it.
    pub(crate) async fn find(python: &Path) -> Result<Self, Error> {
        let mut command = Command::new(python);
        command.args(["-I", "-c", QUESTION]).stdin(Stdio::null()).kill_on_drop(true);
        let unusable = |reason: String| Error::Unusable { python: python.to_owned(), reason };
        let output = match tokio::time::timeout(Duration::from_secs(15), command.output()).await {
            Err(_) => return Err(unusable("no answer within 15 s".to_owned())),
            Ok(Err(source)) => return Err(Error::Missing { python: python.to_owned(), source }),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or("no message");
            return Err(unusable(format!("{} ({})", last, output.status)));
        }
        let found: Self =
            serde_json::from_slice(&output.stdout).map_err(|error| unusable(error.to_string()))?;
        if found.version.as_slice() < OLDEST.as_slice() {
            return Err(Error::TooOld { python: found.executable.clone(), found: found.version_text() });
        }
        Ok(found)
    }

    /// A command for one of the runner's scripts: isolated from the user's site and with an empty environment but for
    /// the allow-list.
    #[expect(
        clippy::disallowed_methods,
        reason = "an allow-list of the process environment is handed on, no setting"
    )]
    pub(crate) fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("-I").arg(script).env_clear().kill_on_drop(true);
        for name in ["PATH", "LANG", "LC_ALL", "TZ"] {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command
    }

    pub(crate) fn version_text(&self) -> String {
        self.version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn fake(folder: &Path, answer: &str) -> PathBuf {
        let path = folder.join("python");
        std::fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }

    #[tokio::test]
    async fn a_missing_or_old_python_says_what_to_install() {
        let missing = Interpreter::find(Path::new("/nowhere/python3")).await.expect_err("missing");
        assert!(missing.to_string().contains("install Python 3.10 or newer"), "{missing}");

        let folder = tempfile::tempdir().expect("folder");
        let old = fake(
            folder.path(),
            r#"{"executable":"/usr/bin/python3","version":[3,9,2],"prefixes":[],"stdlib":[]}"#,
        );
        let error = Interpreter::find(&old).await.expect_err("too old");
        assert!(error.to_string().contains("3.9.2"), "{error}");
        let odd = fake(folder.path(), "hello");
        assert!(matches!(Interpreter::find(&odd).await, Err(Error::Unusable { .. })));
    }

    #[tokio::test]
    async fn the_real_one_is_found_behind_a_shim() {
        let found = Interpreter::find(Path::new("python3")).await.expect("python3 on PATH");
        assert!(found.executable.is_absolute());
        assert!(found.stdlib.contains("asyncio"));
    }
}
