//! One forked child: its run socket, its pidfd, its uid and its temporary folder.
//!
//! Invariant: however a [`Child`] is let go, its process is killed, its end awaited, its folder removed, and only then
//! its uid used again.

use crate::{
    files::make_folder,
    frames::{FrameBuffer, FrameError},
    lease::Lease,
    messages::{FromChild, decode},
    metrics,
    settings::Limits,
    sys,
    tree_removal::remove_tree,
    zygote::{Exit, Fork, Forked, ZygoteLink},
};
use nix::{
    sys::signal::Signal,
    unistd::{Gid, Uid, chown},
};
use std::{
    collections::BTreeSet,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    sync::{oneshot, watch},
};

const FIRST_UID: u32 = 60_000;
const FORK_TIMEOUT: Duration = Duration::from_secs(10);
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const READY_PROTOCOL: u32 = 1;

/// Numbers from 0 up, each used by one living child at a time; the smallest free one first.
#[derive(Debug, Default)]
struct Numbers(Mutex<(u32, BTreeSet<u32>)>);

impl Numbers {
    fn take(&self) -> u32 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, free) = &mut *state;
        free.pop_first().unwrap_or_else(|| {
            *next += 1;
            *next - 1
        })
    }

    fn give_back(&self, number: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.insert(number);
    }
}

/// Makes children.
#[derive(Debug)]
pub(crate) struct Nursery {
    temp: PathBuf,
    limits: Limits,
    lease: Arc<Lease>,
    next_id: AtomicU64,
    numbers: Arc<Numbers>,
}

impl Nursery {
    /// Whether `child` may be given a call by a zygote of `generation`.
    pub(crate) fn is_usable(&self, child: &Child, generation: u64) -> bool {
        child.is_usable(generation, &self.lease)
    }

    /// Children with folders below `temp`.
    pub(crate) fn new(temp: PathBuf, limits: Limits, lease: Arc<Lease>) -> Self {
        Self { temp, limits, lease, next_id: AtomicU64::new(1), numbers: Arc::default() }
    }

    /// Forks a child, under its own uid when `own_uid`, and waits until it can take a call.
    pub(crate) async fn fork(&self, zygote: &ZygoteLink, own_uid: bool) -> Result<Child, String> {
        let started = Instant::now();
        let forked = self.fork_one(zygote, own_uid).await;
        match &forked {
            Ok(_) => metrics::forked(started.elapsed()),
            Err(_) => metrics::fork_failed(),
        }
        forked
    }

    async fn fork_one(&self, zygote: &ZygoteLink, own_uid: bool) -> Result<Child, String> {
        let lapses = self.lease.lapses();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let number = self.numbers.take();
        let uid = own_uid.then_some(FIRST_UID + number);
        let folder = self.temp.join(id.to_string());
        let mut remains =
            Remains { number, numbers: Arc::clone(&self.numbers), folder: Some(folder.clone()), uid };
        let forked = async {
            make_temp(&folder, uid)
                .map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
            let (socket, end) = run_socket().map_err(|error| format!("cannot make a run socket: {error}"))?;
            let (reply, answer) = oneshot::channel();
            let fork = Fork { id, uid, temp: folder.clone(), limits: self.limits, socket: end, reply };
            zygote.fork(fork).await?;
            let forked = tokio::time::timeout(FORK_TIMEOUT, answer)
                .await
                .map_err(|_| "the zygote did not fork within 10 s".to_owned())?
                .map_err(|_| "the zygote died".to_owned())??;
            Ok::<_, String>((socket, forked))
        };
        let (socket, forked) = match forked.await {
            Ok(forked) => forked,
            Err(reason) => {
                remains.clear();
                return Err(reason);
            }
        };
        let Forked { pid, pidfd, exit } = forked;
        let pidfd = sys::watched(pidfd, Interest::READABLE).map_err(|error| error.to_string())?;
        let body = Body { pidfd, exit, zygote: zygote.clone(), id, lapses, remains };
        let mut child = Child { pid, socket, frames: FrameBuffer::default(), body: Some(body) };
        child.await_ready().await?;
        Ok(child)
    }
}

fn run_socket() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

