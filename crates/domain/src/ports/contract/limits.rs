//! What every [`Limiter`] does. The cases get two ends: over a server they are two connections, as of two processes.
#![expect(clippy::expect_used, reason = "a case fails by panicking")]

use crate::ports::limits::{Allowance, Limiter, Verdict};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// Makes one test of each case. The argument is an async function that takes a case
/// (`AsyncFnOnce(Arc<dyn Limiter>, Arc<dyn Limiter>)`: two ends of the same buckets), runs it and cleans up.
#[macro_export]
macro_rules! limits_contract {
    ($with:path) => {
        $crate::contract_cases!(
            $with,
            limits,
            a_bucket_is_emptied_and_says_when_one_is_back,
            buckets_are_apart,
            both_ends_take_from_the_same_bucket,
            one_is_back_after_the_time_that_was_told,
            what_is_given_back_can_be_taken_again,
            a_full_bucket_stays_full,
            many_at_once_get_what_was_in_it,
            any_text_is_a_key,
        );
    };
}

const MINUTE: Duration = Duration::from_secs(60);

fn allowance(most: u32, within: Duration) -> Allowance {
    Allowance { most: NonZeroU32::new(most).expect("not zero"), within }
}

fn wait(verdict: Verdict) -> Duration {
    match verdict {
        Verdict::RetryAfter(wait) => wait,
        Verdict::Allowed => Duration::ZERO,
    }
}

/// As many as it holds, and then the time until the next one.
pub async fn a_bucket_is_emptied_and_says_when_one_is_back(one: Arc<dyn Limiter>, _: Arc<dyn Limiter>) {
    let three = allowance(3, MINUTE);
    for _ in 0..3 {
        assert_eq!(one.take("emptied", three).await, Verdict::Allowed);
    }
    for _ in 0..3 {
        let wait = wait(one.take("emptied", three).await);
        // Twenty seconds from the first one on; what the refusals took is gone, and nothing more.
        assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(20), "{wait:?}");
    }
}

/// One key is nobody else's.
pub async fn buckets_are_apart(one: Arc<dyn Limiter>, _: Arc<dyn Limiter>) {
    let single = allowance(1, MINUTE);
    assert_eq!(one.take("apart:1", single).await, Verdict::Allowed);
    assert_eq!(one.take("apart:2", single).await, Verdict::Allowed);
    assert!(wait(one.take("apart:1", single).await) > Duration::ZERO);
}

/// Two processes share what there is.
pub async fn both_ends_take_from_the_same_bucket(one: Arc<dyn Limiter>, other: Arc<dyn Limiter>) {
    let two = allowance(2, MINUTE);
    assert_eq!(one.take("shared", two).await, Verdict::Allowed);
    assert_eq!(other.take("shared", two).await, Verdict::Allowed);
    assert!(wait(one.take("shared", two).await) > Duration::ZERO);
    assert!(wait(other.take("shared", two).await) > Duration::ZERO);
}

/// Who waits as he was told is let in, and only once.
pub async fn one_is_back_after_the_time_that_was_told(one: Arc<dyn Limiter>, _: Arc<dyn Limiter>) {
    let slow = allowance(2, Duration::from_secs(4));
    for _ in 0..2 {
        assert_eq!(one.take("again", slow).await, Verdict::Allowed);
    }
    let told = wait(one.take("again", slow).await);
    assert!(told > Duration::ZERO && told <= Duration::from_secs(2), "{told:?}");
    tokio::time::sleep(told + Duration::from_millis(5)).await;
    assert_eq!(one.take("again", slow).await, Verdict::Allowed);
    assert!(wait(one.take("again", slow).await) > Duration::ZERO, "and only one");
}

/// A try that does not count is put back.
pub async fn what_is_given_back_can_be_taken_again(one: Arc<dyn Limiter>, other: Arc<dyn Limiter>) {
    let single = allowance(1, MINUTE);
    for _ in 0..3 {
        assert_eq!(one.take("back", single).await, Verdict::Allowed);
        other.give_back("back", single).await;
    }
    assert_eq!(one.take("back", single).await, Verdict::Allowed);
    assert!(wait(one.take("back", single).await) > Duration::ZERO);
}

/// Nothing is saved up by giving back.
pub async fn a_full_bucket_stays_full(one: Arc<dyn Limiter>, _: Arc<dyn Limiter>) {
    let single = allowance(1, MINUTE);
    for _ in 0..5 {
        one.give_back("full", single).await;
    }
    assert_eq!(one.take("full", single).await, Verdict::Allowed);
    assert!(wait(one.take("full", single).await) > Duration::ZERO);
}

/// Fifty callers on two ends, ten in the bucket.
pub async fn many_at_once_get_what_was_in_it(one: Arc<dyn Limiter>, other: Arc<dyn Limiter>) {
    let ten = allowance(10, Duration::from_secs(60 * 60));
    let callers = (0..50).map(|n| {
        let end = Arc::clone(if n % 2 == 0 { &one } else { &other });
        tokio::spawn(async move { end.take("crowd", ten).await })
    });
    let verdicts = futures::future::join_all(callers).await;
    let allowed = verdicts.into_iter().map(|verdict| verdict.expect("no panic"));
    assert_eq!(allowed.filter(|verdict| *verdict == Verdict::Allowed).count(), 10);
}

/// Nothing, every kind of character, and much of it.
pub async fn any_text_is_a_key(one: Arc<dyn Limiter>, _: Arc<dyn Limiter>) {
    let single = allowance(1, MINUTE);
    for key in ["", "a b\r\n\0*?{x}", "Ødegård@acme.example", &"k".repeat(100_000)] {
        assert_eq!(one.take(key, single).await, Verdict::Allowed);
        assert!(wait(one.take(key, single).await) > Duration::ZERO);
    }
}
