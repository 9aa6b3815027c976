//! One channel of a live connection: follows the bus, reads the store, sends what is new.

use super::messages::ServerMessage;
use crate::{routes::executions::result_url, state::ApiState};
use bifrost_domain::{
    error::{Error, Result},
    ids::ExecutionId,
    messages::{ExecutionEvent, HistoryEvent, topics},
    policy::{self, Caller, Visibility},
    ports::bus::{Signal, Subscription},
    scope::Scope,
};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};

/// A channel looks at the store so often even when nothing was announced.
const SWEEP: Duration = Duration::from_secs(5);
/// The same while there is no subscription at the bus.
const SWEEP_WITHOUT_BUS: Duration = Duration::from_secs(1);
/// Lines of one read.
const PAGE: u32 = 500;

/// Where a channel's messages go, each with the number of the subscription that it is of.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    subscription: u64,
    queue: mpsc::Sender<(u64, ServerMessage)>,
    patience: Option<Duration>,
}

impl Outlet {
    pub(super) const fn new(subscription: u64, queue: mpsc::Sender<(u64, ServerMessage)>) -> Self {
        Self { subscription, queue, patience: None }
    }

    /// Of a connection with one subscription, whose client counts as gone when it takes nothing for `patience`.
    pub(super) const fn impatient(queue: mpsc::Sender<(u64, ServerMessage)>, patience: Duration) -> Self {
        Self { subscription: 0, queue, patience: Some(patience) }
    }

    async fn send(&self, message: ServerMessage) -> std::result::Result<(), Gone> {
        let sending = self.queue.send((self.subscription, message));
        match self.patience {
            None => sending.await.map_err(|_| Gone),
            Some(patience) => match timeout(patience, sending).await {
                Ok(sent) => sent.map_err(|_| Gone),
                Err(_) => Err(Gone),
            },
        }
    }

    /// Whether nobody can read any more.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    async fn closed(&self) {
        self.queue.closed().await;
    }
}

/// A channel by its name, after policy allowed it.
#[derive(Debug, Clone)]
pub(super) enum Channel {
    Execution {
        id: ExecutionId,
        visibility: Visibility,
    },
    History {
        scope: Scope,
        visibility: Visibility,
    },
    /// Nothing is sent there yet but by later features; following it is allowed.
    Quiet {
        topic: String,
    },
}

impl Channel {
    /// The channel called `name`, if `caller` may follow it: the same policy as the REST route's.
    pub(super) async fn open(state: &ApiState, caller: &Caller, name: &str) -> Result<Self> {
        let unknown = || {
            Error::bad_request(format!("there is no channel `{}`", name.chars().take(80).collect::<String>()))
        };
        let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
        match kind {
            "execution" => {
                let id: ExecutionId = rest.parse().map_err(|_| unknown())?;
                let (_, visibility) = state.app.find_execution(caller, id).await?;
                Ok(Self::Execution { id, visibility })
            }
            "history" => {
                let scope: Scope = rest.parse().map_err(|_| unknown())?;
                policy::authorize::<policy::actions::ReadExecutions>(caller)?;
                let visibility = policy::visible_executions(caller);
                if !visibility.reaches(scope) {
                    return Err(Error::not_found("channel"));
                }
                Ok(Self::History { scope, visibility })
            }
            "user" | "notification" if rest == caller.user_id.to_string() => {
                Ok(Self::Quiet { topic: name.to_owned() })
            }
            "system" if rest.is_empty() => Ok(Self::Quiet { topic: name.to_owned() }),
            "user" | "notification" => Err(Error::not_found("channel")),
            _ => Err(unknown()),
        }
    }

    /// Where the lines of an execution go on from when the client does not say: behind what is stored now.
    pub(super) async fn start(&self, state: &ApiState, after: Option<i64>) -> Result<i64> {
        match (self, after) {
            (Self::Execution { .. }, Some(after)) => Ok(after.max(0)),
            (Self::Execution { id, .. }, None) => Ok(state.reader.last_sequence(*id).await?),
            _ => Ok(0),
        }
    }

    /// Sends until the client is gone. Interest at the bus is registered before the store is read.
    pub(super) async fn run(self, state: ApiState, cursor: i64, out: Outlet) {
        match self {
            Self::Execution { id, visibility } => {
                Follow { state, id, visibility, cursor, variables: 0, status: None, out }.run().await;
            }
            Self::History { scope, visibility } => {
                history(&state, scope, &visibility, &out).await;
            }
            Self::Quiet { topic } => {
                let _subscription = state.app.bus().subscribe(&topic).await;
                out.closed().await;
            }
        }
    }
}

/// The client is gone.
struct Gone;

/// Whether the store could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// All that is new is on its way.
    Whole,
    /// It is away: the next look goes on where this one ended.
    Away,
}

struct Follow {
    state: ApiState,
    id: ExecutionId,
    visibility: Visibility,
    cursor: i64,
    variables: i32,
    status: Option<bifrost_domain::execution::Status>,
    out: Outlet,
}

