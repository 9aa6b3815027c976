//! Write whatever queued while the previous write was running: no timer, no delay when idle, many rows a commit under load.
//!
//! One type serves submit, claim, finish and logs. A batch that fails for its data is cut in halves until only the culprit
//! fails; a batch that fails because the database is away fails as a whole, and each caller decides about trying again.

use crate::{Error, metrics::Batches};
use async_trait::async_trait;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Writes many items with one commit.
#[async_trait]
pub trait BatchWriter: Send + 'static {
    /// What is written.
    type Item: Send + Sync + 'static;
    /// What each writer hears.
    type Output: Send + 'static;

    /// Writes `items` in one commit and answers in their order.
    async fn write(&mut self, items: &[&Self::Item]) -> Result<Vec<Self::Output>, Error>;
}

struct Entry<I, O> {
    item: I,
    reply: oneshot::Sender<Result<O, Error>>,
}

/// The sending half; cheap to clone. The writing task ends when the last clone is dropped.
#[derive(Debug)]
pub struct Coalescer<I, O> {
    entries: mpsc::Sender<Entry<I, O>>,
}

impl<I, O> Clone for Coalescer<I, O> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<I, O> std::fmt::Debug for Entry<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Coalescer<I, O> {
    /// Starts the writing task. `name` is what its metrics are labelled with. `max_batch` bounds a commit; callers wait when two batches
    /// are queued.
    pub fn spawn<W: BatchWriter<Item = I, Output = O>>(
        name: &'static str,
        mut writer: W,
        max_batch: usize,
    ) -> Self {
        let measured = Batches::of(name);
        let (entries, mut queue) = mpsc::channel::<Entry<I, O>>(max_batch * 2);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(max_batch);
            let mut was_away = false;
            while queue.recv_many(&mut batch, max_batch).await > 0 {
                let (items, replies): (Vec<I>, Vec<_>) =
                    batch.drain(..).map(|entry| (entry.item, entry.reply)).unzip();
                let mut outcomes: Vec<Option<Result<O, Error>>> = items.iter().map(|_| None).collect();
                let is_away = write_bisecting(&mut writer, &measured, &items, &mut outcomes).await;
                if std::mem::replace(&mut was_away, is_away) && !is_away {
                    tracing::info!("batches are written again: the database is back");
                }
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // A caller that went away wanted no answer; the write stands.
                    let _ = reply.send(outcome.unwrap_or(Err(Error::Closed)));
                }
            }
        });
        Self { entries }
    }

    /// Writes `item` with whatever else is waiting, and returns when it is durable.
    ///
    /// # Errors
    /// The error of the write; [`Error::Closed`] when the process is shutting down.
    pub async fn write(&self, item: I) -> Result<O, Error> {
        let (reply, answer) = oneshot::channel();
        self.entries.send(Entry { item, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// Writes all of it, as far as it can be written; whether the database is away.
async fn write_bisecting<W: BatchWriter>(
    writer: &mut W,
    measured: &Batches,
    items: &[W::Item],
    outcomes: &mut [Option<Result<W::Output, Error>>],
) -> bool {
    let mut work: Vec<_> = std::iter::once(0..items.len()).collect();
    while let Some(range) = work.pop() {
        let part: Vec<&W::Item> = items[range.clone()].iter().collect();
        let started = Instant::now();
        let written = writer.write(&part).await;
        match &written {
            Ok(_) => measured.wrote(part.len(), started.elapsed()),
            Err(_) => measured.failed(),
        }
        match written {
            Ok(outputs) => {
                for (slot, output) in outcomes[range].iter_mut().zip(outputs) {
                    *slot = Some(Ok(output));
                }
            }
            Err(error) if error.is_away() => {
                // Nobody is to blame: everything that is left fails alike.
                work.push(range);
                for range in work.drain(..) {
                    for slot in &mut outcomes[range] {
                        *slot = Some(Err(error.shared()));
                    }
                }
                tracing::warn!(error = %error, "a batch was not written");
                return true;
            }
            Err(error) if range.len() == 1 => outcomes[range.start] = Some(Err(error)),
            Err(_) => {
                let middle = range.start + range.len() / 2;
                work.push(middle..range.end);
                work.push(range.start..middle);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Recorder {
        batches: Sizes,
        gate: Arc<tokio::sync::Semaphore>,
    }

    #[async_trait]
    impl BatchWriter for Recorder {
        type Item = i32;
        type Output = i32;

        async fn write(&mut self, items: &[&i32]) -> Result<Vec<i32>, Error> {
            self.gate.acquire().await.expect("open").forget();
            self.batches.lock().expect("lock").push(items.len());
            if items.iter().any(|&&item| item == 13) {
                return Err(Error::Inconsistent { table: "t", column: "c", reason: "13".into() });
            }
            if items.iter().any(|&&item| item == 99) {
                return Err(Error::Away(sqlx::Error::PoolTimedOut));
            }
            Ok(items.iter().map(|&&item| item * 2).collect())
        }
    }

    /// The size of each batch that was written.
    type Sizes = Arc<Mutex<Vec<usize>>>;

    fn coalescer(permits: usize) -> (Coalescer<i32, i32>, Sizes, Arc<tokio::sync::Semaphore>) {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(tokio::sync::Semaphore::new(permits));
        let writer = Recorder { batches: batches.clone(), gate: gate.clone() };
        (Coalescer::spawn("test", writer, 64), batches, gate)
    }

    #[tokio::test]
    async fn what_queued_meanwhile_is_one_batch() {
        let (coalescer, batches, gate) = coalescer(0);
        let writes: Vec<_> = (20..40)
            .map(|n| {
                let coalescer = coalescer.clone();
                tokio::spawn(async move { coalescer.write(n).await.expect("written") })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.add_permits(20);
        for (n, write) in (20..40).zip(writes) {
            assert_eq!(write.await.expect("joined"), n * 2);
        }
        let batches = batches.lock().expect("lock").clone();
        assert_eq!(batches.iter().sum::<usize>(), 20);
        assert!(batches.len() <= 3, "{batches:?}");
    }

    #[tokio::test]
    async fn only_the_culprit_fails() {
        let (coalescer, _, _) = coalescer(1_000);
        let results = futures::future::join_all((10..20).map(|n| coalescer.write(n))).await;
        for (n, result) in (10..20).zip(results) {
            assert_eq!(result.is_ok(), n != 13, "{n}");
        }
    }

    #[tokio::test]
    async fn an_away_database_fails_all_and_is_not_bisected() {
        let (coalescer, batches, _) = coalescer(1_000);
        let results = futures::future::join_all((95..103).map(|n| coalescer.write(n))).await;
        assert!(results.iter().all(|result| result.as_ref().is_err_and(Error::is_away)));
        assert!(batches.lock().expect("lock").len() <= 2);
    }
}
