//! Making and changing people.

use super::{Users, email_taken, keep_an_admin, myself, no_organization, superuser_required};
use crate::{
    audit::{changes, made, with_secret},
    auth::{Client, checked_email, checked_name, first_membership},
    still,
};
use bifrost_domain::{
    error::{Error, Field, Result},
    ids::{OrganizationId, UserId},
    policy::{Permit, actions::WriteUsers, may_name},
    rights::MembershipRole,
    scope::Scope,
    user::{Email, User, UserType},
};
use bifrost_storage::{Tx, users::admin::Person};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;

/// Whom an administrator makes.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Address, in any case.
    pub email: String,
    /// Display name, up to 255 characters.
    pub name: Option<String>,
    /// Without one it is a stub: the account waits for a password from an administrator, or for an identity provider that vouches for its
    /// address.
    pub password: Option<SecretString>,
    /// Of an organization when one is named or acted in, else of the platform.
    pub user_type: Option<UserType>,
    /// Home; without one that of the caller's scope.
    pub organization_id: Option<OrganizationId>,
    /// Whether a platform admin.
    pub is_superuser: bool,
    /// Whether the person may sign in.
    pub is_active: bool,
    /// Whether the address is known to be the person's.
    pub is_verified: bool,
}

/// A change: `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// New address; it is not verified any more, unless the change says so.
    pub email: Option<String>,
    /// New display name, or none.
    pub name: Option<Option<String>>,
    /// New password: every session ends, a stub becomes a registered user.
    pub password: Option<SecretString>,
    /// New kind.
    pub user_type: Option<UserType>,
    /// New home; the membership of the former one stays.
    pub organization_id: Option<Option<OrganizationId>>,
    /// Platform admin or not.
    pub is_superuser: Option<bool>,
    /// Suspends or reactivates: every session ends. Who is taken back is not removed.
    pub is_active: Option<bool>,
    /// Verified or not.
    pub is_verified: Option<bool>,
}

