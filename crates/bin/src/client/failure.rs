//! Why a command did not do it: an exit code for scripts, a sentence for people.

use std::{fmt, process::ExitCode};

/// How a command ends. The numbers are a contract: docs/command-line.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// The run failed, or something on this machine was in the way.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The server cannot be reached, or does not answer as Bifrost does.
    Unreachable = 3,
    /// Not signed in, or not allowed.
    NotAllowed = 4,
    /// There is no such thing.
    NotFound = 5,
    /// The server refused what it was sent.
    Refused = 6,
    /// The run completed with errors.
    WithErrors = 7,
    /// The time to wait is over; the run goes on.
    WaitedLongEnough = 124,
    /// Ctrl-C; a run that was followed goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code that goes with it.
    pub exit: Exit,
    message: String,
    details: Vec<String>,
}

impl Failure {
    /// With a sentence that says what to do.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new() }
    }

    /// Something on this machine.
    #[must_use]
    pub fn here(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The server cannot be used.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, message)
    }

    /// Nobody reads what is written any more: no reason to say anything.
    #[must_use]
    pub const fn silent() -> Self {
        Self { exit: Exit::Ok, message: String::new(), details: Vec::new() }
    }

    /// Ctrl-C: whoever pressed it knows.
    #[must_use]
    pub const fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: String::new(), details: Vec::new() }
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// Adds lines below the sentence, one for each thing that is wrong.
    #[must_use]
    pub fn with(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

/// The sentence and its lines. May hold text from elsewhere: who shows it makes it harmless.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for detail in &self.details {
            write!(f, "\n{detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
