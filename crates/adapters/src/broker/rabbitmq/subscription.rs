//! A subscription that survives reconnects: its task opens a consumer in each life of the connection, passes deliveries on
//! and carries verdicts back.

use super::{
    Phase, Shared,
    live::{Live, Published},
};
use crate::reconnect::Pauses;
use bifrost_domain::ports::broker::{Delivery, Error, Queue, Settle, Verdict};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    Channel, Consumer,
    options::{BasicAckOptions, BasicNackOptions},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast, mpsc},
    time::{sleep, timeout},
};

/// How long dead letters may take to be confirmed when the subscription ends.
const LAST_LETTERS: Duration = Duration::from_secs(5);
/// After this long without a delivery or verdict the consumer is opened anew. A queue that was deleted and made again between
/// two looks of the server leaves its old consumers waiting for ever (seen with quorum queues of 3.10).
const IDLE: Duration = Duration::from_secs(10);
/// Verdicts that are carried out together.
const VERDICTS: usize = 1_024;

/// Why serving ended.
enum End {
    /// Nobody receives any more, or the broker port closes.
    Wanted,
    /// The channel or the connection is gone, or may be of no more use.
    Lost,
}

/// A consumer in one life of the connection.
pub(super) struct Session {
    live: Arc<Live>,
    queue: Queue,
    channel: Channel,
    consumer: Consumer,
    /// Delivered and not settled at the server, with the body for the case of a reject.
    unsettled: BTreeMap<u64, Bytes>,
    /// Delivered and not yet taken over by the receiver's buffer.
    backlog: VecDeque<Delivery>,
    remade: broadcast::Receiver<Queue>,
    /// Dead letters on their way.
    burying: FuturesUnordered<BoxFuture<'static, Buried>>,
}

/// A dead letter's way ended.
struct Buried {
    /// The delivery to settle when it is confirmed.
    tag: u64,
    reason: String,
    result: Result<Published, Error>,
}

impl Session {
    pub(super) async fn open(live: Arc<Live>, queue: &Queue, prefetch: u16) -> Result<Self, Error> {
        let remade = live.remade();
        let (channel, consumer) = live.consume(queue, prefetch).await?;
        Ok(Self {
            live,
            queue: queue.clone(),
            channel,
            consumer,
            unsettled: BTreeMap::new(),
            backlog: VecDeque::new(),
            remade,
            burying: FuturesUnordered::new(),
        })
    }

    async fn serve(&mut self, deliveries: &mpsc::Sender<Delivery>, shared: &Shared) -> End {
        let (verdicts, mut given) = mpsc::unbounded_channel();
        let mut batch = Vec::new();
        let end = loop {
            tokio::select! {
                // Verdicts first: those given before the subscription was dropped count.
                biased;
                _ = given.recv_many(&mut batch, VERDICTS) => {
                    if self.settle(&mut batch).await.is_err() {
                        break End::Lost;
                    }
                }
                made = self.remade.recv() => {
                    if !matches!(made, Ok(queue) if queue != self.queue) {
                        break End::Lost;
                    }
                }
                () = deliveries.closed() => break End::Wanted,
                () = shared.reached(Phase::Ending) => break End::Wanted,
                Some(buried) = self.burying.next() => {
                    if self.buried(buried).await.is_err() {
                        break End::Lost;
                    }
                }
                Ok(permit) = deliveries.reserve(), if !self.backlog.is_empty() => {
                    if let Some(delivery) = self.backlog.pop_front() {
                        permit.send(delivery);
                    }
                }
                next = self.consumer.next() => {
                    let Some(Ok(message)) = next else { break End::Lost };
                    let body = Bytes::from(message.data);
                    self.unsettled.insert(message.delivery_tag, body.clone());
                    let settle = Settle::new(message.delivery_tag, verdicts.clone());
                    self.backlog.push_back(Delivery { body, redelivered: message.redelivered, settle });
                }
                () = sleep(IDLE), if self.unsettled.is_empty() => break End::Lost,
            }
        };
        if let End::Wanted = end {
            while let Ok(verdict) = given.try_recv() {
                batch.push(verdict);
            }
            let _ = timeout(LAST_LETTERS, self.finish(&mut batch)).await;
        }
        end
    }

    /// Carries out the last verdicts; closing the channel returns the rest to the queue.
    async fn finish(&mut self, batch: &mut Vec<(u64, Verdict)>) -> lapin::Result<()> {
        self.settle(batch).await?;
        while let Some(buried) = self.burying.next().await {
            self.buried(buried).await?;
        }
        self.channel.close(200, "unsubscribed".into()).await
    }

