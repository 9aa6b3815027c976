//! The suites that every adapter of a port passes; a fake that has not passed its suite may not be used in another test.
//!
//! A case is a plain async function over the port. The macros [`broker_contract!`](crate::broker_contract),
//! [`bus_contract!`](crate::bus_contract), [`limits_contract!`](crate::limits_contract) and
//! [`objects_contract!`](crate::objects_contract) turn each case into a test of its own, so that a failure is named. Their
//! argument is an async function of the adapter's tests that makes the adapter, runs the case that it is given and cleans up. To add a
//! case: write the function and name it in the macro's list.

use std::{future::Future, time::Duration};

pub mod broker;
pub mod bus;
pub mod limits;
pub mod objects;

/// How long a case waits for what must happen. Generous: it is only spent when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `what` within the patience of a case.
#[expect(clippy::expect_used, reason = "a case fails by panicking")]
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| what.to_owned()).expect("in time")
}

/// Waits until `condition` holds, looking every few milliseconds.
async fn eventually<Fut: Future<Output = bool>>(what: &str, condition: impl Fn() -> Fut) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Lists the cases of a suite as tests.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_cases {
    ($with:path, $suite:ident, $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $with($crate::ports::contract::$suite::$case).await;
            }
        )+
    };
}
