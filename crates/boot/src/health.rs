//! What health asks: each part that a process stands on, over connections that are open already. `bin` hands these to the API.

use crate::{
    Opened,
    settings::{BrokerChoice, BusChoice, Database, Settings},
};
use std::{pin::Pin, sync::Arc};

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
    vec![
        part("database", true, move || {
            let store = store.clone();
            async move {
                let answer = store.db().probe().await;
                answer
                    .map(|()| Some(database.to_owned()))
                    .map_err(|_| "the database does not answer".to_owned())
            }
        }),
        part("broker", false, move || {
            let broker = Arc::clone(&broker);
            async move {
                let answer = broker.probe().await;
                answer.map(|()| Some(queue.to_owned())).map_err(|_| "the broker does not answer".to_owned())
            }
        }),
        part("redis", false, move || {
            let bus = Arc::clone(&bus);
            async move {
                let answer = bus.probe().await;
                answer.map(|()| Some(events.to_owned())).map_err(|_| "live events do not flow".to_owned())
            }
        }),
        part("object_store", false, move || {
            let objects = Arc::clone(&objects);
            async move {
                let answer = objects.probe().await;
                answer.map(|()| None).map_err(|_| "the object store cannot be written".to_owned())
            }
        }),
        part("worker", false, move || {
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
