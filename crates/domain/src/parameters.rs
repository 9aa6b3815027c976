//! Checks and converts the input of a workflow against its declared parameters, before anything runs.

use crate::{
    definition::{Definition, ItemType, Parameter, ParameterFormat, ParameterOption, ParameterType},
    error::{Error, Field, Result},
    user::Email,
    validation,
};
use serde_json::{Map, Value};

/// Most keys an input may have at its top level.
pub const MAX_KEYS: usize = 1_000;

/// Converts `input` to the declared types. Defaults are left to Python; keys that nobody declared are kept (they reach
/// `context.parameters`).
///
/// # Errors
/// Invalid, with every bad field under `input_data.`.
pub fn convert(definition: &Definition, input: Map<String, Value>) -> Result<Map<String, Value>> {
    check_keys(&input)?;
    let mut output = input;
    let mut bad = Vec::new();
    for parameter in &definition.parameters {
        let given = output.get(&parameter.name);
        // A form sends null for a field that was left empty.
        if given.is_none_or(Value::is_null) {
            if parameter.required && parameter.default_value.is_none() {
                bad.push(field(parameter, "required", "is required"));
            } else if given.is_some() {
                output.remove(&parameter.name);
            }
            continue;
        }
        let Some(value) = output.remove(&parameter.name) else { continue };
        match convert_one(&Wanted::from(parameter), value).and_then(|value| keeps_rules(parameter, value)) {
            Ok(value) => {
                output.insert(parameter.name.clone(), value);
            }
            Err(problem) => bad.push(Field {
                path: format!("input_data.{}{}", parameter.name, problem.below),
                code: problem.code.into(),
                message: problem.message,
            }),
        }
    }
    if bad.is_empty() { Ok(output) } else { Err(Error::invalid_fields(bad)) }
}

/// Whether an input has no more keys than it may have: what is asked of posted code's, which declares no parameters.
///
/// # Errors
/// Invalid.
pub fn check_keys(input: &Map<String, Value>) -> Result<()> {
    if input.len() > MAX_KEYS {
        return Err(Error::invalid("input_data", "too_many", format!("has more than {MAX_KEYS} keys")));
    }
    Ok(())
}

fn field(parameter: &Parameter, code: &'static str, message: impl Into<String>) -> Field {
    Field { path: format!("input_data.{}", parameter.name), code: code.into(), message: message.into() }
}

fn keeps_rules(parameter: &Parameter, value: Value) -> Result<Value, Bad> {
    let rules = parameter.validation.as_ref();
    match rules.map_or(Ok(()), |rules| validation::check(rules, &value)) {
        Ok(()) => Ok(value),
        Err(broken) => Err(bad(broken.code, broken.message)),
    }
}

/// What is wrong with a value, and where below its parameter (`[3]`).
struct Bad {
    below: String,
    code: &'static str,
    message: String,
}

fn bad(code: &'static str, message: String) -> Bad {
    Bad { below: String::new(), code, message }
}

fn wrong(wanted: &str, value: &Value) -> Bad {
    bad("type", format!("must be {wanted}, got {}", shown(value)))
}

/// What parameters and items of lists have in common.
struct Wanted<'a> {
    parameter_type: ParameterType,
    options: Option<&'a [ParameterOption]>,
    format: Option<ParameterFormat>,
    items: Option<&'a ItemType>,
}

impl<'a> From<&'a Parameter> for Wanted<'a> {
    fn from(parameter: &'a Parameter) -> Self {
        Self {
            parameter_type: parameter.parameter_type,
            options: parameter.options.as_deref(),
            format: parameter.format,
            items: parameter.items.as_ref(),
        }
    }
}

impl<'a> From<&'a ItemType> for Wanted<'a> {
    fn from(item: &'a ItemType) -> Self {
        Self {
            parameter_type: item.parameter_type,
            options: item.options.as_deref(),
            format: item.format,
            items: item.items.as_deref(),
        }
    }
}

