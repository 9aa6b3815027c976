//! Whether the database takes writes. One whose disk is full still answers every question.

use crate::{Error, coalescer::BatchWriter};
use async_trait::async_trait;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Small changes may still fit where others do not: one that succeeds says nothing so shortly after one that did not.
const UNSURE: Duration = Duration::from_secs(3);

/// When a write last found the disk full, until others succeed; shared by everything that writes through one [`crate::Db`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes(Arc<Mutex<Option<Instant>>>);

impl Writes {
    /// Remembers that a write found the disk full, and hands its outcome on. One that succeeded says nothing: it may have changed no row.
    pub(crate) fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Full(_)) = &outcome
            && self.lock().replace(Instant::now()).is_none()
        {
            tracing::error!(
                "the disk of the database is full or cannot be written: nothing is accepted until that has changed"
            );
        }
        outcome
    }

    /// Remembers that something was really written.
    pub(crate) fn written(&self) {
        let mut full = self.lock();
        if full.is_some_and(|at| at.elapsed() > UNSURE) {
            *full = None;
            tracing::info!("the database takes writes again");
        }
    }

    /// Whether the disk was full lately, and no write has shown that there is room.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_some()
    }

    /// A batch writer whose writes are noted.
    pub(crate) const fn watched<W>(self, writer: W) -> Watched<W> {
        Watched { writer, writes: self }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Writes::watched`].
pub(crate) struct Watched<W> {
    writer: W,
    writes: Writes,
}

#[async_trait]
impl<W: BatchWriter> BatchWriter for Watched<W> {
    type Item = W::Item;
    type Output = W::Output;

    async fn write(&mut self, items: &[&W::Item]) -> Result<Vec<W::Output>, Error> {
        self.writes.note(self.writer.write(items).await)
    }
}
