//! The publishing side.

use super::{
    Names,
    link::{Link, Side},
    outbox::{Item, Outbox},
};
use crate::{metrics, reconnect::Pauses};
use redis::{RedisError, aio::MultiplexedConnection};
use std::sync::Arc;

/// Connects and sends, for ever.
pub(super) async fn run(link: Arc<Link>, outbox: Arc<Outbox>, names: Names) {
    let mut pauses = Pauses::new();
    loop {
        match link.publishing().await {
            Ok(connection) => {
                link.is_up(Side::Publishing);
                outbox.open();
                let mut sent = 0;
                let (lost, error) = send(&link, &outbox, &names, connection, &mut sent).await;
                outbox.shut(lost);
                link.is_down(Side::Publishing, link.explain(&error));
                if sent > 0 {
                    pauses = Pauses::new();
                }
            }
            Err(trouble) => link.is_down(Side::Publishing, trouble),
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// Sends until the connection fails: why, and whether a batch may not have arrived.
async fn send(
    link: &Link,
    outbox: &Outbox,
    names: &Names,
    mut connection: MultiplexedConnection,
    sent: &mut u64,
) -> (bool, RedisError) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = outbox.take(&mut batch) => {}
            () = link.suspicion.notified() => {
                match redis::cmd("PING").query_async::<()>(&mut connection).await {
                    Ok(()) => continue,
                    Err(error) => return (false, error),
                }
            }
        }
        let mut pipeline = redis::pipe();
        for item in &batch {
            match item {
                Item::Event(topic, event) => pipeline.publish(names.channel(topic), event.as_ref()).ignore(),
                Item::Missed(topic) => pipeline.publish(names.missed(), topic).ignore(),
                Item::AllMissed => pipeline.publish(names.missed(), "").ignore(),
            };
        }
        match pipeline.query_async::<()>(&mut connection).await {
            Ok(()) => {
                *sent += batch.len() as u64;
                metrics::bus_sent(batch.len() as u64);
            }
            Err(error) => {
                metrics::bus_dropped(batch.len() as u64);
                return (true, error);
            }
        }
    }
}
