//! What happens to every request around its handler.

pub(crate) mod bounds;
pub(crate) mod headers;
pub(crate) mod measure;
pub(crate) mod request;
pub(crate) mod timeout;
pub(crate) mod unread;
