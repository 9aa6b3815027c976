//! Cleaning of what user code produced: PostgreSQL takes neither NUL nor lone surrogates, and one row must never be able
//! to poison a batch.

use serde_json::{Map, Value};

/// Deepest nesting that is accepted.
pub(crate) const MAX_DEPTH: usize = 100;

/// Replaces NUL by U+FFFD.
pub(crate) fn clean(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

/// Cleans every text inside `value`, keys included. `value` comes from a parser with a depth limit.
pub(crate) fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter_mut().for_each(clean_value),
        Value::Object(map) => clean_map(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cleans the texts of an object, keys included.
pub(crate) fn clean_map(map: &mut Map<String, Value>) {
    if map.keys().any(|key| key.contains('\0')) {
        *map = std::mem::take(map)
            .into_iter()
            .map(|(mut key, value)| {
                clean(&mut key);
                (key, value)
            })
            .collect();
    }
    map.values_mut().for_each(clean_value);
}

/// Cuts `text` to `limit` bytes at a character boundary and says how many are missing.
pub(crate) fn cut(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    let all = text.len();
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(&format!("… [line cut: {} bytes]", all - end));
}

/// Checks JSON text that is kept as text. `Ok(true)`: it has to be written again ([`rewrite_raw`]) before it can be stored.
pub(crate) fn inspect_raw(json: &str) -> Result<bool, String> {
    let (mut depth, mut in_text, mut rewrite) = (0_usize, false, false);
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (in_text, byte) {
            (true, b'\\') => {
                // `\u0000` and surrogates; a pair of surrogates is fine, which only the parser can tell.
                if let Some([b'u', first, second, ..]) = bytes.get(at + 1..at + 6) {
                    rewrite |= matches!((first, second), (b'0', b'0') | (b'd' | b'D', _));
                }
                at += 1;
            }
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("nested deeper than {MAX_DEPTH}"));
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            // Compact text has no space outside of its strings.
            (false, b' ' | b'\n' | b'\t' | b'\r') => rewrite = true,
            _ => {}
        }
        at += 1;
    }
    Ok(rewrite)
}

/// JSON text (which a parser has accepted) as it can be stored: without space between its tokens, and with U+FFFD for NUL. It is never held
/// as a value: sixty megabytes of short numbers would be a gigabyte.
///
/// # Errors
/// Half of a surrogate pair.
pub(crate) fn rewrite_raw(json: &str) -> Result<String, String> {
    let mut written = String::with_capacity(json.len());
    let mut rest = json;
    let mut in_text = false;
    while let Some(at) = rest.find(['"', '\\', ' ', '\n', '\t', '\r']) {
        let (plain, from) = rest.split_at(at);
        written.push_str(plain);
        let length = match from.as_bytes() {
            [b'"', ..] => {
                in_text = !in_text;
                written.push('"');
                1
            }
            [b'\\', b'u', ..] => escape(from, &mut written)?,
            [b'\\', ..] => {
                written.push_str(from.get(..2).ok_or("an escape that does not end")?);
                2
            }
            _ => {
                if in_text {
                    written.push_str(&from[..1]);
                }
                1
            }
        };
        rest = &from[length..];
    }
    written.push_str(rest);
    Ok(written)
}

/// Writes the `\uXXXX` (or the pair of them) that `from` begins with; how long it was.
fn escape(from: &str, written: &mut String) -> Result<usize, String> {
    let unit = |at: usize| {
        let digits = from.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0).ok_or("an escape that does not end")?;
    let length = match (first, unit(6)) {
        (0, _) => {
            written.push('\u{fffd}');
            return Ok(6);
        }
        (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => 12,
        (0xd800..=0xdfff, _) => return Err("half of a surrogate pair".to_owned()),
        _ => 6,
    };
    written.push_str(&from[..length]);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn nul_is_replaced_everywhere() {
        let mut value = json!({"a\0": ["x\0y", {"b": "\0"}]});
        clean_value(&mut value);
        assert_eq!(value, json!({"a\u{fffd}": ["x\u{fffd}y", {"b": "\u{fffd}"}]}));
    }

    #[test]
    fn a_cut_respects_characters() {
        let mut text = "äöü".to_owned();
        cut(&mut text, 3);
        assert_eq!(text, "ä… [line cut: 4 bytes]");
        let mut short = "ab".to_owned();
        cut(&mut short, 2);
        assert_eq!(short, "ab");
    }

    #[test]
    fn raw_json_is_kept_only_when_it_can_be_stored() {
        assert_eq!(inspect_raw(r#"{"a":[1,"x y","\\u0000"]}"#), Ok(false));
        assert_eq!(inspect_raw(r#"["\u0000"]"#), Ok(true));
        assert_eq!(inspect_raw(r#"["\ud800"]"#), Ok(true));
        assert_eq!(inspect_raw(r#"{"a": 1}"#), Ok(true));
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(inspect_raw(&deep(MAX_DEPTH)), Ok(false));
        assert!(inspect_raw(&deep(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn what_is_written_again_is_the_same_without_nul_and_space() {
        let raw = " { \"a b\" : [ 1 , \"\\u0000\\\\u0000\\\"\\u00e9 \\ud83d\\ude00\", -0.5e3 ] ,\n\t\"\\u0000\":null } ";
        let written = rewrite_raw(raw).expect("it can be stored");
        assert_eq!(
            written,
            "{\"a b\":[1,\"\u{fffd}\\\\u0000\\\"\\u00e9 \\ud83d\\ude00\",-0.5e3],\"\u{fffd}\":null}"
        );
        assert_eq!(inspect_raw(&written), Ok(true), "a pair of surrogates is looked at again");
        assert_eq!(rewrite_raw(&written).as_deref(), Ok(written.as_str()));
        for half in [r#"["\ud800"]"#, r#"["\udc00\ud800"]"#, r#"["\ud800\u0041"]"#, r#"["\ud800"#] {
            assert!(rewrite_raw(half).is_err(), "{half}");
        }
    }

    proptest! {
        #[test]
        fn a_value_that_is_written_again_is_the_cleaned_value(texts in proptest::collection::vec(any::<String>(), 0..6), pretty: bool) {
            let mut value = json!({"list": texts, "nested": {"n\0": [1, 2.5, null, true]}});
            let raw = if pretty { format!("{value:#}") } else { value.to_string() };
            let written = rewrite_raw(&raw).expect("it can be stored");
            clean_value(&mut value);
            prop_assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), value);
        }
    }
}
