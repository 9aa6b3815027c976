//! Folders: can they be written, is there room, are the keys the user's own.

use super::Finding;
use crate::settings::{Database, KeysError, ObjectsChoice, Settings, missing_keys};
use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const MIB: u64 = 1024 * 1024;
/// Below this nothing can be relied on.
const FAIL_BELOW: u64 = 200 * MIB;
/// Below this, or below a twentieth of the disk, somebody should look.
const WARN_BELOW: u64 = 2 * 1024 * MIB;
const WARN_PERCENT: u64 = 5;

/// Looks at data folder, disks, objects, workspace and keys.
pub(super) async fn look(settings: &Settings, scratch: &Scratch) -> Vec<Finding> {
    let (settings, is_new) = (settings.clone(), !scratch.made.is_empty());
    // A network file system that hangs blocks its own thread alone.
    tokio::task::spawn_blocking(move || {
        let mut findings = vec![data_folder(&settings, is_new)];
        findings.extend(disks(&settings));
        findings.push(workspace(&settings));
        findings.push(keys(&settings));
        findings
    })
    .await
    .unwrap_or_default()
}

/// The path itself, or the folder above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

fn is_writable(path: &Path) -> Result<(), String> {
    access(path, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| errno.desc().to_owned())
}

/// `is_new`: it was not there before something was tried in it.
fn data_folder(settings: &Settings, is_new: bool) -> Finding {
    let folder = &settings.data_dir;
    let there = existing(folder);
    let shown = folder.display();
    if there != folder && !there.is_dir() {
        let detail = format!("{shown} cannot be made: {} is no folder", there.display());
        return Finding::fail("data folder", detail, "set DATA_DIR to a folder");
    }
    if !there.is_dir() {
        return Finding::fail("data folder", format!("{shown} is no folder"), "set DATA_DIR to a folder");
    }
    match is_writable(there) {
        Err(why) => Finding::fail(
            "data folder",
            format!("{} cannot be written ({why})", there.display()),
            "correct who owns it, or set DATA_DIR",
        ),
        Ok(()) if is_new => Finding::ok("data folder", format!("{shown} is made at the first start")),
        Ok(()) => Finding::ok("data folder", format!("{shown} can be written")),
    }
}

/// A finding for each disk that something is kept on.
fn disks(settings: &Settings) -> Vec<Finding> {
    let mut paths: Vec<PathBuf> = vec![settings.data_dir.clone()];
    match &settings.objects {
        ObjectsChoice::Folder { path } => paths.push(path.clone()),
    }
    if let Database::Sqlite { path } = &settings.database {
        paths.push(path.clone());
    }
    let mut seen = Vec::new();
    let mut findings = Vec::new();
    for path in &paths {
        let there = existing(path);
        let Ok(device) = std::fs::metadata(there).map(|meta| meta.dev()) else { continue };
        if !seen.contains(&device) {
            seen.push(device);
            findings.push(disk(there));
        }
    }
    findings
}

fn disk(path: &Path) -> Finding {
    let shown = path.display();
    match statvfs(path) {
        Err(errno) => Finding::warn(
            "disk",
            format!("{shown} cannot be asked for its free space: {errno}"),
            "look at the disk",
        ),
        Ok(stat) => {
            let size = stat.fragment_size();
            let free = stat.blocks_available().saturating_mul(size);
            let whole = stat.blocks().saturating_mul(size);
            room(&shown.to_string(), free, whole)
        }
    }
}

/// Judges the room that is left.
fn room(path: &str, free: u64, whole: u64) -> Finding {
    let percent = free.saturating_mul(100).checked_div(whole).unwrap_or(100);
    let detail = format!("{} free where {path} is ({percent} %)", size(free));
    let advice = "make room: logs, results and the database grow there";
    if free < FAIL_BELOW {
        Finding::fail("disk", detail, advice)
    } else if free < WARN_BELOW || percent < WARN_PERCENT {
        Finding::warn("disk", detail, advice)
    } else {
        Finding::ok("disk", detail)
    }
}

fn size(bytes: u64) -> String {
    match bytes / MIB {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib / 1024),
    }
}

fn workspace(settings: &Settings) -> Finding {
    let folder = &settings.workspace_dir;
    if folder.is_dir() {
        return Finding::ok("workspace", format!("{}", folder.display()));
    }
    Finding::warn(
        "workspace",
        format!("{} is no folder: there is nothing to run", folder.display()),
        "make it and put Python files with @workflow functions there, or set WORKSPACE_DIR",
    )
}

