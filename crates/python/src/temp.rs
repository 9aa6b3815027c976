//! The folder for the children's temporary folders: one per process, locked while the process lives, so that the next
//! start can tell what was left behind.

use crate::{files::make_folder, tree_removal::remove_tree};
use bifrost_domain::clock::SharedClock;
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// This process's folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct TempRoot {
    path: PathBuf,
    _lock: Flock<File>,
}

impl TempRoot {
    /// Makes the folder below `parent`. Others may pass it but not list it. Blocking.
    pub(crate) fn create(parent: &Path, clock: &SharedClock) -> io::Result<Self> {
        make_folder(parent, 0o711)?;
        remove_left_behind(parent);
        let name = format!("{}-{}", std::process::id(), clock.now().timestamp_micros());
        let path = (0_u32..)
            .map(|number| parent.join(format!("{name}-{number}")))
            .find(|path| !path.exists())
            .unwrap_or_else(|| parent.join(&name));
        // Locked under another name first: whoever clears up at this moment never sees it unlocked.
        let part = parent.join(format!(".lock-{}", std::process::id()));
        let file = File::create(&part)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
        make_folder(&path, 0o711)?;
        fs::rename(&part, path.join("lock"))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempRoot {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "temporary folders are left behind");
        }
    }
}

fn remove_left_behind(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        // A folder without its lock file is being made at this moment.
        let Ok(file) = File::open(folder.join("lock")) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
            && let Err(error) = remove_tree(&folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "a former process's folder cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::SystemClock;
    use std::sync::Arc;

    #[test]
    fn only_what_nobody_holds_is_cleared() {
        let data = tempfile::tempdir().expect("folder");
        let clock: SharedClock = Arc::new(SystemClock);
        let left = data.path().join("1-2-0");
        make_folder(&left.join("7"), 0o700).expect("made");
        File::create(left.join("lock")).expect("lock");
        let first = TempRoot::create(data.path(), &clock).expect("first");
        assert!(!left.exists());
        let second = TempRoot::create(data.path(), &clock).expect("second");
        assert!(first.path().is_dir() && second.path().is_dir());
        assert_ne!(first.path(), second.path());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }
}
