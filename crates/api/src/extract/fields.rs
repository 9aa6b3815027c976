//! Reads JSON and forms, and names every field that cannot be read.
//!
//! Serde stops at the first bad field. So after a failure that field is put right in a copy, with a value that may or may not be
//! of its type, and the copy is read again: the next failure is the next bad field, or tells that the value did not fit and
//! another is to be tried. What was read from a mended copy is thrown away. Serde's words are translated by [`words`].

use bifrost_domain::error::{Error, Field};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment;
use std::borrow::Cow;
use url::form_urlencoded;

/// Fields that are named at most.
const MAX_FIELDS: usize = 50;
/// Bytes that are read again at most to find more bad fields; a large body names fewer of them.
const MAX_READ_AGAIN: usize = 8 * 1024 * 1024;
/// A larger body is not taken apart to find more bad fields: as a value it may take twenty times its size.
const MAX_TAKEN_APART: usize = 2 * 1024 * 1024;
/// How a time is written.
const TIME: &str = "an RFC 3339 time like `2026-01-31T08:00:00Z`";
/// Values that stand in for a bad text of a query or form.
const TEXTS: &[&str] = &["", "0", "false", "00000000-0000-0000-0000-000000000000", "1970-01-01T00:00:00Z"];

/// A JSON object.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // Some programs of Windows begin UTF-8 with a mark, which RFC 8259 lets a reader pass over.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // What serde derives for a struct reads a list as well, by position; nobody means that.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Error::invalid("body", "type", "must be an object, not a list"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let first = match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(value) => {
            deserializer.end().map_err(|error| no_json(body, &error))?;
            return Ok(value);
        }
        Err(error) if error.inner().is_data() => Bad::of(&error),
        // Serde calls some wrong types bad syntax, an enum's: as a value they are told from it.
        Err(error) => {
            let whole = (body.len() <= MAX_TAKEN_APART).then(|| serde_json::from_slice::<Value>(body).ok());
            match whole.flatten().map(|value| value.read::<T>()) {
                Some(Err(bad)) => bad,
                _ => return Err(no_json(body, error.inner())),
            }
        }
    };
    if body.len() > MAX_TAKEN_APART {
        return Err(Error::invalid_fields(vec![first.field()]));
    }
    let draft: Value = serde_json::from_slice(body).map_err(|error| no_json(body, &error))?;
    Err(Error::invalid_fields(collect::<T, _>(draft, first, body.len())))
}

/// `a=1&b=2`: forms and queries.
pub(super) fn from_urlencoded<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let draft = Pairs(form_urlencoded::parse(text).into_owned().collect());
    match draft.read() {
        Ok(value) => Ok(value),
        Err(first) => Err(Error::invalid_fields(collect::<T, _>(draft, first, text.len()))),
    }
}

fn no_json(body: &[u8], error: &serde_json::Error) -> Error {
    let text = error.to_string();
    // Both are JSON, and more than is read of it.
    if text.starts_with("recursion limit exceeded") {
        return Error::invalid("body", "depth", "is nested deeper than 127 levels");
    }
    if text.starts_with("number out of range") {
        return Error::invalid("body", "range", format!("has a number that is too large ({})", place(error)));
    }
    if let Err(broken) = std::str::from_utf8(body) {
        let message = format!("the body is not UTF-8 (byte {})", broken.valid_up_to());
        return Error::bad_request(message).with_code("json_syntax");
    }
    Error::bad_request(format!("the body is not JSON: {text}")).with_code("json_syntax")
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// A step on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Name(String),
    Index(usize),
}

/// A field that could not be read.
struct Bad {
    at: Vec<Key>,
    code: &'static str,
    message: Cow<'static, str>,
}

