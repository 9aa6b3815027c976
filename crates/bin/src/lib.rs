//! What the three binaries share: each reads the settings, opens what they name, and runs the API, the worker, or both until it
//! is told to stop. The mains are thin; everything that can be tested is here or deeper.

pub mod api;
pub mod commands;
pub mod http;
pub mod metrics;
pub mod probes;
pub mod run;
pub mod worker;
