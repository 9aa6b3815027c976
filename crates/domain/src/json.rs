//! What is asked of JSON from outside before it is kept.

use serde_json::Value;

/// Whether a text or a key of `value` has a NUL: JSON of PostgreSQL keeps none.
#[must_use]
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_nul_is_found_and_its_spelling_is_not() {
        for value in [json!("a\0"), json!([1, ["\0"]]), json!({"a": {"b\0": 1}}), json!({"a": [{"b": "\0"}]})]
        {
            assert!(has_nul(&value), "{value}");
        }
        for value in [json!(null), json!(0), json!({"path": r"C:\u0000", "x": ["\\u0000"]})] {
            assert!(!has_nul(&value), "{value}");
        }
    }
}
