//! Workflow files in folders: the workspace itself, and a folder per scope for the other locations.
//!
//! A path is checked twice: by its words, and, after symbolic links were followed, by where it ends.

use async_trait::async_trait;
use bifrost_domain::{
    ports::files::{Error, Files, Location, MAX_FILE_BYTES},
    scope::Scope,
};
use bytes::Bytes;
use std::{
    io::ErrorKind,
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::{fs, io::AsyncReadExt};

/// Names listed at most.
const MAX_NAMES: usize = 10_000;
/// Longest path, bytes.
const MAX_PATH: usize = 1_024;

/// The files below two folders of this machine.
#[derive(Debug)]
pub struct Folders {
    workspace: PathBuf,
    data: PathBuf,
    writes: AtomicU64,
}

impl Folders {
    /// Files of `workspace`, and below `data` one folder per location and scope. Folders are made when first written to.
    #[must_use]
    pub fn new(workspace: PathBuf, data: PathBuf) -> Self {
        Self { workspace, data, writes: AtomicU64::new(0) }
    }

    fn root(&self, location: Location, scope: Scope) -> PathBuf {
        match location {
            Location::Workspace => self.workspace.clone(),
            Location::Temp => self.data.join("temp").join(scope.to_string()),
            Location::Uploads => self.data.join("uploads").join(scope.to_string()),
        }
    }

    /// The place of `path`, which need not exist; its nearest existing parent lies inside the location.
    async fn place(&self, location: Location, scope: Scope, path: &str) -> Result<PathBuf, Error> {
        let bad = || Error::BadPath(path.chars().take(200).collect());
        if path.len() > MAX_PATH || path.contains(['\0', '\\']) {
            return Err(bad());
        }
        let relative = Path::new(path);
        let inside =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(bad());
        }
        let root = self.root(location, scope);
        let full = root.join(relative);
        let Ok(real_root) = fs::canonicalize(&root).await else {
            // Nothing was ever written there: nothing can lead out of it.
            return Ok(full);
        };
        let mut existing = full.as_path();
        loop {
            match fs::canonicalize(existing).await {
                Ok(real) if real.starts_with(&real_root) => return Ok(full),
                Ok(_) => return Err(bad()),
                // A link that leads nowhere is not followed to be written through.
                Err(_) if fs::symlink_metadata(existing).await.is_ok() => return Err(bad()),
                Err(_) => existing = existing.parent().ok_or_else(bad)?,
            }
        }
    }
}

fn failed(path: &str) -> impl Fn(std::io::Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::NotFound => Error::NotFound(path.to_owned()),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => Error::BadPath(path.to_owned()),
        _ => Error::Failed(error),
    }
}

