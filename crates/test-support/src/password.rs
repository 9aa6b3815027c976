//! The hash of a password, for accounts that are put into the store.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, phc::PasswordHash},
};
use secrecy::SecretString;

/// A hash that costs next to nothing.
///
/// # Panics
/// When the parameters are refused, which they are not.
#[must_use]
#[expect(clippy::expect_used, reason = "the parameters are these alone")]
pub fn password_hash(password: &str) -> SecretString {
    let params = Params::new(8, 1, 1, None).expect("parameters within their bounds");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hasher.hash_password(password.as_bytes()).expect("a hash");
    hash.to_string().into()
}
