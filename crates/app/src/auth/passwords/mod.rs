//! Password hashes: argon2id, by default with OWASP's parameters (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane), off the
//! async threads, a bounded number at a time. A hash says with which parameters it was made; one of others is replaced at the next
//! sign-in. Which passwords people may choose is said in `rule.rs`.

mod memory;
mod rule;

pub use rule::{PasswordRule, check};

use super::AuthSettings;
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use bifrost_domain::error::{Error, Result};
use memory::Memory;
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// How long a check waits for its turn before the server counts as overloaded.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes and checks password hashes.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    memory: Memory,
    memory_kib: u32,
    passes: u32,
}

impl Passwords {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(settings.password_concurrency.max(1))),
            memory: Memory::default(),
            memory_kib: settings.argon2_memory_kib,
            passes: settings.argon2_passes,
        }
    }

    /// The PHC string of a password, with a salt of its own.
    pub(super) async fn hash(&self, password: SecretString) -> Result<SecretString> {
        let hasher = self.hasher()?;
        self.in_turn(move || {
            let hash: PasswordHash = hasher
                .hash_password(password.expose_secret().as_bytes())
                .map_err(|error| Error::internal(error.to_string()))?;
            Ok(SecretString::from(hash.to_string()))
        })
        .await
    }

    /// Whether the password fits. Without a hash the answer is no, after the same work.
    pub(super) async fn verify(&self, password: SecretString, hash: Option<SecretString>) -> Result<bool> {
        let hasher = self.hasher()?;
        let (this, is_somebody) = (self.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.nobody().into());
        self.in_turn(move || {
            let parsed = PasswordHash::new(hash.expose_secret())
                .map_err(|error| Error::internal(error.to_string()))?;
            let password = password.expose_secret().as_bytes();
            let fits = if this.is_outdated(&hash) {
                hasher.verify_password(password, &parsed).is_ok()
            } else {
                this.memory
                    .with(hasher.params().block_count(), |blocks| fits(&hasher, password, &parsed, blocks))
            };
            Ok(fits && is_somebody)
        })
        .await
    }

    /// Whether a hash was made with other parameters than new ones are.
    pub(super) fn is_outdated(&self, hash: &SecretString) -> bool {
        let parameters = PasswordHash::new(hash.expose_secret()).ok().and_then(|parsed| {
            let params = Params::try_from(&parsed).ok()?;
            Some((parsed.algorithm.as_str() == "argon2id", params.m_cost(), params.t_cost(), params.p_cost()))
        });
        parameters != Some((true, self.memory_kib, self.passes, 1))
    }

    /// Checked when there is no such user, so that the answer takes the same time. No password has this hash: it is not the output of the
    /// function for any known input.
    fn nobody(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            self.memory_kib, self.passes
        )
    }

    fn hasher(&self) -> Result<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.passes, 1, None)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| Error::unavailable("too many sign-ins at the same time; try again in a moment"))?
            .map_err(Error::internal)?;
        self.memory.give_back_later();
        // The turn goes with the work: a caller who leaves does not make room for more work than is bounded.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(Error::internal)?
    }
}

/// As [`PasswordVerifier::verify_password`], in memory that is there.
fn fits(hasher: &Argon2<'_>, password: &[u8], hash: &PasswordHash, blocks: &mut [Block]) -> bool {
    let (Some(salt), Some(expected), Some(19)) = (&hash.salt, &hash.hash, hash.version) else {
        return hasher.verify_password(password, hash).is_ok();
    };
    let mut found = vec![0; expected.as_bytes().len()];
    let made = hasher.hash_password_into_with_memory(password, salt.as_ref(), &mut found, blocks);
    made.is_ok() && bool::from(found.ct_eq(expected.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Environment;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn passwords(concurrency: usize) -> Passwords {
        Passwords::new(&AuthSettings {
            password_concurrency: concurrency,
            ..AuthSettings::new("q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e".into(), Environment::Testing)
        })
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = passwords(2);
        let hash = passwords.hash("correct horse".into()).await.expect("hash");
        assert!(hash.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the parameters");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("verify"));
        assert!(!passwords.verify("Correct horse".into(), Some(hash)).await.expect("verify"));
        assert!(!passwords.verify("correct horse".into(), None).await.expect("nobody"));
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_still_fits_and_is_outdated() {
        let old = Passwords { memory_kib: 8 * 1024, passes: 1, ..passwords(1) };
        let hash = old.hash("correct horse".into()).await.expect("hash");
        let new = passwords(1);
        assert!(new.verify("correct horse".into(), Some(hash.clone())).await.expect("verify"));
        assert!(new.is_outdated(&hash) && !old.is_outdated(&hash));
        assert!(!new.is_outdated(&new.hash("correct horse".into()).await.expect("hash")));
        assert!(new.is_outdated(&"$2b$12$something".into()), "what cannot be read is replaced, too");
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let passwords = Passwords { memory_kib: 9 * 1024, passes: 3, ..passwords(1) };
        let nobody = passwords.nobody();
        let parsed = PasswordHash::new(&nobody).expect("a PHC string");
        let params = Params::try_from(&parsed).expect("parameters");
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (9 * 1024, 3, 1));
        assert_eq!(parsed.hash.expect("output").len(), 32);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_hundred_at_once_run_no_more_than_are_allowed() {
        const BOUND: usize = 3;
        let passwords = passwords(BOUND);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (passwords, running, most) = (passwords.clone(), Arc::clone(&running), Arc::clone(&most));
            tries.spawn(async move {
                let hasher = passwords.hasher().expect("a hasher");
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let hash =
                        hasher.hash_password(b"correct horse").map(|hash: PasswordHash| hash.to_string());
                    running.fetch_sub(1, Ordering::SeqCst);
                    hash.map_err(|error| Error::internal(error.to_string()))
                };
                passwords.in_turn(work).await.expect("everybody gets a turn")
            });
        }
        assert_eq!(tries.join_all().await.len(), 100);
        let most = most.load(Ordering::SeqCst);
        assert!((1..=BOUND).contains(&most), "{most} at once");
    }
}
