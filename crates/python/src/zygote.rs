//! One zygote process: started with a control socket on descriptor 3, spoken to by one actor task.
//!
//! Invariant: every child that the zygote reported as forked ends in exactly one [`ExitState`]: `Exited` by the zygote's
//! word, or the sender's drop when the zygote itself is gone (its children die with it: `PR_SET_PDEATHSIG`).

use crate::{error::Error, interpreter::Interpreter, lease::Lease, settings::Limits, sys};
use bifrost_domain::ports::python::{RuntimeInfo, Wall};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Interest, unix::AsyncFd},
    process::{Child as Process, Command},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

const PACKET_BYTES: usize = 64 * 1024;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
const PROTOCOL: u32 = 1;

/// A limit that all processes of a run have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    Memory,
    Processes,
}

/// How a child ended, by `wait4`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The limit for which the zygote ended it.
    pub over: Option<Over>,
    pub peak_memory_bytes: Option<i64>,
    pub cpu_seconds: Option<f64>,
}

/// A child as the zygote knows it.
#[derive(Debug)]
pub(crate) struct Forked {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// `None` while it lives; the sender is dropped when the zygote is gone.
    pub exit: watch::Receiver<Option<Exit>>,
}

/// A request to fork.
#[derive(Debug)]
pub(crate) struct Fork {
    pub id: u64,
    pub uid: Option<u32>,
    pub temp: PathBuf,
    pub limits: Limits,
    pub socket: OwnedFd,
    pub reply: oneshot::Sender<Result<Forked, String>>,
}

#[derive(Debug)]
enum Order {
    Fork(Box<Fork>),
    Kill { id: u64, signal: i32 },
}

/// The way to a zygote. When the last one is dropped the zygote ends as soon as its children have.
#[derive(Debug, Clone)]
pub(crate) struct ZygoteLink {
    /// Which start of the zygote this is.
    pub generation: u64,
    orders: mpsc::Sender<Order>,
}

impl ZygoteLink {
    /// Forks a child.
    pub(crate) async fn fork(&self, fork: Fork) -> Result<(), String> {
        self.orders.send(Order::Fork(Box::new(fork))).await.map_err(|_| "the zygote is gone".to_owned())
    }

    /// Kills by the zygote's hand: where there is no PID namespace it takes the descendants along.
    pub(crate) fn kill(&self, id: u64) {
        let _gone = self.orders.try_send(Order::Kill { id, signal: 9 });
    }
}

/// What is needed to start a zygote.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub interpreter: Interpreter,
    pub runtime: PathBuf,
    /// Folder under which every snapshot lies.
    pub snapshots: PathBuf,
    pub preload: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(tag = "type")]
enum Report {
    Ready {
        protocol: u32,
        python: String,
        #[serde(default)]
        walls: Map<String, Value>,
        #[serde(default)]
        left_out: Vec<Value>,
    },
    Forked {
        id: u64,
        pid: i32,
    },
    ForkFailed {
        id: u64,
        message: String,
    },
    Exited {
        id: u64,
        code: Option<i32>,
        signal: Option<i32>,
        over: Option<Over>,
        peak_memory_bytes: Option<i64>,
        cpu_seconds: Option<f64>,
    },
}

struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    async fn send(&self, packet: &Value, fd: Option<&OwnedFd>) -> io::Result<()> {
        let bytes = serde_json::to_vec(packet)?;
        if bytes.len() > PACKET_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "control packet longer than 64 KiB"));
        }
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(done) =
                ready.try_io(|socket| sys::send_packet(socket.as_fd(), &bytes, fd.map(AsFd::as_fd)))
            {
                return done;
            }
        }
    }

    /// The next packet; `None` at the end. Cancel-safe: a packet is taken whole or not at all.
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
        loop {
            let mut ready = self.0.readable().await?;
            let Ok(done) = ready.try_io(|socket| sys::receive_packet(socket.as_fd(), buffer)) else {
                continue;
            };
            let (length, fd) = match done {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            };
            if length == 0 {
                return Ok(None);
            }
            let report = serde_json::from_slice(buffer.get(..length).unwrap_or_default())?;
            return Ok(Some((report, fd)));
        }
    }
}

