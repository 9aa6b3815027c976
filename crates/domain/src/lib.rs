//! What things are in Bifrost: ids, scope, states, value types, policy, messages, error kinds and ports.
//!
//! Nothing here does I/O. The rules of this room:
//! - every id is its own type ([`ids`]); a bare `Uuid` in a signature is a review stop;
//! - time and ids come from [`clock::Clock`] and [`clock::Ids`], which tests replace;
//! - what may fail crosses the application as [`error::Error`], which knows nothing of HTTP;
//! - a port is a trait in [`ports`] with its guarantees in its docs and one contract suite.
//!
//! To add a feature: one file here for its values, then the file of the same name in `storage`, `app` and `api::routes`.

pub mod clock;
pub mod definition;
pub mod error;
pub mod execution;
pub mod ids;
pub mod json;
pub mod messages;
pub mod metric;
pub mod organization;
pub mod parameters;
pub mod policy;
pub mod ports;
pub mod scope;
pub mod user;
pub mod validation;
