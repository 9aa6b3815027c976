//! Who acts when a key is shown.

use super::{
    Machines, invalid,
    key::{self, Kind},
};
use crate::auth::Known;
use bifrost_domain::{
    error::{Error, Kind as ErrorKind, Result},
    ids::{ApplicationId, OrganizationId, UserId},
    policy::{Acting, Caller},
    rights::Rights,
    user::{User, UserType},
};
use bifrost_storage::machines::{Hash, Keys, applications::ApplicationKey, sdk_keys::SdkKey};
use std::{num::NonZeroU32, sync::Arc};

/// A person with what he holds.
#[derive(Debug)]
pub(super) struct Person {
    user: User,
    rights: Arc<Rights>,
}

impl Person {
    fn may_act(&self) -> bool {
        self.user.user_type != UserType::System
            && self.user.is_active
            && self.user.is_registered
            && self.rights.admit(&self.user)
    }
}

/// Whose key it is, before it is said who acts.
#[derive(Debug, Clone)]
pub struct Identified(Owner);

#[derive(Debug, Clone)]
enum Owner {
    Application(Arc<ApplicationKey>),
    Person(Arc<SdkKey>),
}

impl Identified {
    /// The API client and how many requests a minute it may send, when it has such a limit.
    #[must_use]
    pub fn limit(&self) -> Option<(ApplicationId, NonZeroU32)> {
        match &self.0 {
            Owner::Application(key) => Some((key.application.id, key.application.rate_limit_per_minute?)),
            Owner::Person(_) => None,
        }
    }
}

impl Machines {
    /// Whether a text looks like a key that says who calls.
    #[must_use]
    pub fn is_key(text: &str) -> bool {
        matches!(Kind::of(text), Some(Kind::Application | Kind::Sdk))
    }

    /// Whose key was shown. What is known of it is at most a second old.
    ///
    /// # Errors
    /// Unauthenticated, the same for every reason; unavailable when the store is away.
    pub async fn identify(&self, shown: &str) -> Result<Identified> {
        let owner = match Kind::of(shown) {
            Some(Kind::Application) => Owner::Application(self.application_key(shown).await?),
            Some(Kind::Sdk) => Owner::Person(self.sdk_key(shown).await?),
            Some(Kind::Workflow) | None => return Err(invalid()),
        };
        Ok(Identified(owner))
    }

