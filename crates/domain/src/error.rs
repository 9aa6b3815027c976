//! The one error that crosses the application. It knows kinds, not status codes: `api` decides HTTP in one `match`.

use std::borrow::Cow;

/// What went wrong, as a caller may hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense as a whole (400).
    BadRequest,
    /// Single fields are wrong; each is in [`Error::fields`] (422).
    Invalid,
    /// Who calls is not known (401).
    Unauthenticated,
    /// The caller is known and may not (403).
    Forbidden,
    /// There is no such object, or it is another tenant's (404).
    NotFound,
    /// It was there and is gone for good (410).
    Gone,
    /// The object's state does not allow it (409).
    Conflict,
    /// A bound was crossed (413).
    TooLarge,
    /// Too many requests; try again after the given time (429).
    TooMany {
        /// Seconds until another try makes sense.
        retry_after_seconds: u64,
    },
    /// Something that is needed is away for now (503).
    Unavailable,
    /// Our fault (500): the caller sees an id and nothing else.
    Internal,
}

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// JSON path, e.g. `input_data.email`.
    pub path: String,
    /// A stable word for programs, e.g. `required`, `type`, `too_long`.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

/// An error with the text for the caller and, apart from it, the cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// What the caller reads; it says what to do.
    pub message: Cow<'static, str>,
    /// A stable word for programs, when the kind alone does not tell.
    pub code: Option<&'static str>,
    /// The bad fields of [`Kind::Invalid`].
    pub fields: Vec<Field>,
    /// The cause, for the log only.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result of the application.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that tells the caller `message`.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), code: None, fields: Vec::new(), source: None }
    }

    /// [`Kind::BadRequest`].
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// [`Kind::Unauthenticated`].
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, message)
    }

    /// [`Kind::Forbidden`].
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    /// [`Kind::NotFound`]: the same text for what does not exist and for what is another tenant's.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} not found"))
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::Unavailable`].
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// [`Kind::Invalid`] with one bad field.
    pub fn invalid(
        path: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::invalid_fields(vec![Field { path: path.into(), code: code.into(), message: message.into() }])
    }

    /// [`Kind::Invalid`] with all bad fields; the detail names the first.
    #[must_use]
    pub fn invalid_fields(fields: Vec<Field>) -> Self {
        let detail = match fields.as_slice() {
            [] => "the request is not valid".to_owned(),
            [one] => format!("`{}` {}", one.path, one.message),
            [first, rest @ ..] => format!("`{}` {} (and {} more)", first.path, first.message, rest.len()),
        };
        Self { fields, ..Self::new(Kind::Invalid, detail) }
    }

    /// [`Kind::Internal`] with its cause.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::new(Kind::Internal, "internal error") }
    }

    /// Adds a stable word for programs.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