fn convert_one(wanted: &Wanted<'_>, value: Value) -> Result<Value, Bad> {
    let value = match wanted.parameter_type {
        ParameterType::String => match value {
            Value::String(_) => value,
            Value::Number(number) => Value::String(number.to_string()),
            Value::Bool(flag) => Value::String(flag.to_string()),
            other => return Err(wrong("text", &other)),
        },
        ParameterType::Int => {
            let number = match &value {
                Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            number.map(Value::from).ok_or_else(|| wrong("a whole number", &value))?
        }
        ParameterType::Float => {
            let number = match &value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let number = number.filter(|number: &f64| number.is_finite());
            number.map(Value::from).ok_or_else(|| wrong("a number", &value))?
        }
        ParameterType::Bool => match &value {
            Value::Bool(_) => value,
            Value::Number(number) if number.as_i64() == Some(0) => Value::Bool(false),
            Value::Number(number) if number.as_i64() == Some(1) => Value::Bool(true),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Value::Bool(true),
                "false" | "0" | "no" | "off" => Value::Bool(false),
                _ => return Err(wrong("true or false", &value)),
            },
            _ => return Err(wrong("true or false", &value)),
        },
        ParameterType::List => convert_items(wanted.items, list(value)?)?,
        ParameterType::Json if wanted.format == Some(ParameterFormat::Object) => object(value)?,
        ParameterType::Json => value,
        ParameterType::Email => match value.as_str().map(str::parse::<Email>) {
            Some(Ok(email)) => Value::String(email.into()),
            _ => return Err(wrong("an e-mail address", &value)),
        },
        ParameterType::Datetime => match value.as_str().map(datetime) {
            Some(true) => value,
            _ => return Err(wrong("a date and time like 2026-01-31T08:00:00Z", &value)),
        },
    };
    check_format(wanted.format, &value)?;
    own_option(wanted.options, value)
}

/// A list, also when it was written as JSON text.
fn list(value: Value) -> Result<Vec<Value>, Bad> {
    match value {
        Value::Array(items) => Ok(items),
        Value::String(text) => serde_json::from_str(&text).map_err(|_| wrong("a list", &Value::String(text))),
        other => Err(wrong("a list", &other)),
    }
}

/// An object, also when it was written as JSON text.
fn object(value: Value) -> Result<Value, Bad> {
    match value {
        Value::Object(_) => Ok(value),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(object @ Value::Object(_)) => Ok(object),
            _ => Err(wrong("an object", &Value::String(text))),
        },
        other => Err(wrong("an object", &other)),
    }
}

fn convert_items(item: Option<&ItemType>, items: Vec<Value>) -> Result<Value, Bad> {
    let Some(item) = item else { return Ok(Value::Array(items)) };
    let wanted = Wanted::from(item);
    let convert = |(index, value): (usize, Value)| {
        if item.optional && value.is_null() {
            return Ok(value);
        }
        convert_one(&wanted, value)
            .map_err(|problem| Bad { below: format!("[{index}]{}", problem.below), ..problem })
    };
    items.into_iter().enumerate().map(convert).collect()
}

/// The forms that Python reads: `datetime.fromisoformat` of 3.10 wants two digits everywhere and knows no leap second.
fn datetime(text: &str) -> bool {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    let (date, time) = (text.get(..10).unwrap_or_default(), text.get(11..));
    if !digits_like(date, "0000-00-00")
        || !time.is_none_or(|time| digits_like(time.get(..8).unwrap_or_default(), "00:00:00"))
    {
        return false;
    }
    if time.is_some_and(|time| time.get(6..8) == Some("60")) {
        return false;
    }
    DateTime::parse_from_rfc3339(text).is_ok()
        || text.parse::<NaiveDateTime>().is_ok()
        || text.parse::<NaiveDate>().is_ok()
}

/// Whether `text` has digits where `form` has zeros, and is the same everywhere else.
fn digits_like(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(byte, wanted)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
}

fn check_format(format: Option<ParameterFormat>, value: &Value) -> Result<(), Bad> {
    let (Some(format), Some(text)) = (format, value.as_str()) else { return Ok(()) };
    let (good, wanted) = match format {
        ParameterFormat::Object => (true, ""),
        ParameterFormat::Time => (time_of_day(text), "a time of day like 08:30"),
        ParameterFormat::Uuid => (uuid::Uuid::parse_str(text.trim()).is_ok(), "a UUID"),
        ParameterFormat::Decimal => (text.trim().parse::<f64>().is_ok(), "a decimal number"),
    };
    if good { Ok(()) } else { Err(wrong(wanted, value)) }
}

