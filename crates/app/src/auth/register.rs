//! Making an account: the first user of an empty system, a stub that an administrator made ahead, or somebody with an
//! address of an organization's domain.

use super::{
    Auth, Client,
    passwords::{self, PasswordRule},
};
use crate::{
    audit::{changes, made, with_secret},
    users::described,
};
use bifrost_domain::{
    error::{Error, Field, Result},
    ids::{OrganizationId, UserId},
    rights::{MembershipRole, MembershipSource},
    user::{Email, User, UserType},
};
use bifrost_storage::{Tx, audit::Outcome, memberships::Membership};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

const MAX_NAME: usize = 255;

/// What somebody registers with.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Address.
    pub email: String,
    /// As [`passwords::check`] wants it.
    pub password: SecretString,
    /// Display name, up to 255 characters.
    pub name: Option<String>,
}

/// What the sign-in page asks before anybody has signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether the first user is still to be made.
    pub needs_setup: bool,
    /// Whether everybody who signs in with a password needs a second factor.
    pub mfa_required_for_password: bool,
}

impl Auth {
    /// What the sign-in page needs to know.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn status(&self) -> Result<Status> {
        Ok(Status {
            needs_setup: !self.reader.has_people().await?,
            mfa_required_for_password: self.settings.mfa_required,
        })
    }

    /// Makes an account.
    ///
    /// # Errors
    /// Invalid fields; forbidden when registration is off; bad request when the address is registered or nobody expects it.
    pub async fn register(&self, account: NewAccount, client: &Client) -> Result<User> {
        let (email, name) = self.check(&account)?;
        if !self.settings.registration_enabled && self.reader.has_people().await? {
            return Err(Error::forbidden("registration is off; ask your administrator for an account")
                .with_code("registration_off"));
        }
        // Before the transaction: nothing slow happens inside one. Who may is decided again inside.
        let hash = self.passwords.hash(account.password).await?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        let (user, stub) = self.decide(&tx, &email, name, &hash, now).await?;
        let mut entry = self.entry("user.register", Outcome::Success, Some(&user), client);
        entry.changes = Some(with_secret(written(stub.as_ref(), &user), "password", false));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Whom somebody becomes, and the stub that an administrator made of him.
    async fn decide(
        &self,
        tx: &Tx,
        email: &Email,
        name: Option<String>,
        hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(User, Option<User>)> {
        if !tx.has_people().await? {
            let user = self.account(email, name, None, now);
            tx.insert_user(&user, Some(hash)).await?;
            return Ok((user, None));
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
            let name = name.or_else(|| stub.name.clone());
            let user = User { is_registered: true, name, updated_at: now, ..stub.clone() };
            return Ok((user, Some(stub)));
        }
        let home = tx.find_organization_by_domain(email.domain()).await?.ok_or_else(|| {
            Error::bad_request("no organization expects this address; ask your administrator for an account")
                .with_code("no_organization")
        })?;
        let user = self.account(email, name, Some(home.id), now);
        // Before the row that refers to the organization: who deletes it locks in this order, too.
        tx.lock_tree().await?;
        tx.insert_user(&user, Some(hash)).await?;
        tx.write_membership(&first_membership(user.id, home.id, None, now)).await?;
        tx.inherit(now).await?;
        Ok((user, None))
    }

    /// A platform admin without a home, else a person of an organization.
    pub(crate) fn account(
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
            purge_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// What the audit log shows of an account that was made, or of a stub that became one.
pub(crate) fn written(stub: Option<&User>, user: &User) -> Option<Value> {
    match stub {
        None => made(described(user)),
        Some(stub) => {
            let pairs = described(stub).into_iter().zip(described(user));
            changes(pairs.map(|((name, old), (_, new))| (name, old, new)))
        }
    }
}

/// The membership that somebody of an organization begins with.
pub(crate) fn first_membership(
    user_id: UserId,
    organization_id: OrganizationId,
    created_by: Option<UserId>,
    now: DateTime<Utc>,
) -> Membership {
    Membership {
        user_id,
        organization_id,
        via: organization_id,
        role: MembershipRole::Member,
        source: MembershipSource::Direct,
        attributes: Value::Object(serde_json::Map::new()),
        created_by,
        created_at: now,
        updated_at: now,
    }
}

/// A display name without spaces around it; an empty one is none.
pub(crate) fn checked_name(name: Option<&str>, fields: &mut Vec<Field>) -> Option<String> {
    let name = name.map(str::trim).filter(|name| !name.is_empty())?;
    fields.extend(check_name(name).err());
    Some(name.to_owned())
}

/// An address, lower case.
pub(crate) fn checked_email(email: &str, fields: &mut Vec<Field>) -> Option<Email> {
    let parsed = email.parse::<Email>();
    if let Err(error) = &parsed {
        fields.push(Field { path: "email".to_owned(), code: "format".into(), message: error.to_string() });
    }
    parsed.ok()
}

impl Auth {
    /// What is wrong with a password that somebody chooses for himself or for another, under the path `password`.
    pub(crate) fn check_password(
        &self,
        password: &SecretString,
        email: Option<&Email>,
        name: Option<&str>,
        fields: &mut Vec<Field>,
    ) {
        let rule = PasswordRule {
            min_length: self.settings.password_min_length,
            email: email.map_or("", Email::as_str),
            name,
        };
        fields.extend(passwords::check(password.expose_secret(), "password", &rule).err());
    }

    fn check(&self, account: &NewAccount) -> Result<(Email, Option<String>)> {
        let mut fields = Vec::new();
        let email = checked_email(&account.email, &mut fields);
        let mut of_name = Vec::new();
        let name = checked_name(account.name.as_deref(), &mut of_name);
        self.check_password(&account.password, email.as_ref(), name.as_deref(), &mut fields);
        fields.append(&mut of_name);
        match email {
            Some(email) if fields.is_empty() => Ok((email, name)),
            _ => Err(Error::invalid_fields(fields)),
        }
    }
}

/// A person's display name: at most 255 characters, no control characters.
pub(crate) fn check_name(name: &str) -> Result<(), Field> {
    let wrong = |code: &'static str, message: String| {
        Err(Field { path: "name".to_owned(), code: code.into(), message })
    };
    if name.chars().count() > MAX_NAME {
        return wrong("too_long", format!("must have at most {MAX_NAME} characters"));
    }
    if name.chars().any(char::is_control) {
        return wrong("format", "must not contain control characters".to_owned());
    }
    Ok(())
}
