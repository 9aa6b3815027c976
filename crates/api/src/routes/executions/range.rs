//! Which part of something that does not change is asked for, if any: RFC 9110, sections 13 and 14.

use axum::http::{HeaderMap, HeaderName, header};
use std::ops::Range;

/// What is there.
pub(super) struct Named {
    /// Its entity tag with the quotes, a strong one; `None` when it may still change, so that there are no parts of it.
    pub(super) tag: Option<String>,
    /// Its size in bytes, at least 1.
    pub(super) size: u64,
}

/// What of it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that are not there.
    Outside,
    /// Nothing, when it is still the one that the caller has.
    Known,
}

impl Named {
    pub(super) fn asked(&self, headers: &HeaderMap) -> Selection {
        let Some(tag) = &self.tag else { return Selection::Whole };
        if is_known(headers, tag) {
            return Selection::Known;
        }
        // Two headers, or one that cannot be read, are no range; and a part of another version would not fit to what the caller has.
        let of_this =
            headers.get(header::IF_RANGE).is_none() || one(headers, header::IF_RANGE) == Some(tag.as_str());
        match one(headers, header::RANGE) {
            Some(text) if of_this => self.part(text),
            _ => Selection::Whole,
        }
    }

    /// What is malformed, in another unit, or several ranges, counts as not said.
    fn part(&self, text: &str) -> Selection {
        let Some((unit, range)) = text.split_once('=') else { return Selection::Whole };
        let Some((first, last)) = range.trim().split_once('-') else { return Selection::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Selection::Whole;
        }
        let (first, last) = match (number(first), number(last)) {
            (Some(Digits::Number(first)), Some(Digits::None)) => (first, u64::MAX),
            (Some(Digits::Number(first)), Some(Digits::Number(last))) if first <= last => (first, last),
            (Some(Digits::None), Some(Digits::Number(0))) => return Selection::Outside,
            (Some(Digits::None), Some(Digits::Number(length))) => {
                (self.size.saturating_sub(length), u64::MAX)
            }
            _ => return Selection::Whole,
        };
        if first >= self.size {
            Selection::Outside
        } else {
            Selection::Part(first..last.saturating_add(1).min(self.size))
        }
    }
}

enum Digits {
    None,
    Number(u64),
}

/// Digits and nothing else; more than fit are the most there is.
fn number(text: &str) -> Option<Digits> {
    if text.is_empty() {
        return Some(Digits::None);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Digits::Number(text.parse().unwrap_or(u64::MAX)))
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Compared weakly: a proxy that compressed it may have made the tag weak.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn asked(headers: &[(HeaderName, &str)]) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        Named { tag: Some("\"1-7\"".to_owned()), size: 100 }.asked(&map)
    }

    #[test]
    fn one_range_is_a_part_and_anything_unclear_the_whole() {
        for (text, expected) in [
            ("bytes=0-0", Selection::Part(0..1)),
            ("bytes=10-19", Selection::Part(10..20)),
            ("Bytes = 10-", Selection::Part(10..100)),
            ("bytes=99-", Selection::Part(99..100)),
            ("bytes=0-99999999999999999999999999", Selection::Part(0..100)),
            ("bytes=-1", Selection::Part(99..100)),
            ("bytes=-100", Selection::Part(0..100)),
            ("bytes=-5000", Selection::Part(0..100)),
            ("bytes=100-", Selection::Outside),
            ("bytes=100-200", Selection::Outside),
            ("bytes=99999999999999999999999999-", Selection::Outside),
            ("bytes=-0", Selection::Outside),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=2-1", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=1", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(asked(&[(header::RANGE, text)]), expected, "{text}");
        }
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=5-6")];
        assert_eq!(asked(&twice), Selection::Whole);
        let changing = Named { tag: None, size: 100 };
        let map = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(changing.asked(&map), Selection::Whole);
    }

    #[test]
    fn conditions_decide_first() {
        let part = (header::RANGE, "bytes=1-2");
        for (condition, expected) in [
            ((header::IF_RANGE, "\"1-7\""), Selection::Part(1..3)),
            ((header::IF_RANGE, "W/\"1-7\""), Selection::Whole),
            ((header::IF_RANGE, "\"2-7\""), Selection::Whole),
            ((header::IF_RANGE, "Fri, 20 Nov 2026 12:00:00 GMT"), Selection::Whole),
            ((header::IF_NONE_MATCH, "\"1-7\""), Selection::Known),
            ((header::IF_NONE_MATCH, "\"0-1\", W/\"1-7\""), Selection::Known),
            ((header::IF_NONE_MATCH, "*"), Selection::Known),
            ((header::IF_NONE_MATCH, "\"2-7\""), Selection::Part(1..3)),
        ] {
            assert_eq!(asked(&[part.clone(), condition.clone()]), expected, "{condition:?}");
        }
    }
}
