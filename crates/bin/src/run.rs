//! From the settings to the end of the process.

use crate::{
    api,
    metrics::{self, Guard},
    worker,
};
use anyhow::{Context, Result};
use bifrost_boot::{
    Opened, Role, allocator,
    metrics::Exporter,
    open,
    settings::{Mode, Settings},
    telemetry,
};
use std::{io::Write, process::ExitCode, sync::Arc};
use tokio::{net::TcpListener, signal::unix::SignalKind, sync::watch};

/// Exit code for settings that cannot be used (`EX_CONFIG` of sysexits.h).
pub(crate) const EX_CONFIG: u8 = 78;

/// [`main`] of a program without arguments: what somebody writes there must not be taken for obeyed.
#[must_use]
pub fn main_without_arguments(mode: Mode) -> ExitCode {
    answer_arguments().unwrap_or_else(|| main(mode))
}

fn answer_arguments() -> Option<ExitCode> {
    let argument = std::env::args_os().nth(1)?;
    let version = env!("CARGO_PKG_VERSION");
    let answer = match argument.to_str() {
        Some("--version" | "-V") => format!("bifrost {version}"),
        Some("--help" | "-h") => format!(
            "bifrost {version}: settings come from the environment (.env.example); there are no arguments"
        ),
        _ => {
            let shown = argument.to_string_lossy();
            complain(&format!("`{shown}` is not known: settings come from the environment (.env.example)"));
            return Some(ExitCode::from(2));
        }
    };
    // Nobody may read it.
    let _ = writeln!(std::io::stdout().lock(), "{answer}");
    Some(ExitCode::SUCCESS)
}

/// Reads the settings and runs the process until SIGTERM or Ctrl-C; errors are one line each on stderr.
#[must_use]
pub fn main(mode: Mode) -> ExitCode {
    allocator::give_large_blocks_back();
    // The only place that chooses a cryptography provider; a second choice is an error that changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = match Settings::from_process(mode) {
        Ok(settings) => settings,
        Err(problems) => {
            complain(&format!("the settings cannot be used:\n{problems}"));
            return ExitCode::from(EX_CONFIG);
        }
    };
    if let Err(error) = telemetry::init(&settings.telemetry) {
        complain(&format!("{error}"));
        return ExitCode::from(EX_CONFIG);
    }
    let exporter = match Exporter::install(metrics::all()) {
        Ok(exporter) => Arc::new(exporter),
        Err(error) => {
            complain(&format!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(serve(&settings, exporter));
    // What still runs on blocking threads (a password check) is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain in one line: what failed, then why.
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "bifrost: {text}");
}

async fn serve(settings: &Settings, exporter: Arc<Exporter>) -> Result<()> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let role = match settings.mode {
        Mode::Dev => Role::Both,
        Mode::Api => Role::Api,
        Mode::Jobs => Role::Jobs,
    };
    // First the port: a second start fails before it touches anything.
    let listener = if role == Role::Jobs { None } else { Some(api::bind(settings).await?) };
    let side = metrics::bind(settings).await?;
    let stop = stop_signal()?;
    let opened = open(settings, role).await?;
    exporter.watch(&opened);
    let upkeep = exporter.clone();
    tokio::spawn(async move { upkeep.keep_up().await });
    let guard = Guard::new(exporter, settings);
    let worker =
        if role == Role::Api { None } else { Some(worker::start(settings, &opened, stop.clone()).await?) };
    // Whoever watches this process may ask it until the end, also while it drains.
    let (ended, end) = watch::channel(false);
    let at_api = side.is_none().then(|| guard.clone());
    let aside = async {
        if let Some(listener) = side {
            metrics::serve(listener, guard, settings, &opened, end).await;
        }
    };
    let main = async {
        let worked = work(settings, listener, &opened, stop, at_api).await;
        if let Some(worker) = worker {
            tracing::info!(running = worker.running(), "stopping: running work may end");
            worker.drain().await;
        }
        let _ = ended.send(true);
        worked
    };
    let (worked, ()) = tokio::join!(main, aside);
    worked?;
    opened.broker.close().await;
    opened.store.db().close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Serves, or lets the worker work, until `stop`.
async fn work(
    settings: &Settings,
    listener: Option<TcpListener>,
    opened: &Opened,
    mut stop: watch::Receiver<bool>,
    guard: Option<Guard>,
) -> Result<()> {
    match listener {
        Some(listener) => {
            let address = listener.local_addr().context("the listener has no address")?;
            let state = api::state(settings, opened)?;
            if settings.mode == Mode::Dev {
                welcome(settings, address.port());
            }
            tracing::info!(address = %address, environment = settings.environment.as_str(), "serving");
            api::serve(listener, state, opened, stop, &settings.server, guard).await;
        }
        None => {
            tracing::info!("working");
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
    Ok(())
}

/// Becomes true at the first SIGTERM or Ctrl-C; a second one ends the process at once.
fn stop_signal() -> Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate =
        tokio::signal::unix::signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt =
        tokio::signal::unix::signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if second {
                complain("stopped at once by a second signal; unfinished runs end when their lease does");
                std::process::exit(130);
            }
            let _ = sender.send(true);
        }
    });
    Ok(receiver)
}

/// Where to go and how to sign in.
fn welcome(settings: &Settings, port: u16) {
    let base = if settings.server.public_url.ends_with(&format!(":{}", settings.server.port)) {
        settings.server.public_url.replace(&format!(":{}", settings.server.port), &format!(":{port}"))
    } else {
        settings.server.public_url.clone()
    };
    let mut text = format!(
        "\n  Bifrost is running.\n\n    API and docs   {base}/docs\n    Health         {base}/health/detailed\n    Workflows      {}\n    Data           {}\n",
        settings.workspace_dir.display(),
        settings.data_dir.display(),
    );
    if let Some(user) = &settings.identity.dev_user {
        text.push_str(&format!(
            "    Sign in        {}, password: the value of DEV_USER_PASSWORD (`admin` unless you set it)\n",
            user.email
        ));
    }
    text.push_str("\n  Ctrl-C stops it.\n\n");
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