    async fn settle(&mut self, batch: &mut Vec<(u64, Verdict)>) -> lapin::Result<()> {
        let mut acked = BTreeSet::new();
        for (tag, verdict) in batch.drain(..) {
            match verdict {
                Verdict::Ack => {
                    if self.unsettled.remove(&tag).is_some() {
                        acked.insert(tag);
                    }
                }
                // At once, so that a grouped ack behind it cannot cover it.
                Verdict::Requeue => {
                    if self.unsettled.remove(&tag).is_some() {
                        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                        self.channel.basic_nack(tag, options).await?;
                    }
                }
                // It stays unsettled until the dead letter is confirmed: in between it could only be lost.
                Verdict::Reject(reason) => self.bury(tag, reason),
            }
        }
        for (tag, multiple) in group(&acked, self.unsettled.keys().next().copied()) {
            self.channel.basic_ack(tag, BasicAckOptions { multiple }).await?;
        }
        Ok(())
    }

    fn bury(&mut self, tag: u64, reason: String) {
        let Some(body) = self.unsettled.get(&tag).cloned() else { return };
        let (live, queue) = (Arc::clone(&self.live), self.queue.clone());
        let bury = async move {
            let result = live.bury(&queue, &body, &reason).await;
            Buried { tag, reason, result }
        };
        self.burying.push(bury.boxed());
    }

    async fn buried(&mut self, Buried { tag, reason, result }: Buried) -> lapin::Result<()> {
        match result {
            Ok(Published::Confirmed) => {
                self.unsettled.remove(&tag);
                self.channel.basic_ack(tag, BasicAckOptions::default()).await
            }
            // The server moves it to the dead letters itself, without our reason but not lost.
            Ok(Published::Unroutable | Published::NotTaken) | Err(Error::Refused(_)) => {
                tracing::warn!(queue = self.queue.0, ?result, "a dead letter loses its reason");
                if self.live.remake(&self.queue).await.is_err() {
                    return Ok(());
                }
                self.unsettled.remove(&tag);
                self.channel.basic_nack(tag, BasicNackOptions::default()).await
            }
            // The confirm is late: again. If the connection is gone the message comes back with the next one.
            Err(Error::Away(_)) => {
                if !self.live.is_over() {
                    self.bury(tag, reason);
                }
                Ok(())
            }
        }
    }
}

/// How to ack: the tags below every unsettled one in one go, the others one by one.
fn group(acked: &BTreeSet<u64>, first_unsettled: Option<u64>) -> Vec<(u64, bool)> {
    let floor = first_unsettled.unwrap_or(u64::MAX);
    let together = acked.range(..floor).count();
    let mut acks = Vec::new();
    if let Some(last) = acked.range(..floor).next_back() {
        acks.push((*last, together > 1));
    }
    acks.extend(acked.range(floor..).map(|tag| (*tag, false)));
    acks
}

/// Serves until nobody wants it any more.
pub(super) async fn run(
    shared: Arc<Shared>,
    queue: Queue,
    prefetch: u16,
    deliveries: mpsc::Sender<Delivery>,
    mut session: Session,
) {
    loop {
        match session.serve(&deliveries, &shared).await {
            End::Wanted => return,
            // If only the channel is gone, the queue may be too.
            End::Lost => session.live.doubt(&queue),
        }
        drop(session);
        let mut pauses = Pauses::new();
        let reopen = async {
            loop {
                let live = shared.next_live().await;
                match Session::open(live, &queue, prefetch).await {
                    Ok(session) => return session,
                    Err(error) => tracing::debug!(queue = queue.0, %error, "subscribing again failed"),
                }
                sleep(pauses.next()).await;
            }
        };
        session = tokio::select! {
            session = reopen => session,
            () = deliveries.closed() => return,
            () = shared.reached(Phase::Ending) => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_grouped_only_below_everything_unsettled() {
        let acked = |tags: &[u64]| tags.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(group(&acked(&[]), None), []);
        assert_eq!(group(&acked(&[3]), None), [(3, false)]);
        assert_eq!(group(&acked(&[1, 2, 5]), None), [(5, true)]);
        assert_eq!(group(&acked(&[1, 2, 5]), Some(3)), [(2, true), (5, false)]);
        assert_eq!(group(&acked(&[4, 5]), Some(3)), [(4, false), (5, false)]);
        assert_eq!(group(&acked(&[1, 5]), Some(3)), [(1, false), (5, false)]);
    }
}
