//! Serves HTTP.

use crate::probes::probes;
use anyhow::{Context, Result};
use axum::{Router, extract::ConnectInfo};
use bifrost_api::{AllowedOrigins, ApiParts, ApiSettings, ApiState, DevBypass, health::CachedProbes};
use bifrost_boot::{
    Opened,
    connect::auth_environment,
    settings::{self, Settings},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Pause after a connection could not be accepted (no file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Binds the address of the settings.
///
/// # Errors
/// When the port is taken or may not be used, with what to do.
pub async fn bind(settings: &Settings) -> Result<TcpListener> {
    let address = settings.server.address();
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} cannot be listened on; if the port is taken, stop what listens there or set PORT")
    })
}

/// The router's state over what was opened.
///
/// # Errors
/// When the public URL cannot be read (the settings have checked it).
pub fn state(settings: &Settings, opened: &Opened) -> Result<ApiState> {
    let environment = auth_environment(settings.environment);
    let public_url = url::Url::parse(&settings.server.public_url).context("PUBLIC_URL")?;
    let mut api = ApiSettings::new(environment, public_url);
    api.body_limit_bytes = settings.server.body_limit_bytes;
    api.allowed_origins = match &settings.server.allowed_origins {
        settings::AllowedOrigins::Any => AllowedOrigins::Any,
        settings::AllowedOrigins::List(origins) => AllowedOrigins::List(origins.clone()),
    };
    api.dev_bypass = match settings.identity.dev_bypass {
        settings::DevBypass::Off => DevBypass::Off,
        settings::DevBypass::Loopback => DevBypass::Loopback,
        settings::DevBypass::Always => DevBypass::Always,
    };
    api.login_rate_per_minute = settings.identity.login_attempts_per_minute;
    api.listens_on_loopback = settings.server.host.is_loopback();
    Ok(ApiState::new(ApiParts {
        app: opened.app.clone(),
        auth: opened.auth.clone(),
        organizations: opened.organizations.clone(),
        reader: opened.store.reader(),
        settings: api,
        health: Arc::new(CachedProbes::new(probes(settings, opened))),
        clock: opened.clock.clone(),
        ids: opened.ids.clone(),
    }))
}

/// Serves until `stop` says so; then running requests may end, for the grace period at most (a synchronous caller gets its answer,
/// a live connection is cut).
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    opened: &Opened,
    mut stop: watch::Receiver<bool>,
    settings: &settings::Server,
) {
    let waiters = tokio::spawn(opened.app.clone().run_waiters());
    let router = bifrost_api::router(state);
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
    waiters.abort();
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
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended");
    }
}

/// Waits until the process is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
