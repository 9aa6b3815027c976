//! How often something may be done: counted by this process, or by Redis for all of them.

mod in_process;
mod redis;

pub use in_process::InProcess;
pub use redis::RedisLimiter;
