//! The subscribing side: one connection for all subscriptions of this process.

use super::{
    Names,
    link::{Link, Side},
};
use crate::{bus::fanout::Fanout, reconnect::Pauses, trouble::Trouble};
use bifrost_domain::ports::bus::Signal;
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use redis::{
    Msg, RedisError,
    aio::{PubSubSink, PubSubStream},
};
use std::{collections::HashSet, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Channels of one `SUBSCRIBE` or `UNSUBSCRIBE`.
const CHANNELS: usize = 512;

/// What the rest of the adapter asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Confirms when Redis has.
    Subscribe(String, oneshot::Sender<()>),
    /// The topic's last subscriber left.
    Unsubscribe(String),
}

/// Connects, subscribes and forwards, for ever.
pub(super) async fn run(
    link: Arc<Link>,
    fanout: Arc<Fanout>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    names: Names,
) {
    let mut pauses = Pauses::new();
    let mut first = true;
    loop {
        let trouble = match connect(&link, &fanout, &names).await {
            Ok(mut session) => {
                if !std::mem::replace(&mut first, false) {
                    fanout.missed_by_all();
                }
                link.is_up(Side::Subscribing);
                pauses = Pauses::new();
                match session.serve(&mut commands).await {
                    Some(error) => link.explain(&error),
                    None => Trouble::away(format!("the connection to {} was closed", link.address())),
                }
            }
            Err(trouble) => trouble,
        };
        link.is_down(Side::Subscribing, trouble);
        tokio::time::sleep(pauses.next()).await;
    }
}

struct Session<'a> {
    fanout: &'a Fanout,
    names: &'a Names,
    sink: PubSubSink,
    messages: PubSubStream,
    /// Topics that Redis has confirmed.
    confirmed: HashSet<String>,
}

/// Opens a connection and subscribes to the control channel and to every topic that somebody listens to.
async fn connect<'a>(link: &Link, fanout: &'a Fanout, names: &'a Names) -> Result<Session<'a>, Trouble> {
    let (mut sink, messages) = link.subscribing().await?.split();
    sink.subscribe(names.missed()).await.map_err(|error| link.explain(&error))?;
    let topics = fanout.topics();
    for some in topics.chunks(CHANNELS) {
        let channels: Vec<_> = some.iter().map(|topic| names.channel(topic)).collect();
        sink.subscribe(channels).await.map_err(|error| link.explain(&error))?;
    }
    Ok(Session { fanout, names, sink, messages, confirmed: topics.into_iter().collect() })
}

/// What a round of commands comes to once Redis has answered.
type Answer = Result<Vec<oneshot::Sender<()>>, RedisError>;

impl Session<'_> {
    /// Forwards messages and carries out commands, one round at a time, each with all that queued meanwhile.
    /// Ends with the connection.
    async fn serve(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Option<RedisError> {
        let mut round: Option<BoxFuture<'static, Answer>> = None;
        let mut queued = Vec::new();
        loop {
            tokio::select! {
                message = self.messages.next() => self.forward(&message?),
                Some(answer) = async { Some(round.as_mut()?.await) } => {
                    round = None;
                    match answer {
                        Ok(confirmed) => {
                            for confirm in confirmed {
                                let _ = confirm.send(());
                            }
                        }
                        Err(error) => return Some(error),
                    }
                }
                received = commands.recv_many(&mut queued, CHANNELS), if round.is_none() => {
                    if received == 0 {
                        return None;
                    }
                    round = self.begin(&mut queued);
                }
            }
        }
    }

    fn forward(&self, message: &Msg) {
        let channel = message.get_channel_name();
        if let Some(topic) = self.names.topic(channel) {
            self.fanout.send(topic, &Signal::Event(Bytes::copy_from_slice(message.get_payload_bytes())));
        } else {
            match message.get_payload_bytes() {
                b"" => self.fanout.missed_by_all(),
                topic => self.fanout.send(&String::from_utf8_lossy(topic), &Signal::Missed),
            }
        }
    }

    /// Confirms what Redis has confirmed before and asks it for the rest.
    fn begin(&mut self, queued: &mut Vec<Command>) -> Option<BoxFuture<'static, Answer>> {
        let (mut waiting, mut join, mut leave) = (Vec::new(), Vec::new(), Vec::new());
        for command in queued.drain(..) {
            match command {
                Command::Subscribe(topic, confirm) if self.confirmed.contains(&topic) => {
                    // It may have been confirmed by an earlier command of this very round.
                    if join.contains(&self.names.channel(&topic)) {
                        waiting.push(confirm);
                    } else {
                        let _ = confirm.send(());
                    }
                }
                Command::Subscribe(topic, confirm) => {
                    join.push(self.names.channel(&topic));
                    self.confirmed.insert(topic);
                    waiting.push(confirm);
                }
                // Somebody may have come since; their `Subscribe` is behind this in the queue and finds it confirmed.
                Command::Unsubscribe(topic) => {
                    if !self.fanout.has(&topic) && self.confirmed.remove(&topic) {
                        leave.push(self.names.channel(&topic));
                    }
                }
            }
        }
        if join.is_empty() && leave.is_empty() {
            return None;
        }
        // What was joined and left within one round is in both: joining first ends in the state that is wanted.
        let mut sink = self.sink.clone();
        Some(Box::pin(async move {
            if !join.is_empty() {
                sink.subscribe(join).await?;
            }
            if !leave.is_empty() {
                sink.unsubscribe(leave).await?;
            }
            Ok(waiting)
        }))
    }
}
