//! What people see: results on standard output, everything else on standard error, colours only where a terminal shows them, and
//! no text from elsewhere that could steer the terminal.

pub mod json;
pub mod progress;
pub mod secret;
pub mod table;
pub mod text;

use crate::client::Failure;
use std::{
    ffi::OsStr,
    io::{ErrorKind, IsTerminal, Write},
};

/// Whether text is coloured.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self(std::io::stdout().is_terminal() && wants_colours())
    }

    /// For standard error.
    #[must_use]
    pub fn of_stderr() -> Self {
        Self(std::io::stderr().is_terminal() && wants_colours())
    }

    /// No colours at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Less important.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A heading, a name.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Good.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Worth a look.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Bad.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// A status of an execution in its colour.
    #[must_use]
    pub fn status(self, status: &str) -> String {
        match status {
            "Success" => self.green(status),
            "CompletedWithErrors" | "Cancelling" | "Cancelled" => self.yellow(status),
            "Failed" | "Timeout" => self.red(status),
            other => text::line(other).into_owned(),
        }
    }
}

/// `NO_COLOR` (<https://no-color.org>) and a terminal that cannot.
fn wants_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != OsStr::new("dumb"))
}

/// Columns of the terminal on standard output; `None` when it is none.
#[must_use]
pub fn width() -> Option<usize> {
    let terminal = console::Term::stdout();
    if !terminal.is_term() {
        return None;
    }
    terminal.size_checked().map(|(_, columns)| usize::from(columns))
}

/// Writes to standard output.
///
/// # Errors
/// When it cannot be written; a reader that went away is a failure that says nothing ([`Failure::is_silent`]).
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::here(format!("standard output cannot be written: {error}")),
    })
}

/// Writes a line to standard error; when that is gone nobody misses it.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
