//! The world behind the ports: queue, live events and objects, each embedded and over a server.
//!
//! Every adapter passes the contract suite of its port (`bifrost_domain::ports::contract`, run from `tests/`), and every
//! adapter with a connection passes the tests that cut it. A server that is away is *degraded*, never fatal: each adapter
//! reconnects for ever with growing, jittered pauses, says so once per outage in the log and once on return. What no waiting mends (a wrong
//! password, a missing vhost) is an error in the log that says what to do, and stands in `/health/detailed`.
//! Addresses are logged without user name and password.
//!
//! To add an adapter: a module beside the others, its suite in `tests/`, a line in `boot::connect`.

pub mod broker;
pub mod bus;
pub mod files;
pub mod metrics;
pub mod objects;

mod lock;
mod reconnect;
mod trouble;
