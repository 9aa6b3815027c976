//! Keeps the connection, for ever.

use super::{Link, Phase, Shared, live::Live};
use crate::{lock::lock, metrics, reconnect::Pauses};
use bifrost_domain::ports::broker::Connection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A connection that lived this long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(5);

/// Connects, waits for the end, connects again; ends when the port closes.
pub(super) async fn run(shared: &Arc<Shared>) {
    let keep = async {
        let mut pauses = Pauses::new();
        let mut reported = false;
        let mut connections = 0;
        loop {
            let queues = lock(&shared.queues).iter().cloned().collect();
            let reason = match Live::open(Arc::clone(&shared.address), shared.names.clone(), queues).await {
                Ok(live) => {
                    let since = Instant::now();
                    connections += 1;
                    if std::mem::take(&mut reported) {
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
                    reason
                }
                Err(reason) => reason,
            };
            if !std::mem::replace(&mut reported, true) {
                tracing::warn!(address = %shared.address, reason, "rabbitmq is away; reconnecting");
            }
            metrics::broker_connected(false);
            shared.live.send_replace(Link::Down(reason));
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
