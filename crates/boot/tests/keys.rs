//! Keys that are made once under the data folder.

#![expect(clippy::expect_used, reason = "helpers of tests say what they expect")]

use bifrost_boot::settings::{Keys, KeysError, Mode, Settings, ensure_keys};
use secrecy::ExposeSecret as _;
use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

fn settings(data: &Path, more: &[(&str, &str)]) -> Settings {
    let mut map: HashMap<String, String> =
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    map.insert("DATA_DIR".to_owned(), data.to_str().expect("UTF-8").to_owned());
    Settings::from_map(&map, Mode::Dev).expect("settings")
}

fn bytes(keys: &Keys) -> (String, [u8; 32]) {
    (keys.signing.expose_secret().to_owned(), *keys.encryption.expose())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[test]
fn they_are_made_once_and_closed_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("not/yet/there");
    let first = ensure_keys(&settings(&data, &[])).expect("made");
    let again = ensure_keys(&settings(&data, &[])).expect("read");
    assert_eq!(bytes(&first), bytes(&again));
    assert!(first.signing.expose_secret().len() >= 32);
    let keys = data.join("keys");
    assert_eq!(mode(&keys), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(&keys).expect("list").map(|entry| entry.expect("entry").path()).collect();
    names.sort();
    assert_eq!(names, [keys.join("encryption_key"), keys.join("secret_key")]);
    assert!(names.iter().all(|path| mode(path) == 0o600));
    let other = ensure_keys(&settings(&folder.path().join("other"), &[])).expect("made");
    assert_ne!(bytes(&first).0, bytes(&other).0);
    assert_ne!(bytes(&first).1, bytes(&other).1);
}

#[test]
fn many_that_start_together_get_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), &[]);
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| ensure_keys(&settings))).collect();
        threads.into_iter().map(|thread| bytes(&thread.join().expect("thread").expect("keys"))).collect()
    });
    assert!(all.iter().all(|keys| *keys == all[0]));
}

#[test]
fn given_keys_leave_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let given = [
        ("SECRET_KEY", "q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e"),
        ("ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    let keys = ensure_keys(&settings(&data, &given)).expect("given");
    assert_eq!(keys.signing.expose_secret(), given[0].1);
    assert_eq!(keys.encryption.expose()[31], 31);
    assert!(!data.exists());
}

#[test]
fn damaged_and_open_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), &[]);
    ensure_keys(&settings).expect("made");
    let path = folder.path().join("keys/encryption_key");
    for content in [&b""[..], b"short", &[0xff; 64], &[b'A'; 70_000]] {
        fs::write(&path, content).expect("write");
        assert!(matches!(ensure_keys(&settings), Err(KeysError::NotAKey(found)) if found == path));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    assert!(matches!(ensure_keys(&settings), Err(KeysError::Open(found)) if found == path));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").expect("write");
    let error = ensure_keys(&settings(&file, &[])).expect_err("no folder");
    assert!(error.to_string().contains("keys"), "{error}");
}
