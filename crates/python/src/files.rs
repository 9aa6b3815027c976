//! The runner's Python files and the SDK, carried inside the binary and written below the data folder.

use crate::error::Error;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

#[derive(RustEmbed)]
#[folder = "runner/"]
struct Runner;

#[derive(RustEmbed)]
#[folder = "../../sdk/python/"]
struct Sdk;

/// Sources only: no byte-code, no tests, and of the SDK the package alone.
fn is_carried(name: &str) -> bool {
    let source = name.ends_with(".py") || name.ends_with("/py.typed");
    source
        && !name
            .split('/')
            .any(|part| part.starts_with("test") || part.starts_with('.') || part == "__pycache__")
}

/// Writes what differs and returns the folder with `zygote.py`, `inspector.py` and `bifrost/`.
pub(crate) fn install(data_dir: &Path) -> Result<PathBuf, Error> {
    let mut files = Vec::new();
    for name in Runner::iter().filter(|name| is_carried(name)) {
        if let Some(file) = Runner::get(&name) {
            files.push((name.into_owned(), file.data));
        }
    }
    for name in Sdk::iter().filter(|name| is_carried(name) && name.starts_with("bifrost/")) {
        if let Some(file) = Sdk::get(&name) {
            files.push((name.into_owned(), file.data));
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for (name, data) in &files {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(u64::try_from(data.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(data);
    }
    let version: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let data_dir = std::path::absolute(data_dir).map_err(Error::files(data_dir))?;
    let folder = data_dir.join("runtime").join(version);
    for (name, data) in &files {
        let path = folder.join(name);
        write_if_changed(&folder, &path, data).map_err(Error::files(&path))?;
    }
    Ok(folder)
}

/// Makes `path` and what is missing above it, up to a folder that exists; the folder itself gets `mode`.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn write_if_changed(root: &Path, path: &Path, data: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == data) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(root);
    make_folder(root.parent().unwrap_or(root), 0o755)?;
    make_folder(root, 0o755)?;
    make_folder(folder, 0o755)?;
    // Another process may write the same file: each has its own name, and the rename is atomic.
    let part = folder.join(format!(".part-{}", std::process::id()));
    fs::write(&part, data)?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o644))?;
    fs::rename(&part, path)
}

/// The first folder on the way to `path` that other users cannot pass, or `path` itself when they cannot read it.
pub(crate) fn closed_to_others(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut above: Vec<_> = path.ancestors().collect();
    above.reverse();
    above
        .into_iter()
        .find(|folder| fs::metadata(folder).map_or(true, |meta| meta.permissions().mode() & 0o001 == 0))
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_once_and_repaired() {
        let data = tempfile::tempdir().expect("folder");
        let first = install(data.path()).expect("installed");
        let zygote = first.join("zygote.py");
        let written = fs::metadata(&zygote).expect("zygote").modified().expect("time");
        assert!(first.join("bifrost/__init__.py").is_file());
        assert_eq!(install(data.path()).expect("again"), first);
        assert_eq!(fs::metadata(&zygote).expect("zygote").modified().expect("time"), written);

        fs::write(&zygote, "broken").expect("spoiled");
        install(data.path()).expect("repaired");
        assert_ne!(fs::read(&zygote).expect("zygote"), b"broken");
        assert_eq!(fs::metadata(&zygote).expect("zygote").permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_private_folder_on_the_way_is_named() {
        let data = tempfile::tempdir().expect("folder");
        let open = data.path().join("open");
        make_folder(&open, 0o755).expect("made");
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).expect("closed");
        assert_eq!(closed_to_others(&open), Some(fs::canonicalize(data.path()).expect("path")));
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).expect("opened");
        assert_eq!(closed_to_others(&open), None);
    }
}
