//! The adapter against the real runner, with a Python 3.10 or newer from `PATH`. One binary, so that it links once.
#![cfg(test)]

mod ends;
mod figures;
mod inspector;
mod lease;
mod reuse;
mod runs;
mod support;
mod walls;
mod workspace;
