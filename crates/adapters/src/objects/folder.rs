//! Objects as files under one folder.
//!
//! `object_store`'s local file system does the work: a value is written to a staging file, flushed to the disk and renamed
//! over the old one, so a reader, and a machine that comes back from a power cut, sees the old value or the new one.

use super::key;
use async_trait::async_trait;
use bifrost_domain::ports::objects::{Error, Objects, Pieces};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path,
};
use std::{
    io::ErrorKind,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// The object store in a folder.
#[derive(Debug)]
pub struct Folder {
    store: LocalFileSystem,
    probes: AtomicU64,
}

impl Folder {
    /// Opens the folder, made with its parents when it is missing.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &std::path::Path) -> Result<Self, Error> {
        std::fs::create_dir_all(root).map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(failed)?.with_fsync(true);
        Ok(Self { store, probes: AtomicU64::new(0) })
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Failed(error.into())
}

fn outside() -> Error {
    failed("the range does not lie inside of the object")
}

fn path(key: &str) -> Result<Path, Error> {
    key::check(key)?;
    Path::parse(key).map_err(|_| Error::BadKey(key.to_owned()))
}

fn refine(error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound,
        error if is_full(&error) => Error::Full(error.into()),
        error => failed(error),
    }
}

/// Whether anything in the chain of causes says that there is no room.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || error.source().is_some_and(is_full)
}

#[async_trait]
impl Objects for Folder {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), Error> {
        self.store.put(&path(key)?, PutPayload::from_bytes(data)).await.map_err(refine)?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Bytes, Error> {
        let path = path(key)?;
        let found = self.store.get(&path).await.map_err(refine)?;
        found.bytes().await.map_err(refine)
    }

    async fn size(&self, key: &str) -> Result<u64, Error> {
        Ok(self.store.head(&path(key)?).await.map_err(refine)?.size)
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Pieces, Error> {
        let path = path(key)?;
        if range.is_empty() {
            // No store has a word for nothing.
            let size = self.size(key).await?;
            return if range.start <= size { Ok(futures::stream::empty().boxed()) } else { Err(outside()) };
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let found = self.store.get_opts(&path, options).await.map_err(refine)?;
        // A range that reaches over the end would be cut silently.
        if found.range == range { Ok(found.into_stream().map_err(refine).boxed()) } else { Err(outside()) }
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&path(key)?).await.map_err(refine) {
            Err(Error::NotFound) => Ok(()),
            done => done,
        }
    }

    async fn probe(&self) -> Result<(), Error> {
        // A name of its own for each probe of each process: probes may run at the same time.
        let key = format!(".probe/{}-{}", std::process::id(), self.probes.fetch_add(1, Ordering::Relaxed));
        let written = Bytes::from(key.clone());
        self.put(&key, written.clone()).await?;
        let read = self.get(&key).await;
        self.delete(&key).await?;
        if read? == written { Ok(()) } else { Err(failed("what was read is not what was written")) }
    }
}
