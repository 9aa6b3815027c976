//! What a person's authenticator application does.

use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// The six digits that an authenticator with `secret` (base32) shows at `now`.
///
/// # Panics
/// When the secret is none.
#[must_use]
#[expect(clippy::expect_used, reason = "only a wrong test has such a secret")]
pub fn one_time_code(secret: &str, now: DateTime<Utc>) -> String {
    let key = BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).expect("a key of any length");
    mac.update(&(now.timestamp() / 30).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 15);
    let number = digest[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B.
    #[test]
    fn it_shows_what_the_rfc_says() {
        let now = DateTime::from_timestamp(1_234_567_890, 0).expect("a time");
        assert_eq!(one_time_code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", now), "005924");
    }
}