/// A zygote that is ready, before its actor runs.
pub(crate) struct Zygote {
    process: Process,
    socket: Socket,
    buffer: Vec<u8>,
    orders: mpsc::Receiver<Order>,
    /// The way to it.
    pub link: ZygoteLink,
    /// What it told about itself.
    pub info: RuntimeInfo,
}

impl Zygote {
    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(start: &Start, generation: u64) -> Result<Self, Error> {
        let spawn = |source| Error::Spawn { what: "zygote", source };
        let (ours, theirs) = sys::packet_pair().map_err(spawn)?;
        let mut command = command(start);
        sys::pass_as(&mut command, theirs, 3);
        let mut process = command.spawn().map_err(spawn)?;
        // The command holds our copy of the zygote's end; without it the end of the zygote is seen on the socket.
        drop(command);
        if let Some(errors) = process.stderr.take() {
            forward_errors("zygote", errors);
        }
        let socket = Socket(sys::watched(ours, Interest::READABLE | Interest::WRITABLE).map_err(spawn)?);
        let mut buffer = vec![0; PACKET_BYTES];
        let info = match tokio::time::timeout(READY_TIMEOUT, socket.receive(&mut buffer)).await {
            Ok(Ok(Some((Report::Ready { protocol: PROTOCOL, python, walls, left_out }, _)))) => {
                runtime_info(python, walls, left_out)
            }
            Ok(Ok(Some(_))) => return Err(spawn(io::Error::other("its first packet is not `ready`"))),
            Ok(Ok(None)) => {
                let status = tokio::time::timeout(STOP_TIMEOUT, process.wait()).await;
                let status = status.ok().and_then(Result::ok).map_or_else(String::new, |it| it.to_string());
                return Err(spawn(io::Error::other(format!("it ended before it was ready ({status})"))));
            }
            Ok(Err(error)) => return Err(spawn(error)),
            Err(_) => return Err(spawn(io::Error::other("not ready within 60 s"))),
        };
        let (sender, orders) = mpsc::channel(256);
        let link = ZygoteLink { generation, orders: sender };
        Ok(Self { process, socket, buffer, orders, link, info })
    }

    /// Serves until the zygote dies, until `stop`, or until nobody holds a link and no child lives. Returns why. It hands on every renewal
    /// of the lease itself: a zygote that was replaced still has children that must live on.
    pub(crate) async fn serve(self, lease: Arc<Lease>, stop: CancellationToken) -> String {
        let Self { mut process, socket, mut buffer, mut orders, link, info: _ } = self;
        drop(link);
        let mut children = Children::default();
        let mut renewals = lease.renewals();
        renewals.mark_changed();
        let reason = loop {
            tokio::select! {
                () = stop.cancelled() => break "stopped".to_owned(),
                _changed = renewals.changed() => {
                    renewals.mark_unchanged();
                    if let Some(left) = lease.remaining()
                        && let Err(error) = socket.send(&renewal(left), None).await
                    {
                        break format!("control socket: {error}");
                    }
                }
                order = orders.recv(), if !orders.is_closed() || !orders.is_empty() => {
                    if let Some(order) = order
                        && let Err(error) = children.send(&socket, order).await
                    {
                        break format!("control socket: {error}");
                    }
                }
                received = socket.receive(&mut buffer) => match received {
                    Ok(Some((report, fd))) => children.note(report, fd),
                    Ok(None) => break "it ended".to_owned(),
                    Err(error) => break format!("control socket: {error}"),
                },
            }
            if orders.is_closed() && orders.is_empty() && children.is_empty() {
                break "no longer needed".to_owned();
            }
        };
        let _gone = socket.send(&json!({"type": "shutdown"}), None).await;
        // Its end is awaited before the children's senders drop: then they are being killed by the kernel as well.
        let ended = tokio::time::timeout(STOP_TIMEOUT, async {
            while let Ok(Some((report, fd))) = socket.receive(&mut buffer).await {
                children.note(report, fd);
            }
            process.wait().await
        });
        match ended.await {
            Ok(status) => format!("{reason} ({})", status.map_or_else(|e| e.to_string(), |s| s.to_string())),
            Err(_) => {
                let _dead = process.kill().await;
                format!("{reason} (killed: it did not end)")
            }
        }
    }
}

