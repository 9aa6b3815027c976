//! Listens, and serves the connections of one router.

use axum::{Router, extract::ConnectInfo};
use bifrost_api::Hangup;
use bifrost_boot::settings;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{io::ErrorKind, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Pause after a connection could not be accepted (no file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves until `stop` says so; then running requests may end, for the grace period at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    settings: &settings::Server,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving =
                    serve_connection(stream, peer, router.clone(), settings.keep_alive, stop.clone());
                connections.spawn(serving);
            }
            // The client has gone again.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(error = %error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.shutdown_grace, connections.wait()).await.is_err() {
        tracing::info!("connections that were still open are cut");
    }
}

/// Serves one connection: HTTP/1.1 and what it is upgraded to. The head of a request arrives within `keep_alive` of the connection, or of
/// the answer before it: nobody holds a connection open without saying what for (`axum::serve` has no such bound).
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    keep_alive: Duration,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "TCP_NODELAY was not set");
    }
    let hangup = Hangup::default();
    let shown = hangup.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(shown.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = async {
        tokio::select! {
            served = connection.as_mut() => served,
            () = told(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let served = tokio::select! {
        served = served => served,
        () = hangup.hung_up() => return,
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended");
    }
}

/// Waits until the process is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
