//! Keys, the development user and its bypass, registration.

use super::{
    Environment,
    keys::EncryptionKey,
    reader::{Reader, quote},
};
use secrecy::{ExposeSecret as _, SecretString};
use std::{collections::HashSet, net::IpAddr, num::NonZeroU32};

const DEFAULT_PASSWORD: &str = "admin";

/// When a request without a token acts as the development user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevBypass {
    /// Never.
    Off,
    /// When it comes from this machine (the conditions of the request itself are checked per request).
    Loopback,
    /// Always: for a private machine.
    Always,
}

/// The user that development begins with.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// E-mail.
    pub email: String,
    /// Password.
    pub password: SecretString,
}

/// Keys and sign-in.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Signs tokens; `None`: kept under the data folder.
    pub secret_key: Option<SecretString>,
    /// Still accepted for tokens made before the key was changed.
    pub secret_key_previous: Option<SecretString>,
    /// Wraps data keys; `None`: kept under the data folder.
    pub encryption_key: Option<EncryptionKey>,
    /// The development user. Production has none: it does not start while an account has what is given here.
    pub dev_user: Option<DevUser>,
    /// When the bypass holds.
    pub dev_bypass: DevBypass,
    /// Whether people may register (the first user always may).
    pub registration_enabled: bool,
    /// Sign-in attempts per minute and address; `None`: no limit.
    pub login_attempts_per_minute: Option<NonZeroU32>,
    /// Days after which a deleted account is removed for good.
    pub user_purge_days: u16,
    /// Codes of second factors per minute and address; `None`: no limit.
    pub mfa_attempts_per_minute: Option<NonZeroU32>,
    /// Whether everybody who signs in with a password needs a second factor.
    pub mfa_required: bool,
    /// Characters that a password has at least.
    pub password_min_length: usize,
    /// Memory of a password hash, KiB.
    pub argon2_memory_kib: u32,
    /// Passes of a password hash.
    pub argon2_passes: u32,
    /// Failed sign-ins per account in a quarter of an hour; `None`: no limit.
    pub account_failures: Option<NonZeroU32>,
}

/// What of the other sections the rules here depend on.
pub(super) struct Around {
    pub(super) environment: Environment,
    /// Whether `ENVIRONMENT` was set (or the program is `bifrost dev`).
    pub(super) explicit: bool,
    pub(super) host: IpAddr,
}

pub(super) fn read(reader: &mut Reader<'_>, around: &Around) -> Identity {
    let production = around.environment == Environment::Production;
    let secret_key = signing_key(reader, "SECRET_KEY", production);
    let secret_key_previous = signing_key(reader, "SECRET_KEY_PREVIOUS", production);
    let dev_bypass = bypass(reader, around);
    let registration_enabled =
        reader.flag("REGISTRATION_ENABLED").unwrap_or(around.environment == Environment::Development);
    if registration_enabled && production {
        reader.warn("REGISTRATION_ENABLED=true: whoever reaches this server makes himself an account, and nobody asks whether the address is his");
    }
    let (argon2_memory_kib, argon2_passes) = password_hash(reader, production);
    Identity {
        secret_key,
        secret_key_previous,
        encryption_key: encryption_key(reader, production),
        dev_user: dev_user(reader, around, dev_bypass),
        dev_bypass,
        registration_enabled,
        user_purge_days: reader.number("USER_PURGE_DAYS", 0..=365),
        login_attempts_per_minute: rate(reader, around, "RATE_LIMIT_LOGIN_PER_MINUTE", 10),
        mfa_attempts_per_minute: rate(reader, around, "RATE_LIMIT_MFA_PER_MINUTE", 5),
        account_failures: rate(reader, around, "RATE_LIMIT_ACCOUNT_FAILURES", 20),
        mfa_required: reader.flag("MFA_REQUIRED").unwrap_or(false),
        password_min_length: reader.number("PASSWORD_MIN_LENGTH", 8..=128),
        argon2_memory_kib,
        argon2_passes,
    }
}

/// What a password hash costs, as OWASP's cheat sheet on password storage has it for argon2id at least: memory in KiB, passes over it.
const STRONG: [(u32, u32); 4] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4)];

/// Memory and passes of a password hash.
fn password_hash(reader: &mut Reader<'_>, production: bool) -> (u32, u32) {
    let memory = reader.number("ARGON2_MEMORY_KIB", 8 * 1024..=1024 * 1024);
    let passes = reader.number("ARGON2_PASSES", 1..=16);
    // From five passes on 7 MiB are enough, and we take no less than 8.
    let is_strong = passes >= 5 || STRONG.iter().any(|(least, over)| memory >= *least && passes >= *over);
    if production && !is_strong {
        reader.warn(format!(
            "ARGON2_MEMORY_KIB={memory} with ARGON2_PASSES={passes} makes password hashes that are guessed too fast; leave both out, or take 19456 with 2 or 47104 with 1 at least"
        ));
    }
    (memory, passes)
}

