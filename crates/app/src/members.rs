//! Members of organizations: who is one, with which rank, and why.
//!
//! Nobody gives or takes a rank above his own, and only people of organizations that the caller looks after become members of another one.
//! What is inherited from a group is changed in the group.

use crate::{
    audit::{About, Scribe, changes},
    auth::Client,
    pages::one_more,
    still, users,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    ids::{OrganizationId, UserId},
    json::has_nul,
    policy::{
        Action, Permit,
        actions::{ReadMembers, WriteMembers},
        may_name,
    },
    rights::{MembershipRole, MembershipSource},
    user::UserType,
};
use bifrost_storage::{
    Error as StoreError, Reader, Store, Tx,
    audit::Entry,
    memberships::{Member, Membership},
    users::admin::Person,
};
use serde_json::{Value, json};

const MAX_ATTRIBUTES_BYTES: usize = 16 * 1024;

/// The commands over members. Cheap to clone.
#[derive(Clone)]
pub struct Members {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    scribe: Scribe,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Members {
    /// The commands over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds) -> Self {
        Self { reader: store.reader(), store, scribe: Scribe::new(clock.clone(), ids), clock }
    }

    /// A page of the members of an organization, by user: those of at most `limit` people, and whether there are more. Somebody who is a
    /// member for several reasons comes several times.
    ///
    /// # Errors
    /// Not found when the organization is not there for the caller.
    pub async fn list(
        &self,
        permit: &Permit<ReadMembers>,
        organization: OrganizationId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<Member>, bool)> {
        reach(permit, organization)?;
        self.reader.find_organization(organization).await?.ok_or_else(no_organization)?;
        let mut found = self.reader.list_members(permit, organization, after, one_more(limit)).await?;
        let mut people: Vec<UserId> = found.iter().map(|one| one.membership.user_id).collect();
        people.dedup();
        let beyond = people.get(limit as usize).copied();
        if let Some(beyond) = beyond {
            found.retain(|one| one.membership.user_id != beyond);
        }
        Ok((found, beyond.is_some()))
    }

    /// Makes somebody a member, or changes his rank or what is said of him (which stays when `attributes` are not given).
    ///
    /// # Errors
    /// Not found when the organization or the person is not there for the caller; invalid attributes; forbidden when the former or the new
    /// rank is above the caller's; conflict when the membership is inherited, or he is the last owner.
    pub async fn put(
        &self,
        permit: &Permit<WriteMembers>,
        organization: OrganizationId,
        user: UserId,
        role: MembershipRole,
        attributes: Option<Value>,
        client: &Client,
    ) -> Result<Member> {
        if let Some(attributes) = &attributes {
            check_attributes(attributes)?;
        }
        reach(permit, organization)?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_tree().await?;
        let (before, person) = self.look(&tx, permit, organization, user).await?;
        if !may_name(permit.caller(), organization, role) {
            return Err(users::rank_too_high());
        }
        if !role.reaches(MembershipRole::Owner) {
            keep_an_owner(&tx, permit, organization, before.as_ref()).await?;
        }
        let kept = before.as_ref().map_or_else(|| json!({}), |before| before.attributes.clone());
        let membership = Membership {
            user_id: user,
            organization_id: organization,
            via: organization,
            role,
            source: MembershipSource::Direct,
            attributes: attributes.unwrap_or(kept),
            created_by: before.as_ref().map_or(Some(permit.user_id()), |before| before.created_by),
            created_at: before.as_ref().map_or(now, |before| before.created_at),
            updated_at: now,
        };
        tx.put_membership(permit, &membership).await.map_err(|error| match error {
            StoreError::Reference(_) => users::not_found().with_source(error),
            other => other.into(),
        })?;
        tx.inherit(now).await?;
        let action = if before.is_some() { "membership.update" } else { "membership.create" };
        let mut entry = self.entry(action, permit, organization, user, client);
        let pairs = described(before.as_ref()).into_iter().zip(described(Some(&membership)));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        let Person { user, .. } = person;
        Ok(Member { membership, email: user.email, name: user.name, is_active: user.is_active })
    }

