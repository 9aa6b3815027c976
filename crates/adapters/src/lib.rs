//! The world behind the ports: queue, live events, rate limits and objects, each embedded and over a server.
//!
//! Every adapter passes the contract suite of its port (`bifrost_domain::ports::contract`, run from `tests/`), and every
//! adapter with a connection passes the tests that cut it. A server that is away is *degraded*, never fatal: each adapter
//! reconnects for ever with growing, jittered pauses, says so once per outage in the log and once on return. What no waiting mends (a wrong
//! password, a missing vhost) is an error in the log that says what to do, and stands in `/health/detailed`.
//! Addresses are logged without user name and password.
//!
//! How to add an adapter of a port:
//! 1. a module beside the others that implements the trait, bounds included: what is too large is refused before anything is sent;
//! 2. `tests/suite/<port>_<adapter>.rs` with the port's suite (`broker_contract!`, `bus_contract!`, `objects_contract!`,
//!    `limits_contract!`), and, when it has
//!    a connection, the tests that cut it;
//! 3. a variant of its choice in `boot::settings::backends`, chosen by the scheme of its URL, with the settings' tests;
//! 4. an arm in `boot::connect`, opened lazily when its server need not be there at the start.
//!
//! Nothing else changes: who uses a port sees the trait alone.

pub mod broker;
pub mod bus;
pub mod files;
pub mod limits;
pub mod metrics;
pub mod objects;
pub mod oidc;

mod lock;
mod reconnect;
mod trouble;