/// A limit of sign-ins; none in testing unless it is set, and never none in production.
fn rate(reader: &mut Reader<'_>, around: &Around, name: &'static str, unset: u32) -> Option<NonZeroU32> {
    let unset = if around.environment == Environment::Testing { 0 } else { unset };
    let limit = reader.optional_number(name, 0..=100_000);
    if limit == Some(0) && around.environment == Environment::Production {
        reader.problem(name, "production does not go without this limit; raise it instead");
    }
    NonZeroU32::new(limit.unwrap_or(unset))
}

fn signing_key(reader: &mut Reader<'_>, name: &'static str, production: bool) -> Option<SecretString> {
    let given = reader.secret(name);
    if given.is_none() && production && name == "SECRET_KEY" {
        reader.problem(name, "production needs one: 32 random characters or more (openssl rand -base64 48)");
    }
    let key = given?;
    let length = key.expose_secret().chars().count();
    if !(32..=4096).contains(&length) {
        reader.problem(name, format!("has {length} characters; 32 to 4096 are needed"));
        return None;
    }
    if production && is_placeholder(key.expose_secret()) {
        reader.problem(name, "looks like a default; production needs a random one (openssl rand -base64 48)");
        return None;
    }
    Some(key)
}

fn encryption_key(reader: &mut Reader<'_>, production: bool) -> Option<EncryptionKey> {
    let name = "ENCRYPTION_KEY";
    let Some(text) = reader.secret(name) else {
        if production {
            reader.problem(name, "production needs one: 32 bytes in base64 (openssl rand -base64 32)");
        }
        return None;
    };
    let Some(key) = EncryptionKey::from_base64(text.expose_secret()) else {
        reader.problem(name, "is not 32 bytes in base64 (openssl rand -base64 32)");
        return None;
    };
    if production && key.expose().iter().collect::<HashSet<_>>().len() < 8 {
        reader.problem(name, "looks like a default; production needs a random one (openssl rand -base64 32)");
        return None;
    }
    Some(key)
}

/// Whether a key was written by a person to be replaced. A random key has neither such words nor so few letters.
fn is_placeholder(key: &str) -> bool {
    const WORDS: &[&str] =
        &["change", "default", "example", "your-secret", "dev-secret", "insecure", "password"];
    let lower = key.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word)) || lower.chars().collect::<HashSet<_>>().len() < 8
}

#[derive(Clone, Copy, PartialEq)]
enum Bypass {
    Auto,
    Always,
    Off,
}

fn bypass(reader: &mut Reader<'_>, around: &Around) -> DevBypass {
    let name = "DEV_AUTH_BYPASS";
    let given = reader.given(name).is_some();
    let chosen =
        reader.choice(name, &[("auto", Bypass::Auto), ("always", Bypass::Always), ("off", Bypass::Off)]);
    let development = around.environment == Environment::Development && around.explicit;
    if around.environment == Environment::Production {
        if given && chosen != Bypass::Off {
            reader.problem(name, "production has no bypass; remove it or set it to off");
        }
        return DevBypass::Off;
    }
    match chosen {
        Bypass::Always if !development => {
            reader.problem(name, "always needs ENVIRONMENT=development, set explicitly");
            DevBypass::Off
        }
        Bypass::Always => {
            reader.warn("DEV_AUTH_BYPASS=always: whoever reaches this server is its administrator");
            DevBypass::Always
        }
        Bypass::Auto if development && around.host.is_loopback() => DevBypass::Loopback,
        Bypass::Auto | Bypass::Off => DevBypass::Off,
    }
}

fn dev_user(reader: &mut Reader<'_>, around: &Around, bypass: DevBypass) -> Option<DevUser> {
    let email_given = reader.given("DEV_USER_EMAIL").is_some();
    let email = reader.checked("DEV_USER_EMAIL", check_email);
    let given = reader.secret("DEV_USER_PASSWORD");
    if let Some(password) = &given
        && !(1..=128).contains(&password.expose_secret().chars().count())
    {
        reader.problem("DEV_USER_PASSWORD", "is not 1 to 128 characters long");
    }
    if around.environment == Environment::Production {
        match &given {
            Some(password) if password.expose_secret() == DEFAULT_PASSWORD => {
                reader.problem("DEV_USER_PASSWORD", "production does not start with the default password");
            }
            Some(_) => reader.warn("DEV_USER_PASSWORD is not used: production has no development user"),
            None if email_given => {
                reader.warn("DEV_USER_EMAIL is not used: production has no development user");
            }
            None => return None,
        }
    }
    let password = given.unwrap_or_else(|| SecretString::from(DEFAULT_PASSWORD));
    if around.environment != Environment::Production
        && password.expose_secret() == DEFAULT_PASSWORD
        && !around.host.is_loopback()
        && bypass != DevBypass::Always
    {
        reader.warn(format!(
            "whoever reaches {} can sign in with the default password; set DEV_USER_PASSWORD",
            around.host
        ));
    }
    Some(DevUser { email, password })
}

fn check_email(text: &str) -> Result<(), String> {
    let fits = text.len() <= 254
        && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        && text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && name.len() <= 64 && !host.is_empty() && !host.contains('@')
        });
    if fits { Ok(()) } else { Err(format!("{} is not an e-mail address", quote(text))) }
}
