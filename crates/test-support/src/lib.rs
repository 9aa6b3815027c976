//! Support for tests: fresh databases of both kinds, a clock that a test moves, and a whole world with real workers. Used
//! from `tests/` folders only.

pub mod clock;
pub mod database;
pub mod world;

pub use clock::MovableClock;
pub use database::TestDatabase;
pub use world::World;
