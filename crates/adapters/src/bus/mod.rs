//! Adapters of the bus port: [`InProcess`] for one process, [`RedisBus`] for several.

mod fanout;
mod in_process;
mod redis;

pub use in_process::InProcess;
pub use redis::{RedisBus, examine as examine_redis};
