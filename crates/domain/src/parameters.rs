//! Checks and converts the input of a workflow against its declared parameters, before anything runs.

use crate::{
    definition::{Definition, Parameter, ParameterType},
    error::{Error, Field, Result},
    user::Email,
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
    if input.len() > MAX_KEYS {
        return Err(Error::invalid("input_data", "too_many", format!("has more than {MAX_KEYS} keys")));
    }
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
        match convert_one(parameter, value) {
            Ok(value) => {
                output.insert(parameter.name.clone(), value);
            }
            Err((code, message)) => bad.push(field(parameter, code, message)),
        }
    }
    if bad.is_empty() { Ok(output) } else { Err(Error::invalid_fields(bad)) }
}

fn field(parameter: &Parameter, code: &'static str, message: impl Into<String>) -> Field {
    Field { path: format!("input_data.{}", parameter.name), code: code.into(), message: message.into() }
}

type Bad = (&'static str, String);

fn convert_one(parameter: &Parameter, value: Value) -> Result<Value, Bad> {
    let wrong =
        |wanted: &str, value: &Value| -> Bad { ("type", format!("must be {wanted}, got {}", shown(value))) };
    let value = match parameter.parameter_type {
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
        ParameterType::List => match value {
            Value::Array(_) => value,
            Value::String(text) => match serde_json::from_str(&text) {
                Ok(list @ Value::Array(_)) => list,
                _ => return Err(wrong("a list", &Value::String(text))),
            },
            other => return Err(wrong("a list", &other)),
        },
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
    check_options(parameter, &value)?;
    Ok(value)
}

fn datetime(text: &str) -> bool {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    DateTime::parse_from_rfc3339(text).is_ok()
        || text.parse::<NaiveDateTime>().is_ok()
        || text.parse::<NaiveDate>().is_ok()
}

fn check_options(parameter: &Parameter, value: &Value) -> Result<(), Bad> {
    let Some(options) = &parameter.options else { return Ok(()) };
    if options.iter().any(|option| &option.value == value) {
        return Ok(());
    }
    let known: Vec<_> = options.iter().take(20).map(|option| shown(&option.value)).collect();
    Err(("options", format!("must be one of {}", known.join(", "))))
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
    fn options_hold_and_unknown_keys_stay() {
        let size = json!({"name": "size", "type": "string", "required": true,
            "options": [{"label": "S", "value": "s"}, {"label": "L", "value": "l"}]});
        assert_eq!(run(&size, json!("s")), Ok(json!("s")));
        assert_eq!(run(&size, json!("xl")), Err("input_data.size: options".to_owned()));
        let kept = convert(&definition(&json!([])), Map::from_iter([("extra".to_owned(), json!(1))]));
        assert_eq!(kept.expect("no parameters").get("extra"), Some(&json!(1)));
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
