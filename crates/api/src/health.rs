//! Whether what we stand on answers: probed for real, at most once a second, by whoever asks first.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// A probe that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long a report is given again.
const KEPT: Duration = Duration::from_secs(1);

/// State of a part, or of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
pub enum Status {
    /// All well.
    Healthy,
    /// Works, but something that is needed for all of it is away.
    Degraded,
    /// Cannot serve.
    Unhealthy,
}

impl Status {
    /// What a probe over HTTP hears.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        match self {
            Self::Healthy | Self::Degraded => StatusCode::OK,
            Self::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// How the program is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct Brief {
    /// How it is.
    pub status: Status,
    /// When that was said.
    pub timestamp: DateTime<Utc>,
    /// The program's version.
    pub version: String,
    /// Where it runs.
    #[schema(example = "production")]
    pub environment: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = HealthComponent)]
pub struct Component {
    /// How it is.
    pub status: Status,
    /// How long it took to answer.
    pub latency_ms: f64,
    /// What else is known of it.
    pub detail: Option<String>,
}

/// All parts at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Unhealthy when a required part is away, degraded when another one is.
    pub status: Status,
    /// The parts by name.
    pub components: BTreeMap<&'static str, Component>,
    /// Why it is unhealthy: what the required parts that failed said.
    pub reason: Option<String>,
}

/// Tells how what we stand on is.
pub trait Probes: Send + Sync + 'static {
    /// A report that is at most a second old. Never opens a connection of its own.
    fn report(&self) -> BoxFuture<'_, Arc<Report>>;
}

/// What a probe does: `Ok` with something worth knowing or nothing, `Err` with why it failed (shown to everybody who can
/// reach the server, so no addresses and no credentials).
pub type Check = Box<dyn Fn() -> BoxFuture<'static, Result<Option<String>, String>> + Send + Sync>;

/// One part to be probed.
pub struct Probe {
    /// `database`, `broker`, `redis` …
    pub name: &'static str,
    /// Whether we cannot serve without it.
    pub required: bool,
    /// Asks it.
    pub check: Check,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("name", &self.name)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// Probes asked together, whose report is kept for a second.
#[derive(Debug)]
pub struct CachedProbes {
    probes: Vec<Probe>,
    patience: Duration,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

impl CachedProbes {
    /// Over these parts.
    #[must_use]
    pub fn new(probes: Vec<Probe>) -> Self {
        Self { probes, patience: PATIENCE, last: Mutex::default() }
    }

    async fn ask(&self) -> Report {
        let asked = self.probes.iter().map(|probe| async move {
            let started = Instant::now();
            let answer = tokio::time::timeout(self.patience, (probe.check)()).await;
            let latency_ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
            let (status, detail) = match answer {
                Ok(Ok(detail)) => (Status::Healthy, detail),
                Ok(Err(reason)) => (Status::Unhealthy, Some(reason)),
                Err(_) => {
                    (Status::Unhealthy, Some(format!("no answer within {} ms", self.patience.as_millis())))
                }
            };
            (probe, Component { status, latency_ms, detail })
        });
        let answers = join_all(asked).await;
        let away = |required: bool| {
            answers.iter().any(|(probe, part)| probe.required == required && part.status != Status::Healthy)
        };
        let status = match (away(true), away(false)) {
            (true, _) => Status::Unhealthy,
            (false, true) => Status::Degraded,
            (false, false) => Status::Healthy,
        };
        let failed = answers.iter().filter(|(probe, part)| probe.required && part.status != Status::Healthy);
        let reasons: Vec<String> = failed.filter_map(|(_, part)| part.detail.clone()).collect();
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let components = answers.into_iter().map(|(probe, part)| (probe.name, part)).collect();
        Report { status, components, reason }
    }
}

impl Probes for CachedProbes {
    fn report(&self) -> BoxFuture<'_, Arc<Report>> {
        async {
            // Those who ask meanwhile wait here and get the same report.
            let mut last = self.last.lock().await;
            if let Some((at, report)) = &*last
                && at.elapsed() < KEPT
            {
                return Arc::clone(report);
            }
            let report = Arc::new(self.ask().await);
            *last = Some((Instant::now(), Arc::clone(&report)));
            report
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn probe(name: &'static str, required: bool, answer: Result<(), ()>) -> Probe {
        let check: Check =
            Box::new(move || async move { answer.map(|()| None).map_err(|()| "away".to_owned()) }.boxed());
        Probe { name, required, check }
    }

    #[tokio::test]
    async fn only_a_required_part_makes_the_whole_unhealthy() {
        for (database, broker, whole) in [
            (Ok(()), Ok(()), Status::Healthy),
            (Ok(()), Err(()), Status::Degraded),
            (Err(()), Ok(()), Status::Unhealthy),
            (Err(()), Err(()), Status::Unhealthy),
        ] {
            let probes =
                CachedProbes::new(vec![probe("database", true, database), probe("broker", false, broker)]);
            assert_eq!(probes.report().await.status, whole, "{database:?} {broker:?}");
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_make_one_probe() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let check: Check = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(None) }.boxed()
        });
        let probes = CachedProbes::new(vec![Probe { name: "database", required: true, check }]);
        join_all((0..50).map(|_| probes.report())).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_part_that_hangs_has_failed() {
        let check: Check = Box::new(|| futures::future::pending().boxed());
        let mut probes = CachedProbes::new(vec![Probe { name: "redis", required: false, check }]);
        probes.patience = Duration::from_millis(20);
        let report = probes.report().await;
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(report.components["redis"].detail.as_deref(), Some("no answer within 20 ms"));
    }
}
