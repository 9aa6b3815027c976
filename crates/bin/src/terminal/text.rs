//! Text from elsewhere, made harmless: a log line must not move the cursor, change the title, or look like another line.

use std::borrow::Cow;

/// Whether a letter steers a terminal or turns the direction of what follows.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, kept: &[char]) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_harmful(letter) && !kept.contains(&letter) {
            match letter {
                '\n' => safe.push_str("\\n"),
                '\r' => safe.push_str("\\r"),
                '\t' => safe.push_str("\\t"),
                other => safe.extend(other.escape_unicode()),
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Text for one line: every control letter is shown as its escape.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_harmful) { Cow::Owned(escaped(text, &[])) } else { Cow::Borrowed(text) }
}

/// Text of several lines: breaks and tabs stay, and each further line begins with `indent`.
#[must_use]
pub fn block(text: &str, indent: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split('\n');
    let mut safe = escaped(lines.next().unwrap_or_default(), &['\t']);
    for more in lines {
        safe.push('\n');
        safe.push_str(indent);
        safe.push_str(&escaped(more, &['\t']));
    }
    safe
}

/// A whole document for a terminal: as it is but for what would steer it.
#[must_use]
pub fn document(text: &str) -> String {
    block(text, "")
}

/// At most `columns` wide; what is cut ends in `…`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    console::truncate_str(text, columns, "…")
}

/// How many columns a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// `1.4 s`, `3 min 5 s`, `2 h 3 min`.
#[must_use]
pub fn duration(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A time of the API (RFC 3339 in UTC), cut to `digits` of its fraction.
#[must_use]
pub fn time(rfc3339: &str, digits: usize) -> String {
    let Some((whole, rest)) = rfc3339.split_once('.') else { return line(rfc3339).into_owned() };
    let fraction = rest.trim_end_matches('Z');
    let fraction: String = fraction.chars().chain("000000".chars()).take(digits).collect();
    let dot = if digits == 0 { "" } else { "." };
    line(&format!("{whole}{dot}{fraction}Z")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(line("plain äöü 漢字 👩‍👩‍👧"), "plain äöü 漢字 👩‍👩‍👧");
        assert_eq!(line("\u{1b}[2J\u{1b}]0;title\u{7}"), "\\u{1b}[2J\\u{1b}]0;title\\u{7}");
        assert_eq!(line("a\nb\r\tc\u{9b}31m\u{7f}"), "a\\nb\\r\\tc\\u{9b}31m\\u{7f}");
        assert_eq!(line("abc\u{202e}fed"), "abc\\u{202e}fed");
    }

    #[test]
    fn further_lines_cannot_pass_for_lines_of_their_own() {
        assert_eq!(
            block("first\r\nsecond\n2026-11-25 ERROR faked", "  | "),
            "first\n  | second\n  | 2026-11-25 ERROR faked"
        );
        assert_eq!(block("over\rwritten\tx", ""), "over\\rwritten\tx");
        assert_eq!(document("a\n\u{1b}[0m"), "a\n\\u{1b}[0m");
    }

    #[test]
    fn durations_and_times_are_read_at_a_glance() {
        for (milliseconds, text) in [
            (-5, "0 ms"),
            (7, "7 ms"),
            (1_499, "1.4 s"),
            (59_999, "59.9 s"),
            (185_000, "3 min 5 s"),
            (7_380_000, "2 h 3 min"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
        assert_eq!(time("2026-11-21T01:05:46.659106Z", 3), "2026-11-21T01:05:46.659Z");
        assert_eq!(time("2026-11-21T01:05:46.6Z", 3), "2026-11-21T01:05:46.600Z");
        assert_eq!(time("2026-11-21T01:05:46.659106Z", 0), "2026-11-21T01:05:46Z");
        assert_eq!(time("2026-11-21T01:05:46Z", 3), "2026-11-21T01:05:46Z");
    }
}
