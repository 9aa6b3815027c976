//! The doors to the world: traits with their guarantees. Adapters live in `adapters` and `python`.
//!
//! How to add an adapter: the top of the crate `bifrost-adapters` says it step by step.
//!
//! How to add a port:
//! 1. a file here: the trait, object-safe (`Arc<dyn …>`), with its guarantees and bounds in its docs, errors that say whether trying again
//!    helps, and a `probe` for health when a server is behind it;
//! 2. a suite in `contract`, one case per guarantee, and its macro;
//! 3. at least two adapters that pass it (in process, and over the server), or a written reason for one;
//! 4. a field in `app::Doors`, its choice in `boot::settings`, a line in `boot::connect`, a part in `boot::health`.

pub mod broker;
pub mod bus;
#[cfg(feature = "contract")]
pub mod contract;
pub mod files;
pub mod limits;
pub mod objects;
pub mod provider_web;
pub mod python;
