//! Large values apart from the database: results over the inline limit, uploads.

use async_trait::async_trait;
use bytes::Bytes;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1_024;
/// The longest segment of a key, in bytes: a file name with room for a staging suffix.
pub const MAX_KEY_SEGMENT: usize = 240;

/// Why the object store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The key is empty, too long, or has a segment that is empty, `.`, `..`, too long or ends in `#` and digits
    /// (a staging name), a backslash or a control character.
    #[error("`{0}` is not a valid object key")]
    BadKey(String),
    /// It is away or full.
    #[error("the object store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The object store. A key is a relative path with `/`.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Writes whole and atomically: a reader sees the old value or the new one.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), Error>;

    /// Reads whole.
    async fn get(&self, key: &str) -> Result<Bytes, Error>;

    /// Removes; a missing object is no error.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// Writes, reads and removes a small object.
    async fn probe(&self) -> Result<(), Error>;
}
