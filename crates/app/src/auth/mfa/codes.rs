//! What people type: a one-time code or a recovery code; and making recovery codes.

use bifrost_domain::error::{Error, Result};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use super::totp;

/// Recovery codes of a set.
pub(super) const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 80 bits, so that its plain hash is enough.
const RECOVERY_BYTES: usize = 10;
/// Longer texts are no code.
const MAX_INPUT_BYTES: usize = 64;

/// A code as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// Six digits.
    OneTime(String),
    /// The hash of a recovery code.
    Recovery(Vec<u8>),
    /// Neither; it counts as a wrong one.
    Nonsense,
}

impl Code {
    /// Spaces and hyphens are for people, and so is the case.
    pub(super) fn read(text: &str) -> Result<Self> {
        if text.len() > MAX_INPUT_BYTES {
            return Err(Error::invalid(
                "code",
                "too_long",
                format!("must be at most {MAX_INPUT_BYTES} bytes"),
            ));
        }
        let plain: String = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect();
        if totp::is_code(&plain) {
            return Ok(Self::OneTime(plain));
        }
        let bytes = BASE32_NOPAD.decode(plain.to_ascii_uppercase().as_bytes()).ok();
        Ok(match bytes {
            Some(bytes) if bytes.len() == RECOVERY_BYTES => Self::Recovery(Sha256::digest(bytes).to_vec()),
            _ => Self::Nonsense,
        })
    }
}

/// A new set of recovery codes, as people see them once, and the hashes that are kept.
pub(super) fn recovery_codes() -> (Vec<String>, Vec<Vec<u8>>) {
    (0..RECOVERY_CODES)
        .map(|_| {
            let bytes: [u8; RECOVERY_BYTES] = rand::random();
            let letters = BASE32_NOPAD.encode(&bytes).to_lowercase();
            let groups: Vec<&str> =
                (0..letters.len()).step_by(4).filter_map(|at| letters.get(at..at + 4)).collect();
            (groups.join("-"), Sha256::digest(bytes).to_vec())
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_recovery_code_is_read_as_it_was_shown_and_as_people_type_it() {
        let (codes, hashes) = recovery_codes();
        assert_eq!((codes.len(), hashes.iter().collect::<HashSet<_>>().len()), (10, 10));
        for (code, hash) in codes.iter().zip(&hashes) {
            assert_eq!(code.len(), 19, "{code}");
            let typed = [code.clone(), code.to_uppercase(), code.replace('-', ""), code.replace('-', " ")];
            for text in typed {
                assert_eq!(Code::read(&text).expect("short"), Code::Recovery(hash.clone()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_typed_is_told_apart() {
        let read = |text: &str| Code::read(text).expect("short");
        assert_eq!(read(" 123 456 "), Code::OneTime("123456".into()));
        for nonsense in ["", "12345", "1234567", "abc", "not-a-code", "é"] {
            assert_eq!(read(nonsense), Code::Nonsense, "{nonsense}");
        }
        assert!(Code::read(&"1".repeat(64)).is_ok());
        assert!(Code::read(&"1".repeat(65)).is_err());
    }
}