fn make_temp(folder: &Path, uid: Option<u32>) -> io::Result<()> {
    make_folder(folder, 0o700)?;
    if let Some(uid) = uid {
        chown(folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok(())
}

/// What is left of a child after its process.
#[derive(Debug)]
struct Remains {
    number: u32,
    numbers: Arc<Numbers>,
    folder: Option<PathBuf>,
    uid: Option<u32>,
}

impl Remains {
    /// Removes the folder, then frees the uid. Blocking.
    fn clear(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        if let Err(error) = remove_tree(&folder) {
            tracing::warn!(folder = %folder.display(), uid = self.uid, %error, "a temporary folder is left behind");
        }
        self.numbers.give_back(self.number);
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.clear();
    }
}

#[derive(Debug)]
struct Body {
    pidfd: AsyncFd<OwnedFd>,
    exit: watch::Receiver<Option<Exit>>,
    zygote: ZygoteLink,
    id: u64,
    /// [`Lease::lapses`] before the fork.
    lapses: u64,
    remains: Remains,
}

/// How a child's process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Gone {
    /// The zygote reaped it.
    Exited(Exit),
    /// The zygote died, and the child with it.
    WithZygote,
    /// It could not be ended within the bound: the machine is in trouble.
    Stuck,
}

impl Body {
    fn kill(&self) {
        if let Err(error) = sys::signal(&self.pidfd, Signal::SIGKILL) {
            tracing::error!(child = self.id, %error, "cannot kill a child");
        }
    }

    async fn gone(&mut self) -> Gone {
        let ending = async {
            if let Ok(exit) = self.exit.wait_for(Option::is_some).await {
                return Gone::Exited((*exit).unwrap_or_default());
            }
            // No zygote to ask: the kernel's word about the process itself.
            let _readable = self.pidfd.readable().await;
            Gone::WithZygote
        };
        ending.await
    }

    async fn kill_and_wait(mut self) {
        self.kill();
        self.zygote.kill(self.id);
        if tokio::time::timeout(EXIT_TIMEOUT, self.gone()).await.is_err() {
            tracing::error!(child = self.id, "a killed child has not ended within 5 s");
        }
        let mut remains = self.remains;
        let _done = tokio::task::spawn_blocking(move || remains.clear()).await;
    }
}

/// A forked child that can take a call.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id, for reading `/proc` only: signals go by pidfd.
    pub pid: i32,
    /// Our end of the run socket.
    pub socket: UnixStream,
    /// What was read from it and not yet taken.
    pub frames: FrameBuffer,
    body: Option<Body>,
}

/// Signals and watches a child while its socket is borrowed.
#[derive(Debug)]
pub(crate) struct Grip<'a>(&'a Body);

impl Grip<'_> {
    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let _gone = sys::signal(&self.0.pidfd, Signal::SIGTERM);
    }

    /// Kills it, and by the zygote's hand what is left of its descendants.
    pub(crate) fn kill(&self) {
        self.0.kill();
        self.0.zygote.kill(self.0.id);
    }

    /// Ends when the process has ended (it may not have been reaped yet).
    pub(crate) async fn ended(&self) {
        let _readable = self.0.pidfd.readable().await;
    }
}

impl Child {
    async fn await_ready(&mut self) -> Result<(), String> {
        let first = tokio::time::timeout(FORK_TIMEOUT, self.frames.next(&mut self.socket)).await;
        match first.map_err(|_| "a child was not ready within 10 s")? {
            Ok(Some((kind, payload))) => match decode(kind, &payload, 0) {
                Ok(FromChild::Ready(READY_PROTOCOL)) => Ok(()),
                Ok(other) => Err(format!("a child began with {other:?}")),
                Err(error) => Err(error.to_string()),
            },
            Ok(None) => Err("a child ended before it was ready".to_owned()),
            Err(error) => Err(FrameError::to_string(&error)),
        }
    }

    /// Its socket with its read buffer, and the grip on its process.
    pub(crate) fn parts(&mut self) -> Option<(&mut UnixStream, &mut FrameBuffer, Grip<'_>)> {
        let body = self.body.as_ref()?;
        Some((&mut self.socket, &mut self.frames, Grip(body)))
    }

    /// Whether it can still take a call: alive, of the present zygote and lease, and with nothing said unasked.
    pub(crate) fn is_usable(&self, generation: u64, lease: &Lease) -> bool {
        let Some(body) = &self.body else { return false };
        let alive = body.exit.borrow().is_none() && body.exit.has_changed().is_ok();
        let mut probe = [0];
        let silent = self.frames.is_empty()
            && matches!(self.socket.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        alive && silent && body.zygote.generation == generation && body.lapses == lease.lapses()
    }

    /// Waits until its process has ended and was reaped with its descendants; kills it first. Its folder is removed in
    /// the background.
    pub(crate) async fn end(mut self, kill: bool) -> Gone {
        let Some(mut body) = self.body.take() else { return Gone::Stuck };
        if kill {
            body.kill();
        }
        let gone = match tokio::time::timeout(EXIT_TIMEOUT, body.gone()).await {
            Ok(gone) => gone,
            Err(_) => {
                tracing::error!(child = body.id, "a child has not ended within 5 s");
                body.kill();
                body.zygote.kill(body.id);
                Gone::Stuck
            }
        };
        let mut remains = body.remains;
        tokio::task::spawn_blocking(move || remains.clear());
        gone
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(body.kill_and_wait())),
            Err(_) => body.kill(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_smallest_first() {
        let numbers = Numbers::default();
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (0, 1, 2));
        numbers.give_back(1);
        numbers.give_back(0);
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (0, 1, 3));
    }
}
