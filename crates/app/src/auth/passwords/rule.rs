//! Which passwords people may choose (NIST SP 800-63B, 3.1.1.2): long enough, not one that everybody tries first, not the own address
//! or name. No rule about kinds of characters: it makes passwords worse.

use bifrost_domain::error::Field;
use std::{collections::HashSet, sync::LazyLock};

/// Longer ones are refused: nobody types them, and they cost work.
const MAX: usize = 256;

/// The passwords that everybody tries first, lower case, one a line.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// What a password is held to.
#[derive(Debug, Clone, Copy)]
pub struct PasswordRule<'a> {
    /// Characters at least.
    pub min_length: usize,
    /// The address of whom it is for.
    pub email: &'a str,
    /// The name of whom it is for.
    pub name: Option<&'a str>,
}

/// What is wrong with a password that somebody chose, under the path of its field; the password itself is never repeated.
///
/// # Errors
/// The field.
pub fn check(password: &str, path: &str, rule: &PasswordRule<'_>) -> Result<(), Field> {
    let wrong = |code: &'static str, message: String| {
        Err(Field { path: path.to_owned(), code: code.into(), message })
    };
    let length = password.chars().count();
    if length < rule.min_length || length > MAX {
        let code = if length < rule.min_length { "too_short" } else { "too_long" };
        return wrong(code, format!("must have {} to {MAX} characters", rule.min_length));
    }
    let lower = password.trim().to_lowercase();
    let first = lower.chars().next();
    // A sign behind it helps nobody.
    let bare = lower.trim_end_matches(|letter: char| !letter.is_alphanumeric());
    if COMMON.contains(lower.as_str())
        || COMMON.contains(bare)
        || lower.chars().all(|letter| Some(letter) == first)
    {
        return wrong(
            "too_common",
            "is one of the passwords that are tried first; choose another one".to_owned(),
        );
    }
    if is_own(&lower, rule) {
        return wrong("own_name", "must not be your address or name".to_owned());
    }
    Ok(())
}

/// Whether it is the address, its local part, or the name, also with digits and signs behind it.
fn is_own(lower: &str, rule: &PasswordRule<'_>) -> bool {
    let letters = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
    let stem = |text: &str| letters(text.trim_end_matches(|letter: char| !letter.is_alphabetic()));
    let email = rule.email.to_lowercase();
    let local = email.split('@').next().unwrap_or_default();
    let name = rule.name.unwrap_or_default().to_lowercase();
    [email.as_str(), local, &name].into_iter().filter(|own| !own.is_empty()).any(|own| {
        let own_stem = stem(own);
        lower == own || (!own_stem.is_empty() && stem(lower) == own_stem) || letters(lower) == letters(own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(password: &str) -> Option<String> {
        let rule =
            PasswordRule { min_length: 8, email: "ann.smith@acme.example", name: Some("Ann Ødegård") };
        check(password, "password", &rule).err().map(|field| {
            assert!(!field.message.contains(password), "the password is not repeated");
            field.code.into_owned()
        })
    }

    #[test]
    fn the_bounds_are_in_characters() {
        assert_eq!(code("sésame!").as_deref(), Some("too_short"));
        assert_eq!(code("sésame!!"), None);
        assert_eq!(code(&"ab".repeat(128)), None);
        assert_eq!(code(&format!("{}c", "ab".repeat(128))).as_deref(), Some("too_long"));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_in_any_case() {
        for password in ["password1", "PassWord123", "qwertyuiop", "12345678", "Password123!?", "zzzzzzzzzz"]
        {
            assert_eq!(code(password).as_deref(), Some("too_common"), "{password}");
        }
        assert_eq!(code("a long password"), None);
    }

    #[test]
    fn the_own_address_and_name_are_refused() {
        for password in [
            "ann.smith@acme.example",
            "Ann.Smith",
            "annsmith",
            "ann.smith2026!",
            "Ann Ødegård",
            "annødegård1",
        ] {
            assert_eq!(code(password).as_deref(), Some("own_name"), "{password}");
        }
        assert_eq!(code("annual smithery"), None);
    }

    #[test]
    fn the_list_is_long_and_clean() {
        let lines: Vec<&str> =
            include_str!("common.txt").lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() >= 1_000, "{}", lines.len());
        assert_eq!(COMMON.len(), lines.len(), "no line is there twice");
        for line in lines {
            // A shorter one is refused for its length.
            assert!(
                line.chars().count() >= 8 && line == line.to_lowercase() && line.trim() == line,
                "{line}"
            );
        }
    }
}
