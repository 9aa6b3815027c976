//! The memory of checks: kept while there are more of them, and given back when there was none for a while. To map 19 MiB anew for each
//! costs half as much as the check.

use argon2::Block;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// When there was no check for so long, the memory is given back.
const QUIET: Duration = Duration::from_secs(5);

/// Pieces of memory that no check uses: never more than checks at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    free: Arc<Mutex<Vec<Vec<Block>>>>,
    /// How often it was used.
    uses: Arc<AtomicU64>,
}

impl Memory {
    /// Does `work` in memory of `count` blocks. Their content is of no meaning.
    pub(super) fn with<T>(&self, count: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let kept = self.lock().pop().filter(|blocks| blocks.len() == count);
        let mut blocks = kept.unwrap_or_else(|| vec![Block::default(); count]);
        let done = work(&mut blocks);
        self.lock().push(blocks);
        done
    }

    /// Gives everything back, unless it is used again within a while.
    pub(super) fn give_back_later(&self) {
        let mine = self.uses.fetch_add(1, Ordering::Relaxed) + 1;
        let memory = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(QUIET).await;
            if memory.uses.load(Ordering::Relaxed) == mine {
                *memory.lock() = Vec::new();
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_used_again_and_given_back_after_the_last_use() {
        let memory = Memory::default();
        let place = |memory: &Memory| memory.with(4, |blocks| blocks.as_ptr() as usize);
        let first = place(&memory);
        memory.give_back_later();
        assert_eq!(place(&memory), first);
        assert_eq!(memory.with(8, |blocks| blocks.len()), 8, "another size is another piece");
        tokio::time::sleep(QUIET / 2).await;
        memory.give_back_later();
        tokio::time::sleep(QUIET * 3 / 4).await;
        assert_eq!(memory.lock().len(), 1, "it was used since");
        tokio::time::sleep(QUIET / 2).await;
        assert_eq!(memory.lock().len(), 0);
    }
}
