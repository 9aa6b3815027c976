//! The commands of `bifrost` beside `dev`, one file each.

pub mod migrate;
