//! Follows an execution over Server-Sent Events, through whatever happens to the connection: `Last-Event-ID` says where to go on,
//! and no line is given twice.

use super::{
    Client, Exit, Failure,
    shapes::{LogLine, is_terminal},
    sse::{Message, Parser},
};
use reqwest::{Method, Response};
use serde::Deserialize;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// So long a server may be away; a restart takes seconds.
const AWAY_FOR: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What happens to an execution.
#[derive(Debug)]
pub enum Event {
    /// A line of its log.
    Line(LogLine),
    /// How far it is.
    Progress {
        /// 0 to 1.
        fraction: f64,
        /// What it is doing.
        message: Option<String>,
    },
    /// Where it stands; the last event when that is an end.
    Status(String),
    /// The connection is gone; it is made again. Said once per outage.
    Away(String),
    /// It is there again.
    Back,
}

#[derive(Deserialize)]
struct Update {
    status: String,
}

#[derive(Deserialize)]
struct Fraction {
    fraction: f64,
    #[serde(default)]
    message: Option<String>,
}

/// Follows one execution.
#[derive(Debug)]
pub struct Follower<'a> {
    client: &'a Client,
    id: &'a str,
    /// The last line that was given.
    after: i64,
    connection: Option<(Response, Parser)>,
    queued: VecDeque<Event>,
    /// Since when the server is away.
    away: Option<Instant>,
    pause: Duration,
    /// The execution is known to be there: a server that is away is waited for.
    is_known: bool,
    ended: bool,
}

impl<'a> Follower<'a> {
    /// From behind the line `after`; 0 for all.
    #[must_use]
    pub const fn new(client: &'a Client, id: &'a str, after: i64) -> Self {
        Self {
            client,
            id,
            after,
            connection: None,
            queued: VecDeque::new(),
            away: None,
            pause: FIRST_PAUSE,
            is_known: false,
            ended: false,
        }
    }

    /// Of an execution that was accepted a moment ago: the server is waited for from the beginning.
    #[must_use]
    pub fn accepted(client: &'a Client, id: &'a str) -> Self {
        Self { is_known: true, ..Self::new(client, id, 0) }
    }

    /// The next event; `None` after the end. May be given up and called again.
    ///
    /// # Errors
    /// When the server says no (no such execution, not allowed), or was away for five minutes.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.queued.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let Some((response, parser)) = &mut self.connection else {
                self.connect().await?;
                continue;
            };
            let reason = match response.chunk().await {
                Ok(Some(bytes)) => match parser.take(&bytes) {
                    Ok(messages) => {
                        self.pause = FIRST_PAUSE;
                        for message in messages {
                            self.take(&message);
                        }
                        continue;
                    }
                    Err(_) => "an event had no end",
                },
                Ok(None) | Err(_) => "the connection ended",
            };
            self.is_away(format!("{}: {reason}", self.client.server()));
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.away.is_some() {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        let mut request = self.client.request(Method::GET, &["api", "executions", self.id, "stream"]);
        request = request.header("accept", "text/event-stream");
        if self.after > 0 {
            request = request.header("last-event-id", &self.after.to_string());
        }
        match self.client.begin(&request).await {
            Ok(response) => {
                self.is_known = true;
                if self.away.take().is_some() {
                    self.queued.push_back(Event::Back);
                }
                self.connection = Some((response, Parser::default()));
                Ok(())
            }
            Err(failure) if failure.exit == Exit::Unreachable && self.is_known => {
                if self.away.is_some_and(|since| since.elapsed() > AWAY_FOR) {
                    return Err(failure);
                }
                self.is_away(failure.to_string());
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn is_away(&mut self, reason: String) {
        self.connection = None;
        if self.away.is_none() {
            self.away = Some(Instant::now());
            self.queued.push_back(Event::Away(reason));
        }
    }

    fn take(&mut self, message: &Message) {
        let event = match message.event.as_str() {
            "execution_log" => serde_json::from_str::<LogLine>(&message.data)
                .ok()
                .filter(|line| line.sequence > self.after)
                .map(|line| {
                    self.after = line.sequence;
                    Event::Line(line)
                }),
            "execution_progress" => serde_json::from_str::<Fraction>(&message.data)
                .ok()
                .map(|progress| Event::Progress { fraction: progress.fraction, message: progress.message }),
            "execution_update" => serde_json::from_str::<Update>(&message.data).ok().map(|update| {
                self.ended |= is_terminal(&update.status);
                Event::Status(update.status)
            }),
            _ => None,
        };
        self.queued.extend(event);
    }
}
