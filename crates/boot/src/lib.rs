//! The one room with all doors: settings, telemetry, and what is opened from them.
//!
//! To add a port's adapter: a variant of its choice in [`settings`], a line in [`connect`].

pub mod connect;
mod data_folder;
pub mod doctor;
pub mod health;
pub mod metrics;
pub mod migrate;
pub mod settings;
pub mod telemetry;
mod walls;

pub use connect::{Opened, Role, open};
