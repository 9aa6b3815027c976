//! What is wrong with the fields that a caller gave: all of it is gathered before a command answers.

use bifrost_domain::error::{Error, Field, Result};

/// Refuses what has bad fields.
///
/// # Errors
/// Invalid, with every field that was gathered.
pub(crate) fn refuse(fields: Vec<Field>) -> Result<()> {
    if fields.is_empty() { Ok(()) } else { Err(Error::invalid_fields(fields)) }
}

/// Adds a bad field.
pub(crate) fn wrong(
    fields: &mut Vec<Field>,
    path: impl Into<String>,
    code: &'static str,
    message: impl Into<String>,
) {
    fields.push(Field { path: path.into(), code: code.into(), message: message.into() });
}

/// The field `name`, without space around it: 1 to `most` characters.
pub(crate) fn checked_name(name: &str, most: usize, fields: &mut Vec<Field>) -> String {
    let name = name.trim();
    if !(1..=most).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        wrong(
            fields,
            "name",
            "length",
            format!("must have 1 to {most} characters and no control characters"),
        );
    }
    name.to_owned()
}

/// The field `description`: at most `most` characters.
pub(crate) fn checked_description(
    text: Option<String>,
    most: usize,
    fields: &mut Vec<Field>,
) -> Option<String> {
    let text = text?;
    if text.chars().count() > most || text.contains('\0') {
        wrong(fields, "description", "too_long", format!("must have at most {most} characters and no NUL"));
    }
    Some(text)
}
