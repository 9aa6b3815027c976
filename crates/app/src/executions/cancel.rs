//! Asks for the end of an execution.

use crate::{
    App,
    audit::{About, Scribe},
    auth::Client,
    metrics,
};
use bifrost_domain::{
    error::{Error, Result},
    execution::Status,
    ids::ExecutionId,
    messages::{CancelAsked, ExecutionEvent, topics},
    policy::{self, Caller, actions},
};
use bifrost_storage::executions::transitions::CancelOutcome;

impl App {
    /// Cancels: a waiting execution ends now, a running one is asked to. Asking again is no error.
    ///
    /// # Errors
    /// Not found; forbidden when it is somebody else's and may only be read; bad request when it has ended otherwise.
    pub async fn cancel(&self, caller: &Caller, id: ExecutionId, client: &Client) -> Result<Status> {
        policy::authorize::<actions::CancelExecutions>(caller)?;
        let (found, _) = self.find_execution(caller, id).await?;
        if found.executed_by != caller.user_id {
            policy::authorize::<actions::CancelAllExecutions>(caller)?;
        }
        let announce = |status| {
            self.announce_history(found.scope, id, status, &found.workflow_name, found.executed_by);
        };
        let now = self.doors.clock.now();
        let scribe = Scribe::new(self.doors.clock.clone(), self.doors.ids.clone());
        let line = scribe.line("execution.cancel", caller, client).about(id, found.scope.organization());
        let outcome = self.doors.store.cancel_execution(id, caller.user_id, now, Some(line)).await?;
        match outcome.ok_or_else(|| Error::not_found("execution"))? {
            CancelOutcome::Cancelled => {
                metrics::finished(found.kind, Status::Cancelled);
                self.announce_end(id, Status::Cancelled);
                announce(Status::Cancelled);
                Ok(Status::Cancelled)
            }
            CancelOutcome::Cancelling => {
                self.publish(topics::CANCEL, &CancelAsked { execution_id: id });
                self.publish(&topics::execution(id), &ExecutionEvent::Status { status: Status::Cancelling });
                announce(Status::Cancelling);
                Ok(Status::Cancelling)
            }
            CancelOutcome::Already(status) => Ok(status),
            CancelOutcome::Finished(status) => Err(Error::bad_request(format!(
                "the execution has ended as {status}; it must be Pending or Running to be cancelled"
            ))),
        }
    }
}
