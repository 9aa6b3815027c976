//! One call on a run socket: hands it over, reads what comes back, answers SDK requests, and ends it when it has to end.
//!
//! Invariant: reading stops while the events' reader does not read (back-pressure reaches the child), but a stop, a
//! timeout and the lease act at once, whatever else waits.

use crate::{
    child::{Child, Grip},
    frames::{FrameBuffer, FrameError, Kind, encode},
    lease::Lease,
    messages::{FromChild, Usage, decode, encode_reply},
    metrics,
};
use bifrost_domain::ports::python::{
    CallContext, Event, Returned, SdkError, SdkErrorKind, SdkReply, SdkRequest, SdkService, Stop,
};
use bytes::Bytes;
use futures::FutureExt;
use std::{
    future::pending,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// SDK requests of one run that are handled at a time; more wait.
const REQUESTS_AT_A_TIME: usize = 16;
/// SDK requests of one run that may wait, and how much they may hold.
const REQUESTS_WAITING: usize = 1024;
const REQUEST_BYTES_WAITING: usize = 64 * 1024 * 1024;
/// How long the rest of the stream may take after the process has ended: it is in the socket's buffer already.
const REST: Duration = Duration::from_millis(200);
/// How long a process may take to end after its end of the socket is closed: the kernel ends everything in its namespace in between.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Why a run has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Cancel,
    Shutdown,
    Timeout,
    /// The worker's lease has run out: at once.
    Lease,
    /// The runtime is being shut down: at once.
    Closing,
    /// Nobody reads the events: at once.
    Abandoned,
}

/// What a child said last.
#[derive(Debug)]
pub(crate) enum Heard {
    Result {
        returned: Box<Returned>,
        /// The child should not serve again.
        recycle: bool,
        usage: Option<Usage>,
    },
    /// The stream ended without a result.
    Silence,
    /// It broke the protocol.
    Broken(String),
}

/// Everything that one call needs.
pub(crate) struct Talk<'a> {
    /// The encoded `call`.
    pub call: Bytes,
    pub context: Arc<CallContext>,
    pub timeout: Option<Duration>,
    pub grace: Duration,
    pub line_bytes: usize,
    pub stop: watch::Receiver<Stop>,
    pub lease: &'a Lease,
    pub closing: &'a CancellationToken,
    pub sdk: Arc<dyn SdkService>,
    pub events: &'a mpsc::Sender<Event>,
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Talked {
    pub heard: Heard,
    pub cause: Option<Cause>,
    /// Nothing is under way on the socket in either direction: the child may be called again.
    pub is_quiet: bool,
}

