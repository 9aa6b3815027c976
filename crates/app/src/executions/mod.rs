//! Executions from the caller's side: submit (and wait), read, cancel. The worker's side is [`crate::worker`].

mod cancel;
mod read;
mod submit;

pub use read::{LogPage, Output, View};
pub(crate) use submit::no_python;
pub use submit::{Submission, Submit, What};
