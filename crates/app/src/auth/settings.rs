//! What sign-in is told at start.

use secrecy::SecretString;
use std::time::Duration;

/// Where the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Automated tests.
    Testing,
    /// For real.
    Production,
}

impl Environment {
    /// The spelling on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Testing => "testing",
            Self::Production => "production",
        }
    }
}

/// The user that development begins with.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// Address.
    pub email: String,
    /// Password, of any length.
    pub password: SecretString,
}

/// Settings of [`Auth`](super::Auth).
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Signs tokens; 32 characters or more.
    pub signing_key: SecretString,
    /// Still accepted for tokens that were made before the key was changed.
    pub previous_key: Option<SecretString>,
    /// How long an access token holds.
    pub access_ttl: Duration,
    /// How long a refresh token holds.
    pub refresh_ttl: Duration,
    /// How long a session holds, however often it is refreshed (RFC 9700, 4.14.2).
    pub session_ttl: Duration,
    /// Whether people may register; the first user always may.
    pub registration_enabled: bool,
    /// Where the program runs.
    pub environment: Environment,
    /// The development user; never made in production, which does not start while an account has its password.
    pub dev_user: Option<DevUser>,
    /// Passwords checked at the same time, each with the memory below.
    pub password_concurrency: usize,
    /// Memory of a password hash, KiB (8 or more).
    pub argon2_memory_kib: u32,
    /// Passes of a password hash over its memory.
    pub argon2_passes: u32,
    /// Characters that a password has at least.
    pub password_min_length: usize,
    /// Whether everybody needs a second factor, however he signs in; without it their organizations' settings say.
    pub mfa_required: bool,
    /// `iss` of our tokens.
    pub issuer: String,
    /// `aud` of our tokens.
    pub audience: String,
}

impl AuthSettings {
    /// The contract's values around a key: access 30 min, refresh 7 d, sessions 30 d, registration off, no development user, one password
    /// check per processor, OWASP's parameters of argon2id, passwords of 8 characters, a second factor where an organization asks for it.
    #[must_use]
    pub fn new(signing_key: SecretString, environment: Environment) -> Self {
        Self {
            signing_key,
            previous_key: None,
            access_ttl: Duration::from_secs(30 * 60),
            refresh_ttl: Duration::from_secs(7 * 24 * 60 * 60),
            session_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            registration_enabled: environment == Environment::Development,
            environment,
            dev_user: None,
            password_concurrency: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            argon2_memory_kib: 19 * 1024,
            argon2_passes: 2,
            password_min_length: 8,
            mfa_required: false,
            issuer: "bifrost-api".to_owned(),
            audience: "bifrost-client".to_owned(),
        }
    }
}
