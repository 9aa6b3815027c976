//! sea-orm entities of the tables that are read and written row by row. Private: rows never leave this crate.
//!
//! To add one: a file named after the table, with the columns in the order of the migration.

#![expect(
    unreachable_pub,
    reason = "the derive makes public items, so the rows have to be public in a private module"
)]

pub(crate) mod audit_logs;
pub(crate) mod organizations;
pub(crate) mod refresh_tokens;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod user_roles;
pub(crate) mod users;