    /// Who is known by a key, should he be refused.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn known(&self, identified: &Identified) -> Result<Known> {
        Ok(match &identified.0 {
            Owner::Application(key) => Known {
                name: Some(key.application.name.clone()),
                organization_id: Some(key.application.organization_id),
                application_id: Some(key.application.id),
                ..Known::default()
            },
            Owner::Person(key) => match self.person(key.user_id).await? {
                Some(person) => Known::from(&person.user),
                None => Known { user_id: Some(key.user_id), ..Known::default() },
            },
        })
    }

    /// Who acts: `requested` is the header `X-Organization-Id`, `asserted` the person that an API client says it acts for.
    ///
    /// # Errors
    /// Unauthenticated when the person of a key may not act any more; forbidden when a key names an organization that is not its own, or
    /// acts for somebody whom it may not act for.
    pub async fn act(
        &self,
        identified: &Identified,
        requested: Option<OrganizationId>,
        asserted: Option<UserId>,
    ) -> Result<Acting> {
        match (&identified.0, asserted) {
            (Owner::Application(key), None) => {
                let acting =
                    Acting::of_application(&key.application, key.key.id, self.system().await?, requested)?;
                self.note_use(Keys::Applications, key.key.id);
                Ok(acting)
            }
            (Owner::Application(key), Some(id)) => {
                let person = self.person(id).await?.filter(|person| person.may_act());
                let no_member = || {
                    Error::forbidden(
                        "`X-On-Behalf-Of` names no active member of the application's organization",
                    )
                    .with_code("assertion_user")
                };
                if !key.application.allow_user_assertion {
                    return Err(Error::forbidden("this application may not act for others")
                        .with_code("assertion_not_allowed"));
                }
                let person = person.ok_or_else(no_member)?;
                if !person.rights.held.contains_key(&key.application.organization_id) {
                    return Err(no_member());
                }
                let who = (&person.user, &person.rights);
                let acting = Acting::on_behalf_of(&key.application, key.key.id, who, requested)?;
                self.note_use(Keys::Applications, key.key.id);
                Ok(acting)
            }
            (Owner::Person(_), Some(_)) => {
                Err(Error::forbidden("only applications act for others").with_code("assertion_not_allowed"))
            }
            (Owner::Person(key), None) => {
                let acting = self.act_as_person(key).await?;
                if requested.is_some() && requested != key.organization_id {
                    return Err(Error::forbidden("this key is for another organization")
                        .with_code("key_of_another_organization"));
                }
                self.note_use(Keys::Sdk, key.key.id);
                Ok(acting)
            }
        }
    }

    /// Whether a caller who showed a key has the same rights in the same scope as before (what is known is at most a second old).
    ///
    /// # Errors
    /// Unauthenticated when the key holds no longer; unavailable when the store is away.
    pub async fn has_rights_still(&self, caller: &Caller) -> Result<bool> {
        let id = caller.key_id.filter(|_| caller.application_id.is_none()).ok_or_else(invalid)?;
        let now = self.clock.now();
        let key = if let Some(known) = self.sdk_keys_by_id.get(&id, now) {
            known
        } else {
            let found = Arc::new(self.reader.find_sdk_key_by_id(id).await?.ok_or_else(invalid)?);
            self.sdk_keys_by_id.put(id, now, Arc::clone(&found));
            found
        };
        if !key.key.holds(now) {
            return Err(invalid());
        }
        Ok(self.act_as_person(&key).await?.caller.has_rights_of(caller))
    }

    async fn application_key(&self, shown: &str) -> Result<Arc<ApplicationKey>> {
        let (now, hash) = (self.clock.now(), key::hash(shown));
        let found = if let Some(known) = self.applications.get(&hash, now) {
            known
        } else {
            let found = Arc::new(self.reader.find_application_key(&hash).await?.ok_or_else(invalid)?);
            self.applications.put(hash, now, Arc::clone(&found));
            found
        };
        let holds = key::same(&found.hash, &hash) && found.holds(now);
        holds.then_some(found).ok_or_else(invalid)
    }

    async fn sdk_key(&self, shown: &str) -> Result<Arc<SdkKey>> {
        let now = self.clock.now();
        let hash: Hash = key::hash(shown);
        let found = if let Some(known) = self.sdk_keys.get(&hash, now) {
            known
        } else {
            let found = Arc::new(self.reader.find_sdk_key(&hash).await?.ok_or_else(invalid)?);
            self.sdk_keys.put(hash, now, Arc::clone(&found));
            found
        };
        (key::same(&found.hash, &hash) && found.key.holds(now)).then_some(found).ok_or_else(invalid)
    }

    async fn act_as_person(&self, key: &SdkKey) -> Result<Acting> {
        let person = self.person(key.user_id).await?.ok_or_else(invalid)?;
        if !person.may_act() || person.user.epoch != key.epoch {
            return Err(invalid());
        }
        let acting = Acting::with_own_key(&person.user, &person.rights, key.organization_id, key.key.id);
        let acting = acting.map_err(|error| match error.kind {
            // He has left the organization, or it was closed.
            ErrorKind::Forbidden => invalid(),
            _ => error,
        })?;
        // Somebody of GLOBAL who has a home since then.
        let is_there = acting.caller.scope.organization() == key.organization_id;
        is_there.then_some(acting).ok_or_else(invalid)
    }

    async fn person(&self, id: UserId) -> Result<Option<Arc<Person>>> {
        let now = self.clock.now();
        if let Some(known) = self.people.get(&id, now) {
            return Ok(Some(known));
        }
        let Some(user) = self.reader.find_user(id).await? else { return Ok(None) };
        let rights = Arc::new(self.reader.find_rights(&user).await?);
        let person = Arc::new(Person { user, rights });
        self.people.put(id, now, Arc::clone(&person));
        Ok(Some(person))
    }
}
