//! Keeps the connection, for ever.

use super::{Link, Phase, Shared, live::Live};
use crate::{lock::lock, metrics, reconnect::Pauses, trouble::Trouble};
use bifrost_domain::ports::broker::Connection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A connection that lived this long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(5);

/// Connects, waits for the end, connects again; ends when the port closes.
pub(super) async fn run(shared: &Arc<Shared>) {
    let keep = async {
        let mut pauses = Pauses::new();
        // What the log says of the outage so far.
        let mut reported = None::<Option<&'static str>>;
        let mut connections = 0;
        loop {
            let queues = lock(&shared.queues).iter().cloned().collect();
            let trouble = match Live::open(Arc::clone(&shared.address), shared.names.clone(), queues).await {
                Ok(live) => {
                    let since = Instant::now();
                    connections += 1;
                    *lock(&shared.misconfigured) = None;
                    if reported.take().is_some() {
                        tracing::info!(address = %shared.address, connections, "rabbitmq is back");
                    } else {
                        tracing::info!(address = %shared.address, "connected to rabbitmq");
                    }
                    // In this order: who finds the connection open finds its number raised.
                    metrics::broker_connected(true);
                    shared.connection.send_replace(Connection::Up(connections));
                    shared.live.send_replace(Link::Up(Arc::clone(&live)));
                    let reason = live.ended().await;
                    if since.elapsed() >= GOOD {
                        pauses = Pauses::new();
                    }
                    Trouble::away(reason)
                }
                Err(trouble) => trouble,
            };
            *lock(&shared.misconfigured) = trouble.misconfigured;
            // Once per outage, and again when it turns out that no waiting helps.
            if reported
                .is_none_or(|reported| trouble.misconfigured.is_some() && reported != trouble.misconfigured)
            {
                reported = Some(trouble.misconfigured);
                match trouble.misconfigured {
                    Some(_) => tracing::error!("{}", trouble.reason),
                    None => {
                        tracing::warn!(address = %shared.address, reason = trouble.reason, "rabbitmq is away; reconnecting");
                    }
                }
            }
            metrics::broker_connected(false);
            shared.live.send_replace(Link::Down(trouble.reason));
            shared.connection.send_if_modified(|connection| {
                std::mem::replace(connection, Connection::Down) != Connection::Down
            });
            tokio::time::sleep(pauses.next()).await;
        }
    };
    tokio::select! {
        () = keep => {}
        () = shared.reached(Phase::Ended) => {}
    }
    shared.connection.send_replace(Connection::Down);
    let last = shared.live.send_replace(Link::Down("it is closed".to_owned()));
    if let Link::Up(live) = last {
        live.close().await;
    }
}
