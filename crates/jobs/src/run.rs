//! One attempt: from its call to its stored end.

use crate::{
    Worker,
    call::{NoCall, call_of},
    log_sink::{Bounds, LogSink},
    metrics::Running,
    variables::Variables,
};
use bifrost_app::worker::{Ending, OBJECTS_FULL, Outcome};
use bifrost_domain::{
    error::{Error, Kind as ErrorKind},
    execution::{Claimed, LogLevel, Status},
    ids::ExecutionId,
    ports::python::{Call, End, Event, Returned, Stop},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long an end is tried to be stored; after that the reaper ends the run.
const STORE_PATIENCE: Duration = Duration::from_secs(600);
/// How long a large result is tried to be stored where there is no room for it; after that the run ends without.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// Attempts that could not even be started before the run is given up.
const START_ATTEMPTS: i32 = 5;
/// The same for a workflow that this worker does not have: another may have seen the newest file already, and this one does in a moment.
const MISSING_ATTEMPTS: i32 = 3;

/// What everybody reads of faults whose causes are paths and internals of this machine.
const NOT_STARTED: &str = "the run could not be started; an administrator can see why";
const BROKEN: &str = "the run ended without a result; an administrator can see why";

/// Takes a run out of the list when its task ends, also by a panic.
struct Registered<'a> {
    worker: &'a Worker,
    id: ExecutionId,
    /// Its end is in the store, or is another attempt's business.
    is_concluded: bool,
    _counted: Running,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if !self.is_concluded {
            self.worker.unfinished.insert(self.id);
        }
        self.worker.running.remove(&self.id);
    }
}

pub(crate) async fn run(worker: &Arc<Worker>, claimed: Claimed) {
    let (stop, stopped) = watch::channel(Stop::No);
    worker.running.insert(claimed.id, stop);
    let mut registered =
        Registered { worker, id: claimed.id, is_concluded: false, _counted: Running::enter() };
    let bounds = Bounds { lines: worker.settings.log_max_lines, line_bytes: worker.settings.log_line_bytes };
    let mut log =
        LogSink::new(worker.app.clone(), claimed.id, claimed.attempt, claimed.last_sequence, bounds);
    let ended = match call_of(worker, &claimed, stopped.clone()).await {
        Ok(call) => follow(worker, &claimed, call, stopped, &mut log).await,
        Err(NoCall { end, is_missing }) => Ended { end, is_missing, ..Ended::default() },
    };
    registered.is_concluded = conclude(worker, &claimed, ended, &mut log).await;
}

struct Ended {
    end: End,
    peak_memory_bytes: Option<i64>,
    cpu_seconds: Option<f64>,
    /// The workflow is not in this worker's workspace.
    is_missing: bool,
    /// The call was handed to a child: something of it may have run.
    has_begun: bool,
}

impl Default for Ended {
    fn default() -> Self {
        Self {
            end: End::Interrupted,
            peak_memory_bytes: None,
            cpu_seconds: None,
            is_missing: false,
            has_begun: false,
        }
    }
}

/// Reads the run's events until its end.
async fn follow(
    worker: &Arc<Worker>,
    claimed: &Claimed,
    call: Call,
    stopped: watch::Receiver<Stop>,
    log: &mut LogSink,
) -> Ended {
    let mut events = worker.runtime.run(call, stopped, worker.app.clone());
    let mut variables = Variables::new(worker, claimed);
    let mut ended = Ended::default();
    loop {
        tokio::select! {
            () = log.written(), if log.is_writing() => {}
            event = events.recv(), if log.has_room() => match event {
                Some(Event::Started) => ended.has_begun = true,
                Some(Event::Log(lines)) => log.take(lines),
                Some(Event::Variables { variables: values }) => variables.set(values),
                Some(Event::Progress { fraction, message }) => {
                    worker.app.announce_progress(claimed.id, fraction, message);
                }
                Some(Event::Ended { end, peak_memory_bytes, cpu_seconds }) => {
                    if let End::Returned(returned) = &end
                        && let Some(last) = &returned.variables
                    {
                        variables.set(last.clone());
                    }
                    ended = Ended { end, peak_memory_bytes, cpu_seconds, ..ended };
                    break;
                }
                None => break,
            }
        }
        if log.is_stale() {
            // Another attempt has taken over: dropping the receiver ends this one.
            break;
        }
    }
    variables.finish().await;
    ended
}