#[derive(Default)]
struct Children {
    asked: HashMap<u64, oneshot::Sender<Result<Forked, String>>>,
    alive: HashMap<u64, watch::Sender<Option<Exit>>>,
}

impl Children {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.alive.is_empty()
    }

    async fn send(&mut self, socket: &Socket, order: Order) -> io::Result<()> {
        match order {
            Order::Fork(fork) => {
                let Fork { id, uid, temp, limits, socket: end, reply } = *fork;
                let packet = json!({"type": "fork", "id": id, "uid": uid, "temp": temp, "limits": limits});
                self.asked.insert(id, reply);
                socket.send(&packet, Some(&end)).await
            }
            Order::Kill { id, signal } if self.alive.contains_key(&id) => {
                socket.send(&json!({"type": "kill", "id": id, "signal": signal}), None).await
            }
            Order::Kill { .. } => Ok(()),
        }
    }

    fn note(&mut self, report: Report, fd: Option<OwnedFd>) {
        match report {
            Report::Forked { id, pid } => {
                let Some(reply) = self.asked.remove(&id) else { return };
                let (sender, exit) = watch::channel(None);
                self.alive.insert(id, sender);
                let forked = fd.map_or_else(
                    || Err("the zygote sent no pidfd".to_owned()),
                    |pidfd| Ok(Forked { pid, pidfd, exit }),
                );
                if let Err(Ok(unwanted)) = reply.send(forked) {
                    // Who asked for it has gone: nobody else would end it.
                    let _gone = sys::signal(&unwanted.pidfd, nix::sys::signal::Signal::SIGKILL);
                }
            }
            Report::ForkFailed { id, message } => {
                if let Some(reply) = self.asked.remove(&id) {
                    let _nobody_waits = reply.send(Err(message));
                }
            }
            Report::Exited { id, code, signal, over, peak_memory_bytes, cpu_seconds } => {
                if let Some(sender) = self.alive.remove(&id) {
                    sender.send_replace(Some(Exit { code, signal, over, peak_memory_bytes, cpu_seconds }));
                }
            }
            Report::Ready { .. } => tracing::warn!("the zygote said `ready` twice"),
        }
    }
}

/// The packet that moves the lease's end: a point on the monotonic clock, which both processes share, so that a packet that waits in the
/// socket makes nothing longer.
fn renewal(left: Duration) -> Value {
    let until = sys::monotonic() + left;
    json!({"type": "lease", "until_ms": u64::try_from(until.as_millis()).unwrap_or(u64::MAX)})
}

fn command(start: &Start) -> Command {
    let mut command = start.interpreter.script(&start.runtime.join("zygote.py"));
    command.arg("--sdk").arg(&start.runtime).arg("--snapshots").arg(&start.snapshots);
    command.current_dir(&start.runtime);
    if !start.preload.is_empty() {
        command.arg("--preload").arg(start.preload.join(","));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn runtime_info(python: String, walls: Map<String, Value>, left_out: Vec<Value>) -> RuntimeInfo {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let walls = walls
        .into_iter()
        .map(|(name, state)| Wall {
            name,
            missing: match state {
                Value::Bool(true) => None,
                other => Some(text(other)),
            },
        })
        .collect();
    RuntimeInfo { python, walls, left_out: left_out.into_iter().map(text).collect() }
}

/// Hands what a helper process writes to standard error to the log, line by line and bounded.
pub(crate) fn forward_errors(what: &'static str, errors: impl AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(errors);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(16 * 1024).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    tracing::warn!(process = what, "{}", text.trim_end());
                }
            }
        }
    });
}