impl Bad {
    fn of(error: &serde_path_to_error::Error<impl std::fmt::Display>) -> Self {
        let mut at: Vec<Key> = error
            .path()
            .iter()
            .map(|segment| match segment {
                Segment::Seq { index } => Key::Index(*index),
                Segment::Map { key } => Key::Name(key.clone()),
                Segment::Enum { variant } => Key::Name(variant.clone()),
                Segment::Unknown => Key::Name("?".to_owned()),
            })
            .collect();
        let text = error.inner().to_string();
        // Serde names these at the object that they are of.
        for (prefix, code, message) in [
            ("missing field `", "required", "is required"),
            ("duplicate field `", "duplicate", "is given more than once"),
            ("unknown field `", "unknown", "is not known"),
        ] {
            if let Some(name) = text.strip_prefix(prefix).and_then(|rest| rest.split('`').next()) {
                at.push(Key::Name(name.to_owned()));
                return Self { at, code, message: message.into() };
            }
        }
        let (code, message) = words(&text);
        Self { at, code, message }
    }

    fn field(&self) -> Field {
        let mut path = String::new();
        for key in &self.at {
            match key {
                Key::Name(name) if path.is_empty() => path.push_str(name),
                Key::Name(name) => path.push_str(&format!(".{name}")),
                Key::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() {
            path.push_str("body");
        }
        Field { path, code: self.code.into(), message: self.message.clone().into_owned() }
    }
}

/// Something that is read, and put right field by field.
trait Draft {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Bad>;

    /// Puts the value number `attempt` at `at`; false when there is none left or no such place.
    fn mend(&mut self, at: &[Key], attempt: usize) -> bool;
}

impl Draft for Value {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Bad> {
        serde_path_to_error::deserialize(self).map_err(|error| Bad::of(&error))
    }

    fn mend(&mut self, at: &[Key], attempt: usize) -> bool {
        let mut values = vec![Self::Null, json!(0), json!(false), json!([]), json!({})];
        values.extend(TEXTS.iter().map(|text| json!(text)));
        let (Some(value), Some((last, way))) = (values.into_iter().nth(attempt), at.split_last()) else {
            return false;
        };
        let mut parent = self;
        for key in way {
            let next = match key {
                Key::Name(name) => parent.get_mut(name.as_str()),
                Key::Index(index) => parent.get_mut(*index),
            };
            let Some(next) = next else { return false };
            parent = next;
        }
        match (parent, last) {
            (Self::Object(fields), Key::Name(name)) => {
                fields.insert(name.clone(), value);
                true
            }
            (Self::Array(items), Key::Index(index)) if *index < items.len() => {
                items[*index] = value;
                true
            }
            _ => false,
        }
    }
}

/// Names and texts, as they came.
struct Pairs(Vec<(String, String)>);

impl Draft for Pairs {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Bad> {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish();
        let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
        serde_path_to_error::deserialize(deserializer).map_err(|error| Bad::of(&error))
    }

    fn mend(&mut self, at: &[Key], attempt: usize) -> bool {
        let [Key::Name(name)] = at else { return false };
        self.0.retain(|(known, _)| known != name);
        // First without it: most may be left out.
        let Some(number) = attempt.checked_sub(1) else { return true };
        let Some(text) = TEXTS.get(number) else { return false };
        self.0.push((name.clone(), (*text).to_owned()));
        true
    }
}

/// Every bad field of `draft`, of which `first` is known. `size`: what one reading costs.
fn collect<T: DeserializeOwned, D: Draft>(mut draft: D, first: Bad, size: usize) -> Vec<Field> {
    let attempts = MAX_FIELDS * (TEXTS.len() + 5);
    let mut fields = vec![first.field()];
    let mut named = vec![first.at];
    let mut mended: Option<(Vec<Key>, usize)> = None;
    for _ in 0..attempts.min(MAX_READ_AGAIN / size.max(1)) {
        let Err(bad) = draft.read::<T>() else { break };
        let attempt = match mended {
            Some((at, attempt)) if at == bad.at => attempt + 1,
            _ => 0,
        };
        // What is inside of a field that stands in for another is none of the caller's.
        if attempt == 0 && !named.iter().any(|known| bad.at.starts_with(known)) {
            if fields.len() == MAX_FIELDS {
                break;
            }
            fields.push(bad.field());
            named.push(bad.at.clone());
        }
        if !draft.mend(&bad.at, attempt) {
            break;
        }
        mended = Some((bad.at, attempt));
    }
    fields
}

/// The code and the text for people of what a library says that a value is not.
pub(crate) fn words(text: &str) -> (&'static str, Cow<'static, str>) {
    // serde_json adds the position, which the path makes superfluous.
    let text = text.split(" at line ").next().unwrap_or(text);
    if let Some((given, expected)) =
        text.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let must = kind(expected);
        return (
            "type",
            given_kind(given).map_or_else(|| must.clone(), |given| format!("{must}, not {given}")).into(),
        );
    }
    for prefix in ["invalid value: ", "invalid length ", "unknown variant `"] {
        if let Some((_, expected)) = text.strip_prefix(prefix).and_then(|rest| rest.split_once(", expected "))
        {
            return ("value", kind(expected).into());
        }
    }
    match text {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            ("type", "must be a whole number".into())
        }
        "number too large to fit in target type" | "number too small to fit in target type" => {
            ("range", "is out of range".into())
        }
        "invalid float literal" | "cannot parse float from empty string" => {
            ("type", "must be a number".into())
        }
        "provided string was not `true` or `false`" => ("type", "must be true or false".into()),
        "input contains invalid characters"
        | "input is not enough for unique date and time"
        | "input is out of range"
        | "no possible date and time matching input"
        | "premature end of input"
        | "trailing input" => ("format", format!("must be {TIME}").into()),
        _ if [
            "UUID parsing failed",
            "invalid character: ",
            "invalid length: ",
            "invalid group ",
            "invalid UUID",
        ]
        .iter()
        .any(|start| text.starts_with(start)) =>
        {
            ("format", "must be a UUID".into())
        }
        _ => ("value", text.to_owned().into()),
    }
}