impl Users {
    /// Makes somebody.
    ///
    /// # Errors
    /// Invalid fields; forbidden when the caller may not make such a user; not found when the organization is another one; conflict when
    /// the address is taken.
    pub async fn create(&self, permit: &Permit<WriteUsers>, new: NewUser, client: &Client) -> Result<Person> {
        let mut fields = Vec::new();
        let email = checked_email(&new.email, &mut fields);
        let name = checked_name(new.name.as_deref(), &mut fields);
        if let Some(password) = &new.password {
            self.auth.check_password(password, email.as_ref(), name.as_deref(), &mut fields);
        }
        if new.password.is_some() || new.is_superuser {
            check_person(permit)?;
        }
        let (user_type, home) = kind_of(permit, &new)?;
        check_kind(user_type, home, new.is_superuser, &mut fields);
        let Some(email) = email.filter(|_| fields.is_empty()) else {
            return Err(Error::invalid_fields(fields));
        };
        let is_registered = new.password.is_some();
        let hash = match new.password {
            Some(password) => Some(self.auth.hash_password(password).await?),
            None => None,
        };
        let now = self.clock.now();
        let user = User {
            id: UserId::from_uuid(self.ids.next()),
            email: email.as_str().to_owned(),
            name,
            user_type,
            organization_id: home,
            is_active: new.is_active,
            is_superuser: new.is_superuser,
            is_verified: new.is_verified,
            is_registered,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        if let Some(home) = home {
            // Before the row that refers to it: who deletes the organization locks in this order, too.
            tx.lock_tree().await?;
            tx.find_organization(home).await?.ok_or_else(no_organization)?;
        }
        still::check(&tx, permit, now).await?;
        self.check_domain(&tx, permit, &email).await?;
        tx.insert_user(&user, hash.as_ref()).await.map_err(email_taken)?;
        self.settle(&tx, permit, &user, now).await?;
        let mut entry = self.entry("user.create", permit, &user, client);
        entry.changes = made(described(&user));
        if user.is_registered {
            entry.changes = Some(with_secret(entry.changes, "password", false));
        }
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(Person { user, mfa_enabled: false })
    }

    /// Changes somebody.
    ///
    /// # Errors
    /// Not found; invalid fields; forbidden when the caller may not change this person or this of him; conflict when the address is taken,
    /// he is the last platform admin, the system user, or (for a suspension or a password) the caller himself.
    pub async fn update(
        &self,
        permit: &Permit<WriteUsers>,
        id: UserId,
        patch: UserPatch,
        client: &Client,
    ) -> Result<Person> {
        let mut fields = Vec::new();
        let email = patch.email.as_deref().and_then(|email| checked_email(email, &mut fields));
        let name = patch.name.as_ref().map(|name| checked_name(name.as_deref(), &mut fields));
        if let Some(password) = &patch.password {
            let name = name.as_ref().and_then(Option::as_deref);
            self.auth.check_password(password, email.as_ref(), name, &mut fields);
        }
        if !fields.is_empty() {
            return Err(Error::invalid_fields(fields));
        }
        if patch.password.is_some() || patch.is_superuser.is_some() {
            check_person(permit)?;
        }
        let is_me = permit.user_id() == id;
        if is_me && email.is_some() {
            self.check_at_hand(permit).await?;
        }
        if is_me && patch.is_active == Some(false) {
            return Err(myself("you cannot suspend yourself"));
        }
        if is_me && patch.password.is_some() {
            return Err(myself("change your own password with `POST /api/profile/password`"));
        }
        let hash = match patch.password.clone() {
            Some(password) => Some(self.auth.hash_password(password).await?),
            None => None,
        };
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        if patch.organization_id.is_some() || patch.user_type.is_some() {
            tx.lock_tree().await?;
        }
        let Person { user: before, mfa_enabled } = self.lock(&tx, permit, id).await?;
        if let Some(email) = &email {
            self.check_domain(&tx, permit, email).await?;
        }
        if email.is_some() && before.is_superuser {
            check_person(permit)?;
        }
        let email = email.map(|email| email.as_str().to_owned());
        let mut after = changed(&before, &patch, email, name);
        if !permit.caller().is_platform_admin {
            if kind(&before) != kind(&after)
                || patch.is_verified.is_some_and(|wanted| wanted != before.is_verified)
            {
                return Err(superuser_required());
            }
            // An address that nobody has looked at is not verified because the former one was.
            after.is_verified &= before.email == after.email;
            if before.email != after.email || hash.is_some() {
                self.check_credentials(&tx, permit, &before).await?;
            }
        }
        let mut fields = Vec::new();
        check_kind(after.user_type, after.organization_id, after.is_superuser, &mut fields);
        if !fields.is_empty() {
            return Err(Error::invalid_fields(fields));
        }
        after.is_registered |= hash.is_some();
        keep_an_admin(&tx, &before, &after).await?;
        let pairs = described(&before).into_iter().zip(described(&after));
        let mut changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        if hash.is_some() {
            changes = Some(with_secret(changes, "password", before.is_registered));
        }
        if changes.is_none() {
            return Ok(Person { user: before, mfa_enabled });
        }
        after.updated_at = now;
        let moves = after.organization_id != before.organization_id;
        if let Some(home) = after.organization_id.filter(|_| moves) {
            tx.find_organization(home).await?.ok_or_else(no_organization)?;
        }
        tx.update_user(permit, &after, after.is_active != before.is_active).await.map_err(email_taken)?;
        if let Some(hash) = &hash {
            tx.give_password(permit, id, hash, now).await?;
        }
        if moves {
            self.settle(&tx, permit, &after, now).await?;
        }
        let mut entry = self.entry("user.update", permit, &after, client);
        entry.changes = changes;
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(Person { user: after, mfa_enabled })
    }

    /// Addresses under another organization's domain are its own people's, and the platform's to give.
    async fn check_domain(&self, tx: &Tx, permit: &Permit<WriteUsers>, email: &Email) -> Result<()> {
        if permit.caller().is_platform_admin {
            return Ok(());
        }
        let owner = tx.find_organization_by_domain(email.domain()).await?;
        if owner.is_some_and(|owner| !permit.reach().contains(owner.id)) {
            return Err(Error::forbidden("addresses under this domain are not yours to give")
                .with_code("domain_taken"));
        }
        Ok(())
    }

    /// Whoever has found somebody's session, or his key, does not take the account by giving it an address of his own.
    async fn check_at_hand(&self, permit: &Permit<WriteUsers>) -> Result<()> {
        check_person(permit)?;
        let is_at_hand = match permit.caller().session_id {
            Some(session) => self.auth.began_just_now(session).await?,
            None => false,
        };
        if is_at_hand {
            return Ok(());
        }
        Err(Error::forbidden("to change this of yourself sign in again, and go on within 10 minutes")
            .with_code("sign_in_again"))
    }

    /// Makes somebody a member at home, unless he is; under [`Tx::lock_tree`]. Whose own rank is lower than a member's gives that.
    async fn settle(
        &self,
        tx: &Tx,
        permit: &Permit<WriteUsers>,
        user: &User,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let Some(home) = user.organization_id else { return Ok(()) };
        if tx.find_membership(user.id, home).await?.is_none() {
            let mut membership = first_membership(user.id, home, Some(permit.user_id()), now);
            if !may_name(permit.caller(), home, membership.role) {
                membership.role = MembershipRole::Limited;
            }
            tx.write_membership(&membership).await?;
            tx.inherit(now).await?;
        }
        Ok(())
    }

    /// Whoever sets an address, a password or a factor can sign in with it: so only where that gives nothing that the caller does not have.
    pub(super) async fn check_credentials(
        &self,
        tx: &Tx,
        permit: &Permit<WriteUsers>,
        user: &User,
    ) -> Result<()> {
        let rights = tx.find_rights(user).await?;
        let is_here = |id: &OrganizationId| permit.scope() == Scope::Organization(*id);
        if !rights.held.keys().all(is_here) {
            return Err(Error::forbidden(
                "this person is a member of other organizations, too; ask a platform admin to change address, password or second factor",
            )
            .with_code("member_elsewhere"));
        }
        let granted = rights.granted(user, user.organization_id);
        match granted.permissions.iter().find(|permission| !permit.caller().has(permission)) {
            None => Ok(()),
            Some(permission) => Err(Error::forbidden(format!(
                "this person may do what you may not (`{permission}`); ask an admin to change address, password or second factor"
            ))
            .with_code("not_grantable")),
        }
    }
}

/// Whoever sets credentials can sign in with them: a session may more than a key, and is there still when the key is revoked.
pub(super) fn check_person(permit: &Permit<WriteUsers>) -> Result<()> {
    if permit.caller().key_id.is_none() {
        return Ok(());
    }
    let message = "a key sets no passwords, resets no second factors, makes no platform admins and changes no address of theirs or its own: \
                   an administrator who is signed in does";
    Err(Error::forbidden(message).with_code("person_needed"))
}

/// Kind and home of whom the caller makes.
fn kind_of(permit: &Permit<WriteUsers>, new: &NewUser) -> Result<(UserType, Option<OrganizationId>)> {
    let place = permit.scope().organization();
    if permit.caller().is_platform_admin {
        let home = match new.user_type {
            None | Some(UserType::Org) => new.organization_id.or(place),
            Some(_) => new.organization_id,
        };
        let unnamed = if home.is_some() { UserType::Org } else { UserType::Platform };
        return Ok((new.user_type.unwrap_or(unnamed), home));
    }
    if new.is_superuser
        || new.is_verified
        || new.user_type.is_some_and(|user_type| user_type != UserType::Org)
    {
        return Err(superuser_required());
    }
    let place = place.ok_or_else(superuser_required)?;
    if new.organization_id.is_some_and(|id| id != place) {
        return Err(Error::not_found("organization"));
    }
    Ok((UserType::Org, Some(place)))
}

fn check_kind(
    user_type: UserType,
    home: Option<OrganizationId>,
    is_superuser: bool,
    fields: &mut Vec<Field>,
) {
    let mut wrong = |path: &str, code: &'static str, message: &str| {
        fields.push(Field { path: path.to_owned(), code: code.into(), message: message.to_owned() });
    };
    match (user_type, home) {
        (UserType::System, _) => wrong("user_type", "value", "must be `PLATFORM` or `ORG`"),
        (UserType::Org, None) => {
            wrong("organization_id", "required", "is required for a user of an organization");
        }
        (UserType::Platform, Some(_)) => {
            wrong(
                "organization_id",
                "value",
                "must be absent for a user of the platform; make a membership instead",
            );
        }
        _ => {}
    }
    if is_superuser && user_type == UserType::Org {
        wrong("is_superuser", "value", "needs `user_type` to be `PLATFORM`");
    }
}

