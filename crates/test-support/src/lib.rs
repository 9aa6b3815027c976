//! Support for tests: fresh databases of both kinds, a clock that a test moves, an authenticator, servers that a test may end, and a whole
//! world with real workers. Used from `tests/` folders only.

pub mod authenticator;
pub mod clock;
pub mod database;
pub mod password;
pub mod servers;
pub mod world;

pub use authenticator::one_time_code;
pub use clock::MovableClock;
pub use database::{TestDatabase, lines};
pub use password::password_hash;
pub use servers::{PrivateServer, Service};
pub use world::World;
