//! The routes, one file per feature: wire types, handlers, `routes()`. To add one: a file here, a line in `lib.rs`.

pub mod auth;
pub mod docs;
pub mod executions;
pub mod health;
pub mod organizations;
pub mod workflows;
