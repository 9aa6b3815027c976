//! The folder keeps the port's contract, and its files where they belong.

use bifrost_adapters::objects::Folder;
use bifrost_domain::ports::objects::{Error, Objects};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

async fn with_objects(case: impl AsyncFnOnce(Arc<dyn Objects>)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    case(Arc::new(Folder::open(&folder.path().join("made/by/open")).expect("opened"))).await;
}

bifrost_domain::objects_contract!(with_objects);

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_written_outside_and_no_staging_file_stays() {
    let outer = tempfile::tempdir().expect("a temporary folder");
    let root = outer.path().join("objects");
    let folder = Folder::open(&root).expect("opened");
    for key in ["../escaped", "a/../../escaped", "/escaped"] {
        assert!(matches!(folder.put(key, Bytes::from_static(b"x")).await, Err(Error::BadKey(_))));
    }
    folder.put("in/side", Bytes::from_static(b"x")).await.expect("put");
    folder.probe().await.expect("answers");
    assert_eq!(files(outer.path()), [root.join("in/side").display().to_string()]);
}

#[tokio::test]
async fn values_are_there_after_opening_again() {
    let root = tempfile::tempdir().expect("a temporary folder");
    Folder::open(root.path()).expect("opened").put("kept", Bytes::from_static(b"x")).await.expect("put");
    assert_eq!(Folder::open(root.path()).expect("opened").get("kept").await.expect("get"), "x");
}

#[tokio::test]
async fn a_root_that_is_a_file_is_an_error() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    assert!(matches!(Folder::open(file.path()), Err(Error::Failed(_))));
    assert!(matches!(Folder::open(&file.path().join("below")), Err(Error::Failed(_))));
}

#[tokio::test]
async fn a_key_below_an_object_is_an_error_and_harms_nothing() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = Folder::open(root.path()).expect("opened");
    folder.put("object", Bytes::from_static(b"x")).await.expect("put");
    assert!(folder.put("object/below", Bytes::from_static(b"y")).await.is_err());
    assert_eq!(folder.get("object").await.expect("get"), "x");
}
