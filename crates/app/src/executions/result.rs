//! The whole result of an execution, inline or from the object store, and any part of it.

use crate::App;
use bifrost_domain::{
    error::{Error, Kind, Result},
    execution::{Execution, ResultType},
    ids::ExecutionId,
    policy::Caller,
    ports::objects,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use std::ops::Range;

/// The result of an execution: what it is, before it is read.
#[derive(Debug, Clone)]
pub struct Output {
    /// Size of the JSON text in bytes; 0 without a result.
    pub size: u64,
    /// How it is shown.
    pub result_type: ResultType,
    /// Names this result among all that the execution ever shows; `None` before the end.
    pub version: Option<String>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Inline(Bytes),
    Apart(String),
}

/// JSON text, piece by piece.
pub type Pieces = BoxStream<'static, Result<Bytes>>;

impl App {
    /// The result of an execution, however large.
    ///
    /// # Errors
    /// As [`App::find_execution`]; gone when the object store has lost it; unavailable when that is away.
    pub async fn execution_result(&self, caller: &Caller, id: ExecutionId) -> Result<Output> {
        let (mut execution, _) = self.find_execution(caller, id).await?;
        let version = version(&execution);
        let result_type = execution.result_type;
        let (size, place) = match (execution.result.take(), execution.result_object.take()) {
            (None, Some(key)) => (self.doors.objects.size(&key).await.map_err(refuse)?, Place::Apart(key)),
            (inline, _) => {
                let text = Bytes::from(inline.unwrap_or_default());
                (text.len() as u64, Place::Inline(text))
            }
        };
        Ok(Output { size, result_type, version, place })
    }

    /// The bytes of `range` of a result. `range` lies inside of it.
    ///
    /// # Errors
    /// As [`App::execution_result`]; the same as the last item when it happens on the way.
    pub async fn read_result(&self, output: &Output, range: Range<u64>) -> Result<Pieces> {
        match &output.place {
            Place::Inline(text) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
                let part = text.slice(index(range.start)..index(range.end));
                Ok(futures::stream::iter((!part.is_empty()).then_some(Ok(part))).boxed())
            }
            Place::Apart(key) => {
                let pieces = self.doors.objects.read(key, range).await.map_err(refuse)?;
                Ok(pieces.map_err(refuse).boxed())
            }
        }
    }
}

/// A result is written once, with the end.
fn version(execution: &Execution) -> Option<String> {
    let at = execution.completed_at?;
    Some(format!("{}-{}", execution.attempt, at.timestamp_micros()))
}

fn refuse(error: objects::Error) -> Error {
    match error {
        objects::Error::NotFound => Error::new(
            Kind::Gone,
            "the result was stored apart and is not in the object store any more; run it again",
        )
        .with_code("result_gone"),
        error => Error::unavailable("the result cannot be read from the object store now").with_source(error),
    }
}
