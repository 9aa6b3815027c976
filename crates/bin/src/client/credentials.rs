//! Who is signed in where: one file of the user's, which nobody else can read.
//!
//! A refresh token holds once. So whoever changes the file holds its lock from reading to writing, and several `bifrost`
//! processes never lose each other's tokens; the file appears whole or not at all.

use super::{Failure, Server};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

const NAME: &str = "credentials.json";
/// Longest file that is read, bytes.
const LONGEST: u64 = 1024 * 1024;
/// How long another process may hold the lock: it waits for a server at most.
const LOCK_WITHIN: Duration = Duration::from_secs(90);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A session with one server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub email: String,
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// For one refresh.
    pub refresh_token: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("email", &self.email).finish_non_exhaustive()
    }
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The server that commands ask when they name none.
    #[serde(default)]
    pub current: Option<String>,
    /// Sessions by server.
    #[serde(default)]
    pub servers: BTreeMap<String, Session>,
}

impl Saved {
    /// The session with a server.
    #[must_use]
    pub fn session(&self, server: &Server) -> Option<&Session> {
        self.servers.get(&server.to_string())
    }
}

/// The folder of the file.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// `$XDG_CONFIG_HOME/bifrost`, else `~/.config/bifrost`; `None` when there is neither.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let configured =
            std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = configured.or_else(|| Some(std::env::home_dir()?.join(".config")))?;
        Some(Self { folder: folder.join("bifrost") })
    }

    /// In this folder.
    #[must_use]
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// What is saved; nothing when there is no file.
    ///
    /// # Errors
    /// When it cannot be read, others can read it too, or it holds something else.
    pub fn read(&self) -> Result<Saved, Failure> {
        let path = self.path();
        let shown = path.display();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(Failure::here(format!("{shown} cannot be read: {error}"))),
        };
        let unreadable = |error: std::io::Error| Failure::here(format!("{shown} cannot be read: {error}"));
        if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(Failure::here(format!("{shown} can be read by other users; run chmod 600 on it")));
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let saved = if bytes.len() as u64 > LONGEST { None } else { serde_json::from_slice(&bytes).ok() };
        saved.ok_or_else(|| {
            Failure::here(format!(
                "{shown} does not hold what `bifrost login` writes; remove it and sign in again"
            ))
        })
    }

    /// Takes the file for a change; waits for another process that has it.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process keeps the lock.
    pub async fn lock(&self) -> Result<Locked<'_>, Failure> {
        let unwritable = |error: std::io::Error| {
            Failure::here(format!("{} cannot be written: {error}", self.folder.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(unwritable)?;
        let path = self.folder.join("credentials.lock");
        let mut options = OpenOptions::new();
        let file =
            options.create(true).write(true).truncate(false).mode(0o600).open(&path).map_err(unwritable)?;
        let taken = tokio::time::timeout(LOCK_WITHIN, async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                    Err(TryLockError::Error(error)) => return Err(unwritable(error)),
                }
            }
        });
        match taken.await {
            Ok(taken) => taken.map(|()| Locked { store: self, _file: file }),
            Err(_) => Err(Failure::here(format!(
                "another `bifrost` has held {} for {} s; end it and try again",
                path.display(),
                LOCK_WITHIN.as_secs()
            ))),
        }
    }
}

/// The file, held for a change.
#[derive(Debug)]
pub struct Locked<'a> {
    store: &'a Store,
    _file: File,
}

impl Locked<'_> {
    /// What is saved now.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read(&self) -> Result<Saved, Failure> {
        self.store.read()
    }

    /// Replaces it.
    ///
    /// # Errors
    /// When it cannot be written; the old one is whole then.
    pub fn write(&self, saved: &Saved) -> Result<(), Failure> {
        let path = self.store.path();
        let trouble =
            |error: std::io::Error| Failure::here(format!("{} cannot be written: {error}", path.display()));
        let text = serde_json::to_string_pretty(saved).map_err(|error| Failure::here(error.to_string()))?;
        let draft = path.with_extension("draft");
        // A process that died in the middle left it; nobody else writes while the lock is held.
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(trouble(error)),
            _ => {}
        }
        replace(&draft, &path, &text).map_err(trouble)
    }
}

fn replace(draft: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn session(token: &str) -> Session {
        Session {
            email: "a@b.example".to_owned(),
            access_token: token.to_owned(),
            refresh_token: "r".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_is_saved_is_the_users_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::in_folder(dir.path().join("config/bifrost"));
        assert_eq!(store.read().expect("nothing yet"), Saved::default());
        let server = Server::parse("localhost:8000").expect("an address");
        let mut saved = Saved { current: Some(server.to_string()), ..Saved::default() };
        saved.servers.insert(server.to_string(), session("geheim"));
        store.lock().await.expect("locked").write(&saved).expect("written");
        assert_eq!(store.read().expect("read"), saved);
        assert_eq!(saved.session(&server).map(|session| session.access_token.as_str()), Some("geheim"));
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&store.path()), mode(&store.folder)), (0o600, 0o700));
        assert!(!format!("{saved:?}").contains("geheim"));

        std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o640)).expect("mode");
        let failure = store.read().expect_err("open to others");
        assert!(failure.to_string().contains("chmod 600"), "{failure}");
        std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o600)).expect("mode");
        for text in ["no JSON".to_owned(), "[1]".to_owned(), " ".repeat(1024 * 1024 + 1)] {
            std::fs::write(store.path(), text).expect("written");
            let failure = store.read().expect_err("not ours");
            assert!(failure.to_string().contains("remove it and sign in again"), "{failure}");
        }
    }

    #[tokio::test]
    async fn changes_wait_for_each_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::in_folder(dir.path().to_owned());
        let changes = (0..20).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let locked = store.lock().await.expect("locked");
                let mut saved = locked.read().expect("read");
                tokio::task::yield_now().await;
                saved.servers.insert(format!("server {number}"), session("x"));
                locked.write(&saved).expect("written");
            })
        });
        for change in changes.collect::<Vec<_>>() {
            change.await.expect("no panic");
        }
        assert_eq!(store.read().expect("read").servers.len(), 20);
    }
}
