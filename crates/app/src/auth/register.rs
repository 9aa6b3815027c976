//! Making an account: the first user of an empty system, a stub that an administrator made ahead, or somebody with an
//! address of an organization's domain.

use super::{Auth, Client};
use bifrost_domain::{
    error::{Error, Field, Result},
    ids::{OrganizationId, UserId},
    user::{Email, User, UserType},
};
use bifrost_storage::{Tx, audit::Outcome};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

/// Bounds of a password that a person chooses, in characters.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=256;
const MAX_NAME: usize = 255;

/// What somebody registers with.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Address.
    pub email: String,
    /// 8 to 256 characters.
    pub password: SecretString,
    /// Display name, up to 255 characters.
    pub name: Option<String>,
}

/// What the sign-in page asks before anybody has signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether the first user is still to be made.
    pub needs_setup: bool,
}

impl Auth {
    /// What the sign-in page needs to know.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn status(&self) -> Result<Status> {
        Ok(Status { needs_setup: !self.reader.has_people().await? })
    }

    /// Makes an account.
    ///
    /// # Errors
    /// Invalid fields; forbidden when registration is off; bad request when the address is registered or nobody expects it.
    pub async fn register(&self, account: NewAccount, client: &Client) -> Result<User> {
        let (email, name) = check(&account)?;
        if !self.settings.registration_enabled && self.reader.has_people().await? {
            return Err(Error::forbidden("registration is off; ask your administrator for an account")
                .with_code("registration_off"));
        }
        // Before the transaction: nothing slow happens inside one. Who may is decided again inside.
        let hash = self.passwords.hash(account.password).await?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        let user = self.decide(&tx, &email, name, &hash, now).await?;
        tx.insert_audit(self.entry("user.register", Outcome::Success, Some(&user), client)).await?;
        tx.commit().await?;
        Ok(user)
    }

    async fn decide(
        &self,
        tx: &Tx,
        email: &Email,
        name: Option<String>,
        hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<User> {
        if !tx.has_people().await? {
            let user = self.account(email, name, None, now);
            tx.insert_user(&user, Some(hash)).await?;
            return Ok(user);
        }
        if !self.settings.registration_enabled {
            return Err(Error::forbidden("registration is off; ask your administrator for an account")
                .with_code("registration_off"));
        }
        if let Some(found) = tx.find_credentials(email).await? {
            if !tx.register_stub(found.user.id, name.as_deref(), hash, now).await? {
                return Err(Error::bad_request("this address is registered already; sign in instead")
                    .with_code("already_registered"));
            }
            let stub = found.user;
            return Ok(User { is_registered: true, name: name.or(stub.name), updated_at: now, ..stub });
        }
        let home = tx.find_organization_by_domain(email.domain()).await?.ok_or_else(|| {
            Error::bad_request("no organization expects this address; ask your administrator for an account")
                .with_code("no_organization")
        })?;
        let user = self.account(email, name, Some(home.id), now);
        tx.insert_user(&user, Some(hash)).await?;
        Ok(user)
    }

    /// A platform admin without a home, else a person of an organization.
    pub(super) fn account(
        &self,
        email: &Email,
        name: Option<String>,
        home: Option<OrganizationId>,
        now: DateTime<Utc>,
    ) -> User {
        User {
            id: UserId::from_uuid(self.ids.next()),
            email: email.as_str().to_owned(),
            name,
            user_type: if home.is_some() { UserType::Org } else { UserType::Platform },
            organization_id: home,
            is_active: true,
            is_superuser: home.is_none(),
            is_verified: home.is_none(),
            is_registered: true,
            epoch: 0,
            last_login: None,
            created_at: now,
            updated_at: now,
        }
    }
}

fn check(account: &NewAccount) -> Result<(Email, Option<String>)> {
    let mut fields = Vec::new();
    let mut wrong = |path: &str, code: &'static str, message: String| {
        fields.push(Field { path: path.to_owned(), code: code.into(), message });
    };
    let email = account.email.parse::<Email>();
    if let Err(error) = &email {
        wrong("email", "format", error.to_string());
    }
    let length = account.password.expose_secret().chars().count();
    if !PASSWORD.contains(&length) {
        let code = if length < *PASSWORD.start() { "too_short" } else { "too_long" };
        wrong("password", code, format!("must have {} to {} characters", PASSWORD.start(), PASSWORD.end()));
    }
    let name = account.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        wrong("name", "too_long", format!("must have at most {MAX_NAME} characters"));
    }
    if name.is_some_and(|name| name.chars().any(char::is_control)) {
        wrong("name", "format", "must not contain control characters".to_owned());
    }
    match email {
        Ok(email) if fields.is_empty() => Ok((email, name.map(str::to_owned))),
        _ => Err(Error::invalid_fields(fields)),
    }
}
