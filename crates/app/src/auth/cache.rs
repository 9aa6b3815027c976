//! Sessions for a second: a burst of requests reads the session once, and an end, a suspension or a changed role is seen
//! by every replica within that second.

use bifrost_domain::ids::{SessionId, UserId};
use bifrost_storage::sessions::Session;
use chrono::{DateTime, Duration, Utc};
use dashmap::DashMap;
use std::sync::Arc;

const KEPT: Duration = Duration::seconds(1);
const CAPACITY: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Cache {
    sessions: DashMap<SessionId, (DateTime<Utc>, Arc<Session>)>,
}

impl Cache {
    pub(super) fn get(&self, id: SessionId, now: DateTime<Utc>) -> Option<Arc<Session>> {
        let entry = self.sessions.get(&id)?;
        is_fresh(entry.0, now).then(|| Arc::clone(&entry.1))
    }

    /// `asked_at` is the time before the store was asked: what changed since then is seen a second later at the latest.
    pub(super) fn put(&self, id: SessionId, asked_at: DateTime<Utc>, session: Arc<Session>) {
        if self.sessions.len() >= CAPACITY {
            self.sessions.retain(|_, entry| is_fresh(entry.0, asked_at));
            if self.sessions.len() >= CAPACITY {
                self.sessions.clear();
            }
        }
        self.sessions.insert(id, (asked_at, session));
    }

    pub(super) fn forget(&self, id: SessionId) {
        self.sessions.remove(&id);
    }

    pub(super) fn forget_user(&self, user: UserId) {
        self.sessions.retain(|_, (_, session)| session.state.user.id != user);
    }
}

/// A clock that went backwards makes nothing fresh for longer.
fn is_fresh(asked_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (Duration::zero()..KEPT).contains(&(now - asked_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::{
        clock::{Clock, Ids, SystemClock, SystemIds},
        user::{SessionState, User, UserType},
    };

    fn session(id: SessionId, now: DateTime<Utc>) -> Arc<Session> {
        let user = User {
            id: UserId::from_uuid(SystemIds.next()),
            email: "a@b.example".into(),
            name: None,
            user_type: UserType::Platform,
            organization_id: None,
            is_active: true,
            is_superuser: true,
            is_verified: true,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        let state = SessionState {
            session_id: id,
            user,
            organization_id: None,
            rights: Arc::default(),
            owes_factor: false,
        };
        Arc::new(Session {
            state,
            epoch: 0,
            created_at: now,
            expires_at: now,
            ends_at: now,
            factor_at: None,
            authenticated_at: None,
            ended_at: None,
        })
    }

    #[test]
    fn it_is_kept_for_a_second_and_for_no_more_than_its_capacity() {
        let (cache, now) = (Cache::default(), SystemClock.now());
        let id = SessionId::from_uuid(SystemIds.next());
        cache.put(id, now, session(id, now));
        assert!(cache.get(id, now + Duration::milliseconds(999)).is_some());
        assert!(cache.get(id, now + Duration::seconds(1)).is_none());
        assert!(cache.get(id, now - Duration::milliseconds(1)).is_none());
        let user = cache.get(id, now).expect("kept").state.user.id;
        cache.forget_user(UserId::from_uuid(SystemIds.next()));
        assert!(cache.get(id, now).is_some(), "somebody else's");
        cache.forget_user(user);
        assert!(cache.get(id, now).is_none());
        let shared = session(id, now);
        for _ in 0..CAPACITY + 5 {
            cache.put(SessionId::from_uuid(SystemIds.next()), now, Arc::clone(&shared));
        }
        assert!(cache.sessions.len() <= CAPACITY);
    }
}
