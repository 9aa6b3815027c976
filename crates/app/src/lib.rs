//! What one may do: commands with a rule or a transaction, one module per feature.
//!
//! A command takes a [`Permit`](bifrost_domain::policy::Permit) or a caller that it asks policy about, does one thing, and answers with
//! domain values.
//!
//! How to add one: its action in `domain::policy`, its statements in `storage`, a method here in the module of its feature, its route in
//! `api`. It checks what the caller gave before it writes, all of it, and answers with one error that names every field
//! ([`Error`](bifrost_domain::error::Error) knows nothing of HTTP). What it changes and what has to be known about it later (an audit
//! row) is one transaction; nothing slow happens inside: no HTTP, no Python, no broker. Messages go out after the commit, and something
//! periodic finds what was lost on the way. Its tests in `tests/` ask as everybody who may and as everybody who may not.
//!
//! How to add a method that workflows call (`config.get`, say): an arm in `sdk`, its row in the table of `docs/worker-protocol.md`, its
//! function in `sdk/python/bifrost`, a test on each side.

pub mod accounts;
pub mod audit;
pub mod auth;
pub mod branding;
pub mod cipher;
pub mod dispatch;
pub mod executions;
pub(crate) mod fields;
pub mod idempotency;
pub mod identity_providers;
pub mod images;
pub mod machines;
pub mod members;
pub mod metrics;
pub mod organizations;
pub mod pages;
pub mod roles;
pub mod sdk;
pub(crate) mod still;
pub mod users;
pub mod waiters;
pub mod worker;
pub mod workflows;

use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    ports::{broker::Broker, bus::Bus, files::Files, objects::Objects, python::Inspector},
};
use bifrost_storage::{HotPath, Reader, Store};
use std::{sync::Arc, time::Duration};

/// The doors that the application goes through; `boot` opens them.
#[derive(Clone)]
pub struct Doors {
    /// The records.
    pub store: Store,
    /// The queue.
    pub broker: Arc<dyn Broker>,
    /// Live events.
    pub bus: Arc<dyn Bus>,
    /// Large values.
    pub objects: Arc<dyn Objects>,
    /// Workflow files.
    pub files: Arc<dyn Files>,
    /// Reads source; `None` where no Python was found.
    pub inspector: Option<Arc<dyn Inspector>>,
    /// Time.
    pub clock: SharedClock,
    /// Ids.
    pub ids: SharedIds,
    /// Encrypts secret values.
    pub cipher: Arc<cipher::Cipher>,
}

/// What the application is told by the settings.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A synchronous caller waits at most so long.
    pub sync_wait_max: Duration,
    /// Larger results go to the object store, bytes.
    pub inline_result_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sync_wait_max: Duration::from_secs(300), inline_result_bytes: 2 * 1024 * 1024 }
    }
}

/// The application of one process. Shared behind an `Arc`.
pub struct App {
    pub(crate) doors: Doors,
    pub(crate) reader: Reader,
    pub(crate) hot: HotPath,
    pub(crate) limits: Limits,
    pub(crate) dispatcher: dispatch::Dispatcher,
    pub(crate) waiters: Arc<waiters::Waiters>,
    pub(crate) catalog: workflows::Catalog,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl App {
    /// The application over open doors. Starts the writing tasks of the hot path.
    #[must_use]
    pub fn new(doors: Doors, limits: Limits) -> Arc<Self> {
        let reader = doors.store.reader();
        let hot = HotPath::start(&doors.store, &doors.clock);
        Arc::new(Self {
            dispatcher: dispatch::Dispatcher::default(),
            waiters: Arc::default(),
            catalog: workflows::Catalog::default(),
            reader,
            hot,
            limits,
            doors,
        })
    }

    /// Live events, for those who forward them.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.doors.bus
    }

    /// The queue, for those who consume it.
    #[must_use]
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.doors.broker
    }

    /// Time.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.doors.clock
    }

    /// The reading half of the store.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }
}
