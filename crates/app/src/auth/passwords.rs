//! Password hashes: argon2id with OWASP's parameters (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane), off the
//! async threads, a bounded number at a time.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use bifrost_domain::error::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Checked when there is no such user, so that the answer takes the same time. No password has this hash: it is not the
/// output of the function for any known input.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// How long a check waits for its turn before the server counts as overloaded.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes and checks password hashes.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(concurrency: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(concurrency.max(1))) }
    }

    /// The PHC string of a password, with a salt of its own.
    pub(super) async fn hash(&self, password: SecretString) -> Result<SecretString> {
        self.in_turn(move || {
            let hash: PasswordHash = hasher()?
                .hash_password(password.expose_secret().as_bytes())
                .map_err(|error| Error::internal(error.to_string()))?;
            Ok(SecretString::from(hash.to_string()))
        })
        .await
    }

    /// Whether the password fits. Without a hash the answer is no, after the same work.
    pub(super) async fn verify(&self, password: SecretString, hash: Option<SecretString>) -> Result<bool> {
        self.in_turn(move || {
            let text = hash.as_ref().map_or(NOBODY, ExposeSecret::expose_secret);
            let parsed = PasswordHash::new(text).map_err(|error| Error::internal(error.to_string()))?;
            let fits = hasher()?.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| Error::unavailable("too many sign-ins at the same time; try again in a moment"))?
            .map_err(Error::internal)?;
        // The turn goes with the work: a caller who leaves does not make room for more work than is bounded.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(Error::internal)?
    }
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse".into()).await.expect("hash");
        assert!(hash.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the parameters");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("verify"));
        assert!(!passwords.verify("Correct horse".into(), Some(hash)).await.expect("verify"));
        assert!(!passwords.verify("correct horse".into(), None).await.expect("nobody"));
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let parsed = PasswordHash::new(NOBODY).expect("a PHC string");
        let params = Params::try_from(&parsed).expect("parameters");
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19 * 1024, 2, 1));
        assert_eq!(parsed.hash.expect("output").len(), 32);
    }
}
