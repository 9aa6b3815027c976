//! Support for tests: fresh databases of both kinds, a clock that a test moves, servers that a test may end, and a whole world
//! with real workers. Used from `tests/` folders only.

pub mod clock;
pub mod database;
pub mod servers;
pub mod world;

pub use clock::MovableClock;
pub use database::TestDatabase;
pub use servers::{PrivateServer, Service};
pub use world::World;