/// Stores how it ended: another attempt, or the end. False when neither could be stored.
async fn conclude(worker: &Arc<Worker>, claimed: &Claimed, ended: Ended, log: &mut LogSink) -> bool {
    let hands_back = ended.end == End::Interrupted && !ended.has_begun;
    let mut ending = ending_of(claimed, &ended.end);
    if ended.end == End::Interrupted && !worker.closing.is_cancelled() {
        // Not a shutdown: the lease was not renewed in time, so the children were ended before anybody else takes the run.
        const LOST: &str = "the worker lost its lease while it ran this";
        ending = Ending::by_platform(Status::Failed, "WorkerLost", LOST, claimed.last_sequence);
    }
    if ended.is_missing {
        // A workflow's name is no secret, and everybody should see what to wait for.
        ending.user_message.clone_from(&ending.error_message);
    }
    ending.peak_memory_bytes = ended.peak_memory_bytes;
    ending.cpu_seconds = ended.cpu_seconds;
    let retry = match &ended {
        _ if hands_back => Some(Duration::ZERO),
        Ended { is_missing: true, .. } if claimed.attempt >= MISSING_ATTEMPTS => None,
        Ended { end, .. } => retry_after(claimed, end, &ending),
    };
    if hands_back {
        // Nothing of it ran, whatever its policy says: somebody else begins it.
        ending.error_type = Some("NotBegun".to_owned());
    } else if let Some(delay) = retry {
        let why = ending.user_message.as_deref().unwrap_or("it did not succeed");
        let text = format!(
            "attempt {} ended ({}); trying again in {:.1} s",
            claimed.attempt,
            why.lines().next().unwrap_or_default(),
            delay.as_secs_f64()
        );
        say_ending(log, LogLevel::Warning, text, &ending);
    } else if !matches!(ended.end, End::Returned(_))
        && let Some(message) = &ending.user_message
    {
        say_ending(log, LogLevel::Error, message.clone(), &ending);
    }
    log.finish().await;
    ending.last_sequence = log.last_sequence();
    if log.is_stale() {
        return true;
    }
    let reason = ending.error_type.clone().unwrap_or_default();
    let started = tokio::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let stored = match retry {
            Some(delay) => {
                let delay = crate::chrono_duration(delay);
                let sequence = log.last_sequence();
                match worker.app.retry(claimed.id, claimed.attempt, delay, &reason, sequence).await {
                    Ok(true) => return true,
                    // It was asked to end meanwhile.
                    Ok(false) => {
                        worker.app.finish(claimed, cancelled_or(worker, claimed.id, &ending).await).await
                    }
                    Err(error) => Err(error),
                }
            }
            None => worker.app.finish(claimed, ending.clone()).await,
        };
        match stored {
            Ok(Outcome::Written) => return true,
            Ok(Outcome::Stale) => {
                tracing::warn!(execution.id = %claimed.id, attempt = claimed.attempt, "the end of an older attempt was dropped");
                return true;
            }
            Err(error) if error.kind == ErrorKind::Unavailable && started.elapsed() < patience(&error) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                tracing::error!(execution.id = %claimed.id, error = ?error, "the end of a run could not be stored");
                if ending.result.is_none() && ending.error_type.as_deref() == Some("StorageError") {
                    return false;
                }
                // The result itself may be what was refused: the run must still end.
                let mut message = "the result could not be stored".to_owned();
                if error.kind == ErrorKind::Unavailable {
                    message = format!("{message}: {}", error.message);
                }
                log.say(LogLevel::Error, message.clone());
                log.finish().await;
                ending = Ending::by_platform(Status::Failed, "StorageError", &message, log.last_sequence());
            }
        }
    }
}

fn patience(error: &Error) -> Duration {
    if error.code == Some(OBJECTS_FULL) { ROOM_PATIENCE } else { STORE_PATIENCE }
}

/// Says `text`, which is for everybody; what only administrators may read is said on a line that others do not get.
fn say_ending(log: &mut LogSink, level: LogLevel, text: String, ending: &Ending) {
    log.say(level, text);
    if let Some(internal) = &ending.error_message
        && ending.user_message.as_ref() != Some(internal)
    {
        let name = ending.error_type.as_deref().unwrap_or("error");
        log.say(LogLevel::Debug, format!("{name}: {internal}"));
    }
}

async fn cancelled_or(worker: &Worker, id: ExecutionId, ending: &Ending) -> Ending {
    let mut ending = ending.clone();
    if matches!(worker.app.status_of(id).await, Ok(Some(Status::Cancelling))) {
        ending.status = Status::Cancelled;
    }
    ending
}

