//! From `key=value` to the input of a workflow.
//!
//! The server alone decides what fits a declared type and says so by path. Here only what a shell cannot say is told apart: a number
//! from its text, JSON from text. Numbers stay the digits that were typed.

use crate::{
    client::{
        Exit, Failure,
        shapes::{Object, Parameter, Workflow},
    },
    suggest,
};
use serde_json::value::RawValue;
use std::{fs::File, io::Read, path::Path};

/// Longest file, bytes; servers take 10 MiB unless they are told otherwise.
const LONGEST: u64 = 64 * 1024 * 1024;

/// What is sent.
pub(super) type Input = Object;

/// What was written for one key.
#[derive(Debug, Clone)]
enum Written {
    /// Text, to be converted.
    Text(String),
    /// JSON.
    Json(Box<RawValue>),
}

/// What was given, before the workflow is known.
#[derive(Debug)]
pub(super) struct Given {
    base: Object,
    written: Vec<(String, Written)>,
}

impl Given {
    /// Reads the arguments and the files they name.
    pub(super) fn read(arguments: &[String], input: Option<&Path>) -> Result<Self, Failure> {
        let mut written: Vec<(String, Written)> = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let (key, value) = parse(argument)?;
            if written.iter().any(|(known, _)| *known == key) {
                return Err(Failure::usage(format!("`{key}` is given twice")));
            }
            written.push((key, value));
        }
        let base = match input {
            None => Object::new(),
            Some(path) => {
                let text = read_file(path)?;
                serde_json::from_str(&text).map_err(|error| {
                    Failure::new(
                        Exit::Refused,
                        format!("{} is not a JSON object of parameters: {error}", shown(path)),
                    )
                })?
            }
        };
        Ok(Self { base, written })
    }

    /// The input for this workflow.
    pub(super) fn convert(self, workflow: &Workflow, allow_unknown: bool) -> Result<Input, Failure> {
        let keys: Vec<&str> = self
            .base
            .keys()
            .map(String::as_str)
            .chain(self.written.iter().map(|(key, _)| key.as_str()))
            .collect();
        if !allow_unknown {
            check_keys(&keys, workflow)?;
        }
        let mut input = self.base;
        for (key, written) in self.written {
            let parameter = workflow.parameters.iter().find(|parameter| parameter.name == key);
            let value = match written {
                Written::Json(json) => json,
                Written::Text(text) => converted(&key, &text, parameter)?,
            };
            input.insert(key, value);
        }
        Ok(input)
    }
}

