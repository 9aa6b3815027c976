//! What a key may be; the same for every store, so that a key that works in one works in all.

use bifrost_domain::ports::objects::{Error, MAX_KEY, MAX_KEY_SEGMENT};

/// Refuses keys that the port's contract excludes.
pub(super) fn check(key: &str) -> Result<(), Error> {
    let good = key.len() <= MAX_KEY
        && !key.contains(|c: char| c == '\\' || c.is_control())
        && key.split('/').all(|segment| {
            !matches!(segment, "" | "." | "..")
                && segment.len() <= MAX_KEY_SEGMENT
                && !is_staging_name(segment)
        });
    if good {
        return Ok(());
    }
    // Bounded and without control characters: it goes into messages and logs.
    Err(Error::BadKey(key.chars().take(100).flat_map(char::escape_debug).collect()))
}

/// Whether the folder store would take it for a file that is still being written.
fn is_staging_name(segment: &str) -> bool {
    segment
        .split_once('#')
        .is_some_and(|(_, tail)| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_bad_key_is_short_and_printable() {
        let error = check(&"\n\u{1b}[31m".repeat(10_000)).expect_err("control characters");
        let text = error.to_string();
        assert!(text.len() < 1_200 && !text.contains(char::is_control), "{text}");
    }

    #[test]
    fn unusual_keys_are_good() {
        for key in ["a", "a b/c", "..a", "a..", "a#b", "a#", "#", "%2e%2e/x", "ü"] {
            assert!(check(key).is_ok(), "{key}");
        }
    }
}