/// `08:30`, `08:30:00`, `08:30:00.25`, each also with `Z` or an offset.
fn time_of_day(text: &str) -> bool {
    let clock = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => clock,
        None => match text.rfind(['+', '-']) {
            Some(at) if digits_like(&text[at + 1..], "00:00") && offset(&text[at + 1..]) => &text[..at],
            _ => text,
        },
    };
    let (whole, fraction) = clock.split_once('.').map_or((clock, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits_like(whole, "00:00:00");
    (seconds || (fraction.is_none() && digits_like(whole, "00:00")))
        && fraction.is_none_or(digits)
        && whole.get(..2).is_some_and(|hours| hours < "24")
        && whole.get(3..5).is_some_and(|minutes| minutes < "60")
        && whole.get(6..8).is_none_or(|seconds| seconds < "60")
}

fn offset(text: &str) -> bool {
    text.get(..2).is_some_and(|hours| hours < "24") && text.get(3..5).is_some_and(|minutes| minutes < "60")
}

/// The option that `value` means, with the option's own value: equal, or else equal as text (a form sends text).
fn own_option(options: Option<&[ParameterOption]>, value: Value) -> Result<Value, Bad> {
    let Some(options) = options else { return Ok(value) };
    if options.iter().any(|option| option.value == value) {
        return Ok(value);
    }
    let text = as_text(&value);
    match options.iter().find(|option| as_text(&option.value) == text) {
        Some(option) => Ok(option.value.clone()),
        None => {
            let known: Vec<_> = options.iter().take(20).map(|option| shown(&option.value)).collect();
            Err(bad("options", format!("must be one of {}", known.join(", "))))
        }
    }
}

/// Text without quotes; a whole number without its `.0`.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(whole);
            whole.map_or_else(|| number.to_string(), |whole| whole.to_string())
        }
        other => other.to_string(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range was checked the line before")]
fn whole(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(number as i64)
}

/// A value as an error message shows it: short, so that a message never repeats a large input.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 {
        text
    } else {
        format!("{}…", text.chars().take(40).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use serde_json::json;

    fn definition(parameters: &Value) -> Definition {
        serde_json::from_value(json!({
            "kind": "workflow", "name": "w", "function": "w", "line": 1, "category": "General",
            "timeout_seconds": 60, "parameters": parameters,
        }))
        .expect("a definition")
    }

    fn run(parameter: &Value, value: Value) -> Result<Value, String> {
        let name = parameter["name"].as_str().expect("name").to_owned();
        let definition = definition(&json!([parameter]));
        let input = Map::from_iter([(name.clone(), value)]);
        match convert(&definition, input) {
            Ok(output) => Ok(output.get(&name).cloned().unwrap_or(Value::Null)),
            Err(error) => Err(format!("{}: {}", error.fields[0].path, error.fields[0].code)),
        }
    }

    #[test]
    fn values_arrive_with_their_declared_type() {
        let of = |kind: &str| json!({"name": "x", "type": kind, "required": true});
        for (kind, given, wanted) in [
            ("int", json!("42"), Ok(json!(42))),
            ("int", json!(42.0), Ok(json!(42))),
            ("int", json!(1.5), Err("input_data.x: type".to_owned())),
            ("int", json!(true), Err("input_data.x: type".to_owned())),
            ("float", json!("1.5"), Ok(json!(1.5))),
            ("float", json!("NaN"), Err("input_data.x: type".to_owned())),
            ("bool", json!("yes"), Ok(json!(true))),
            ("bool", json!("maybe"), Err("input_data.x: type".to_owned())),
            ("string", json!(5), Ok(json!("5"))),
            ("string", json!({}), Err("input_data.x: type".to_owned())),
            ("list", json!("[1]"), Ok(json!([1]))),
            ("list", json!(1), Err("input_data.x: type".to_owned())),
            ("email", json!("A@B.example"), Ok(json!("a@b.example"))),
            ("email", json!("nobody"), Err("input_data.x: type".to_owned())),
            ("datetime", json!("2026-01-31T08:00:00Z"), Ok(json!("2026-01-31T08:00:00Z"))),
            ("datetime", json!("soon"), Err("input_data.x: type".to_owned())),
            ("json", json!({"a": [1]}), Ok(json!({"a": [1]}))),
            ("string", json!(null), Err("input_data.x: required".to_owned())),
        ] {
            assert_eq!(run(&of(kind), given.clone()), wanted, "{kind} {given}");
        }
    }

    #[test]
    fn rules_hold_for_the_converted_value() {
        let days =
            json!({"name": "days", "type": "int", "required": false, "validation": {"min": 1, "max": 90}});
        assert_eq!(run(&days, json!("30")), Ok(json!(30)));
        assert_eq!(run(&days, json!(0)), Err("input_data.days: min".to_owned()));
        assert_eq!(run(&days, json!("91")), Err("input_data.days: max".to_owned()));
        assert_eq!(run(&days, json!("x")), Err("input_data.days: type".to_owned()));
        assert_eq!(run(&days, json!(null)), Ok(json!(null)), "what is left out keeps every rule");
        let host = json!({"name": "host", "type": "string", "required": true, "validation": {"pattern": "^[a-z]+$"}});
        assert_eq!(run(&host, json!("Fs1")), Err("input_data.host: pattern".to_owned()));
    }

    #[test]
    fn options_hold_and_unknown_keys_stay() {
        let size = json!({"name": "size", "type": "string", "required": true,
            "options": [{"label": "S", "value": "s"}, {"label": "L", "value": "l"}]});
        assert_eq!(run(&size, json!("s")), Ok(json!("s")));
        assert_eq!(run(&size, json!("xl")), Err("input_data.size: options".to_owned()));
        let kept = convert(&definition(&json!([])), Map::from_iter([("extra".to_owned(), json!(1))]));
        assert_eq!(kept.expect("no parameters").get("extra"), Some(&json!(1)));
    }

    #[test]
    fn an_option_is_found_by_its_text_and_arrives_as_it_was_declared() {
        let option = |value: Value| json!({"label": "x", "value": value});
        let mixed = json!({"name": "x", "type": "json", "required": true,
            "options": [option(json!(1)), option(json!("auto")), option(json!(2.5)), option(json!(true))]});
        for (given, wanted) in [
            (json!(1), json!(1)),
            (json!(1.0), json!(1)),
            (json!("1"), json!(1)),
            (json!("auto"), json!("auto")),
            (json!("2.5"), json!(2.5)),
            (json!("true"), json!(true)),
        ] {
            assert_eq!(run(&mixed, given.clone()), Ok(wanted), "{given}");
        }
        assert_eq!(run(&mixed, json!("2")), Err("input_data.x: options".to_owned()));
        let floats = json!({"name": "x", "type": "float", "required": true,
            "options": [option(json!(1)), option(json!(0.5))]});
        assert_eq!(run(&floats, json!(1)), Ok(json!(1)));
        assert_eq!(run(&floats, json!("0.5")), Ok(json!(0.5)));
    }

    #[test]
    fn items_and_formats_are_checked() {
        let list = |items: Value| json!({"name": "x", "type": "list", "required": true, "items": items});
        let numbers =
            list(json!({"type": "int", "optional": false, "options": null, "format": null, "items": null}));
        assert_eq!(run(&numbers, json!(["1", 2])), Ok(json!([1, 2])));
        assert_eq!(run(&numbers, json!("[3]")), Ok(json!([3])));
        assert_eq!(run(&numbers, json!([1, "x"])), Err("input_data.x[1]: type".to_owned()));
        assert_eq!(run(&numbers, json!([null])), Err("input_data.x[0]: type".to_owned()));
        assert_eq!(
            run(&list(json!({"type": "int", "optional": true})), json!([null, "4"])),
            Ok(json!([null, 4]))
        );
        let nested = list(json!({"type": "list", "items": {"type": "bool"}}));
        assert_eq!(run(&nested, json!([["yes"], []])), Ok(json!([[true], []])));
        assert_eq!(run(&nested, json!([[], ["maybe"]])), Err("input_data.x[1][0]: type".to_owned()));

        let of =
            |kind: &str, format: &str| json!({"name": "x", "type": kind, "required": true, "format": format});
        let refused = || Err("input_data.x: type".to_owned());
        for (kind, format, given, wanted) in [
            ("json", "object", json!({"a": 1}), Ok(json!({"a": 1}))),
            ("json", "object", json!("{\"a\": 1}"), Ok(json!({"a": 1}))),
            ("json", "object", json!("text"), refused()),
            ("json", "object", json!([1]), refused()),
            ("string", "time", json!("08:30"), Ok(json!("08:30"))),
            ("string", "time", json!("08:30:00.25+01:00"), Ok(json!("08:30:00.25+01:00"))),
            ("string", "time", json!("08:30Z"), Ok(json!("08:30Z"))),
            ("string", "time", json!("8:30"), refused()),
            ("string", "time", json!("25:00"), refused()),
            ("string", "time", json!("ä8:30"), refused()),
            ("string", "time", json!("noon"), refused()),
            (
                "string",
                "uuid",
                json!("6f7e3c1a-0000-7000-8000-000000000001"),
                Ok(json!("6f7e3c1a-0000-7000-8000-000000000001")),
            ),
            ("string", "uuid", json!("6f7e"), refused()),
            ("string", "decimal", json!(1.5), Ok(json!("1.5"))),
            ("string", "decimal", json!("much"), refused()),
        ] {
            assert_eq!(run(&of(kind, format), given.clone()), wanted, "{format} {given}");
        }
    }

    #[test]
    fn times_that_python_cannot_read_are_refused() {
        for text in ["2026-1-5", "2026-01-31T8:00:00", "2026-12-31T23:59:60Z", "2026-01-31T", "ä", ""] {
            assert!(!datetime(text), "{text}");
        }
        for text in
            ["2026-01-31", "2026-01-31T08:00:00", "2026-01-31T08:00:00.5", "2026-01-31T08:00:00+02:00"]
        {
            assert!(datetime(text), "{text}");
        }
    }

    #[test]
    fn every_bad_field_is_named_and_the_number_of_keys_is_bounded() {
        let two = definition(&json!([
            {"name": "a", "type": "int", "required": true}, {"name": "b", "type": "string", "required": true}
        ]));
        let error = convert(&two, Map::from_iter([("a".to_owned(), json!("x"))])).expect_err("two are bad");
        assert_eq!((error.kind, error.fields.len()), (Kind::Invalid, 2));
        let many = (0..=MAX_KEYS).map(|n| (n.to_string(), json!(n))).collect();
        assert!(convert(&two, many).is_err());
    }
}
