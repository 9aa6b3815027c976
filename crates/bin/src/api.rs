//! Serves the API.

use crate::{
    http,
    metrics::{self, Guard},
    probes::probes,
};
use anyhow::{Context, Result};
use bifrost_api::{AllowedOrigins, ApiParts, ApiSettings, ApiState, DevBypass, health::CachedProbes};
use bifrost_boot::{
    Opened,
    connect::auth_environment,
    settings::{self, Settings},
};
use std::sync::Arc;
use tokio::{net::TcpListener, sync::watch};

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
    api.mfa_rate_per_minute = settings.identity.mfa_attempts_per_minute;
    api.account_failures = settings.identity.account_failures;
    api.trusted_proxies.clone_from(&settings.server.trusted_proxies);
    api.listens_on_loopback = settings.server.host.is_loopback();
    Ok(ApiState::new(ApiParts {
        app: opened.app.clone(),
        auth: opened.auth.clone(),
        mfa: opened.mfa.clone(),
        accounts: opened.accounts.clone(),
        branding: opened.branding.clone(),
        organizations: opened.organizations.clone(),
        members: opened.members.clone(),
        users: opened.users.clone(),
        roles: opened.roles.clone(),
        providers: opened.providers.clone(),
        machines: opened.machines.clone(),
        reader: opened.store.reader(),
        settings: api,
        health: Arc::new(CachedProbes::new(probes(settings, opened))),
        limiter: opened.limiter.clone(),
        clock: opened.clock.clone(),
        ids: opened.ids.clone(),
    }))
}

/// Serves until `stop` says so; then running requests may end, for the grace period at most (a synchronous caller gets its answer,
/// a live connection is cut). `guard` says who may read the numbers at this port; `None` when they have a port of their own.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    opened: &Opened,
    stop: watch::Receiver<bool>,
    settings: &settings::Server,
    guard: Option<Guard>,
) {
    let waiters = tokio::spawn(opened.app.clone().run_waiters());
    let mut router = bifrost_api::router(state);
    if let Some(guard) = guard {
        router = metrics::beside(router, guard);
    }
    http::serve(listener, router, stop, settings).await;
    waiters.abort();
}
