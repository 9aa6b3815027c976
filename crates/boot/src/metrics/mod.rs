//! The numbers of a process as Prometheus reads them: what the crates counted, and what is looked up when somebody asks.
//!
//! To add a metric: a constant in the `metrics` module of the crate that moves it, listed there in `METRICS`; what has to be looked up (a
//! query, a file of `/proc`) stands here, in `sample`, behind a cache and a time limit. `docs/metrics.md` is written from the constants.

mod process;
mod sample;
mod text;

use crate::Opened;
use bifrost_domain::metric::Kind;
pub use bifrost_domain::metric::Metric;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sample::Samples;
use std::{sync::OnceLock, time::Duration};
use text::Text;

/// Histograms keep single values until they are read; they are read so often also when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why counting could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A histogram without bounds.
    #[error("`{0}` has no bounds")]
    Bounds(&'static str),
    /// Somebody was first.
    #[error("counting was begun twice")]
    Twice,
}

/// The metrics of the rooms behind this one. The API's and the worker's are theirs.
pub fn inner() -> impl Iterator<Item = &'static Metric> {
    [
        bifrost_storage::metrics::METRICS,
        bifrost_app::metrics::METRICS,
        bifrost_adapters::metrics::METRICS,
        bifrost_python::metrics::METRICS,
        sample::METRICS,
        process::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// What shows the numbers of this process.
pub struct Exporter {
    counted: PrometheusHandle,
    samples: OnceLock<Samples>,
    process: process::Process,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Begins to count, once in a process and before anything is opened: handles that were made before count nothing.
    ///
    /// # Errors
    /// A second call; a histogram without bounds.
    pub fn install(metrics: impl Iterator<Item = &'static Metric>) -> Result<Self, Error> {
        let metrics: Vec<&Metric> = metrics.collect();
        let mut builder = PrometheusBuilder::new();
        for metric in &metrics {
            if let Kind::Histogram(bounds) = metric.kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                    .map_err(|_| Error::Bounds(metric.name))?;
            }
        }
        let recorder = builder.build_recorder();
        let counted = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| Error::Twice)?;
        for metric in metrics {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
            }
        }
        Ok(Self { counted, samples: OnceLock::new(), process: process::Process::begun() })
    }

    /// From now on the queues and the database are looked at as well.
    pub fn watch(&self, opened: &Opened) {
        let _ = self.samples.set(Samples::of(opened));
    }

    /// All numbers in the text format of Prometheus, version 0.0.4. Always answers, also while the database is away: then without what
    /// only the database knows.
    pub async fn render(&self) -> String {
        let mut text = Text::new();
        self.process.write(&mut text);
        if let Some(samples) = self.samples.get() {
            samples.write(&mut text).await;
        }
        let mut text = text.into_string();
        text.push_str(&self.counted.render());
        text
    }

    /// Keeps what was counted small; runs until it is dropped.
    pub async fn keep_up(&self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.counted.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let mut names = HashSet::new();
        for metric in inner() {
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            let (name, is_counter) = (metric.name, metric.kind == Kind::Counter);
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            assert!(name.starts_with("bifrost_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted() && !bounds.is_empty(), "{name}");
            }
        }
    }
}
