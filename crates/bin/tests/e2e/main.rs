//! The built programs, started as a user starts them and asked over HTTP and WebSocket. Nothing here looks inside.
//!
//! A test gets a [`support::World`]: folders, a database and a queue prefix of its own, and the processes on top of them. It ends
//! with all of it removed, whether the test passed or not. [`in_both_modes!`] makes two tests of one: everything in one
//! process, and the stack.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod cli;
mod connections;
mod disk_full;
mod doctor;
mod examples;
mod fuzz;
mod health;
mod hostile;
mod input;
mod large;
mod live;
mod malformed;
mod metrics;
mod migrate;
mod outputs;
mod replicas;
mod restarts;
mod sessions;
mod start;
mod stop;
mod stream;
mod support;
mod tour;
mod walls;
mod workers;
mod workspace;

/// Makes two tests of each `async fn(&mut World)`.
macro_rules! in_both_modes {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::{Mode, World};

            #[tokio::test]
            async fn embedded() {
                World::new(Mode::Embedded).await.run(super::$case).await;
            }

            #[tokio::test]
            async fn stack() {
                World::new(Mode::Stack).await.run(super::$case).await;
            }
        }
    )+};
}
pub(crate) use in_both_modes;
