//! The doors to the world: traits with their guarantees. Adapters live in `adapters` and `python`.
//!
//! To add an adapter: implement the trait in `adapters`, run the port's suite from `contract` against it in that crate's
//! `tests/`, and choose it in `boot::connect`. To add a port: a file here, a suite in `contract`, at least two adapters
//! or a written reason for one.

pub mod broker;
pub mod bus;
#[cfg(feature = "contract")]
pub mod contract;
pub mod files;
pub mod objects;
pub mod python;
