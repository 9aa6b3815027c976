//! A Bifrost server as its command line sees it: public HTTP and nothing else.
//!
//! To add a call: a function beside the command that needs it, over [`Client::get`] or [`Client::post`]; what it reads goes into
//! [`shapes`].

mod credentials;
mod failure;
mod http;
mod server;
pub mod shapes;
mod sse;
mod stream;
mod trouble;

pub use credentials::{Saved, Session, Store};
pub use failure::{Exit, Failure};
pub use http::{Answer, Client, Pair, Request};
pub use server::{Server, ServerArguments};
pub use stream::{Event, Follower};
