//! Reads variables out of a map and collects every problem instead of stopping at the first.

use super::{Problem, table};
use secrecy::SecretString;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
    io::Read as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The largest value of a variable or of a `*_FILE`, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024;
const MAX_PATH_BYTES: usize = 4096;

/// Hands out values; what is wrong is noted and replaced by the default, so that one mistake gives one line.
pub(super) struct Reader<'a> {
    map: &'a HashMap<String, String>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    consumed: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(map: &'a HashMap<String, String>) -> Self {
        Self { map, problems: Vec::new(), warnings: Vec::new(), consumed: BTreeSet::new() }
    }

    /// Ends the reading: problems, warnings and the names that were asked for.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>, BTreeSet<&'static str>) {
        (self.problems, self.warnings, self.consumed)
    }

    pub(super) fn problem(&mut self, variable: &str, message: impl Into<String>) {
        self.problems.push(Problem { variable: variable.to_owned(), message: message.into() });
    }

    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// The value as given, without the spaces around it; `None` when unset or empty.
    pub(super) fn given(&mut self, name: &'static str) -> Option<String> {
        self.consumed.insert(name);
        let value = self.map.get(name)?.trim();
        if value.len() > MAX_VALUE_BYTES {
            self.problem(name, format!("is longer than {MAX_VALUE_BYTES} bytes"));
            return None;
        }
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The value or the table's default; empty when there is neither.
    fn value(&mut self, name: &'static str) -> String {
        self.given(name).unwrap_or_else(|| default_of(name).to_owned())
    }

    /// A secret, from the variable or from the file that `NAME_FILE` names.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.consumed.insert(name);
        let file_variable = format!("{name}_FILE");
        let direct = self.map.get(name).filter(|value| !value.is_empty());
        let file = self.map.get(&file_variable).map(|path| path.trim()).filter(|path| !path.is_empty());
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.problem(name, format!("is set together with {file_variable}; set one of them"));
                None
            }
            (Some(value), None) if value.len() > MAX_VALUE_BYTES => {
                self.problem(name, format!("is longer than {MAX_VALUE_BYTES} bytes"));
                None
            }
            (Some(value), None) => Some(SecretString::from(value.as_str())),
            (None, Some(path)) => match read_secret_file(Path::new(path)) {
                Ok(secret) => Some(secret),
                Err(message) => {
                    self.problem(&file_variable, message);
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// A number within `range`, or the default.
    pub(super) fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        self.optional_number(name, range.clone())
            .or_else(|| default_of(name).parse().ok())
            .unwrap_or(*range.start())
    }

    /// A number within `range`, or `None` when unset.
    pub(super) fn optional_number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let text = self.given(name)?;
        match text.parse::<T>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = (range.start(), range.end());
                self.problem(name, format!("{} is not a whole number from {low} to {high}", quote(&text)));
                None
            }
        }
    }

    /// One of `choices`, or the default.
    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let find = |text: &str| {
            choices.iter().find(|(known, _)| known.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        };
        let fallback = find(default_of(name)).unwrap_or(choices[0].1);
        let Some(text) = self.given(name) else { return fallback };
        find(&text).unwrap_or_else(|| {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            self.problem(name, format!("{} is not one of {}", quote(&text), known.join(", ")));
            fallback
        })
    }

    /// `true` or `false` (also 1, 0, yes, no, on, off), or `None` when unset.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let text = self.given(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.problem(name, format!("{} is neither true nor false", quote(&text)));
                None
            }
        }
    }

    /// A path made absolute (by the current folder), or the default.
    pub(super) fn folder(&mut self, name: &'static str) -> PathBuf {
        let mut text = self.value(name);
        if let Err(message) = check_path(&text) {
            self.problem(name, message);
            default_of(name).clone_into(&mut text);
        }
        absolute(Path::new(&text))
    }

    /// A text checked by `check`, or the default.
    pub(super) fn checked(
        &mut self,
        name: &'static str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> String {
        let text = self.value(name);
        match check(&text) {
            Ok(()) => text,
            Err(message) => {
                self.problem(name, message);
                default_of(name).to_owned()
            }
        }
    }
}

fn default_of(name: &str) -> &'static str {
    table::find(name).and_then(|variable| variable.default).unwrap_or_default()
}

/// `path` from the root; unchanged when the current folder is gone.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether `text` can be a path at all.
pub(super) fn check_path(text: &str) -> Result<(), String> {
    if text.len() > MAX_PATH_BYTES {
        return Err(format!("is longer than {MAX_PATH_BYTES} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    Ok(())
}

/// A value as it may stand in a message: escaped, and cut when long.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", cut.escape_debug())
}

fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let shown = quote(&path.display().to_string());
    let file = std::fs::File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    // One byte past the bound tells a file that is too large from one that just fits.
    file.take(MAX_VALUE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("{shown} is larger than {MAX_VALUE_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok(SecretString::from(text))
}
