//! What handlers take. The stock extractors answer rejections in their own words, so none of them is used: each of these
//! answers with a problem that names the field.

mod body;
pub mod bypass;
mod client;
mod fields;
mod page;
mod patch;
mod path;
mod signed_in;

pub use body::{Form, Json, OptionalJson, ValidJson};
pub use client::ClientInfo;
pub(crate) use fields::words;
pub use page::{PageIn, encode_token};
pub use patch::Patch;
pub use path::{Path, Query};
pub use signed_in::SignedIn;
pub(crate) use signed_in::{ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE};
