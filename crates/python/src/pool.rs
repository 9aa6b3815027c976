//! Slots and the stock: how many runs go on at a time, and the children that were forked ahead of them.
//!
//! Invariant: a child of the stock has served nobody; it leaves the stock for exactly one run (or one place in the reuse
//! pool). At most `slots + stock` fresh children live at a time.

use crate::{
    child::{Child, Nursery},
    metrics,
    supervisor::{Ready, State},
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How long a run waits for a zygote that is being started.
const ZYGOTE_WAIT: Duration = Duration::from_secs(30);
/// The sweep beside the signals: dead children leave the stock even when nobody asks for one.
const SWEEP: Duration = Duration::from_secs(5);
/// Without a run for so long forks are in nobody's way.
const QUIET: Duration = Duration::from_millis(100);

/// Gives out children.
#[derive(Debug)]
pub(crate) struct Pool {
    nursery: Nursery,
    zygote: watch::Receiver<State>,
    slots: Arc<Semaphore>,
    stock: Mutex<VecDeque<Child>>,
    stock_size: usize,
    wake: Notify,
    /// Runs that wait for a fork.
    urgent: AtomicUsize,
    /// When a child was last asked for.
    last_taken: Mutex<Instant>,
}

/// Counted while it lives.
struct Urgent<'a>(&'a AtomicUsize);

impl<'a> Urgent<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    pub(crate) fn new(
        nursery: Nursery,
        zygote: watch::Receiver<State>,
        slots: usize,
        stock_size: usize,
    ) -> Self {
        Self {
            nursery,
            zygote,
            slots: Arc::new(Semaphore::new(slots)),
            stock: Mutex::default(),
            stock_size,
            wake: Notify::new(),
            urgent: AtomicUsize::new(0),
            last_taken: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a slot, first come first served.
    pub(crate) async fn slot(&self) -> Result<OwnedSemaphorePermit, String> {
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| "the runtime is shut down".to_owned())
    }

    /// The zygote, once it is ready.
    pub(crate) async fn zygote(&self) -> Result<Arc<Ready>, String> {
        let mut state = self.zygote.clone();
        let waited =
            tokio::time::timeout(ZYGOTE_WAIT, state.wait_for(|state| !matches!(state, State::Starting)));
        match waited.await {
            Ok(Ok(state)) => match &*state {
                State::Ready(ready) => Ok(Arc::clone(ready)),
                State::Failed(reason) => Err(reason.clone()),
                State::Starting | State::Stopped => Err("the runtime is shut down".to_owned()),
            },
            Ok(Err(_)) => Err("the runtime is shut down".to_owned()),
            Err(_) => Err("the zygote was not ready within 30 s".to_owned()),
        }
    }

    /// A fresh child: from the stock, or forked now.
    pub(crate) async fn take(&self) -> Result<Child, String> {
        let zygote = self.zygote().await?;
        *lock(&self.last_taken) = Instant::now();
        while let Some(child) = self.pop() {
            if self.nursery.is_usable(&child, zygote.link.generation) {
                if self.len() == 0 {
                    self.wake.notify_one();
                }
                return Ok(child);
            }
        }
        // The stock is not refilled meanwhile: forks are made one after the other, and this one is waited for.
        let _urgent = Urgent::enter(&self.urgent);
        self.nursery.fork(&zygote.link, zygote.own_uid).await
    }

    /// Whether a kept child may be given another call.
    pub(crate) fn is_usable(&self, child: &Child, generation: u64) -> bool {
        self.nursery.is_usable(child, generation)
    }

    /// Says that a run has ended: if the stock is low, now is the time to fill it.
    pub(crate) fn replenish(&self) {
        if self.is_low() {
            self.wake.notify_one();
        }
    }

    fn is_low(&self) -> bool {
        self.len() * 4 <= self.stock_size
    }

    /// How many children wait in the stock.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Keeps the stock full until `stop`, then lets it go.
    ///
    /// A fork takes as much of a processor as a small run, so that forking one child per run would slow every run of a row. The stock is
    /// filled whole, all children at a time: when it is low, or when there was no run for a moment.
    pub(crate) async fn keep_stocked(&self, stop: CancellationToken) {
        let mut state = self.zygote.clone();
        let filling = async {
            loop {
                state.mark_unchanged();
                let is_wanted = self.is_low() || lock(&self.last_taken).elapsed() >= QUIET;
                if is_wanted && let Err(reason) = self.fill().await {
                    tracing::warn!(%reason, "no child could be forked ahead");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                tokio::select! {
                    () = self.wake.notified() => {}
                    _changed = state.changed() => {}
                    () = tokio::time::sleep(if self.len() < self.stock_size { QUIET } else { SWEEP }) => {}
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = filling => {}
        }
        self.slots.close();
        self.lock().clear();
        metrics::stock(0);
    }

    async fn fill(&self) -> Result<(), String> {
        let State::Ready(ready) = self.zygote.borrow().clone() else { return Ok(()) };
        self.lock().retain(|child| self.nursery.is_usable(child, ready.link.generation));
        if self.urgent.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        let missing = self.stock_size.saturating_sub(self.len());
        let mut forks: FuturesUnordered<_> =
            (0..missing).map(|_| self.nursery.fork(&ready.link, ready.own_uid)).collect();
        while let Some(child) = forks.next().await {
            self.lock().push_back(child?);
        }
        metrics::stock(self.len());
        Ok(())
    }

    fn pop(&self) -> Option<Child> {
        let mut stock = self.lock();
        let child = stock.pop_front();
        metrics::stock(stock.len());
        child
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Child>> {
        lock(&self.stock)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
