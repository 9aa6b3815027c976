//! Making an account: the first user of an empty system. And what every account is made of.

use super::{
    Auth, Client,
    passwords::{self, PasswordRule},
};
use bifrost_domain::{
    error::{Error, Field, Result},
    ids::{OrganizationId, UserId},
    rights::{MembershipRole, MembershipSource},
    user::{Email, User, UserType},
};
use bifrost_storage::{audit::Outcome, memberships::Membership};
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

    /// Makes the account of the first user, a platform admin. Nobody else registers: an address proves nothing while no mail is sent to it,
    /// so an administrator gives people their first password, or an identity provider vouches for them.
    ///
    /// # Errors
    /// Invalid fields; forbidden when there is a user already.
    pub async fn register(&self, account: NewAccount, client: &Client) -> Result<User> {
        let (email, name) = self.check(&account)?;
        if self.reader.has_people().await? {
            return Err(registration_off());
        }
        // Before the transaction: nothing slow happens inside one. Who is the first is decided again inside.
        let hash = self.passwords.hash(account.password).await?;
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        if tx.has_people().await? {
            return Err(registration_off());
        }
        let user = self.account(&email, name, None, self.clock.now());
        tx.insert_user(&user, Some(&hash)).await?;
        tx.insert_audit(self.entry("user.register", Outcome::Success, Some(&user), client)).await?;
        tx.commit().await?;
        Ok(user)
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

fn registration_off() -> Error {
    Error::forbidden(
        "registration is off; ask your administrator for an account with a password, or sign in with an identity provider",
    )
    .with_code("registration_off")
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
