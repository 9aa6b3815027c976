//! Asks a person: a line of text, or a password that is not shown.

use crate::client::Failure;
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use secrecy::SecretString;
use std::io::{BufRead, IsTerminal, Read, Stdin, Write};

/// Longest answer, bytes.
const LONGEST: u64 = 4_096;

/// Whether there is a person to ask.
#[must_use]
pub fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks for a line; `default` is taken for an empty answer.
///
/// # Errors
/// When there is no answer, or Ctrl-C came.
pub async fn ask(question: &str, default: Option<&str>) -> Result<String, Failure> {
    let shown = default.map_or_else(|| format!("{question}: "), |value| format!("{question} [{value}]: "));
    let answer = interruptible(&shown).await?;
    match (answer.trim(), default) {
        ("", Some(default)) => Ok(default.to_owned()),
        (answer, _) => Ok(answer.to_owned()),
    }
}

/// Asks for a password without showing it.
///
/// # Errors
/// As [`ask`], and when the terminal cannot hide it.
pub async fn ask_password(question: &str) -> Result<SecretString, Failure> {
    let hidden = Hidden::begin()?;
    let answer = interruptible(&format!("{question}: ")).await;
    drop(hidden);
    super::note("");
    Ok(SecretString::from(answer?))
}

/// The first line of standard input.
///
/// # Errors
/// When it cannot be read or is empty.
pub fn password_of_stdin() -> Result<SecretString, Failure> {
    let answer = read_line()?;
    if answer.is_empty() {
        return Err(Failure::usage("standard input has no password"));
    }
    Ok(SecretString::from(answer))
}

/// The terminal without echo, until this is dropped.
struct Hidden {
    stdin: Stdin,
    before: Termios,
}

impl Hidden {
    fn begin() -> Result<Self, Failure> {
        let stdin = std::io::stdin();
        let trouble = |error| Failure::here(format!("the terminal cannot hide the password: {error}"));
        let before = termios::tcgetattr(&stdin).map_err(trouble)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(&stdin, SetArg::TCSAFLUSH, &quiet).map_err(trouble)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.stdin, SetArg::TCSANOW, &self.before);
    }
}

/// Reads a line on a thread of its own, so that Ctrl-C is heard and the terminal set right again.
async fn interruptible(question: &str) -> Result<String, Failure> {
    let _ = std::io::stderr().write_all(question.as_bytes());
    let reading = tokio::task::spawn_blocking(read_line);
    tokio::select! {
        answer = reading => match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(failure),
            Err(error) => Err(Failure::here(error.to_string())),
        },
        _ = tokio::signal::ctrl_c() => {
            super::note("");
            Err(Failure::interrupted())
        },
    }
}

fn read_line() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(LONGEST)
        .read_until(b'\n', &mut bytes)
        .map_err(|error| Failure::here(format!("standard input cannot be read: {error}")))?;
    if bytes.is_empty() {
        return Err(Failure::usage("standard input ended before there was an answer"));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage("the answer is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
