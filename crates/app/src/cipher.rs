//! Encrypts secret values with AES-256-GCM (NIST SP 800-38D): a random 96-bit nonce before the ciphertext, the place of the
//! value (scope and key) as associated data, so that a ciphertext moved to another place does not open.

use aes_gcm::{
    Aes256Gcm, Key,
    aead::{Aead, KeyInit, Nonce, Payload},
};
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};

const NONCE: usize = 12;

/// The value could not be opened: another key, another place, or damage.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be decrypted with the present `ENCRYPTION_KEY`")]
pub struct Error;

/// Encrypts and decrypts with one key.
pub struct Cipher {
    aead: Aes256Gcm,
    key_id: String,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Cipher {
    /// A cipher with this key; its id is the beginning of the key's SHA-256.
    #[must_use]
    pub fn new(key: &SecretBox<[u8; 32]>) -> Self {
        let bytes = key.expose_secret();
        let digest = Sha256::digest(bytes);
        let key_id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { aead: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*bytes)), key_id }
    }

    /// Stands beside each ciphertext.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Encrypts `plain` for `place`.
    ///
    /// # Errors
    /// Only for values past the cipher's bound (64 GiB).
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = self.aead.encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload).map_err(|_| Error)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Cipher::seal`] made for the same place.
    ///
    /// # Errors
    /// Another key, another place, or damage.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, body) = sealed.split_at_checked(NONCE).ok_or(Error)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| Error)?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        self.aead.decrypt(&Nonce::<Aes256Gcm>::from(nonce), payload).map_err(|_| Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_at_its_place_only() {
        let cipher = Cipher::new(&SecretBox::new(Box::new([7; 32])));
        let sealed = cipher.seal("GLOBAL/key", b"value").expect("sealed");
        assert_eq!(cipher.open("GLOBAL/key", &sealed).expect("opened"), b"value");
        assert!(cipher.open("GLOBAL/other", &sealed).is_err());
        let other = Cipher::new(&SecretBox::new(Box::new([8; 32])));
        assert!(other.open("GLOBAL/key", &sealed).is_err());
        assert_ne!(cipher.key_id(), other.key_id());
        let mut damaged = sealed;
        damaged[20] ^= 1;
        assert!(cipher.open("GLOBAL/key", &damaged).is_err());
        assert!(cipher.open("GLOBAL/key", b"short").is_err());
        assert!(!format!("{cipher:?}").contains("07"));
    }
}
