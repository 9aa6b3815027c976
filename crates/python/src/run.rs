//! One run from its slot to its last event.
//!
//! Invariant: whatever happens, exactly one `Ended` is the last event. Where another attempt may follow it is sent after the run's process
//! has ended, with everything in it (isolation `fork`), or after the kept child has fallen quiet (isolation `reuse`). A run that succeeded
//! is followed by none: its `Ended` does not wait for the kernel to clear its process away.

use crate::{
    adapter::Shared,
    child::{Child, Gone},
    frames::{Kind, encode},
    reuse::{Kept, Key},
    settings::Limits,
    snapshots::Snapshot,
    talk::{Cause, Heard, Talk, Talked},
    zygote::{Exit, Over},
};
use bifrost_domain::{
    execution::{Isolation, Status},
    ports::python::{Call, CallContext, End, Event, Returned, SdkService, Stop, Target},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{future::pending, path::Path, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// A child killed this shortly before the lease ends was killed because of it: the zygote's clock may be ahead.
const LEASE_SLACK: Duration = Duration::from_millis(500);
/// The exit codes of a child whose own part failed (docs/worker-protocol.md).
const CANNOT_GO_ON: i32 = 72;
const NO_MEMORY: i32 = 73;

/// One run.
pub(crate) struct Run {
    pub call: Call,
    pub stop: watch::Receiver<Stop>,
    pub sdk: Arc<dyn SdkService>,
    pub events: mpsc::Sender<Event>,
}

/// Where a run happens.
enum Place {
    Own(Child),
    Kept(Box<Kept>),
}

struct Ended {
    end: End,
    peak_memory_bytes: Option<i64>,
    cpu_seconds: Option<f64>,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self { end, peak_memory_bytes: None, cpu_seconds: None }
    }
}

impl Run {
    /// Runs it and sends its events.
    pub(crate) async fn execute(self, shared: &Shared) {
        let (ended, leaving) = match self.wait_for_slot(shared).await {
            Err(end) => (end.into(), None),
            // Without a child that is still leaving, the slot is free before `Ended` is sent: whoever reacts to it finds it.
            Ok(slot) => {
                let (ended, child) = self.with_slot(shared).await;
                (ended, child.map(|child| (child, slot)))
            }
        };
        let Ended { end, peak_memory_bytes, cpu_seconds } = ended;
        let _nobody_reads = self.events.send(Event::Ended { end, peak_memory_bytes, cpu_seconds }).await;
        if let Some((child, _slot)) = leaving {
            child.end(true).await;
        }
        shared.pool.replenish();
    }

    async fn wait_for_slot(&self, shared: &Shared) -> Result<tokio::sync::OwnedSemaphorePermit, End> {
        tokio::select! {
            biased;
            end = self.not_wanted(shared) => Err(end),
            slot = shared.pool.slot() => slot.map_err(|_| End::Interrupted),
        }
    }

    /// How it ended, and the child when its process still has to be ended.
    async fn with_slot(&self, shared: &Shared) -> (Ended, Option<Child>) {
        let prepared = tokio::select! {
            biased;
            end = self.not_wanted(shared) => Err(end),
            prepared = self.prepare(shared) => prepared.map_err(End::NotStarted),
        };
        let (frame, snapshot, mut place) = match prepared {
            Ok(prepared) => prepared,
            Err(end) => return (end.into(), None),
        };
        if self.events.send(Event::Started).await.is_err() {
            return (End::Interrupted.into(), None);
        }
        let talk = Talk {
            call: frame,
            context: Arc::new(self.call.context.clone()),
            timeout: self.call.timeout,
            grace: shared.settings.grace,
            line_bytes: shared.settings.line_bytes,
            stop: self.stop.clone(),
            lease: &shared.lease,
            closing: &shared.closing,
            sdk: Arc::clone(&self.sdk),
            events: &self.events,
        };
        let child = match &mut place {
            Place::Own(child) => child,
            Place::Kept(kept) => &mut kept.child,
        };
        let talked = talk.hold(child).await;
        drop(snapshot);
        self.tell_last_variables(&talked).await;
        self.finish(shared, place, talked).await
    }

    /// A run that was made to end may have said its last variables with a result that counts no more.
    async fn tell_last_variables(&self, talked: &Talked) {
        if let (Heard::Result { returned, .. }, Some(_)) = (&talked.heard, talked.cause)
            && let Some(variables) = returned.variables.clone()
            && !variables.is_empty()
        {
            let _nobody_reads = self.events.send(Event::Variables { variables }).await;
        }
    }

    /// Ends when the run is no longer wanted before it has begun.
    async fn not_wanted(&self, shared: &Shared) -> End {
        let mut stop = self.stop.clone();
        let stopped = async {
            match stop.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop) {
                Ok(Stop::Cancel) => End::Cancelled,
                Ok(_) => End::Interrupted,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            end = stopped => end,
            () = self.events.closed() => End::Interrupted,
            () = shared.closing.cancelled() => End::Interrupted,
            () = shared.lease.ran_out() => End::Interrupted,
        }
    }

    async fn prepare(&self, shared: &Shared) -> Result<(Bytes, Arc<Snapshot>, Place), String> {
        let snapshot = shared.snapshot().await?;
        let frame = self.call_frame(shared, &snapshot)?;
        let place = match self.call.isolation {
            Isolation::Fork => Place::Own(shared.pool.take().await?),
            Isolation::Reuse => {
                let key = Key { scope: self.call.context.scope, version: snapshot.version.clone() };
                Place::Kept(Box::new(shared.reuse.take(&key, &snapshot, &shared.pool).await?))
            }
        };
        Ok((frame, snapshot, place))
    }

    fn call_frame(&self, shared: &Shared, snapshot: &Snapshot) -> Result<Bytes, String> {
        let call = &self.call;
        let settings = &shared.settings;
        let payload = CallPayload {
            execution_id: call.execution_id.to_string(),
            attempt: call.attempt,
            isolation: call.isolation,
            target: TargetPayload {
                workspace: &snapshot.path,
                version: &snapshot.version,
                target: &call.target,
            },
            parameters: &call.parameters,
            context: ContextPayload {
                context: &call.context,
                roi: json!({"time_saved": 0, "value": 0.0}),
                public_url: settings.public_url.as_deref(),
            },
            limits: json!({
                "line_bytes": settings.line_bytes,
                "result_bytes": settings.result_bytes,
                "variables_bytes": settings.variables_bytes,
                "grace_ms": u64::try_from(settings.grace.as_millis()).unwrap_or(u64::MAX),
            }),
            masked: [],
        };
        encode(Kind::Call, &payload).map_err(|error| error.to_string())
    }

    async fn finish(&self, shared: &Shared, place: Place, talked: Talked) -> (Ended, Option<Child>) {
        let ended = match place {
            Place::Own(child) => {
                if let Heard::Result { returned, usage: Some(usage), .. } = &talked.heard
                    && talked.cause.is_none()
                    && has_succeeded(returned)
                {
                    let ended = Ended {
                        end: End::Returned(returned.clone()),
                        peak_memory_bytes: Some(usage.peak_memory_bytes.max(0)),
                        cpu_seconds: Some(usage.cpu_seconds.max(0.0)),
                    };
                    return (ended, Some(child));
                }
                let gone = child.end(true).await;
                let end = self.end_of(shared, talked.heard, talked.cause, gone);
                let exit = match gone {
                    Gone::Exited(exit) => exit,
                    Gone::WithZygote | Gone::Stuck => Exit::default(),
                };
                Ended { end, peak_memory_bytes: exit.peak_memory_bytes, cpu_seconds: exit.cpu_seconds }
            }
            Place::Kept(kept) => {
                if let Heard::Result { returned, recycle: false, .. } = &talked.heard
                    && talked.cause.is_none()
                    && talked.is_quiet
                    && is_well(returned)
                {
                    shared.reuse.give_back(*kept);
                    self.end_of(shared, talked.heard, None, Gone::Stuck).into()
                } else {
                    let gone = kept.child.end(true).await;
                    self.end_of(shared, talked.heard, talked.cause, gone).into()
                }
            }
        };
        (ended, None)
    }

    fn end_of(&self, shared: &Shared, heard: Heard, cause: Option<Cause>, gone: Gone) -> End {
        match (heard, cause) {
            (Heard::Result { returned, .. }, None) => End::Returned(returned),
            // The end that came first: it succeeded before it noticed.
            (Heard::Result { returned, .. }, Some(Cause::Cancel | Cause::Shutdown))
                if has_succeeded(&returned) =>
            {
                End::Returned(returned)
            }
            (_, Some(Cause::Cancel)) => End::Cancelled,
            (_, Some(Cause::Timeout)) => End::TimedOut,
            (_, Some(Cause::Shutdown | Cause::Lease | Cause::Closing | Cause::Abandoned)) => End::Interrupted,
            // What a limit ended may be long in dying, and that looks like a breach.
            (Heard::Broken(reason), None) if !matches!(gone, Gone::Exited(Exit { over: Some(_), .. })) => {
                End::Protocol(reason)
            }
            (Heard::Silence | Heard::Broken(_), None) => match gone {
                Gone::Exited(_) if shared.lease.is_over(LEASE_SLACK) => End::Interrupted,
                Gone::Exited(exit) => {
                    let why = why(exit, &shared.settings.limits);
                    End::Died { code: exit.code, signal: exit.signal, why }
                }
                Gone::WithZygote | Gone::Stuck => End::Interrupted,
            },
        }
    }
}

/// What is known of the reason for an end without a result.
fn why(exit: Exit, limits: &Limits) -> Option<String> {
    let memory = limits.memory_bytes.unwrap_or_default() / (1024 * 1024);
    match (exit.over, exit.code) {
        (Some(Over::Memory), _) => Some(format!(
            "its processes together used more memory than the limit of {memory} MiB (RUN_MEMORY_MB)"
        )),
        (Some(Over::Processes), _) => Some(format!(
            "it had more than the limit of {} processes and threads (RUN_PROCESSES)",
            limits.processes.unwrap_or_default()
        )),
        (None, Some(NO_MEMORY)) => {
            Some(format!("it needed more memory than its limit of {memory} MiB (RUN_MEMORY_MB)"))
        }
        (None, Some(CANNOT_GO_ON)) => {
            Some("the platform's part of it failed; were its files closed?".to_owned())
        }
        (None, _) => None,
    }
}

/// Whether no other attempt can follow.
fn has_succeeded(returned: &Returned) -> bool {
    matches!(returned.status, Status::Success | Status::CompletedWithErrors)
}

/// Whether a kept child may serve again after this: its author's own errors are no sign of trouble.
fn is_well(returned: &Returned) -> bool {
    has_succeeded(returned) || returned.error_type.as_deref() == Some("UserError")
}

#[derive(Serialize)]
struct CallPayload<'a> {
    execution_id: String,
    attempt: i32,
    isolation: Isolation,
    target: TargetPayload<'a>,
    parameters: &'a Map<String, Value>,
    context: ContextPayload<'a>,
    limits: Value,
    masked: [(); 0],
}

#[derive(Serialize)]
struct TargetPayload<'a> {
    workspace: &'a Path,
    version: &'a str,
    #[serde(flatten)]
    target: &'a Target,
}

#[derive(Serialize)]
struct ContextPayload<'a> {
    #[serde(flatten)]
    context: &'a CallContext,
    roi: Value,
    public_url: Option<&'a str>,
}