/// `must be …` for what a library expected.
fn kind(expected: &str) -> String {
    let unsigned = |most: u64| format!("must be a whole number from 0 to {most}");
    match expected {
        "a string" | "str" | "string" | "a borrowed string" | "a character" | "string or map" => {
            "must be a string".to_owned()
        }
        "a boolean" | "bool" => "must be true or false".to_owned(),
        "a map" | "map" => "must be an object".to_owned(),
        "a sequence" | "sequence" => "must be a list".to_owned(),
        "u8" => unsigned(u8::MAX.into()),
        "u16" => unsigned(u16::MAX.into()),
        "u32" => unsigned(u32::MAX.into()),
        "u64" | "usize" => "must be a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "must be a whole number".to_owned(),
        "f32" | "f64" => "must be a number".to_owned(),
        _ if expected.starts_with("struct ") => "must be an object".to_owned(),
        _ if expected.starts_with("tuple ") || expected.starts_with("a tuple ") => {
            "must be a list".to_owned()
        }
        _ if expected.starts_with("enum ") => "must be one of the known values".to_owned(),
        _ if expected.contains("UUID") => "must be a UUID".to_owned(),
        _ if expected.contains("RFC 3339") => format!("must be {TIME}"),
        _ => format!("must be {expected}"),
    }
}

