//! Immutable copies of the workspace: a run reads the version it began with, whatever is edited meanwhile.
//!
//! Invariant: a snapshot's folder is removed only when it is not among the last three and nothing holds it.

use crate::{files::make_folder, tree_removal::remove_tree};
use bifrost_domain::clock::SharedClock;
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

const KEPT: usize = 3;
/// Folders of processes that are gone are removed when nobody has touched them for this long.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// One version on disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub version: String,
    pub path: PathBuf,
}

/// The versions that this process knows, newest last.
pub(crate) struct Snapshots {
    folder: PathBuf,
    known: VecDeque<Arc<Snapshot>>,
    clock: SharedClock,
}

impl Snapshots {
    pub(crate) fn new(folder: PathBuf, clock: SharedClock) -> io::Result<Self> {
        make_folder(&folder, 0o755)?;
        Ok(Self { folder, known: VecDeque::new(), clock })
    }

    /// Where they lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A version without files, for posted code where there is no workspace.
    pub(crate) fn empty(&mut self) -> io::Result<Arc<Snapshot>> {
        let path = self.folder.join("empty");
        make_folder(&path, 0o755)?;
        Ok(self.add(Snapshot { version: "empty".to_owned(), path }))
    }

    /// Makes `snapshot` the newest.
    pub(crate) fn add(&mut self, snapshot: Snapshot) -> Arc<Snapshot> {
        let position = self.known.iter().position(|known| **known == snapshot);
        let known = position.and_then(|at| self.known.remove(at)).unwrap_or_else(|| Arc::new(snapshot));
        self.known.push_back(Arc::clone(&known));
        known
    }

    /// Removes what is neither new nor in use. Blocking.
    pub(crate) fn prune(&mut self) {
        let mut old = self.known.len().saturating_sub(KEPT);
        self.known.retain(|snapshot| {
            if old == 0 {
                return true;
            }
            old -= 1;
            Arc::strong_count(snapshot) > 1 || !removed(&snapshot.path)
        });
    }

    /// Tells other processes that share the folder what is in use here. Blocking.
    pub(crate) fn touch(&self) {
        let now = SystemTime::from(self.clock.now());
        for snapshot in &self.known {
            if let Err(error) = fs::File::open(&snapshot.path).and_then(|folder| folder.set_modified(now)) {
                tracing::warn!(folder = %snapshot.path.display(), %error, "a snapshot cannot be touched");
            }
        }
    }

    /// Removes what processes of former times left behind. Blocking.
    pub(crate) fn remove_abandoned(&self) {
        let Some(oldest) = SystemTime::from(self.clock.now()).checked_sub(ABANDONED) else { return };
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_old =
                entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|touched| touched < oldest);
            if is_old && !self.known.iter().any(|known| known.path == path) {
                removed(&path);
            }
        }
    }
}

fn removed(path: &Path) -> bool {
    let removed = remove_tree(path);
    if let Err(error) = &removed {
        tracing::warn!(folder = %path.display(), %error, "an old snapshot cannot be removed");
    }
    removed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};

    #[test]
    fn what_is_old_and_unused_goes() {
        let data = tempfile::tempdir().expect("folder");
        let mut snapshots = Snapshots::new(data.path().to_owned(), Arc::new(SystemClock)).expect("made");
        let mut add = |version: &str| {
            let path = data.path().join(version);
            make_folder(&path, 0o755).expect("made");
            snapshots.add(Snapshot { version: version.to_owned(), path })
        };
        let used = add("1");
        for version in ["2", "3", "4", "5"] {
            add(version);
        }
        // The first comes back: the newest now.
        add("3");
        snapshots.prune();
        let left = |version: &str| data.path().join(version).is_dir();
        assert_eq!(["1", "2", "3", "4", "5"].map(left), [true, false, true, true, true]);
        drop(used);
        snapshots.prune();
        assert!(!left("1"));
    }

    #[test]
    fn what_nobody_touched_for_a_day_goes() {
        let data = tempfile::tempdir().expect("folder");
        let old = data.path().join("old");
        let touched = data.path().join("touched");
        for folder in [&old, &touched] {
            make_folder(folder, 0o755).expect("made");
            let time = SystemTime::from(SystemClock.now()) - ABANDONED * 2;
            fs::File::open(folder).expect("open").set_modified(time).expect("aged");
        }
        let mut snapshots = Snapshots::new(data.path().to_owned(), Arc::new(SystemClock)).expect("made");
        let _kept = snapshots.add(Snapshot { version: "touched".to_owned(), path: touched.clone() });
        snapshots.touch();
        snapshots.remove_abandoned();
        assert!(!old.exists() && touched.exists());
    }
}
