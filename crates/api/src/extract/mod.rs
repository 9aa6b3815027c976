//! What handlers take. The stock extractors answer rejections in their own words, so none of them is used: each of these
//! answers with a problem that names the field.

mod body;
pub mod bypass;
mod client;
mod page;
mod patch;
mod path;
mod signed_in;

pub use body::{Form, Json, OptionalJson, ValidJson};
pub use client::ClientInfo;
pub use page::{PageIn, encode_token};
pub use patch::Patch;
pub use path::{Path, Query};
pub use signed_in::SignedIn;
pub(crate) use signed_in::{ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE};

use bifrost_domain::error::{Error, Field};
use serde::de::DeserializeOwned;

/// The field that a value could not be read from, in our words.
fn field(error: &serde_path_to_error::Error<impl std::fmt::Display>) -> Field {
    let path = match error.path().to_string() {
        path if path == "." => String::new(),
        path => path,
    };
    let text = error.inner().to_string();
    // serde_json adds the position, which the path makes superfluous.
    let text = text.split(" at line ").next().unwrap_or(&text);
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        return Field { path, code: "required".into(), message: "is required".to_owned() };
    }
    let path = if path.is_empty() { "body".to_owned() } else { path };
    if let Some((given, expected)) =
        text.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        return Field { path, code: "type".into(), message: format!("must be {expected}, not {given}") };
    }
    Field { path, code: "value".into(), message: text.to_owned() }
}

/// Reads `a=1&b=2` texts: forms and queries.
fn from_urlencoded<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let deserializer = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text));
    serde_path_to_error::deserialize(deserializer).map_err(|error| Error::invalid_fields(vec![field(&error)]))
}
