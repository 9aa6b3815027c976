//! The rules that a parameter's `validation` sets: `min` and `max` (of a number, of a text's characters, of a list's items),
//! `pattern` (a text contains it; `^` and `$` bind it to the whole), and `message`, said instead of the rule.

use crate::definition::{Definition, Issue, Severity};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Largest compiled pattern, bytes. The engine takes linear time, so this alone bounds what a pattern costs.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// A rule that a value does not keep: its word for programs, and what to tell a person.
pub(crate) struct Broken {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Checks a value that has its declared type already. Rules that make no sense for its type hold.
pub(crate) fn check(rules: &Value, value: &Value) -> Result<(), Broken> {
    let broken = |code, message: String| {
        let own = rules.get("message").and_then(Value::as_str).map(str::to_owned);
        Err(Broken { code, message: own.unwrap_or(message) })
    };
    if let Some((size, verb, unit)) = size_of(value) {
        let bound = |name| rules.get(name).and_then(Value::as_f64);
        if let Some(least) = bound("min").filter(|least| size < *least) {
            return broken("min", format!("must {verb} at least {least}{unit}"));
        }
        if let Some(most) = bound("max").filter(|most| size > *most) {
            return broken("max", format!("must {verb} at most {most}{unit}"));
        }
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), pattern_of(rules))
        && let Some(regex) = compile(pattern)
        && !regex.is_match(text)
    {
        return broken("pattern", format!("must match the pattern {pattern}"));
    }
    Ok(())
}

/// What of a definition's rules cannot be checked here.
#[must_use]
pub fn issues(definition: &Definition) -> Vec<Issue> {
    let unusable = definition.parameters.iter().filter(|parameter| {
        parameter.validation.as_ref().and_then(pattern_of).is_some_and(|pattern| compile(pattern).is_none())
    });
    unusable
        .map(|parameter| Issue {
            line: definition.line,
            message: format!(
                "`{}`: the pattern of `{}` is not checked: it is too large, not a regular expression, or uses look-around or \
                 back-references",
                definition.name, parameter.name
            ),
            severity: Severity::Warning,
        })
        .collect()
}

/// What `min` and `max` bound, and how that is said.
#[expect(clippy::cast_precision_loss, reason = "no text or list comes near 2^52 items")]
fn size_of(value: &Value) -> Option<(f64, &'static str, &'static str)> {
    match value {
        Value::Number(number) => Some((number.as_f64()?, "be", "")),
        Value::String(text) => Some((text.chars().count() as f64, "have", " characters")),
        Value::Array(items) => Some((items.len() as f64, "have", " items")),
        _ => None,
    }
}

fn pattern_of(rules: &Value) -> Option<&str> {
    rules.get("pattern")?.as_str().filter(|pattern| !pattern.is_empty())
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(rules: &Value, value: &Value) -> Option<(&'static str, String)> {
        check(rules, value).err().map(|broken| (broken.code, broken.message))
    }

    #[test]
    fn numbers_texts_and_lists_have_bounds() {
        let rules = json!({"min": 2, "max": 3.5});
        for (value, wanted) in [
            (json!(1), Some(("min", "must be at least 2"))),
            (json!(2), None),
            (json!(3.5), None),
            (json!(3.6), Some(("max", "must be at most 3.5"))),
            (json!("ä"), Some(("min", "must have at least 2 characters"))),
            (json!("äöü"), None),
            (json!("äöüß"), Some(("max", "must have at most 3.5 characters"))),
            (json!([1]), Some(("min", "must have at least 2 items"))),
            (json!([1, 2, 3, 4]), Some(("max", "must have at most 3.5 items"))),
            (json!(true), None),
            (json!({"a": 1}), None),
        ] {
            let wanted = wanted.map(|(code, message)| (code, message.to_owned()));
            assert_eq!(code(&rules, &value), wanted, "{value}");
        }
    }

    #[test]
    fn a_text_contains_the_pattern() {
        let rules = json!({"pattern": r"^[A-Z]{2}-\d+$"});
        assert_eq!(code(&rules, &json!("WS-014")), None);
        let told = code(&rules, &json!("ws-014"));
        assert_eq!(told, Some(("pattern", r"must match the pattern ^[A-Z]{2}-\d+$".to_owned())));
        assert_eq!(code(&json!({"pattern": "b"}), &json!("abc")), None, "anywhere, unless it says otherwise");
        assert_eq!(code(&rules, &json!(14)), None, "of texts only");
        let rules = json!({"pattern": "^x", "min": 1, "message": "starts with an x"});
        for value in ["", "y"] {
            assert_eq!(code(&rules, &json!(value)).map(|told| told.1), Some("starts with an x".to_owned()));
        }
        for odd in [json!({}), json!([]), json!({"pattern": null, "min": "1"}), json!({"pattern": ""})] {
            assert_eq!(code(&odd, &json!("y")), None, "{odd}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_checked_is_told_and_left_out() {
        let definition: Definition = serde_json::from_value(json!({
            "kind": "workflow", "name": "w", "function": "w", "line": 7, "category": "General", "timeout_seconds": 60,
            "parameters": [
                {"name": "a", "type": "string", "required": true, "validation": {"pattern": "(?=x)y"}},
                {"name": "b", "type": "string", "required": true, "validation": {"pattern": "^x"}},
                {"name": "c", "type": "string", "required": true, "validation": {"pattern": r"\w{1000}{1000}"}},
                {"name": "d", "type": "string", "required": true},
            ],
        }))
        .expect("a definition");
        let found = issues(&definition);
        let told: Vec<_> = found.iter().map(|issue| (issue.line, issue.severity)).collect();
        assert_eq!(told, [(7, Severity::Warning); 2]);
        assert!(found[0].message.contains("`a`") && found[1].message.contains("`c`"), "{found:?}");
        assert_eq!(code(&json!({"pattern": "(?=x)y"}), &json!("z")), None);
    }
}
