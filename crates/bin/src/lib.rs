//! What the three binaries share: each reads the settings, opens what they name, and runs the API, the worker, or both until it
//! is told to stop. And what `bifrost` can do besides: [`commands`], over a [`client`] that speaks public HTTP alone. The mains are
//! thin; everything that can be tested is here or deeper.

pub mod api;
pub mod client;
pub mod commands;
pub mod http;
pub mod metrics;
pub mod probes;
pub mod run;
pub mod suggest;
pub mod terminal;
pub mod worker;
