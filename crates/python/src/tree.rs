//! What of a workspace folder is followed, and a comparison of its state that reads no file.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Files beyond this number are not looked at; a workspace of that size is a mistake (a mounted home, a package cache).
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 32;

/// Times and sizes of the followed files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint {
    files: BTreeMap<String, (i64, i64, u64, u64)>,
}

impl Fingerprint {
    /// Python files, relative to the root.
    pub(crate) fn python_files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|path| path.ends_with(".py"))
    }
}

/// Whether a change of this path (relative to the workspace) may change the version: code and manifests, outside of
/// hidden and cache folders.
pub(crate) fn is_followed(path: &Path) -> bool {
    let is_skipped = path.iter().any(|part| part.to_str().is_none_or(is_skipped_folder));
    let extension = path.extension().and_then(std::ffi::OsStr::to_str);
    // Without an extension it may be a folder that came, went or was renamed with all that is in it.
    !is_skipped
        && matches!(extension, None | Some("py" | "toml" | "txt" | "lock" | "cfg" | "json" | "yaml" | "yml"))
}

fn is_skipped_folder(name: &str) -> bool {
    name.starts_with('.') || matches!(name, "__pycache__" | "node_modules" | "venv" | "site-packages")
}

/// Looks at the folder.
pub(crate) async fn fingerprint(root: PathBuf) -> Fingerprint {
    let looking = move || {
        let mut found = Fingerprint::default();
        look(&root, "", 0, &mut found);
        found
    };
    tokio::task::spawn_blocking(looking).await.unwrap_or_default()
}

fn look(folder: &Path, prefix: &str, depth: usize, found: &mut Fingerprint) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if found.files.len() >= MAX_FILES {
            return;
        }
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            if depth < MAX_DEPTH && !is_skipped_folder(&name) {
                look(&entry.path(), &format!("{path}/"), depth + 1, found);
            }
        } else if kind.is_file()
            && Path::new(&name).extension().is_some()
            && is_followed(Path::new(&name))
            && let Ok(meta) = entry.metadata()
        {
            found.files.insert(path, (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()));
        }
    }
}

/// Reads at most `limit` bytes of a file.
pub(crate) async fn read_bounded(path: PathBuf, limit: usize) -> io::Result<Vec<u8>> {
    let reading = move || {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        io::Read::read_to_end(&mut io::Read::take(file, limit as u64), &mut bytes)?;
        Ok(bytes)
    };
    tokio::task::spawn_blocking(reading).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_seen_and_caches_are_not() {
        let root = tempfile::tempdir().expect("folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("written");
        };
        write("a/b.py", "1");
        write("requirements.txt", "x");
        let before = fingerprint(root.path().to_owned()).await;
        assert_eq!(before.python_files().collect::<Vec<_>>(), ["a/b.py"]);

        write("a/__pycache__/b.cpython-311.pyc", "x");
        write(".git/x.py", "x");
        write("data.csv", "x");
        assert_eq!(fingerprint(root.path().to_owned()).await, before);

        write("a/b.py", "22");
        let after = fingerprint(root.path().to_owned()).await;
        assert_ne!(after, before);
        fs::remove_file(root.path().join("requirements.txt")).expect("removed");
        assert_ne!(fingerprint(root.path().to_owned()).await, after);
    }

    #[test]
    fn paths_that_may_change_the_version() {
        let followed = ["x/a.py", "requirements.txt", "folder"].map(|path| is_followed(Path::new(path)));
        assert_eq!(followed, [true; 3]);
        let not = ["x/a.csv", "a/__pycache__/b.py", "a.pyc", ".bifrost/snapshots/1/a.py"]
            .map(|path| is_followed(Path::new(path)));
        assert_eq!(not, [false; 4]);
    }

    #[tokio::test]
    async fn reading_is_bounded() {
        let file = tempfile::NamedTempFile::new().expect("file");
        fs::write(file.path(), "x".repeat(100)).expect("written");
        assert_eq!(read_bounded(file.path().to_owned(), 10).await.expect("read").len(), 10);
    }
}
