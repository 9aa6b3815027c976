//! Executions from the caller's side: submit (and wait), read, cancel. The worker's side is [`crate::worker`].

mod cancel;
mod read;
mod result;
mod submit;

pub use read::{LogPage, View};
pub use result::{Output, Pieces};
pub(crate) use submit::no_python;
pub use submit::{Submission, Submit, What};
