//! The inspector: a Python process that reads source with `ast` and never runs it. Started on demand, ended when idle,
//! killed when it takes too long, and started again.
//!
//! Invariant: a source that crashes it, or that it cannot finish, costs exactly that one request, and is an issue of that
//! source: an error means that there is no inspector.

use crate::{
    error::Error, files, interpreter::Interpreter, settings::PythonSettings, zygote::forward_errors,
};
use async_trait::async_trait;
use bifrost_domain::{
    definition::{Issue, Severity},
    ports::python::{Inspector, SourceReport},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout},
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Largest source that is looked at.
pub(crate) const MAX_SOURCE_BYTES: usize = 1024 * 1024;
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;
/// Requests that may wait; who comes later waits to be let in.
const QUEUE: usize = 64;

#[derive(Debug)]
struct Request {
    body: Vec<u8>,
    limit: Duration,
    reply: oneshot::Sender<Result<Value, Failure>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no inspector: no Python, or the worker is stopping.
    #[error("{0}")]
    Away(String),
    /// This request broke it, or it does not understand this one.
    #[error("{0}")]
    Request(String),
}

/// How the process is started.
#[derive(Debug)]
enum Home {
    /// Python is looked for on the first request.
    Unknown {
        python: PathBuf,
        data_dir: PathBuf,
    },
    Known {
        interpreter: Box<Interpreter>,
        runtime: PathBuf,
    },
}

/// Reads Python source in a process of its own.
#[derive(Debug)]
pub struct InspectorProcess {
    requests: mpsc::Sender<Request>,
    limit: Duration,
}

impl InspectorProcess {
    /// An inspector that starts its process on the first request. Has to be called inside a tokio runtime.
    #[must_use]
    pub fn new(settings: &PythonSettings) -> Self {
        let home = Home::Unknown { python: settings.python.clone(), data_dir: settings.data_dir.clone() };
        Self::with_home(home, settings)
    }

    pub(crate) fn known(interpreter: Interpreter, runtime: PathBuf, settings: &PythonSettings) -> Self {
        Self::with_home(Home::Known { interpreter: Box::new(interpreter), runtime }, settings)
    }

    fn with_home(home: Home, settings: &PythonSettings) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(serve(home, queue, settings.inspector_idle));
        Self { requests, limit: settings.inspect_timeout }
    }

    /// Asks within the usual time limit, multiplied for questions about whole folders.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        question: &Value,
        patience: u32,
    ) -> Result<T, Failure> {
        let stopped = || Failure::Away("the inspector has been stopped".to_owned());
        let body = serde_json::to_vec(question).map_err(|error| Failure::Request(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let request = Request { body, limit: self.limit * patience, reply };
        self.requests.send(request).await.map_err(|_| stopped())?;
        let value = answer.await.map_err(|_| stopped())??;
        serde_json::from_value(value)
            .map_err(|error| Failure::Request(format!("the inspector's answer: {error}")))
    }
}

fn too_large() -> Issue {
    broken(format!("the source is larger than {} KiB and is not read", MAX_SOURCE_BYTES / 1024))
}

fn broken(message: String) -> Issue {
    Issue { line: 1, message, severity: Severity::Error }
}

#[async_trait]
impl Inspector for InspectorProcess {
    async fn inspect(&self, path: &str, source: &str) -> Result<SourceReport, String> {
        if source.len() > MAX_SOURCE_BYTES {
            return Ok(SourceReport { definitions: Vec::new(), issues: vec![too_large()] });
        }
        match self.ask(&json!({"op": "inspect", "path": path, "source": source}), 1).await {
            Err(Failure::Request(reason)) => {
                Ok(SourceReport { definitions: Vec::new(), issues: vec![broken(reason)] })
            }
            answer => answer.map_err(|failure| failure.to_string()),
        }
    }

    async fn check_code(&self, source: &str) -> Result<Vec<Issue>, String> {
        #[derive(Deserialize)]
        struct Checked {
            issues: Vec<Issue>,
        }
        if source.len() > MAX_SOURCE_BYTES {
            return Ok(vec![too_large()]);
        }
        match self.ask::<Checked>(&json!({"op": "check_code", "source": source}), 1).await {
            Ok(checked) => Ok(checked.issues),
            Err(Failure::Request(reason)) => Ok(vec![broken(reason)]),
            Err(failure) => Err(failure.to_string()),
        }
    }
}

async fn serve(mut home: Home, mut queue: mpsc::Receiver<Request>, idle: Duration) {
    let mut helper: Option<Helper> = None;
    loop {
        let next = match &helper {
            None => queue.recv().await,
            Some(_) => match timeout(idle, queue.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    helper = None;
                    continue;
                }
            },
        };
        let Some(Request { body, limit, reply }) = next else { return };
        if reply.is_closed() {
            continue;
        }
        // One that died while it was idle did not die of this request.
        if helper.as_mut().is_some_and(Helper::is_dead) {
            helper = None;
        }
        let mut current = match helper.take() {
            Some(current) => current,
            None => match Helper::start(&mut home).await {
                Ok(started) => started,
                Err(error) => {
                    let _nobody_waits = reply.send(Err(Failure::Away(error.chain())));
                    continue;
                }
            },
        };
        let answer = match timeout(limit, current.ask(&body)).await {
            Ok(Ok(value)) => {
                helper = Some(current);
                match value.get("error").and_then(Value::as_str) {
                    Some(message) => Err(message.to_owned()),
                    None => Ok(value),
                }
            }
            Ok(Err(error)) => Err(format!("the inspector ended while it read this source: {error}")),
            Err(_) => Err(format!("the inspector did not read this source within {} s", limit.as_secs_f32())),
        };
        if let Err(reason) = &answer {
            tracing::warn!(%reason, "a request to the inspector failed");
        }
        let _nobody_waits = reply.send(answer.map_err(Failure::Request));
    }
}

/// The process; killed when dropped.
#[derive(Debug)]
struct Helper {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Helper {
    async fn start(home: &mut Home) -> Result<Self, Error> {
        if let Home::Unknown { python, data_dir } = home {
            let interpreter = Box::new(Interpreter::find(python).await?);
            *home = Home::Known { interpreter, runtime: files::install(data_dir)? };
        }
        let Home::Known { interpreter, runtime } = home else {
            return Err(Error::Spawn { what: "inspector", source: io::Error::other("no interpreter") });
        };
        let spawn = |source| Error::Spawn { what: "inspector", source };
        let mut command = interpreter.script(&runtime.join("inspector.py"));
        command.current_dir(runtime).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(spawn)?;
        if let Some(errors) = process.stderr.take() {
            forward_errors("inspector", errors);
        }
        match (process.stdin.take(), process.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { process, input, output }),
            _ => Err(spawn(io::Error::other("it has no pipes"))),
        }
    }

    fn is_dead(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    async fn ask(&mut self, body: &[u8]) -> io::Result<Value> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.input.write_all(&length.to_be_bytes()).await?;
        self.input.write_all(body).await?;
        self.input.flush().await?;
        let length = self.output.read_u32().await? as usize;
        if length > MAX_REPLY_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer longer than 64 MiB"));
        }
        // Grows with what really arrives.
        let mut answer = Vec::new();
        (&mut self.output).take(length as u64).read_to_end(&mut answer).await?;
        if answer.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
