//! The two keys of an installation: given by the environment, or made once under the data folder.

use super::{Environment, Settings};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// Wraps data keys: 32 bytes that no `Debug` shows.
#[derive(Debug, Clone)]
pub struct EncryptionKey(Arc<SecretBox<[u8; 32]>>);

impl EncryptionKey {
    /// Reads 32 bytes of base64 (spaces around it do not count); `None` for anything else.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
        Some(Self(Arc::new(SecretBox::new(Box::new(bytes)))))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// What signs and what encrypts.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs tokens.
    pub signing: SecretString,
    /// Still accepted for tokens made before the change.
    pub previous: Option<SecretString>,
    /// Wraps data keys.
    pub encryption: EncryptionKey,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file or folder cannot be made, read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// `make`, `read` or `write`.
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Other users of the machine can read it.
    #[error("{} can be read by other users; run chmod 600 on it", .0.display())]
    Open(PathBuf),
    /// It holds something else.
    #[error("{} does not hold a key; restore it from a backup, or remove it to have a new one made", .0.display())]
    NotAKey(PathBuf),
    /// Production makes none.
    #[error("production needs SECRET_KEY and ENCRYPTION_KEY")]
    Production,
}

/// The keys given by the settings; each that is not given is read from `DATA_DIR/keys`, where it is made first if missing
/// (folder 0700, files 0600; several processes may start together and get the same).
///
/// # Errors
/// When a key file cannot be made or read, is open to others, or holds no key; and in production, which makes none.
pub fn ensure_keys(settings: &Settings) -> Result<Keys, KeysError> {
    let identity = &settings.identity;
    let folder = settings.data_dir.join("keys");
    let incomplete = identity.secret_key.is_none() || identity.encryption_key.is_none();
    if incomplete {
        if settings.environment == Environment::Production {
            return Err(KeysError::Production);
        }
        make_folder(&folder)?;
    }
    let signing = match &identity.secret_key {
        Some(key) => key.clone(),
        None => read_or_make(&folder.join("secret_key"), |text| {
            (text.len() >= 32).then(|| SecretString::from(text))
        })?,
    };
    let encryption = match &identity.encryption_key {
        Some(key) => key.clone(),
        None => read_or_make(&folder.join("encryption_key"), EncryptionKey::from_base64)?,
    };
    Ok(Keys { signing, previous: identity.secret_key_previous.clone(), encryption })
}

/// Names of the keys that are neither given nor kept yet: the next start makes them. Makes and changes nothing.
///
/// # Errors
/// When a key file cannot be read, is open to others, or holds no key.
pub fn missing_keys(settings: &Settings) -> Result<Vec<&'static str>, KeysError> {
    let identity = &settings.identity;
    let folder = settings.data_dir.join("keys");
    let mut missing = Vec::new();
    let looks = |path: PathBuf, holds: fn(&str) -> bool| match read(&path)? {
        Some(text) if !holds(text.trim()) => Err(KeysError::NotAKey(path)),
        found => Ok(found.is_some()),
    };
    if identity.secret_key.is_none() && !looks(folder.join("secret_key"), |text| text.len() >= 32)? {
        missing.push("SECRET_KEY");
    }
    if identity.encryption_key.is_none()
        && !looks(folder.join("encryption_key"), |text| EncryptionKey::from_base64(text).is_some())?
    {
        missing.push("ENCRYPTION_KEY");
    }
    Ok(missing)
}

fn make_folder(folder: &Path) -> Result<(), KeysError> {
    let io = |source| KeysError::Io { verb: "make", path: folder.to_owned(), source };
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(io(error)),
        _ => Ok(()),
    }
}

fn read_or_make<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<T, KeysError> {
    let text = match read(path)? {
        Some(text) => text,
        None => {
            make(path)?;
            read(path)?.ok_or_else(|| KeysError::NotAKey(path.to_owned()))?
        }
    };
    parse(text.trim()).ok_or_else(|| KeysError::NotAKey(path.to_owned()))
}

fn read(path: &Path) -> Result<Option<String>, KeysError> {
    let io = |source| KeysError::Io { verb: "read", path: path.to_owned(), source };
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
        return Err(KeysError::Open(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut bytes).map_err(io)?;
    String::from_utf8(bytes).map(Some).map_err(|_| KeysError::NotAKey(path.to_owned()))
}

/// Writes 32 random bytes in base64. The file appears whole under its name or not at all, and the first of several wins.
fn make(path: &Path) -> Result<(), KeysError> {
    let io = |source| KeysError::Io { verb: "write", path: path.to_owned(), source };
    let mut key = [0_u8; 32];
    rand::fill(&mut key[..]);
    let draft = path.with_extension(format!("draft-{:016x}", rand::random::<u64>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
    let written = file
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(STANDARD.encode(key).as_bytes()))
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    });
    let removed = std::fs::remove_file(&draft);
    linked.and(removed).map_err(io)
}
