//! What the tests stand on.

mod backends;
mod cli;
mod client;
mod door;
mod left_out;
mod live;
mod member;
mod process;
mod proxy;
pub(crate) mod raw;
mod seen;
mod servers;
mod sse;
mod stream;
mod world;

pub(crate) use backends::{Backends, PrivateRedis, postgres_url, rabbitmq_url, redis_url};
pub(crate) use cli::Cli;
pub(crate) use client::{Client, Reply, base64};
pub(crate) use door::Door;
pub(crate) use left_out::leave_out;
pub(crate) use live::{Heard, Live, Refused};
pub(crate) use member::member_who_may_run;
pub(crate) use process::{BIFROST, Process, command};
pub(crate) use proxy::Proxy;
pub(crate) use seen::processes;
pub(crate) use servers::Servers;
pub(crate) use sse::{Event, Sse};
pub(crate) use stream::follow;
pub(crate) use world::{Mode, SECRET_KEY, World};

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a test waits for what must happen; far above what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something to see, and returns it with the time that took.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> (T, Duration) {
    let started = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return (seen, started.elapsed());
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A word that no other test has: for names, and to find processes by.
pub(crate) fn unique(word: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no injected generator, and these names must differ between runs"
    )]
    let id = uuid::Uuid::new_v4();
    format!("{word}-{}", &id.simple().to_string()[..16])
}