impl Talk<'_> {
    /// Holds the conversation to its end.
    pub(crate) async fn hold(&self, child: &mut Child) -> Talked {
        let Some((socket, frames, grip)) = child.parts() else {
            return Talked { heard: Heard::Silence, cause: None, is_quiet: false };
        };
        let (mut reader, mut writer) = socket.split();
        let (out, outgoing) = mpsc::channel(64);
        let _queue_is_empty = out.try_send(self.call.clone());
        let cause = OnceLock::new();
        let is_writing = AtomicBool::new(true);
        let mut requests = Requests::new(out.clone());

        let heard = tokio::select! {
            heard = self.listen(&mut reader, frames, &grip, &mut requests) => heard,
            () = write_all(&mut writer, outgoing, &is_writing) => Heard::Silence,
            () = self.watch_over(&grip, &out, &cause) => Heard::Silence,
        };
        let is_quiet = requests.are_done()
            && out.capacity() == out.max_capacity()
            && !is_writing.load(Ordering::Relaxed);
        Talked { heard, cause: cause.get().copied(), is_quiet }
    }

    async fn listen(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        frames: &mut FrameBuffer,
        grip: &Grip<'_>,
        requests: &mut Requests,
    ) -> Heard {
        let mut has_ended = false;
        loop {
            let next = if has_ended {
                timeout(REST, frames.next(reader)).await.unwrap_or(Ok(None))
            } else {
                tokio::select! {
                    biased;
                    next = frames.next(reader) => next,
                    () = grip.ended() => {
                        has_ended = true;
                        continue;
                    }
                }
            };
            let (kind, payload) = match next {
                Ok(Some(frame)) => frame,
                // A frame that was cut off by the process's end is no breach.
                Ok(None) | Err(FrameError::Truncated | FrameError::Socket(_)) => {
                    if has_ended || timeout(LAST_BREATH, grip.ended()).await.is_ok() {
                        return Heard::Silence;
                    }
                    return Heard::Broken("it closed its connection to the worker and went on".to_owned());
                }
                Err(error) => return Heard::Broken(error.to_string()),
            };
            let event = match decode(kind, &payload, self.line_bytes) {
                Ok(FromChild::Log(lines)) if lines.is_empty() => continue,
                Ok(FromChild::Log(lines)) => Event::Log(lines),
                Ok(FromChild::Variables { variables }) => Event::Variables { variables },
                Ok(FromChild::Progress { fraction, message }) => Event::Progress { fraction, message },
                Ok(FromChild::SdkRequest { id, method, params }) => {
                    let request = SdkRequest { method, params };
                    requests.answer(id, request, payload.len(), &self.sdk, &self.context);
                    continue;
                }
                Ok(FromChild::Result { returned, recycle, usage }) => {
                    return Heard::Result { returned, recycle, usage };
                }
                Ok(FromChild::Ready(_)) => {
                    return Heard::Broken("`ready` in the middle of a call".to_owned());
                }
                Err(error) => return Heard::Broken(error.to_string()),
            };
            if self.events.send(event).await.is_err() {
                return Heard::Silence;
            }
        }
    }

    /// Waits for a reason to end the run and ends it: cooperative first unless it is urgent. Never returns.
    async fn watch_over(&self, grip: &Grip<'_>, out: &mpsc::Sender<Bytes>, cause: &OnceLock<Cause>) {
        let first = tokio::select! {
            urgent = self.urgent() => urgent,
            asked = self.asked() => asked,
        };
        let first = *cause.get_or_init(|| first);
        metrics::stopped(first);
        let reason = match first {
            Cause::Cancel => "cancelled",
            Cause::Timeout => "timeout",
            Cause::Shutdown => "shutdown",
            Cause::Lease | Cause::Closing | Cause::Abandoned => {
                grip.kill();
                return pending().await;
            }
        };
        if let Ok(frame) = encode(Kind::Cancel, &serde_json::json!({"reason": reason})) {
            // A full queue means that the child reads nothing: the signals follow.
            let _full = out.try_send(frame);
        }
        let third = self.grace / 3;
        tokio::select! {
            _urgent = self.urgent() => {}
            () = async {
                sleep(third).await;
                grip.terminate();
                sleep(self.grace.saturating_sub(third)).await;
            } => {}
        }
        grip.kill();
        pending::<()>().await;
    }

    async fn asked(&self) -> Cause {
        let mut stop = self.stop.clone();
        let stopped = async {
            match stop.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop) {
                Ok(Stop::Cancel) => Cause::Cancel,
                Ok(Stop::Shutdown | Stop::No) => Cause::Shutdown,
                // Nobody can ask any more.
                Err(_) => pending().await,
            }
        };
        let too_late = async {
            match self.timeout {
                Some(limit) => sleep(limit).await,
                None => pending().await,
            }
        };
        tokio::select! {
            cause = stopped => cause,
            () = too_late => Cause::Timeout,
        }
    }

    async fn urgent(&self) -> Cause {
        tokio::select! {
            () = self.lease.ran_out() => Cause::Lease,
            () = self.closing.cancelled() => Cause::Closing,
            () = self.events.closed() => Cause::Abandoned,
        }
    }
}

/// Writes what is queued, in order. A child that closed its socket ends the conversation on the reading side.
async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    mut outgoing: mpsc::Receiver<Bytes>,
    is_writing: &AtomicBool,
) {
    while let Some(frame) = outgoing.recv().await {
        is_writing.store(true, Ordering::Relaxed);
        if writer.write_all(&frame).await.is_err() {
            break;
        }
        is_writing.store(false, Ordering::Relaxed);
    }
    pending::<()>().await;
}

/// SDK requests under way; dropped with the run.
struct Requests {
    tasks: JoinSet<()>,
    out: mpsc::Sender<Bytes>,
    permits: Arc<Semaphore>,
    bytes: Arc<AtomicUsize>,
}

impl Requests {
    fn new(out: mpsc::Sender<Bytes>) -> Self {
        Self {
            tasks: JoinSet::new(),
            out,
            permits: Arc::new(Semaphore::new(REQUESTS_AT_A_TIME)),
            bytes: Arc::default(),
        }
    }

    fn are_done(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }

    fn answer(
        &mut self,
        id: u64,
        request: SdkRequest,
        size: usize,
        sdk: &Arc<dyn SdkService>,
        context: &Arc<CallContext>,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let held = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        let is_too_much = self.tasks.len() >= REQUESTS_WAITING || held > REQUEST_BYTES_WAITING;
        let (out, permits, bytes) = (self.out.clone(), Arc::clone(&self.permits), Arc::clone(&self.bytes));
        let (sdk, context) = (Arc::clone(sdk), Arc::clone(context));
        self.tasks.spawn(async move {
            let reply = if is_too_much {
                unavailable("too many requests at once: await some of them first")
            } else {
                let _permit = permits.acquire().await;
                let handled = AssertUnwindSafe(sdk.handle(&context, request)).catch_unwind().await;
                handled.unwrap_or_else(|_| unavailable("internal error"))
            };
            bytes.fetch_sub(size, Ordering::Relaxed);
            match encode_reply(id, &reply) {
                Ok(frame) => {
                    let _run_has_ended = out.send(frame).await;
                }
                Err(error) => tracing::error!(%error, "an SDK reply cannot be encoded"),
            }
        });
    }
}

fn unavailable(message: &str) -> SdkReply {
    let error = SdkError { kind: SdkErrorKind::Unavailable, message: message.to_owned() };
    SdkReply { outcome: Err(error), mask: Vec::new() }
}
