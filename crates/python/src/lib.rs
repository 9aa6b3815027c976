//! The Python runtime: the adapter behind [`bifrost_domain::ports::python`].
//!
//! What lives here: the zygote and its children ([`PythonAdapter`]), the inspector that reads source without importing
//! it ([`InspectorProcess`]), and the follower of the workspace folder. `runner/` holds the Python side; both sides are
//! described by `docs/worker-protocol.md`, which is the contract.
//!
//! Invariants:
//! - When a run's `Ended` has been sent, no process of that run is alive (isolation `fork`): the end is taken from the
//!   child's pidfd and the zygote's `exited`, never assumed.
//! - Nothing that a child sends is trusted: the length of a frame is checked before its payload is read, text is cleaned
//!   where it is decoded, and every queue between a child and its reader is bounded.
//! - User code sees neither the worker's environment nor its descriptors.
//!
//! How to add a wall: its probe in `runner/bifrost_runner/walls.py` (it answers `True`, or why it cannot stand here), its place in `enter`,
//! where the order matters, its name in `docs/worker-protocol.md`, and a test in `sdk/python/tests/test_zygote.py` from inside a run. A
//! machine without it still runs workflows, and says so at the start.
//!
//! How to add a limit: a field in [`settings::Limits`] (it travels to the child as it is, so the Python side has to apply
//! it), a line in `docs/worker-protocol.md`, and a test in `tests/` that crosses it.
//!
//! How to add a frame kind: a variant of [`frames::Kind`] with its number and payload limit, its decoded form in
//! [`messages::FromChild`] when it comes from the child, the row in the page's table, and an arm in `talk.rs`.

mod adapter;
mod child;
mod error;
mod files;
pub mod frames;
mod inspector;
mod interpreter;
mod lease;
pub mod messages;
pub mod metrics;
mod pool;
mod reuse;
mod run;
pub mod settings;
mod snapshots;
mod supervisor;
mod sys;
mod talk;
mod temp;
mod text;
mod tree;
mod tree_removal;
mod workspace;
mod zygote;

pub use adapter::PythonAdapter;
pub use error::Error;
pub use inspector::InspectorProcess;
pub use settings::PythonSettings;
pub use sys::harden_process;
