//! Absent, null and a value in a change are three cases.

use serde::{Deserialize, Deserializer};

/// A field of a change. Needs `#[serde(default)]` on the field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not named: stays as it is.
    #[default]
    Absent,
    /// `null`: is cleared.
    Null,
    /// Is set.
    Value(T),
}

impl<T> Patch<T> {
    /// `None` leaves, `Some(None)` clears, `Some(Some(_))` sets.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_cases() {
        #[derive(Deserialize)]
        struct In {
            #[serde(default)]
            domain: Patch<String>,
        }
        for (text, expected) in [
            ("{}", Patch::Absent),
            (r#"{"domain":null}"#, Patch::Null),
            (r#"{"domain":"a"}"#, Patch::Value("a".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<In>(text).expect(text).domain, expected);
        }
    }
}
