//! The text of a key, and what is asked of a new one.

use crate::{
    audit::MASK,
    fields::{checked_name, wrong},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::Field,
    ids::{KeyId, UserId},
};
use bifrost_storage::machines::{Hash, Key};
use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

const MAX_NAME: usize = 100;
/// A key with an end ends within ten years: a later one is a mistyped one.
const LATEST_END: Duration = Duration::days(3_653);
/// Characters of the random part that stay visible.
const SHOWN: usize = 8;
/// Characters of 32 bytes.
const RANDOM: usize = 43;

/// What a key is for: the word that it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Application,
    Sdk,
    Workflow,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Application, Self::Sdk, Self::Workflow];

    const fn word(self) -> &'static str {
        match self {
            Self::Application => "bfak_",
            Self::Sdk => "bfsk_",
            Self::Workflow => "bfwk_",
        }
    }

    /// The kind of what may be a key, by its shape.
    pub(super) fn of(text: &str) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| text.starts_with(kind.word()))?;
        let random = text.get(kind.word().len()..)?;
        let is_ours = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (random.len() == RANDOM && random.bytes().all(is_ours)).then_some(kind)
    }
}

/// What is asked of a new key.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What people call it, at most 100 characters.
    pub name: Option<String>,
    /// It does not hold from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewKey {
    /// Names what is wrong with it; what is left is clean.
    pub(super) fn checked(mut self, now: DateTime<Utc>, fields: &mut Vec<Field>) -> Self {
        self.name = self.name.map(|name| checked_name(&name, MAX_NAME, fields));
        if self.expires_at.is_some_and(|at| at <= now || at > now + LATEST_END) {
            wrong(fields, "expires_at", "range", "must be in the future, within ten years");
        }
        self
    }
}

/// A key that was made a moment ago: the only time that its text is seen.
#[derive(Clone)]
pub struct MadeKey<T> {
    /// What is kept of it.
    pub kept: T,
    /// The text.
    pub text: SecretString,
}

impl<T> fmt::Debug for MadeKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeKey").finish_non_exhaustive()
    }
}

/// A fresh text with its hash and how it begins.
pub(super) struct Fresh {
    pub(super) text: SecretString,
    pub(super) hash: Hash,
    prefix: String,
}

pub(super) fn fresh(kind: Kind) -> Fresh {
    let text = format!("{}{}", kind.word(), URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let prefix = text.chars().take(kind.word().len() + SHOWN).collect();
    Fresh { hash: hash(&text), prefix, text: text.into() }
}

impl Fresh {
    pub(super) fn key(&self, id: KeyId, new: NewKey, created_by: Option<UserId>, now: DateTime<Utc>) -> Key {
        Key {
            id,
            name: new.name,
            prefix: self.prefix.clone(),
            created_by,
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
        }
    }
}

/// What the audit log shows of a key; the text is nowhere.
pub(super) fn described(key: &Key) -> [(&'static str, Value); 4] {
    [
        ("name", key.name.clone().into()),
        ("prefix", key.prefix.as_str().into()),
        ("expires_at", key.expires_at.map(|at| at.to_rfc3339()).into()),
        ("key", MASK.into()),
    ]
}

pub(super) fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

/// Whether what is kept is the hash of what was shown, in a time that tells nothing.
pub(super) fn same(kept: &[u8], shown: &Hash) -> bool {
    kept.ct_eq(shown.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};
    use secrecy::ExposeSecret;

    #[test]
    fn a_key_tells_its_kind_and_is_never_the_same() {
        for kind in Kind::ALL {
            let (one, other) = (fresh(kind), fresh(kind));
            let text = one.text.expose_secret();
            assert_eq!(Kind::of(text), Some(kind));
            assert_ne!(text, other.text.expose_secret());
            assert!(text.starts_with(&one.prefix) && one.prefix.len() == 13, "{}", one.prefix);
            assert!(same(&one.hash, &hash(text)) && !same(&one.hash, &other.hash) && !same(&[], &one.hash));
        }
        let text = fresh(Kind::Sdk).text.expose_secret().to_owned();
        for bad in [
            text[..47].to_owned(),
            format!("{text}A"),
            format!("{text} "),
            text.replacen("bfsk_", "bfxk_", 1),
            text.to_uppercase(),
            format!("bfsk_{}", "!".repeat(43)),
            format!("bfsk_{}", "ä".repeat(21)),
            "bfsk_".to_owned(),
            String::new(),
        ] {
            assert_eq!(Kind::of(&bad), None, "{bad}");
        }
    }

    #[test]
    fn names_and_ends_are_bounded() {
        let now = SystemClock.now();
        let wrong = |name: Option<&str>, expires_at| {
            let mut fields = Vec::new();
            NewKey { name: name.map(str::to_owned), expires_at }.checked(now, &mut fields);
            fields.into_iter().map(|field| field.path).collect::<Vec<_>>()
        };
        assert_eq!(wrong(Some(&"n".repeat(100)), Some(now + LATEST_END)), [""; 0]);
        for name in ["", " ", "a\u{0}", "a\nb", &"n".repeat(101)] {
            assert_eq!(wrong(Some(name), None), ["name"], "{name:?}");
        }
        for at in [now, now - Duration::days(1), now + LATEST_END + Duration::seconds(1)] {
            assert_eq!(wrong(None, Some(at)), ["expires_at"]);
        }
    }
}
