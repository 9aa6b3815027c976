//! What things are in Bifrost: ids, scope, states, value types, policy, messages, error kinds and ports.
//!
//! Nothing here does I/O. The rules of this room:
//! - every id is its own type ([`ids`]); a bare `Uuid` in a signature is a review stop;
//! - time and ids come from [`clock::Clock`] and [`clock::Ids`], which tests replace;
//! - what may fail crosses the application as [`error::Error`], which knows nothing of HTTP;
//! - a port is a trait in [`ports`] with its guarantees in its docs and one contract suite.
//!
//! How to add a feature: one file here for its values, then the file of the same name in `storage`, `app` and `api::routes`; each of these
//! rooms says at its top how. Its id is a line in [`ids`], what one may do with it a line in [`policy`].
//!
//! How to add a value type: its constructor is the only check and says in its error what would be right; it derives no `Default` that is
//! not a legal value, and no `Debug` that shows a secret. Its tests stand at the end of its file and cross every bound.

pub mod application;
pub mod branding;
pub mod clock;
pub mod definition;
pub mod error;
pub mod execution;
pub mod identity_provider;
pub mod ids;
pub mod json;
pub mod messages;
pub mod metric;
pub mod network;
pub mod organization;
pub mod parameters;
pub mod policy;
pub mod ports;
pub mod rights;
pub mod scope;
pub mod user;
pub mod validation;
