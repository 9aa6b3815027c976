//! Files that workflows read and write through the SDK: beside the code, for a while, or uploaded.
//!
//! A path is relative, with `/`; the adapter refuses whatever leaves the location (also through symbolic links).

use crate::scope::Scope;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

/// Largest file that is read or written whole, bytes.
pub const MAX_FILE_BYTES: usize = 10 * 1024 * 1024;

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// The workspace, shared by all.
    Workspace,
    /// For a while; one folder per scope.
    Temp,
    /// What people uploaded; one folder per scope.
    Uploads,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no file `{0}`")]
    NotFound(String),
    /// The path leaves the location or is not a relative path.
    #[error("`{0}` is not a path inside the location")]
    BadPath(String),
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("`{0}` is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge(String),
    /// The file system said no.
    #[error("the file system failed: {0}")]
    Failed(#[source] std::io::Error),
}

/// The files.
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// Reads a whole file.
    async fn read(&self, location: Location, scope: Scope, path: &str) -> Result<Bytes, Error>;

    /// Writes a whole file atomically, making folders as needed.
    async fn write(&self, location: Location, scope: Scope, path: &str, data: Bytes) -> Result<(), Error>;

    /// Names in a folder (folders end in `/`), sorted; at most 10,000.
    async fn list(&self, location: Location, scope: Scope, path: &str) -> Result<Vec<String>, Error>;

    /// Removes a file.
    async fn delete(&self, location: Location, scope: Scope, path: &str) -> Result<(), Error>;

    /// Whether there is a file or folder.
    async fn exists(&self, location: Location, scope: Scope, path: &str) -> Result<bool, Error>;
}
