//! The command line against a server, as a person or a script calls it.

use super::{Process, World, command};
use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// A person with a home folder.
pub(crate) struct Cli {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON, of a command that must end so.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the code and that standard error has these words.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "`{words}`: {self:?}");
    }
}

impl Cli {
    /// Nobody is signed in yet.
    pub(crate) fn new(url: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let variables = vec![
            ("BIFROST_URL".to_owned(), url.to_owned()),
            ("XDG_CONFIG_HOME".to_owned(), home.path().display().to_string()),
        ];
        Self { home, variables }
    }

    /// The development user of a world.
    pub(crate) async fn admin(world: &World) -> Self {
        let cli = Self::new(&format!("http://{}", world.address()));
        let said = cli.feed(&["login", "--email", "admin@localhost", "--password-stdin"], "admin\n").await;
        said.is(0, "signed in to http://127.0.0.1:");
        cli
    }

    /// Where the sign-ins are kept.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.home.path().join("bifrost/credentials.json")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// What the commands are started with.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        self.feed(arguments, "").await
    }

    /// Runs a command to its end, with this standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = command(env!("CARGO_BIN_EXE_bifrost"), arguments, &self.variables);
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that reads nothing may have ended before.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(super::PATIENCE * 3, child.wait_with_output());
        let output =
            output.await.unwrap_or_else(|_| panic!("{arguments:?} does not end")).expect("its output");
        Said {
            code: output.status.code().expect("not ended by a signal"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn("bifrost", env!("CARGO_BIN_EXE_bifrost"), arguments, &self.variables)
    }
}
