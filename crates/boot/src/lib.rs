//! The one room with all doors: settings, telemetry, and what is opened from them.
//!
//! How to add a setting: a row in `settings/table.rs`, a line in the parser of its section (`Reader` has one method per kind of value, and
//! collects what is wrong), its field with a doc comment; a case past each of its bounds in `tests/settings.rs`; then
//! `UPDATE_ENV_EXAMPLE=1 ./test.sh crates/boot/tests/env_example.rs` writes `.env.example` again. A secret is a `secret(…)` row: it then
//! has an `X_FILE`, too, and appears nowhere.
//!
//! How to add a backend: a variant of its choice in [`settings`], an arm in [`connect`], a part in [`health`].

pub mod allocator;
mod clock;
pub mod connect;
mod data_folder;
pub mod doctor;
pub mod health;
pub mod metrics;
pub mod migrate;
pub mod settings;
pub mod telemetry;
mod walls;

pub use bifrost_domain::clock::SharedClock;
pub use connect::{Opened, Role, open};
