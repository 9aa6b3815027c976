//! Large values apart from the database: results over the inline limit, uploads.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::ops::Range;

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
    /// Its disk is full.
    #[error("the disk of the object store is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is away.
    #[error("the object store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Bytes of an object, piece by piece; the first error is the last item.
pub type Pieces = BoxStream<'static, Result<Bytes, Error>>;

/// The object store. A key is a relative path with `/`.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Writes whole and atomically: a reader sees the old value or the new one.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), Error>;

    /// Reads whole: for what is known to be small.
    async fn get(&self, key: &str) -> Result<Bytes, Error>;

    /// How many bytes it has.
    async fn size(&self, key: &str) -> Result<u64, Error>;

    /// Reads the bytes of `range` in small pieces, as fast as they are asked for: memory does not grow with the object. A range that
    /// does not lie inside of the object is an error.
    async fn read(&self, key: &str, range: Range<u64>) -> Result<Pieces, Error>;

    /// Removes; a missing object is no error.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// Writes, reads and removes a small object.
    async fn probe(&self) -> Result<(), Error>;
}