fn changed(before: &User, patch: &UserPatch, email: Option<String>, name: Option<Option<String>>) -> User {
    let user_type = patch.user_type.unwrap_or(before.user_type);
    let unnamed = if user_type == UserType::Platform { None } else { before.organization_id };
    let moved = email.as_ref().is_some_and(|email| *email != before.email);
    let is_active = patch.is_active.unwrap_or(before.is_active);
    User {
        email: email.unwrap_or_else(|| before.email.clone()),
        name: name.unwrap_or_else(|| before.name.clone()),
        user_type,
        organization_id: patch.organization_id.unwrap_or(unnamed),
        is_active,
        is_superuser: patch.is_superuser.unwrap_or(before.is_superuser),
        is_verified: patch.is_verified.unwrap_or(before.is_verified && !moved),
        purge_at: before.purge_at.filter(|_| !is_active),
        ..before.clone()
    }
}

/// What platform admins alone decide, besides whether an address is verified.
const fn kind(user: &User) -> (UserType, Option<OrganizationId>, bool) {
    (user.user_type, user.organization_id, user.is_superuser)
}

/// What the audit log shows of a user.
pub(crate) fn described(user: &User) -> [(&'static str, Value); 9] {
    [
        ("email", user.email.as_str().into()),
        ("name", user.name.clone().into()),
        ("user_type", user.user_type.as_str().into()),
        ("organization_id", user.organization_id.map(|id| id.to_string()).into()),
        ("is_active", user.is_active.into()),
        ("is_superuser", user.is_superuser.into()),
        ("is_verified", user.is_verified.into()),
        ("is_registered", user.is_registered.into()),
        ("purge_at", user.purge_at.map(|at| at.to_rfc3339()).into()),
    ]
}
