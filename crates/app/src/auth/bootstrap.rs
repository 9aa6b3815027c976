//! Accounts that are there from the first start.

use super::{Auth, Client, Environment};
use bifrost_domain::{
    error::{Error, Result},
    ids::UserId,
    user::{Email, User, UserType},
};
use bifrost_storage::audit::Outcome;
use secrecy::{ExposeSecret, SecretString};

/// The development user's address and password unless the settings name others.
const DEFAULT_DEV_EMAIL: &str = "admin@localhost";
const DEFAULT_DEV_PASSWORD: &str = "admin";

/// The system user's address: it acts for schedules, keys and webhooks and cannot sign in.
pub const SYSTEM_EMAIL: &str = "system@bifrost.internal";

impl Auth {
    /// Makes the system user if it is not there. Several replicas may do so at the same time.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn ensure_system_user(&self) -> Result<User> {
        let email: Email = SYSTEM_EMAIL.parse().map_err(Error::internal)?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        if let Some(found) = tx.find_credentials(&email).await? {
            return Ok(found.user);
        }
        let user = User {
            id: UserId::from_uuid(self.ids.next()),
            email: SYSTEM_EMAIL.to_owned(),
            name: Some("System".to_owned()),
            user_type: UserType::System,
            organization_id: None,
            is_active: true,
            // It acts in whatever organization a schedule or key belongs to.
            is_superuser: true,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        tx.insert_user(&user, None).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Makes the development user, or gives it the password of the settings when that was changed. Does nothing in
    /// production or without such a user in the settings.
    ///
    /// # Errors
    /// Invalid when the address is not one; unavailable when the store is away.
    pub async fn ensure_dev_user(&self) -> Result<Option<User>> {
        let Some(settings) = &self.settings.dev_user else { return Ok(None) };
        if self.settings.environment == Environment::Production {
            return Ok(None);
        }
        let email: Email = settings
            .email
            .parse()
            .map_err(|error| Error::invalid("DEV_USER_EMAIL", "format", format!("{error}")))?;
        let found = self.reader.find_credentials(&email).await?;
        if let Some(found) = &found
            && self.passwords.verify(settings.password.clone(), found.password_hash.clone()).await?
        {
            return Ok(Some(found.user.clone()));
        }
        let hash = self.passwords.hash(settings.password.expose_secret().into()).await?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        let user = match (tx.find_credentials(&email).await?, &found) {
            // Another replica made it a moment ago, from the same settings; a new password would end the sessions that began since.
            (Some(made), None) => return Ok(Some(made.user)),
            (Some(changed), Some(_)) => {
                tx.update_password(changed.user.id, &hash, now).await?;
                User { epoch: changed.user.epoch + 1, updated_at: now, ..changed.user }
            }
            (None, _) => {
                let user = self.account(&email, Some("Developer".to_owned()), None, now);
                tx.insert_user(&user, Some(&hash)).await?;
                user
            }
        };
        let entry = self.entry("user.bootstrap", Outcome::Success, Some(&user), &Client::default());
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(Some(user))
    }
    /// Refuses to go on in production while an account that development began with has a password that everybody knows: the
    /// database may have been used by `bifrost dev` before. Does nothing elsewhere.
    ///
    /// # Errors
    /// Conflict when there is such an account; unavailable when the store is away.
    pub async fn refuse_known_passwords(&self) -> Result<()> {
        if self.settings.environment != Environment::Production {
            return Ok(());
        }
        let settings = self.settings.dev_user.as_ref();
        let mut emails = vec![DEFAULT_DEV_EMAIL];
        emails.extend(settings.map(|user| user.email.as_str()).filter(|email| *email != DEFAULT_DEV_EMAIL));
        let mut passwords = vec![SecretString::from(DEFAULT_DEV_PASSWORD)];
        passwords.extend(settings.map(|user| user.password.clone()));
        // An address that is none was never an account's.
        for email in emails.into_iter().filter_map(|email| email.parse::<Email>().ok()) {
            let Some(found) = self.reader.find_credentials(&email).await? else { continue };
            for password in &passwords {
                if self.passwords.verify(password.clone(), found.password_hash.clone()).await? {
                    return Err(Error::conflict(format!(
                        "production does not start while the account {email} has the password of the development user; \
                         start `bifrost dev` on this database once with another DEV_USER_PASSWORD, or delete the account"
                    )));
                }
            }
        }
        Ok(())
    }
}