impl Follow {
    async fn run(mut self) {
        loop {
            let mut subscription = self.state.app.bus().subscribe(&topics::execution(self.id)).await.ok();
            if self.catch_up().await.is_err() {
                return;
            }
            let pause = if subscription.is_some() { SWEEP } else { SWEEP_WITHOUT_BUS };
            loop {
                let step = tokio::select! {
                    () = self.out.closed() => return,
                    signal = next(&mut subscription) => match signal {
                        Some(Signal::Event(body)) => match serde_json::from_slice(&body) {
                            Ok(event) => self.handle(event).await,
                            Err(_) => self.catch_up().await,
                        },
                        Some(Signal::Missed) => self.catch_up().await,
                        None => break,
                    },
                    () = tokio::time::sleep(pause) => {
                        let step = self.catch_up().await;
                        if subscription.is_none() {
                            break;
                        }
                        step
                    }
                };
                if step.is_err() {
                    return;
                }
            }
        }
    }

    async fn handle(&mut self, event: ExecutionEvent) -> std::result::Result<(), Gone> {
        match event {
            ExecutionEvent::Log { sequence } if sequence <= self.cursor => Ok(()),
            ExecutionEvent::Log { .. } => self.send_lines().await.map(drop),
            ExecutionEvent::Variables { version } if version <= self.variables => Ok(()),
            ExecutionEvent::Variables { .. } => self.send_variables().await.map(drop),
            ExecutionEvent::Progress { fraction, message } => {
                self.send(ServerMessage::ExecutionProgress { execution_id: self.id, fraction, message }).await
            }
            ExecutionEvent::Status { .. } => self.catch_up().await,
        }
    }

    async fn send(&self, message: ServerMessage) -> std::result::Result<(), Gone> {
        self.out.send(message).await
    }

    /// Lines first, then the status: a client that sees the end has seen every line before it.
    async fn catch_up(&mut self) -> std::result::Result<(), Gone> {
        let execution = match self.state.reader.find_execution(self.id, &self.visibility).await {
            Ok(Some(execution)) => execution,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::debug!(error = %error, "a live channel tries again");
                return Ok(());
            }
        };
        // In this order, and the status only behind both: the stream of an execution ends with its last status.
        if self.send_lines().await? == Read::Away || self.send_variables().await? == Read::Away {
            return Ok(());
        }
        if self.status == Some(execution.status) {
            return Ok(());
        }
        self.status = Some(execution.status);
        let result = execution.result.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let result_url = result_url(&execution);
        let error = if self.visibility.internal() { execution.error_message } else { execution.user_message };
        self.send(ServerMessage::ExecutionUpdate {
            execution_id: self.id,
            status: execution.status.as_str(),
            result,
            result_url,
            duration_ms: execution.duration_ms,
            error,
        })
        .await
    }

    async fn send_lines(&mut self) -> std::result::Result<Read, Gone> {
        loop {
            let page =
                self.state.app.log_page(self.id, &self.visibility, self.cursor, None, None, PAGE).await;
            let Ok(page) = page else { return Ok(Read::Away) };
            self.cursor = page.next_after;
            for line in page.lines {
                self.send(ServerMessage::log(self.id, line)).await?;
            }
            if !page.has_more {
                return Ok(Read::Whole);
            }
        }
    }

    async fn send_variables(&mut self) -> std::result::Result<Read, Gone> {
        if !self.visibility.internal() {
            return Ok(Read::Whole);
        }
        let (version, variables) = match self.state.reader.find_variables(self.id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Read::Whole),
            Err(_) => return Ok(Read::Away),
        };
        if version != self.variables {
            self.variables = version;
            self.send(ServerMessage::ExecutionVariables { execution_id: self.id, version, variables })
                .await?;
        }
        Ok(Read::Whole)
    }
}

async fn history(state: &ApiState, scope: Scope, visibility: &Visibility, out: &Outlet) {
    loop {
        let Ok(mut subscription) = state.app.bus().subscribe(&topics::history(scope)).await else {
            tokio::select! {
                () = out.closed() => return,
                () = tokio::time::sleep(SWEEP_WITHOUT_BUS) => continue,
            }
        };
        loop {
            let signal = tokio::select! {
                () = out.closed() => return,
                signal = subscription.signals.recv() => signal,
            };
            let message = match signal {
                Some(Signal::Event(body)) => match serde_json::from_slice::<HistoryEvent>(&body) {
                    Ok(event) if visibility.may_read_of(event.executed_by) => event.into(),
                    _ => continue,
                },
                Some(Signal::Missed) => ServerMessage::Error {
                    message: "updates were missed: read the list again".to_owned(),
                    channel: Some(topics::history(scope)),
                },
                None => break,
            };
            if out.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn next(subscription: &mut Option<Subscription>) -> Option<Signal> {
    match subscription {
        Some(subscription) => subscription.signals.recv().await,
        None => std::future::pending().await,
    }
}
