//! JSON as text: indented without being parsed into numbers, so that an integer of any length and every fraction arrive as they
//! were sent.

use std::fmt::Write;

/// Indents valid JSON by two spaces. Letters that steer a terminal are written as escapes, which JSON allows inside texts (and
/// they stand nowhere else).
#[must_use]
pub fn pretty(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut letters = raw.chars().filter(|letter| !matches!(letter, '\n' | '\r')).peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            push(&mut out, letter);
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match letter {
            ' ' | '\t' => {}
            '"' => {
                in_text = true;
                out.push('"');
            }
            '{' | '[' => {
                out.push(letter);
                while letters.peek().is_some_and(|next| matches!(next, ' ' | '\t')) {
                    letters.next();
                }
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => out.push(other),
        }
    }
    out
}

/// JSON on one line, as safe as [`pretty`].
#[must_use]
pub fn safe(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    raw.chars().for_each(|letter| push(&mut out, letter));
    out
}

fn push(out: &mut String, letter: char) {
    if matches!(letter, '\n' | '\r' | '\t') {
        // Between values only: inside texts JSON has them as escapes.
    } else if super::text::line(letter.encode_utf8(&mut [0; 4])).starts_with('\\') && letter != '\\' {
        let _ = write!(out, "\\u{:04x}", u32::from(letter));
    } else {
        out.push(letter);
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_are() {
        let raw = r#"{"n":123456789012345678901234567890,"f":1.10,"t":"a\"{[,:\\","e":{},"l":[],"deep":[1,{"x":null}]}"#;
        let text = "{\n  \"n\": 123456789012345678901234567890,\n  \"f\": 1.10,\n  \"t\": \"a\\\"{[,:\\\\\",\n  \"e\": {},\n  \"l\": [],\n  \"deep\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}";
        assert_eq!(pretty(raw), text);
        assert_eq!(pretty(text), text, "what is indented stays so");
        assert_eq!(pretty("\"ü 漢\""), "\"ü 漢\"");
        assert_eq!(pretty("[ ]"), "[]");
    }

    #[test]
    fn letters_that_steer_are_escapes() {
        assert_eq!(pretty("\"\u{9b}31m\u{7f}\u{202e}\""), "\"\\u009b31m\\u007f\\u202e\"");
        assert_eq!(safe("{\"a\":\"\u{9b}\"}"), "{\"a\":\"\\u009b\"}");
        assert_eq!(safe("{\n\t\"a\":1}"), "{\"a\":1}");
        assert_eq!(safe(r#"{"a":"\\n"}"#), r#"{"a":"\\n"}"#);
    }
}
