//! What handlers take. The stock extractors answer rejections in their own words, so none of them is used: each of these
//! answers with a problem that names the field.

mod body;
pub mod bypass;
mod client;
mod factor;
mod fields;
mod forwarded;
mod page;
mod patch;
mod path;
mod refusal;
mod signed_in;
mod time;
mod upload;

pub(crate) use body::read_body;
pub use body::{Form, FormOrJson, Json, OptionalJson, ValidJson};
pub use client::ClientInfo;
pub(crate) use client::is_from_proxy;
pub(crate) use factor::FactorCaller;
pub(crate) use fields::words;
pub use page::{PageIn, array, encode_token, next_token, page};
pub use patch::Patch;
pub use path::{Path, Paths, Query};
pub(crate) use refusal::Asked;
pub use signed_in::SignedIn;
pub(crate) use signed_in::{ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE};
pub(crate) use time::time;
pub use upload::PictureUpload;