fn given_kind(given: &str) -> Option<&'static str> {
    let starts = [
        ("null", "null"),
        ("unit value", "null"),
        ("integer ", "a number"),
        ("floating point ", "a number"),
        ("boolean ", "a boolean"),
        ("string ", "a string"),
        ("character ", "a string"),
        ("sequence", "a list"),
        ("map", "an object"),
    ];
    starts.into_iter().find_map(|(start, word)| given.starts_with(start).then_some(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::Map;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read for what cannot be read")]
    struct Inner {
        number: i64,
        flag: bool,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read for what cannot be read")]
    struct In {
        text: String,
        small: u8,
        id: uuid::Uuid,
        at: chrono::DateTime<chrono::Utc>,
        inner: Inner,
        list: Vec<u32>,
        map: Option<Map<String, Value>>,
        #[serde(default)]
        ratio: f64,
    }

    fn paths(error: &Error) -> Vec<&str> {
        error.fields.iter().map(|field| field.path.as_str()).collect()
    }

    fn refused(body: &Value) -> Error {
        from_json::<In>(body.to_string().as_bytes()).expect_err("bad fields")
    }

    #[test]
    fn every_missing_field_is_named() {
        let error = refused(&json!({}));
        assert_eq!(paths(&error), ["text", "small", "id", "at", "inner", "list"]);
        assert!(error.fields.iter().all(|field| field.code == "required"), "{error:?}");
    }

    #[test]
    fn every_field_of_another_type_is_named_in_our_words() {
        let mut error = refused(&json!({
            "text": 1, "small": 256, "id": "x", "at": "yesterday", "inner": {"number": "1"}, "list": [1, "2", -3],
            "map": [], "ratio": "1",
        }));
        error.fields.sort_by(|a, b| a.path.cmp(&b.path));
        let said: Vec<_> = error
            .fields
            .iter()
            .map(|field| (field.path.as_str(), field.code.as_ref(), field.message.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("at", "format", "must be an RFC 3339 time like `2026-01-31T08:00:00Z`"),
                ("id", "format", "must be a UUID"),
                ("inner.flag", "required", "is required"),
                ("inner.number", "type", "must be a whole number, not a string"),
                ("list[1]", "type", "must be a whole number from 0 to 4294967295, not a string"),
                ("list[2]", "value", "must be a whole number from 0 to 4294967295"),
                ("map", "type", "must be an object, not a list"),
                ("ratio", "type", "must be a number, not a string"),
                ("small", "value", "must be a whole number from 0 to 255"),
                ("text", "type", "must be a string, not a number"),
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_said_so() {
        for (body, message) in [
            ("[]", "must be an object, not a list"),
            (" [1,2]", "must be an object, not a list"),
            ("null", "must be an object, not null"),
            ("\"text\"", "must be an object, not a string"),
        ] {
            let error = from_json::<In>(body.as_bytes()).expect_err(body);
            assert_eq!((error.fields.len(), error.fields[0].message.as_str()), (1, message));
            assert_eq!(error.fields[0].path, "body");
        }
    }

    #[test]
    fn a_repeated_field_has_its_own_name() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "read for what cannot be read")]
        struct Page {
            limit: Option<u32>,
            name: String,
        }
        for text in ["limit=1&limit=2", "limit=1&limit=x&limit=3"] {
            let error = from_urlencoded::<Page>(text.as_bytes()).expect_err(text);
            assert_eq!(paths(&error), ["limit", "name"], "{text}");
            assert_eq!(error.fields[0].code, "duplicate", "{text}");
        }
        let error = from_json::<Page>(br#"{"limit":1,"limit":2,"name":3}"#).expect_err("twice");
        assert_eq!(paths(&error), ["limit", "name"]);
        let error = from_urlencoded::<Page>(b"limit=ten&name=a").expect_err("no number");
        assert_eq!(error.fields[0].message, "must be a whole number");
    }

    #[test]
    fn the_search_is_bounded() {
        let many = json!({
            "text": "a", "small": 1, "id": uuid::Uuid::nil(), "at": "2026-01-31T08:00:00Z",
            "inner": {"number": 1, "flag": true}, "list": vec!["x"; 1_000],
        });
        assert_eq!(refused(&many).fields.len(), MAX_FIELDS);
        // A large body is not read often: it names what a few readings find, and the first in any case.
        let large = |size| json!({"text": "x".repeat(size)});
        assert_eq!(paths(&refused(&large(1024 * 1024))), ["small", "id"]);
        assert_eq!(paths(&refused(&large(8 * 1024 * 1024))), ["small"]);
    }
}
