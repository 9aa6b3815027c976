//! The API over its real router: every layer, every extractor, a real store. One binary, so that it is linked once.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

mod account;
mod attacks;
mod audit;
mod audited;
mod branding;
mod browser;
mod bypass;
mod directory;
mod document;
mod errors;
mod execute;
mod health;
mod idempotency;
mod limits;
mod live;
mod machines;
mod oidc;
mod organizations;
mod page;
mod sign_in;
mod stream;
mod support;
mod tokens;