fn ending_of(claimed: &Claimed, end: &End) -> Ending {
    let platform = |status, error_type: &str, message: String| {
        Ending::by_platform(status, error_type, &message, claimed.last_sequence)
    };
    match end {
        End::Returned(returned) => returned_ending(returned),
        End::Died { code, signal, why } => {
            let how = match (why, code, signal) {
                (Some(why), _, _) => why.clone(),
                (None, _, Some(9)) => {
                    "it was killed (signal 9): by itself, or by the system because the machine had no memory left".to_owned()
                }
                (None, _, Some(11)) => "it crashed in native code (signal 11)".to_owned(),
                (None, _, Some(6)) => "it aborted in native code (signal 6)".to_owned(),
                (None, _, Some(signal)) => format!("it was ended by signal {signal}"),
                (None, Some(code), None) => format!("it exited with code {code}"),
                (None, None, None) => "it went away".to_owned(),
            };
            platform(Status::Failed, "ProcessDied", format!("the process ended without a result: {how}"))
        }
        End::TimedOut => platform(
            Status::Timeout,
            "Timeout",
            format!("the run took longer than its limit of {} seconds", claimed.timeout_seconds),
        ),
        End::Cancelled => platform(Status::Cancelled, "Cancelled", "the run was cancelled".to_owned()),
        End::Interrupted => platform(
            Status::Failed,
            "WorkerShutdown",
            "the worker shut down before the run had ended".to_owned(),
        ),
        End::NotStarted(why) => Ending {
            user_message: Some(NOT_STARTED.to_owned()),
            ..platform(Status::Failed, "NotStarted", format!("the run could not be started: {why}"))
        },
        End::Protocol(why) => Ending {
            user_message: Some(BROKEN.to_owned()),
            ..platform(Status::Failed, "ProtocolError", format!("the process broke the protocol: {why}"))
        },
    }
}

fn returned_ending(returned: &Returned) -> Ending {
    Ending {
        status: if returned.status.is_terminal() { returned.status } else { Status::Failed },
        result: returned.result.clone(),
        result_type: returned.result_type,
        error_type: returned.error_type.clone(),
        error_message: returned.error_message.clone(),
        user_message: returned.user_message.clone(),
        last_sequence: 0,
        peak_memory_bytes: None,
        cpu_seconds: None,
    }
}

/// Whether and when the run is tried again.
fn retry_after(claimed: &Claimed, end: &End, ending: &Ending) -> Option<Duration> {
    match end {
        // Nothing of it ran: it is handed back whatever its policy says.
        End::NotStarted(_) if claimed.attempt < START_ATTEMPTS => {
            Some(Duration::from_secs(1 << claimed.attempt.clamp(0, 5)))
        }
        End::Cancelled => None,
        _ if matches!(ending.status, Status::Failed | Status::Timeout) => {
            claimed.retry_policy.as_ref()?.delay_after(claimed.attempt, ending.error_type.as_deref())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::{
        definition::RetryPolicy,
        execution::{Kind, ResultType},
    };

    #[test]
    fn nothing_that_failed_for_good_is_tried_again() {
        let claimed = Claimed {
            id: ExecutionId::from_uuid(bifrost_domain::clock::Ids::next(&bifrost_domain::clock::SystemIds)),
            attempt: 1,
            kind: Kind::Workflow,
            scope: bifrost_domain::scope::Scope::Global,
            workflow_id: None,
            workflow_name: "w".into(),
            executed_by: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id"),
            executed_by_name: String::new(),
            executed_by_email: String::new(),
            is_platform_admin: false,
            input: serde_json::Value::Null,
            code: None,
            timeout_seconds: 5,
            retry_policy: Some(RetryPolicy {
                max_attempts: 2,
                backoff: Default::default(),
                initial_delay_seconds: 3.0,
                max_delay_seconds: 60.0,
                retry_on: None,
            }),
            due_at: bifrost_domain::clock::Clock::now(&bifrost_domain::clock::SystemClock),
            started_at: bifrost_domain::clock::Clock::now(&bifrost_domain::clock::SystemClock),
            last_sequence: 0,
        };
        let after = |end: End| retry_after(&claimed, &end, &ending_of(&claimed, &end)).map(|d| d.as_secs());
        assert_eq!(after(End::TimedOut), Some(3));
        assert_eq!(after(End::Died { code: Some(1), signal: None, why: None }), Some(3));
        assert_eq!(after(End::Cancelled), None);
        assert_eq!(after(End::NotStarted("no python".into())), Some(2));
        let good = Returned {
            status: Status::Success,
            result: None,
            result_type: ResultType::Json,
            error_type: None,
            error_message: None,
            user_message: None,
            variables: None,
            time_saved: 0.0,
            value: 0.0,
        };
        assert_eq!(after(End::Returned(Box::new(good))), None);
        for end in [End::NotStarted("/srv/secret".into()), End::Protocol("/srv/secret".into())] {
            let ending = ending_of(&claimed, &end);
            assert!(ending.error_message.is_some_and(|text| text.contains("/srv/secret")));
            assert!(ending.user_message.is_some_and(|text| !text.contains("/srv/secret")));
        }
        assert!(
            ending_of(&claimed, &End::TimedOut).error_message.is_some_and(|text| text.contains("5 seconds"))
        );
    }
}
