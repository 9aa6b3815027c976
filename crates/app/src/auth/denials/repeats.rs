//! What is refused again and again: written at once, then counted, and its count written once a minute.

use bifrost_domain::ids::{ApplicationId, UserId};
use bifrost_storage::audit::Entry;
use serde_json::{Map, Value};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// The same refusal of the same caller has one line in so long.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Different ones in that time; what is beyond is lost, and said in the program's log.
const MOST: usize = 10_000;

/// What makes two refusals the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    actor: Option<UserId>,
    application: Option<ApplicationId>,
    action: &'static str,
    like: String,
}

impl Key {
    pub(super) fn of(entry: &Entry, like: String) -> Self {
        Self { actor: entry.actor_id, application: entry.application_id, action: entry.action, like }
    }
}

#[derive(Debug)]
struct Seen {
    until: Instant,
    again: u64,
    last: Option<Entry>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self { until: now + WINDOW, again: 0, last: None }
    }
}

/// What was refused within the last minute.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    seen: HashMap<Key, Seen>,
    lost: u64,
}

impl Repeats {
    /// The line to write now; none when there is one like it already, and this one is counted.
    pub(super) fn admit(&mut self, key: Key, entry: Entry, now: Instant) -> Option<Entry> {
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.again += 1;
            seen.last = Some(entry);
            return None;
        }
        if self.seen.len() >= MOST {
            self.lost += 1;
            return None;
        }
        self.seen.insert(key, Seen::new(now));
        Some(entry)
    }

    /// The lines of counts whose minute is over: each is the last of those it stands for. What was not repeated is forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Entry> {
        let mut due = Vec::new();
        self.seen.retain(|_, seen| {
            if seen.until > now {
                return true;
            }
            let Some(mut last) = seen.last.take() else { return false };
            let mut detail = match last.detail.take() {
                Some(Value::Object(detail)) => detail,
                _ => Map::new(),
            };
            detail.insert("repeated".to_owned(), seen.again.into());
            last.detail = Some(Value::Object(detail));
            due.push(last);
            *seen = Seen::new(now);
            true
        });
        due
    }

    /// How many were beyond the bound since this was asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::Scribe, auth::Client};
    use bifrost_domain::clock::{SystemClock, SystemIds};
    use serde_json::json;
    use std::sync::Arc;

    fn entry(request: &str) -> Entry {
        let scribe = Scribe::new(Arc::new(SystemClock), Arc::new(SystemIds));
        let mut entry = scribe.nobodys("access.denied", &Client::default());
        entry.detail = Some(json!({ "request": request }));
        entry
    }

    fn key(like: &str) -> Key {
        Key { actor: None, application: None, action: "access.denied", like: like.to_owned() }
    }

    #[test]
    fn the_first_is_written_and_the_others_are_counted_once_a_minute() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(repeats.admit(key("a"), entry("1"), at(0)).is_some());
        assert!(repeats.admit(key("b"), entry("other"), at(0)).is_some());
        for n in 2..=1_000 {
            assert!(repeats.admit(key("a"), entry(&n.to_string()), at(1)).is_none());
        }
        assert!(repeats.due(at(59)).is_empty());
        let due = repeats.due(at(60));
        assert_eq!(due.len(), 1, "what was not repeated has said all");
        assert_eq!(due[0].detail, Some(json!({"request": "1000", "repeated": 999})));
        // Whoever goes on is counted for the next minute, and one who stops is forgotten.
        assert!(repeats.admit(key("a"), entry("1001"), at(61)).is_none());
        assert_eq!(repeats.due(at(120))[0].detail, Some(json!({"request": "1001", "repeated": 1})));
        assert!(repeats.due(at(180)).is_empty() && repeats.seen.is_empty());
        assert!(repeats.admit(key("a"), entry("1002"), at(181)).is_some());
    }

    #[test]
    fn there_is_a_bound() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for n in 0..MOST {
            assert!(repeats.admit(key(&n.to_string()), entry(""), now).is_some());
        }
        assert!(repeats.admit(key("one more"), entry(""), now).is_none());
        assert!(repeats.admit(key("0"), entry(""), now).is_none());
        assert_eq!((repeats.take_lost(), repeats.take_lost()), (1, 0));
        repeats.due(now + WINDOW);
        assert!(repeats.admit(key("one more"), entry(""), now + WINDOW).is_some());
    }
}
