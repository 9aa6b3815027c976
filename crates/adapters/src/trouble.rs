//! Why a server cannot be used, in two wordings.

/// Why a connection was not made, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// One line for the log and for `bifrost doctor`: where, what, and what to do about it. No credentials.
    pub(crate) reason: String,
    /// The same for everybody, without names and addresses, when an operator has to change something: no waiting helps.
    pub(crate) misconfigured: Option<&'static str>,
}

impl Trouble {
    /// It is merely away.
    pub(crate) fn away(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), misconfigured: None }
    }

    /// An operator has to change something.
    pub(crate) fn misconfigured(reason: impl Into<String>, for_everybody: &'static str) -> Self {
        Self { reason: reason.into(), misconfigured: Some(for_everybody) }
    }
}

/// What a server said, fit for a line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
