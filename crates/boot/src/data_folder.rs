//! The data folder of the embedded mode belongs to one process: its queue lives in memory, and a second process over the same
//! SQLite file would run what the first has in hand.

use anyhow::{Context, Result, anyhow};
use std::{
    fmt,
    fs::{File, TryLockError},
    io::{Read, Write},
    path::Path,
    time::Duration,
};

/// Held while the process lives; the system gives it back however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// What a process wants the folder for. It stands in the lock's file, for whoever comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Dev,
    Migrate,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dev => "bifrost dev",
            Self::Migrate => "bifrost migrate",
        })
    }
}

/// How the attempt to take a folder ended.
enum Attempt {
    Taken(Lock),
    /// Somebody has it: the content of the file.
    InUse(String),
}

/// How often a folder that is in use for a moment is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the folder and takes it for a `bifrost dev`.
///
/// # Errors
/// When it cannot be made or written, or another process has it.
pub(crate) fn take(folder: &Path) -> Result<Lock> {
    match attempt(folder, Program::Dev)? {
        Attempt::Taken(lock) => Ok(lock),
        Attempt::InUse(by) => Err(in_use(folder, &by)),
    }
}

/// Makes the folder and takes it for a `bifrost migrate`, after another one that has it. A `bifrost dev` is not waited for.
///
/// # Errors
/// As [`take`].
pub(crate) async fn take_in_turn(folder: &Path) -> Result<Lock> {
    let mut others = 0;
    loop {
        match attempt(folder, Program::Migrate)? {
            Attempt::Taken(lock) => return Ok(lock),
            Attempt::InUse(by) if by.starts_with(&Program::Migrate.to_string()) => {}
            // Between its lock and its line in the file a process cannot be told from the one before it.
            Attempt::InUse(_) if others == 0 => others += 1,
            Attempt::InUse(by) => return Err(in_use(folder, &by)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn in_use(folder: &Path, by: &str) -> anyhow::Error {
    let by = match by.strip_prefix(&Program::Migrate.to_string()) {
        Some(_) => "a `bifrost migrate`; wait for its end",
        None => "another `bifrost dev`; stop it",
    };
    anyhow!("{} is in use by {by}, or set DATA_DIR to another folder", folder.display())
}

fn attempt(folder: &Path, program: Program) -> Result<Attempt> {
    make(folder)?;
    let path = folder.join("lock");
    let mut file =
        File::options().create(true).read(true).write(true).truncate(false).open(&path).with_context(
            || format!("{} cannot be written; check who owns it, or set DATA_DIR", path.display()),
        )?;
    match file.try_lock() {
        Ok(()) => {
            let written = file.set_len(0).and_then(|()| writeln!(file, "{program}"));
            written.with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(Attempt::Taken(Lock { _file: file }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut by = String::new();
            // A file that cannot be read tells nothing, as an empty one.
            let _ = file.take(64).read_to_string(&mut by);
            Ok(Attempt::InUse(by))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

/// Makes the folder.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the data folder {} cannot be made; set DATA_DIR", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("data");
        let first = take(&folder).expect("free");
        let second = take(&folder).expect_err("taken");
        assert!(second.to_string().contains("another `bifrost dev`"), "{second}");
        drop(first);
        take(&folder).expect("free again");
    }

    #[tokio::test]
    async fn migrations_take_turns_and_do_not_wait_for_a_running_program() {
        let dir = tempfile::tempdir().expect("a folder");
        let running = take(dir.path()).expect("free");
        let refused = take_in_turn(dir.path()).await.expect_err("taken").to_string();
        assert!(refused.contains("another `bifrost dev`"), "{refused}");
        drop(running);
        let first = take_in_turn(dir.path()).await.expect("free");
        let refused = take(dir.path()).expect_err("taken").to_string();
        assert!(refused.contains("a `bifrost migrate`"), "{refused}");
        let second = async { take_in_turn(dir.path()).await.map(drop) };
        let end = async {
            tokio::time::sleep(PAUSE * 3).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, end);
        second.expect("its turn");
    }
}