    /// Ends a membership, with the roles of that organization.
    ///
    /// # Errors
    /// Not found when the organization or the member is not there for the caller; forbidden when the rank is above the caller's; conflict
    /// when the membership is inherited, the organization is the person's home, or he is the last owner.
    pub async fn remove(
        &self,
        permit: &Permit<WriteMembers>,
        organization: OrganizationId,
        user: UserId,
        client: &Client,
    ) -> Result<()> {
        reach(permit, organization)?;
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_tree().await?;
        let (before, person) = self.look(&tx, permit, organization, user).await?;
        let before = before.ok_or_else(users::not_found)?;
        if person.user.organization_id == Some(organization) {
            return Err(Error::conflict(
                "this organization is the person's home; give the person another home first, or suspend the account",
            )
            .with_code("home_membership"));
        }
        keep_an_owner(&tx, permit, organization, Some(&before)).await?;
        tx.delete_membership(permit, user, organization).await?;
        tx.inherit(now).await?;
        let mut entry = self.entry("membership.delete", permit, organization, user, client);
        let pairs = described(Some(&before)).into_iter().zip(described(None));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// The membership that may be changed, if there is one, and whose it is or would be.
    async fn look(
        &self,
        tx: &Tx,
        permit: &Permit<WriteMembers>,
        organization: OrganizationId,
        user: UserId,
    ) -> Result<(Option<Membership>, Person)> {
        still::check(tx, permit, self.clock.now()).await?;
        tx.find_organization(organization).await?.ok_or_else(no_organization)?;
        let person = tx.find_person_anywhere(permit, user).await?.ok_or_else(users::not_found)?;
        if person.user.user_type == UserType::System {
            return Err(users::system_user());
        }
        let found = tx.find_membership(user, organization).await?;
        match &found {
            Some(found) if !may_name(permit.caller(), organization, found.role) => {
                return Err(users::rank_too_high());
            }
            Some(_) => {}
            None => {
                if let Some(group) = tx.find_inherited(user, organization).await? {
                    let message = format!(
                        "this membership is inherited from `{}` ({}); change it there",
                        group.name, group.id
                    );
                    return Err(Error::conflict(message).with_code("membership_inherited"));
                }
            }
        }
        Ok((found, person))
    }

    fn entry(
        &self,
        action: &'static str,
        permit: &Permit<WriteMembers>,
        organization: OrganizationId,
        user: UserId,
        client: &Client,
    ) -> Entry {
        self.scribe.line(action, permit.caller(), client).about(user, Some(organization))
    }
}

/// An organization in which the caller may not do this does not exist for him.
fn reach<A: Action>(permit: &Permit<A>, organization: OrganizationId) -> Result<()> {
    if permit.everywhere().contains(organization) { Ok(()) } else { Err(no_organization()) }
}

/// An organization is not left without an owner by its own people; platform admins may, since they can name another one.
async fn keep_an_owner(
    tx: &Tx,
    permit: &Permit<WriteMembers>,
    organization: OrganizationId,
    before: Option<&Membership>,
) -> Result<()> {
    let Some(before) = before.filter(|before| before.role == MembershipRole::Owner) else { return Ok(()) };
    if permit.caller().is_platform_admin || tx.has_owner_besides(before.user_id, organization).await? {
        return Ok(());
    }
    Err(Error::conflict("this is the last active owner of the organization; name another one first")
        .with_code("last_owner"))
}

fn no_organization() -> Error {
    Error::not_found("organization")
}

/// What the audit log shows of a membership.
fn described(one: Option<&Membership>) -> [(&'static str, Value); 3] {
    [
        ("role", one.map(|one| one.role.as_str()).into()),
        ("source", one.map(|one| one.source.as_str()).into()),
        ("attributes", one.map_or(Value::Null, |one| one.attributes.clone())),
    ]
}

fn check_attributes(attributes: &Value) -> Result<()> {
    let wrong = |code: &'static str, message: String| Err(Error::invalid("attributes", code, message));
    if !attributes.is_object() {
        return wrong("type", "must be an object".to_owned());
    }
    if attributes.to_string().len() > MAX_ATTRIBUTES_BYTES {
        return wrong("too_long", format!("must be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON"));
    }
    if has_nul(attributes) {
        return wrong("format", "must not contain NUL".to_owned());
    }
    Ok(())
}