fn check_keys(keys: &[&str], workflow: &Workflow) -> Result<(), Failure> {
    let known: Vec<&str> = workflow.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let unknown: Vec<String> = keys
        .iter()
        .filter(|key| !known.contains(*key))
        .map(|key| match suggest::nearest(key, &known) {
            Some(near) => format!("  {key}: is no parameter; did you mean `{near}`?"),
            None => format!("  {key}: is no parameter"),
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let takes = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    let message = format!("`{}` takes {takes} (--allow-unknown sends other keys too):", workflow.name);
    Err(Failure::new(Exit::Refused, message).with(unknown))
}

/// `key=value`, `key:=json`, `key=@file`, `key:=@file`.
fn parse(argument: &str) -> Result<(String, Written), Failure> {
    let Some((key, value)) = argument.split_once('=') else {
        return Err(Failure::usage(format!("`{argument}` is not key=value")));
    };
    let (key, is_json) = key.strip_suffix(':').map_or((key, false), |key| (key, true));
    if key.is_empty() {
        return Err(Failure::usage(format!("`{argument}` names no key before the =")));
    }
    let text = match value.strip_prefix('@') {
        Some(path) => read_file(Path::new(path))?,
        None => value.to_owned(),
    };
    if is_json {
        let json = RawValue::from_string(text.trim().to_owned())
            .map_err(|error| Failure::new(Exit::Refused, format!("{key}: is not JSON: {error}")))?;
        return Ok((key.to_owned(), Written::Json(json)));
    }
    Ok((key.to_owned(), Written::Text(text)))
}

/// Text as a value of the declared type. What does not look like one is sent as text: the server says what is wrong with it.
fn converted(key: &str, text: &str, parameter: Option<&Parameter>) -> Result<Box<RawValue>, Failure> {
    let trimmed = text.trim();
    let literal = match parameter.map(|parameter| parameter.kind.as_str()) {
        Some("int" | "float") if is_number(trimmed) => Some(trimmed.to_owned()),
        Some("bool") => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Some("json") => {
            if serde_json::from_str::<&RawValue>(trimmed).is_err() {
                let message =
                    format!("{key}: wants JSON, and this is none; for a text write {key}:='\"text\"'");
                return Err(Failure::new(Exit::Refused, message));
            }
            Some(trimmed.to_owned())
        }
        Some("list") if trimmed.starts_with('[') => {
            // Not JSON after all: the server says so.
            serde_json::from_str::<Vec<&RawValue>>(trimmed).ok().map(|_| trimmed.to_owned())
        }
        Some("list") => {
            let items: Vec<&str> =
                trimmed.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            serde_json::to_string(&items).ok()
        }
        _ => None,
    };
    let json = match literal {
        Some(json) => RawValue::from_string(json),
        None => serde_json::value::to_raw_value(text),
    };
    json.map_err(|error| Failure::new(Exit::Refused, format!("{key}: {error}")))
}

/// Whether it is a number as JSON writes one.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// A text file, or standard input for `-`.
fn read_file(path: &Path) -> Result<String, Failure> {
    let trouble = |error: std::io::Error| Failure::here(format!("{} cannot be read: {error}", shown(path)));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
    }
    .map_err(trouble)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} is larger than {} MiB", shown(path), LONGEST / (1024 * 1024)),
        ));
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(Exit::Refused, format!("{} is not UTF-8", shown(path))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workflow() -> Workflow {
        let parameter = |name: &str, kind: &str| json!({"name": name, "type": kind, "required": false});
        serde_json::from_value(json!({
            "id": "1", "name": "w", "execution_mode": "sync",
            "parameters": [parameter("name", "string"), parameter("count", "int"), parameter("share", "float"),
                parameter("flag", "bool"), parameter("data", "json"), parameter("groups", "list"), parameter("at", "datetime")],
        }))
        .expect("a workflow")
    }

    fn convert(arguments: &[&str]) -> Result<String, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let input = Given::read(&arguments, None)?.convert(&workflow(), false)?;
        Ok(serde_json::to_string(&input).expect("JSON"))
    }

    #[test]
    fn values_take_the_declared_type() {
        for (argument, wanted) in [
            ("name=Ada", r#"{"name":"Ada"}"#),
            ("name=5", r#"{"name":"5"}"#),
            ("name=", r#"{"name":""}"#),
            ("name=a=b", r#"{"name":"a=b"}"#),
            ("name= ü 漢 \"x\"", r#"{"name":" ü 漢 \"x\""}"#),
            ("count=42", r#"{"count":42}"#),
            ("count=-7", r#"{"count":-7}"#),
            ("count=123456789012345678901234567890", r#"{"count":123456789012345678901234567890}"#),
            // The server says what is wrong with these.
            ("count=many", r#"{"count":"many"}"#),
            ("count=", r#"{"count":""}"#),
            ("count=007", r#"{"count":"007"}"#),
            ("share=1.10", r#"{"share":1.10}"#),
            ("share=NaN", r#"{"share":"NaN"}"#),
            ("flag=YES", r#"{"flag":true}"#),
            ("flag=0", r#"{"flag":false}"#),
            ("flag=maybe", r#"{"flag":"maybe"}"#),
            (r#"data={"a": [1, 2.50]}"#, r#"{"data":{"a": [1, 2.50]}}"#),
            ("groups=[1, 2]", r#"{"groups":[1, 2]}"#),
            ("groups=all-staff, erp,", r#"{"groups":["all-staff","erp"]}"#),
            ("groups=", r#"{"groups":[]}"#),
            ("groups=[1", r#"{"groups":"[1"}"#),
            ("at=2026-01-31T08:00:00Z", r#"{"at":"2026-01-31T08:00:00Z"}"#),
            ("count:=7", r#"{"count":7}"#),
            ("name:=null", r#"{"name":null}"#),
            ("data:= {\"n\":98765432109876543210} ", r#"{"data":{"n":98765432109876543210}}"#),
        ] {
            assert_eq!(convert(&[argument]).expect(argument), wanted, "{argument}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (arguments, exit, words) in [
            (vec!["name"], Exit::Usage, "is not key=value"),
            (vec!["=x"], Exit::Usage, "names no key"),
            (vec![":=1"], Exit::Usage, "names no key"),
            (vec!["name=a", "name:=1"], Exit::Usage, "given twice"),
            (vec!["count:=many"], Exit::Refused, "count: is not JSON"),
            (vec!["data=text"], Exit::Refused, "data:='\"text\"'"),
            (vec!["nmae=x"], Exit::Refused, "did you mean `name`?"),
            (vec!["other=x"], Exit::Refused, "takes name, count, share"),
            (vec!["name=@/no/such/file"], Exit::Failed, "/no/such/file cannot be read"),
        ] {
            let failure = convert(&arguments).expect_err("no sense");
            assert_eq!(failure.exit, exit, "{arguments:?}: {failure}");
            assert!(failure.to_string().contains(words), "{arguments:?}: {failure}");
        }
    }

    #[test]
    fn files_are_read_and_the_arguments_go_before_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let text = write("note.txt", "first\nsecond ü\n".as_bytes());
        let json = write("data.json", br#"{"n": 98765432109876543210}"#);
        let base = write("input.json", br#"{"name": "from the file", "count": 1}"#);
        let arguments =
            ["count=2".to_owned(), format!("name=@{}", text.display()), format!("data:=@{}", json.display())];
        let input =
            Given::read(&arguments, Some(&base)).expect("read").convert(&workflow(), false).expect("input");
        assert_eq!(
            serde_json::to_string(&input).expect("JSON"),
            r#"{"count":2,"data":{"n": 98765432109876543210},"name":"first\nsecond ü\n"}"#
        );
        for (name, bytes) in
            [("list.json", b"[1]".as_slice()), ("broken.json", b"{"), ("latin.json", b"\xff")]
        {
            let failure = Given::read(&[], Some(&write(name, bytes))).expect_err(name);
            assert_eq!(failure.exit, Exit::Refused, "{failure}");
            assert!(failure.to_string().contains(name), "{failure}");
        }
        let large = write("large.json", b"");
        File::options().write(true).open(&large).expect("open").set_len(LONGEST + 1).expect("large");
        let failure = Given::read(&[], Some(&large)).expect_err("too large");
        assert!(failure.to_string().contains("larger than 64 MiB"), "{failure}");
        let unknown = write("unknown.json", br#"{"nmae": 1}"#);
        let given = Given::read(&[], Some(&unknown)).expect("read");
        assert!(given.convert(&workflow(), false).is_err());
        let given = Given::read(&[], Some(&unknown)).expect("read");
        assert_eq!(given.convert(&workflow(), true).expect("allowed").len(), 1);
    }
}
