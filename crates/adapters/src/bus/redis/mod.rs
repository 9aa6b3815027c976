//! Live events over Redis: `PUBLISH` and `SUBSCRIBE` on channels `{prefix}:{topic}`.
//!
//! Two connections: one for publishing, whose task sends in one pipeline whatever queued while the previous pipeline was
//! under way (no timer, no delay when idle), and one for all subscriptions of this process. Both reconnect by themselves.
//! Redis tells nobody what it did not deliver, so the adapter does: after a reconnect of the subscribing side every local
//! subscriber gets `Missed`; a publisher that dropped events says so on the channel `{prefix}!missed`, to which every
//! process listens (payload: the topic, or nothing for all).

mod examine;
mod link;
mod outbox;
mod publisher;
mod subscriber;

use super::fanout::Fanout;
use async_trait::async_trait;
use bifrost_domain::ports::bus::{Bus, Error, Subscription};
use bytes::Bytes;
pub use examine::examine;
use link::Link;
use outbox::Outbox;
use redis::{Cmd, FromRedisValue};
use std::{sync::Arc, time::Duration};
use subscriber::Command;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// How long a subscription waits for a server that is away.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(5);
/// How long a probe waits for its answer.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// The bus over Redis.
pub struct RedisBus {
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    fanout: Arc<Fanout>,
    commands: mpsc::UnboundedSender<Command>,
    tasks: [JoinHandle<()>; 2],
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBus").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

impl RedisBus {
    /// Starts connecting to `url` (`redis://`, `rediss://`, `redis+unix://`) and returns at once: a server that is away
    /// is connected to when it comes. Needs a running tokio runtime.
    ///
    /// # Errors
    /// The URL is not one of Redis.
    pub fn start(url: &str, prefix: &str) -> Result<Arc<Self>, Error> {
        let link = Arc::new(Link::new(url)?);
        let (outbox, fanout) = (Arc::<Outbox>::default(), Arc::<Fanout>::default());
        let (commands, incoming) = mpsc::unbounded_channel();
        let names = Names { prefix: prefix.into() };
        let publishing = publisher::run(Arc::clone(&link), Arc::clone(&outbox), names.clone());
        let subscribing = subscriber::run(Arc::clone(&link), Arc::clone(&fanout), incoming, names);
        let tasks = [tokio::spawn(publishing), tokio::spawn(subscribing)];
        Ok(Arc::new(Self { link, outbox, fanout, commands, tasks }))
    }

    /// Waits until both connections are up.
    ///
    /// # Errors
    /// They are not within `limit`; says why and what to do.
    pub async fn ready(&self, limit: Duration) -> Result<(), Error> {
        self.link.up(limit).await
    }

    /// The answer to one command, over the publishing connection.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        self.link.ask(command).await
    }

    /// Somebody got no answer in time: the publishing side looks at its connection.
    pub(crate) fn suspect(&self) {
        self.link.suspicion.notify_one();
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.fanout.clear();
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn publish(&self, topic: &str, event: Bytes) {
        self.outbox.push(topic, event);
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription, Error> {
        let commands = self.commands.clone();
        // Added before Redis is asked, so that nothing that arrives after the confirmation finds nobody.
        let (signals, guard) = self.fanout.add(
            topic,
            Some(Box::new(move |topic| {
                let _ = commands.send(Command::Unsubscribe(topic.to_owned()));
            })),
        );
        let confirmed = async {
            loop {
                let (confirm, confirmed) = oneshot::channel();
                if self.commands.send(Command::Subscribe(topic.to_owned(), confirm)).is_err() {
                    return false;
                }
                // No answer: the connection was lost meanwhile. The next one takes the command up.
                if confirmed.await.is_ok() {
                    return true;
                }
            }
        };
        match timeout(SUBSCRIBE_WITHIN, confirmed).await {
            Ok(true) => Ok(Subscription { signals, guard: Box::new(guard) }),
            _ => Err(self.link.error()),
        }
    }

    async fn probe(&self) -> Result<(), Error> {
        match timeout(PROBE_WITHIN, self.link.ping()).await {
            Ok(answer) => answer,
            Err(_) => Err(Error(format!("no answer from {} within {PROBE_WITHIN:?}", self.link.address()))),
        }
    }

    fn misconfigured(&self) -> Option<&'static str> {
        self.link.misconfigured()
    }
}

/// The names of channels.
#[derive(Clone)]
struct Names {
    prefix: Arc<str>,
}

impl Names {
    fn channel(&self, topic: &str) -> String {
        format!("{}:{topic}", self.prefix)
    }

    fn missed(&self) -> String {
        format!("{}!missed", self.prefix)
    }

    fn topic<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&*self.prefix)?.strip_prefix(':')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_back_from_its_channel() {
        let names = Names { prefix: "bifrost".into() };
        assert_eq!(names.topic(&names.channel("execution:1")), Some("execution:1"));
        assert_eq!(names.topic(&names.missed()), None);
        assert_eq!(names.topic("other:execution:1"), None);
    }

    #[tokio::test]
    async fn an_address_that_is_not_redis_is_refused_without_its_password() {
        for url in ["http://user:geheim@host", "geheim", "redis://:geheim@host:99999"] {
            let error = RedisBus::start(url, "p").expect_err("not redis").to_string();
            assert!(error.contains("REDIS_URL") && !error.contains("geheim"), "{error}");
        }
    }
}
