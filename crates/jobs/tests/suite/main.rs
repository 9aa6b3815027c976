//! The worker as a whole: real application, real Python, embedded and over the stack.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

mod cancel;
mod dispatch;
mod drain;
mod ends;
mod logs;
mod lost;
mod missing;
mod results;
mod retries;
mod variables;
mod workspace;
