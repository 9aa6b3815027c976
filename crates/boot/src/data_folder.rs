//! The data folder of the embedded mode belongs to one process: its queue lives in memory, and a second process over the same
//! SQLite file would run what the first has in hand.

use anyhow::{Context, Result, bail};
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// Held while the process lives; the system gives it back however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Makes the folder and takes it.
///
/// # Errors
/// When it cannot be made or written, or another process has it.
pub(crate) fn take(folder: &Path) -> Result<Lock> {
    make(folder)?;
    let path = folder.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path).with_context(|| {
        format!("{} cannot be written; check who owns it, or set DATA_DIR", path.display())
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "{} is in use by another `bifrost dev`; stop it, or set DATA_DIR to another folder",
                folder.display()
            )
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
    use super::take;

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
}
