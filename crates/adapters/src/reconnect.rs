//! How long to pause between attempts to connect.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// The longest pause, before jitter.
const LONGEST: Duration = Duration::from_secs(5);

/// Growing pauses with jitter, for ever: from 50 ms (a server that only dropped the connection is back at once) to 5 s;
/// jitter, so that the processes of an installation do not come back in step.
pub(crate) struct Pauses(ExponentialBackoff);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(LONGEST)
                .with_factor(2.0)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let mut pauses = Pauses::new();
        let first = pauses.next();
        assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100), "{first:?}");
        let later: Vec<_> = (0..200).map(|_| pauses.next()).collect();
        assert!(later.iter().skip(10).all(|pause| *pause >= LONGEST && *pause <= LONGEST * 2), "{later:?}");
    }
}
