//! Executions: the hot path ([`hot`]), the other guarded transitions ([`transitions`]) and the reads ([`read`]).

pub mod hot;
mod metrics;
mod postgres;
pub mod read;
mod sqlite;
pub mod transitions;

pub use read::{Filter, LogFilter};
