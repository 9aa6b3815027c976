//! Hands what `boot` can ask to the API's health.

use bifrost_api::health::Probe;
use bifrost_boot::{Opened, health::parts, settings::Settings};

/// The probes over what was opened.
#[must_use]
pub fn probes(settings: &Settings, opened: &Opened) -> Vec<Probe> {
    parts(settings, opened)
        .into_iter()
        .map(|part| Probe { name: part.name, required: part.required, check: part.ask })
        .collect()
}