#[async_trait]
impl Files for Folders {
    async fn read(&self, location: Location, scope: Scope, path: &str) -> Result<Bytes, Error> {
        let place = self.place(location, scope, path).await?;
        let file = fs::File::open(&place).await.map_err(failed(path))?;
        if file.metadata().await.map_err(failed(path))?.is_dir() {
            return Err(Error::BadPath(path.to_owned()));
        }
        let mut data = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut data).await.map_err(failed(path))?;
        if data.len() > MAX_FILE_BYTES {
            return Err(Error::TooLarge(path.to_owned()));
        }
        Ok(data.into())
    }

    async fn write(&self, location: Location, scope: Scope, path: &str, data: Bytes) -> Result<(), Error> {
        if data.len() > MAX_FILE_BYTES {
            return Err(Error::TooLarge(path.to_owned()));
        }
        let place = self.place(location, scope, path).await?;
        let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(Error::BadPath(path.to_owned()));
        };
        if fs::metadata(&place).await.is_ok_and(|found| found.is_dir()) || path.ends_with('/') {
            return Err(Error::BadPath(path.to_owned()));
        }
        fs::create_dir_all(folder).await.map_err(failed(path))?;
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let new = folder.join(format!(".{}.{}.{number}.new", name.to_string_lossy(), std::process::id()));
        let written = async {
            fs::write(&new, &data).await?;
            fs::rename(&new, &place).await
        };
        if let Err(error) = written.await {
            let _ = fs::remove_file(&new).await;
            return Err(failed(path)(error));
        }
        Ok(())
    }

    async fn list(&self, location: Location, scope: Scope, path: &str) -> Result<Vec<String>, Error> {
        let place = self.place(location, scope, path).await?;
        let mut entries = match fs::read_dir(&place).await {
            Ok(entries) => entries,
            // A location that nobody wrote to is empty.
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_empty() => return Ok(Vec::new()),
            Err(error) => return Err(failed(path)(error)),
        };
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed(path))? {
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "__pycache__" {
                continue;
            }
            if entry.file_type().await.map_err(failed(path))?.is_dir() {
                name.push('/');
            }
            names.push(name);
            if names.len() >= MAX_NAMES {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    async fn delete(&self, location: Location, scope: Scope, path: &str) -> Result<(), Error> {
        let place = self.place(location, scope, path).await?;
        fs::remove_file(&place).await.map_err(failed(path))
    }

    async fn exists(&self, location: Location, scope: Scope, path: &str) -> Result<bool, Error> {
        let place = self.place(location, scope, path).await?;
        Ok(fs::try_exists(&place).await.map_err(failed(path))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, Folders) {
        let dir = tempfile::tempdir().expect("a folder");
        let workspace = dir.path().join("workspace");
        std::fs::create_dir(&workspace).expect("made");
        let folders = Folders::new(workspace, dir.path().join("data"));
        (dir, folders)
    }

    #[tokio::test]
    async fn a_file_is_written_listed_read_and_removed() {
        let (_dir, files) = folders();
        for location in [Location::Workspace, Location::Temp, Location::Uploads] {
            files.write(location, Scope::Global, "a/b.txt", Bytes::from_static(b"x")).await.expect("written");
            assert_eq!(files.read(location, Scope::Global, "a/b.txt").await.expect("read"), "x");
            assert_eq!(files.list(location, Scope::Global, "").await.expect("listed"), ["a/"]);
            assert_eq!(files.list(location, Scope::Global, "a").await.expect("listed"), ["b.txt"]);
            assert!(files.exists(location, Scope::Global, "a/b.txt").await.expect("looked"));
            files.delete(location, Scope::Global, "a/b.txt").await.expect("removed");
            assert!(matches!(files.read(location, Scope::Global, "a/b.txt").await, Err(Error::NotFound(_))));
        }
    }

    #[tokio::test]
    async fn nothing_leads_out() {
        let (dir, files) = folders();
        std::fs::write(dir.path().join("secret"), "s").expect("written");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("workspace/out")).expect("linked");
        std::os::unix::fs::symlink("/nowhere/file", dir.path().join("workspace/dangling")).expect("linked");
        for path in ["../secret", "/etc/passwd", "out/secret", "a/../../secret", "a\\b", "a\0b", "dangling"] {
            let read = files.read(Location::Workspace, Scope::Global, path).await;
            assert!(matches!(read, Err(Error::BadPath(_))), "{path:?}: {read:?}");
            let write = files.write(Location::Workspace, Scope::Global, path, Bytes::new()).await;
            assert!(matches!(write, Err(Error::BadPath(_))), "{path:?}: {write:?}");
        }
        let long = "a".repeat(MAX_PATH + 1);
        assert!(files.read(Location::Temp, Scope::Global, &long).await.is_err());
    }

    #[tokio::test]
    async fn size_is_bounded() {
        let (dir, files) = folders();
        let large = Bytes::from(vec![0; MAX_FILE_BYTES + 1]);
        let write = files.write(Location::Workspace, Scope::Global, "large", large.clone()).await;
        assert!(matches!(write, Err(Error::TooLarge(_))));
        std::fs::write(dir.path().join("workspace/large"), &large).expect("written");
        let read = files.read(Location::Workspace, Scope::Global, "large").await;
        assert!(matches!(read, Err(Error::TooLarge(_))));
    }
}
