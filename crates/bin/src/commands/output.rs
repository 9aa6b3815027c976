//! The file that a result is asked for in.

use crate::client::Failure;
use nix::unistd::{AccessFlags, access};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// Finds out before anything is asked for that the file cannot be written. Nothing is made, and nothing is emptied: there is no result
/// yet.
///
/// # Errors
/// With the reason.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    look(path).map_err(|why| failed(path, &why))
}

/// Writes the result.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| failed(path, &error.to_string()))
}

fn failed(path: &Path, why: &str) -> Failure {
    Failure::here(format!("{} cannot be written: {why}", path.display()))
}

fn look(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err("it is a folder".to_owned()),
        Ok(_) => may(path, AccessFlags::W_OK),
        Err(error) if error.kind() == ErrorKind::NotFound => look_around(path),
        Err(error) => Err(error.to_string()),
    }
}

/// The file is to be made: whether its folder takes one.
fn look_around(path: &Path) -> Result<(), String> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.file_name().is_none() {
        return Err("it names no file".to_owned());
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => may(folder, AccessFlags::W_OK | AccessFlags::X_OK),
        Ok(_) => Err(format!("{} is no folder", folder.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("there is no folder {}", folder.display()))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn may(path: &Path, what: AccessFlags) -> Result<(), String> {
    access(path, what).map_err(|error| io::Error::from(error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_said_and_nothing_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        fs::write(at("old"), "old").expect("written");
        for path in ["old", "new"] {
            assert_eq!(check(&at(path)), Ok(()), "{path}");
        }
        assert_eq!(check(Path::new("/dev/null")), Ok(()));
        assert_eq!(fs::read_to_string(at("old")).expect("there"), "old");
        assert!(!at("new").exists());
        for (path, why) in [
            ("", "it is a folder"),
            ("new/", "it names no file"),
            ("no/new", "there is no folder "),
            ("old/new", "Not a directory"),
        ] {
            let said = check(&at(path)).expect_err(path).to_string();
            assert!(said.contains(" cannot be written: ") && said.contains(why), "{path}: {said}");
        }
        assert!(check(Path::new("")).is_err());
    }
}
