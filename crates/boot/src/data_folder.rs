//! The data folder of the embedded mode belongs to one process: its queue lives in memory, and a second process over the same
//! SQLite file would run what the first has in hand.

use anyhow::{Context, Result, anyhow};
use std::{
    fmt,
    fs::{DirBuilder, File, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
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

/// Makes a folder, when it is missing, that only this process's user can look into: runs that have a user of their own pass the data
/// folder on the way to their files, and nothing else in it is theirs.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    unless_there(DirBuilder::new().mode(0o700).create(folder))
}

/// Makes an empty file, when it is missing, that only this process's user can read.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_private_file(path: &Path) -> io::Result<()> {
    unless_there(File::options().write(true).create_new(true).mode(0o600).open(path).map(drop))
}

fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn what_is_private_is_made_once_and_left_alone_afterwards() {
        let dir = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("made").permissions().mode() & 0o777;
        let folder = dir.path().join("data/objects");
        make_private(&folder).expect("made");
        assert_eq!(mode(&folder), 0o700);
        let file = folder.join("bifrost.db");
        make_private_file(&file).expect("made");
        assert_eq!(mode(&file), 0o600);

        fs::write(&file, "kept").expect("written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).expect("shared with a group");
        make_private(&folder).and_then(|()| make_private_file(&file)).expect("there already");
        assert_eq!((mode(&folder), fs::read_to_string(&file).expect("read")), (0o750, "kept".to_owned()));
    }

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
