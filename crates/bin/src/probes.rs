//! Hands what `boot` can ask to the API's health.

use bifrost_api::health::Probe;
use bifrost_boot::{
    Opened,
    health::{Part, parts},
    settings::Settings,
};

/// The probes over what was opened.
#[must_use]
pub fn probes(settings: &Settings, opened: &Opened) -> Vec<Probe> {
    parts(settings, opened).into_iter().map(probe).collect()
}

/// The same for a process that is asked for itself: a worker needs its Python, and says nothing of other workers.
#[must_use]
pub fn of_process(settings: &Settings, opened: &Opened) -> Vec<Probe> {
    let mut parts = parts(settings, opened);
    if let Some(python) = bifrost_boot::health::python(opened) {
        parts.retain(|part| part.name != bifrost_boot::health::WORKER);
        parts.push(python);
    }
    parts.into_iter().map(probe).collect()
}

fn probe(part: Part) -> Probe {
    Probe { name: part.name, required: part.required, check: part.ask }
}
