//! Why the runtime cannot start.

use std::{io, path::PathBuf};

/// Why the Python side cannot be used; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interpreter under the configured name.
    #[error(
        "`{python}` was not found: install Python 3.10 or newer (Debian: apt install python3), or set its path"
    )]
    Missing {
        /// What was looked for.
        python: PathBuf,
        /// Why it was not started.
        #[source]
        source: io::Error,
    },
    /// An interpreter that is too old.
    #[error(
        "Python 3.10 or newer is needed, `{python}` is {found}: install a newer one (Debian: apt install python3)"
    )]
    TooOld {
        /// Which interpreter.
        python: PathBuf,
        /// Its version.
        found: String,
    },
    /// An interpreter that does not answer sensibly.
    #[error("`{python}` could not be asked for its version: {reason}")]
    Unusable {
        /// Which interpreter.
        python: PathBuf,
        /// What it did instead.
        reason: String,
    },
    /// A file or folder below the data folder cannot be made.
    #[error("cannot write `{path}`")]
    Files {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A helper process cannot be started.
    #[error("cannot start the {what}")]
    Spawn {
        /// Which helper.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn files(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { path, source }
    }

    /// The error with its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
