//! One-time codes (RFC 6238): HMAC-SHA-1 over the number of 30-second steps since 1970, six digits, which is what every authenticator
//! application understands.

use base64::{Engine, engine::general_purpose::STANDARD};
use bifrost_domain::error::{Error, Result};
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac};
use qrcode::{EcLevel, QrCode, render::svg};
use sha1::Sha1;
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// Shown beside the account in the authenticator.
pub(super) const ISSUER: &str = "Bifrost";
/// Bytes of a secret (RFC 4226, 4: as long as the hash).
pub(super) const SECRET_BYTES: usize = 20;
const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;
/// Steps before and after the present one whose codes count: clocks differ, and people type slowly.
const TOLERANCE: i64 = 1;

/// The code of a step.
fn code(secret: &[u8], step: i64) -> Result<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).map_err(Error::internal)?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    // RFC 4226, 5.3: the low four bits of the last byte say where the number begins.
    let offset = usize::from(digest[digest.len() - 1] & 0x0f);
    let mut number = [0_u8; 4];
    number.copy_from_slice(&digest[offset..offset + 4]);
    let number = u32::from_be_bytes(number) & 0x7fff_ffff;
    Ok(format!("{:0DIGITS$}", number % 1_000_000))
}

/// Whether a text can be a one-time code at all.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|letter| letter.is_ascii_digit())
}

/// The step whose code `given` is, among those that count at `now` and come after `last`.
pub(super) fn find_step(secret: &[u8], given: &str, last: i64, now: DateTime<Utc>) -> Result<Option<i64>> {
    let present = now.timestamp().div_euclid(STEP_SECONDS);
    let mut found = None;
    for step in present - TOLERANCE..=present + TOLERANCE {
        let fits = bool::from(code(secret, step)?.as_bytes().ct_eq(given.as_bytes()));
        if fits && step > last && found.is_none() {
            found = Some(step);
        }
    }
    Ok(found)
}

/// The secret as people type it.
pub(super) fn spelled(secret: &[u8]) -> String {
    BASE32_NOPAD.encode(secret)
}

/// What an authenticator reads: the `otpauth` URI.
pub(super) fn provisioning_uri(secret: &[u8], account: &str) -> String {
    format!(
        "otpauth://totp/{ISSUER}:{}?secret={}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
        percent_encoded(account),
        spelled(secret)
    )
}

/// A QR code as a `data:` URI of an SVG image.
pub(super) fn qr_code_uri(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| Error::internal(error.to_string()))?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(format!("data:image/svg+xml;base64,{}", STANDARD.encode(image)))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1; its codes have eight digits, of which ours are the last six.
    const SECRET: &[u8] = b"12345678901234567890";
    const VECTORS: &[(i64, &str)] = &[
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn codes_are_the_rfcs() {
        for (seconds, expected) in VECTORS {
            assert_eq!(code(SECRET, seconds / 30).expect("a code"), expected[2..], "at {seconds}");
        }
    }

    #[test]
    fn a_code_counts_a_step_before_and_after_its_own_and_once() {
        let found = |now, last| find_step(SECRET, "005924", last, at(now)).expect("checked");
        let step = 1_234_567_890 / 30;
        for (now, counts) in [(-31, false), (-30, true), (0, true), (29, true), (59, true), (60, false)] {
            assert_eq!(found(step * 30 + now, 0).is_some(), counts, "{now} s from its step's beginning");
        }
        assert_eq!(found(1_234_567_890, step - 1), Some(step));
        assert_eq!(found(1_234_567_890, step), None, "used");
        assert_eq!(find_step(SECRET, "005925", 0, at(1_234_567_890)).expect("checked"), None);
    }

    #[test]
    fn six_digits_are_a_code() {
        for (text, expected) in [
            ("012345", true),
            ("12345", false),
            ("1234567", false),
            ("12345a", false),
            ("１２３４５６", false),
        ] {
            assert_eq!(is_code(text), expected, "{text}");
        }
    }

    #[test]
    fn an_authenticator_can_read_it() {
        let uri = provisioning_uri(SECRET, "ann+it@acme.example");
        assert_eq!(
            uri,
            "otpauth://totp/Bifrost:ann%2Bit%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Bifrost\
             &algorithm=SHA1&digits=6&period=30"
        );
        let image = qr_code_uri(&uri).expect("an image");
        let svg = STANDARD.decode(image.strip_prefix("data:image/svg+xml;base64,").expect("a data URI"));
        let svg = String::from_utf8(svg.expect("base64")).expect("text");
        assert!(svg.contains("<svg") && svg.ends_with("</svg>"), "{svg}");
        // The longest address there is, every letter of it escaped.
        let long = provisioning_uri(SECRET, &"+".repeat(254));
        assert!(qr_code_uri(&long).is_ok());
    }
}
