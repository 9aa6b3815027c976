//! What health asks: each part that a process stands on, over connections that are open already. `bin` hands these to the API.

use crate::{
    Opened,
    settings::{BrokerChoice, BusChoice, Database, Settings},
};
use bifrost_domain::ports::{objects::Error as ObjectsError, python::PythonRuntime};
use bifrost_migration::names;
use bifrost_storage::{Error as StorageError, Store};
use chrono::{DateTime, Duration, Utc};
use std::{pin::Pin, sync::Arc};

/// Partitions have to reach so many days ahead: a run that is accepted today may be written for days.
const PARTITION_DAYS: i64 = 2;

/// What a part answered: something worth knowing, or why it failed (shown to everybody who reaches the server).
pub type Answer = Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send>>;

/// One part.
pub struct Part {
    /// Its name in the report.
    pub name: &'static str,
    /// Whether the process cannot serve without it.
    pub required: bool,
    /// Asks it.
    pub ask: Box<dyn Fn() -> Answer + Send + Sync>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

fn part<F, Fut>(name: &'static str, required: bool, ask: F) -> Part
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<String>, String>> + Send + 'static,
{
    Part { name, required, ask: Box::new(move || Box::pin(ask())) }
}

/// Whether the database can serve this program: it answers, has every migration that the program knows, and on PostgreSQL the
/// partitions of the days ahead. Three short reads over open connections; who asks keeps the answer for a second.
///
/// # Errors
/// Which of these does not hold.
pub async fn database_ready(store: &Store, now: DateTime<Utc>) -> Result<(), String> {
    let away = |error: StorageError| match error {
        StorageError::Full(_) => error.to_string(),
        _ => "the database does not answer".to_owned(),
    };
    store.db().probe().await.map_err(away)?;
    let applied = match store.applied_migrations().await {
        Ok(applied) => applied,
        Err(error) if error.is_away() => return Err(away(error)),
        Err(_) => return Err("migrations are missing: the database has no schema".to_owned()),
    };
    let missing: Vec<String> = names().into_iter().filter(|name| !applied.contains(name)).collect();
    if let Some(first) = missing.first() {
        return Err(format!("migrations are missing: {} of them, the first is {first}", missing.len()));
    }
    let missing =
        store.find_missing_partition(now, now + Duration::days(PARTITION_DAYS)).await.map_err(away)?;
    match missing {
        Some(name) => Err(format!(
            "partitions do not reach {PARTITION_DAYS} days ahead: {name} is missing; is a worker running?"
        )),
        None => Ok(()),
    }
}

/// The part that says whether there is a worker.
pub const WORKER: &str = "worker";

/// The Python runtime of this process, when it is a worker's: without it nothing runs.
#[must_use]
pub fn python(opened: &Opened) -> Option<Part> {
    let runtime = Arc::clone(opened.python.as_ref()?);
    Some(part("python", true, move || {
        let info = runtime.info();
        async move {
            let info = info.ok_or("Python is not ready yet, or does not start; the log says why")?;
            Ok(Some(format!("Python {}", info.python)))
        }
    }))
}

/// The parts of what was opened.
#[must_use]
pub fn parts(settings: &Settings, opened: &Opened) -> Vec<Part> {
    // What it is, without its address: everybody who reaches the server reads this.
    let database = if matches!(settings.database, Database::Sqlite { .. }) { "sqlite" } else { "postgresql" };
    let queue = if matches!(settings.broker, BrokerChoice::InProcess) { "in process" } else { "rabbitmq" };
    let events = if matches!(settings.bus, BusChoice::InProcess) { "in process" } else { "redis" };
    let (store, broker, bus, objects) = (
        opened.store.clone(),
        Arc::clone(&opened.broker),
        Arc::clone(&opened.bus),
        Arc::clone(&opened.objects),
    );
    let (reader, clock) = (opened.store.reader(), opened.clock.clone());
    let now = opened.clock.clone();
    vec![
        part("database", true, move || {
            let (store, now) = (store.clone(), now.now());
            async move { database_ready(&store, now).await.map(|()| Some(database.to_owned())) }
        }),
        part("broker", false, move || {
            let broker = Arc::clone(&broker);
            async move {
                let answer = broker.probe().await;
                let why = || broker.misconfigured().unwrap_or("the broker does not answer");
                answer.map(|()| Some(queue.to_owned())).map_err(|_| why().to_owned())
            }
        }),
        part("redis", false, move || {
            let bus = Arc::clone(&bus);
            async move {
                let answer = bus.probe().await;
                let why = || bus.misconfigured().unwrap_or("live events do not flow");
                answer.map(|()| Some(events.to_owned())).map_err(|_| why().to_owned())
            }
        }),
        part("object_store", false, move || {
            let objects = Arc::clone(&objects);
            async move {
                let answer = objects.probe().await;
                answer.map(|()| None).map_err(|error| match error {
                    ObjectsError::Full(_) => error.to_string(),
                    _ => "the object store cannot be written".to_owned(),
                })
            }
        }),
        part(WORKER, false, move || {
            let (reader, clock) = (reader.clone(), clock.clone());
            async move {
                let live = reader.list_live_workers(clock.now()).await;
                let live = live.map_err(|_| "unknown while the database is away".to_owned())?;
                let slots: i32 = live.iter().map(|worker| worker.slots).sum();
                match live.len() {
                    0 => Err("no worker is running".to_owned()),
                    count => Ok(Some(format!("{count} running, {slots} slots"))),
                }
            }
        }),
    ]
}
