//! Executions: the hot path ([`hot`]), the other guarded transitions ([`transitions`]), what waits for dispatch ([`dispatch`], and how much
//! of it: [`depth`]), what a worker has lost ([`lost`]) and the reads ([`read`]).

pub mod depth;
pub mod dispatch;
pub mod hot;
mod kept;
pub mod lost;
mod metrics;
mod postgres;
pub mod read;
mod sqlite;
pub mod transitions;

pub use read::{Filter, LogFilter};
