//! What `bifrost` can be told to do, a file per command. Those that speak to a server do it over [`crate::client`]; each ends with an
//! [`Exit`] of docs/command-line.md.
//!
//! To add a command: a file here with its arguments and a function, a variant in `src/bin/bifrost.rs`, a section in the page.

pub mod account;
pub mod cancel;
mod device;
pub mod doctor;
pub mod executions;
mod follow;
pub mod logs;
pub mod migrate;
mod output;
pub mod run;
pub mod workflows;

use crate::{
    client::{Exit, Failure},
    terminal,
};
use std::process::ExitCode;

/// Runs a command to its end, and says what went wrong.
#[must_use]
pub fn carry_out(command: impl Future<Output = Result<Exit, Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&Failure::here(format!("the runtime cannot start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            // First the command: one that follows a run hears Ctrl-C itself and tells how to go on.
            biased;
            outcome = command => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
        }
    });
    // A question that nobody answered is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => complain(&failure),
    }
}

/// Says what went wrong on standard error.
#[must_use]
pub fn complain(failure: &Failure) -> ExitCode {
    if !failure.is_silent() {
        let text = terminal::text::block(&failure.to_string(), "");
        terminal::note(&format!("{} {text}", terminal::Paint::of_stderr().red("bifrost:")));
    }
    failure.exit.into()
}
