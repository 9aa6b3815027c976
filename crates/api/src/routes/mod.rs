//! The routes, one file per feature: wire types, handlers, `routes()`.
//!
//! How to add one:
//! 1. wire types in the feature's file: what comes in ends in `In`, what goes out in `Out`, with a doc comment and the bounds in `schema`;
//!    fields are snake_case, ids their own types, times UTC;
//! 2. the handler: it extracts (the crate's own extractors, whose refusals are problems with a path), asks policy for a permit, makes one
//!    call into `app` or to the reader, and converts. An `if` about the business belongs into `app`. Its doc comment is its
//!    description in `/docs`: the first line the summary; `#[utoipa::path]` names every status that it answers with beside those of
//!    `answers`;
//! 3. its name in `routes!` of the file's `routes()`, wrapped by who may use it (`allowed::<Action>`, `public` or `live` of
//!    [`crate::access`]); a new file is merged in `lib.rs`: under the bounded routes, or, when it waits or
//!    streams, under the waiting ones, which bound their time themselves;
//! 4. its cases in `tests/api/`: as everybody who may, and with each bound crossed. `attacks/` attacks it by itself; an object in its path
//!    and a body get a line each in its `requests.rs`. Then write the document and the policy again:
//!    `INSTA_UPDATE=always UPDATE_POLICY=1 cargo test -p bifrost-api --test api`.

pub mod account;
pub mod audit;
pub mod auth;
pub mod branding;
pub mod callback;
pub mod device;
pub mod docs;
pub mod executions;
pub mod health;
pub mod identity_providers;
pub mod machines;
pub mod members;
pub mod oauth;
pub mod organizations;
pub mod roles;
pub mod users;
pub mod workflows;
