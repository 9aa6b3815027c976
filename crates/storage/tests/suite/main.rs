//! What the store promises about executions and what belongs to them, on both databases.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

mod account;
mod audit;
mod cancel;
mod catalog;
mod claim;
mod configs;
mod connections;
mod directory;
mod dispatch;
mod examine;
mod external_refs;
mod finish;
mod forms;
mod idempotency;
mod identity_providers;
mod leases;
mod lists;
mod logs;
mod lost;
mod metrics;
mod organizations;
mod partitions;
mod races;
mod schema;
mod submit;
mod support;
mod tickets;
mod variables;