fn keys(settings: &Settings) -> Finding {
    match missing_keys(settings) {
        Ok(missing) if missing.is_empty() => Finding::ok("keys", "there, and nobody else's"),
        Ok(missing) => Finding::ok("keys", format!("{} made at the first start", missing.join(" and "))),
        Err(KeysError::Open(path)) => Finding::fail(
            "keys",
            format!("{} can be read by other users", path.display()),
            format!("chmod 600 {}", path.display()),
        ),
        Err(KeysError::NotAKey(path)) => Finding::fail(
            "keys",
            format!("{} does not hold a key", path.display()),
            "restore it from a backup, or remove it to have a new one made (what the old one sealed is lost then)",
        ),
        Err(error) => Finding::fail("keys", error.to_string(), "correct who owns it"),
    }
}

/// A folder for a moment, where the real files will be kept: its place decides whether runs can reach it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// What was made above it, the outermost first; removed again when it is empty.
    made: Vec<PathBuf>,
}

impl Scratch {
    /// A name below the folder; nothing is made yet.
    pub(super) fn of(data_dir: &Path) -> Self {
        let path = data_dir.join(format!("doctor-{:016x}", rand::random::<u64>()));
        let made = data_dir.ancestors().filter(|path| !path.exists()).map(Path::to_owned).collect();
        Self { path, made }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        for path in &self.made {
            // Fails, as it should, when something else is in there by now.
            let _ = std::fs::remove_dir(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::State, settings::Mode};
    use std::{collections::HashMap, os::unix::fs::PermissionsExt};

    fn settings(folder: &Path) -> Settings {
        let map = HashMap::from([("DATA_DIR".to_owned(), folder.display().to_string())]);
        Settings::from_map(&map, Mode::Dev).expect("settings")
    }

    #[test]
    fn little_room_is_told_and_too_little_fails() {
        let gib = 1024 * MIB;
        for (free, whole, state) in [
            (100 * gib, 1000 * gib, State::Ok),
            (40 * gib, 1000 * gib, State::Warn),
            (gib, 4 * gib, State::Warn),
            (199 * MIB, 400 * MIB, State::Fail),
            (0, 0, State::Fail),
        ] {
            assert_eq!(room("/data", free, whole).state, state, "{free} of {whole}");
        }
        assert_eq!(size(150 * MIB), "150 MiB");
        assert_eq!(size(70 * gib), "70 GiB");
    }

    #[test]
    fn a_folder_that_is_not_there_is_made_later_and_a_file_is_no_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let later = data_folder(&settings(&dir.path().join("a/b")), true);
        assert_eq!((later.state, later.detail.contains("first start")), (State::Ok, true), "{later:?}");
        std::fs::write(dir.path().join("file"), "x").expect("written");
        for path in ["file", "file/below"] {
            let finding = data_folder(&settings(&dir.path().join(path)), true);
            assert_eq!(finding.state, State::Fail, "{finding:?}");
            assert!(finding.advice.is_some_and(|advice| advice.contains("DATA_DIR")));
        }
    }

    #[test]
    fn keys_that_others_can_read_are_told_with_the_command() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = settings(dir.path());
        assert!(keys(&settings).detail.contains("SECRET_KEY and ENCRYPTION_KEY made at the first start"));
        assert!(!dir.path().join("keys").exists(), "nothing was made");
        crate::settings::ensure_keys(&settings).expect("made");
        assert_eq!(keys(&settings).state, State::Ok);
        let key = dir.path().join("keys/secret_key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let finding = keys(&settings);
        assert_eq!(finding.state, State::Fail);
        assert_eq!(finding.advice.as_deref(), Some(format!("chmod 600 {}", key.display()).as_str()));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("mode");
        std::fs::write(&key, "short").expect("written");
        assert!(keys(&settings).detail.contains("does not hold a key"));
    }

    #[test]
    fn a_scratch_folder_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("a/b");
        let scratch = Scratch::of(&data);
        std::fs::create_dir_all(scratch.path().join("deep")).expect("made");
        drop(scratch);
        assert!(!dir.path().join("a").exists());
        std::fs::create_dir_all(&data).expect("made");
        let scratch = Scratch::of(&data);
        std::fs::create_dir_all(scratch.path()).expect("made");
        drop(scratch);
        assert!(data.exists(), "what was there stays");
    }
}
