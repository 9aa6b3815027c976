//! How many live connections a person has open at this process.

use crate::metrics::{self, Held, Limit, Transport};
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::UserId,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Live connections of one person at most.
const MOST: usize = 64;
/// When a refused client may try again, seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// The connections that are open, by person.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<HashMap<UserId, usize>>,
}

/// One connection; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    user_id: UserId,
    _counted: Held,
}

impl Places {
    /// A place for one more connection of the person.
    ///
    /// # Errors
    /// Too many when all are taken.
    pub(super) fn take(self: &Arc<Self>, user_id: UserId, transport: Transport) -> Result<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(user_id).or_default();
        if *count >= MOST {
            metrics::limited(Limit::Live);
            return Err(Error::new(
                Kind::TooMany { retry_after_seconds: RETRY_AFTER_SECONDS },
                format!("you have {MOST} live connections open: close one first"),
            ));
        }
        *count += 1;
        Ok(Place { places: Arc::clone(self), user_id, _counted: metrics::live_connection(transport) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Ids, SystemIds};

    #[test]
    fn places_are_counted_by_person_and_given_back() {
        let places = Arc::new(Places::default());
        let take = |user_id| places.take(user_id, Transport::Sse);
        let [ann, bob] = [(); 2].map(|()| UserId::from_uuid(SystemIds.next()));
        let mut held: Vec<Place> = (0..MOST).map(|_| take(ann).expect("free")).collect();
        let refused = take(ann).expect_err("all taken");
        assert!(matches!(refused.kind, Kind::TooMany { .. }));
        let other = take(bob).expect("another person's");
        held.pop();
        held.push(take(ann).expect("free again"));
        drop((held, other));
        assert!(places.taken.lock().expect("not poisoned").is_empty(), "nothing is kept of who has left");
    }
}
