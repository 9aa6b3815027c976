//! What the API measures (names and meanings: [`METRICS`]).
//!
//! A request is labelled with the template of its route, never with its path: `/api/executions/{id}` is one time series, however many
//! executions there are.

use axum::http::{Method, StatusCode};
use bifrost_domain::metric::{Kind, Metric, Process, WAIT_SECONDS};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock},
    time::Duration,
};

/// The methods that are told apart; every other one is the last.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The route of a request that none fits.
const NO_ROUTE: &str = "none";

const REQUESTS: Metric = Metric {
    name: "bifrost_http_requests_total",
    kind: Kind::Counter,
    labels: &[
        ("method", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, other"),
        ("route", "the template of the route, `none` without one"),
        ("status", "1xx, 2xx, 3xx, 4xx, 5xx"),
    ],
    process: Process::Api,
    help: "Requests that were answered",
};
const DURATION: Metric = Metric {
    name: "bifrost_http_request_duration_seconds",
    kind: Kind::Histogram(WAIT_SECONDS),
    labels: &[("method", "as above"), ("route", "as above")],
    process: Process::Api,
    help: "Time until the head of the answer was ready; a synchronous execution's has the run in it",
};
const IN_FLIGHT: Metric = Metric {
    name: "bifrost_http_requests_in_flight",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Api,
    help: "Requests that wait for their answer now",
};
const LIVE: Metric = Metric {
    name: "bifrost_live_connections",
    kind: Kind::Gauge,
    labels: &[("transport", "websocket, sse")],
    process: Process::Api,
    help: "Live connections that are open now",
};
const LIMITED: Metric = Metric {
    name: "bifrost_rate_limited_total",
    kind: Kind::Counter,
    labels: &[(
        "limit",
        "login, account, refresh, register, mfa, live, application, device_code, device_poll, device_guess",
    )],
    process: Process::Api,
    help: "Requests that were refused with 429 (live connections over WebSocket: closed with 1013)",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[REQUESTS, DURATION, IN_FLIGHT, LIVE, LIMITED];

/// Makes the metrics visible, at zero.
pub(crate) fn register() {
    LazyLock::force(&MEASURED);
    Requests::default().handles(NO_ROUTE).of_method(&Method::GET);
    bifrost_app::metrics::register_api();
}

static MEASURED: LazyLock<Measured> = LazyLock::new(|| Measured {
    in_flight: gauge!(IN_FLIGHT.name),
    live: ["websocket", "sse"].map(|transport| gauge!(LIVE.name, "transport" => transport)),
    limited: Limit::ALL.map(|limit| counter!(LIMITED.name, "limit" => limit.as_str())),
});

struct Measured {
    in_flight: Gauge,
    live: [Gauge; 2],
    limited: [Counter; Limit::ALL.len()],
}

/// A gauge that is one higher while this lives.
#[derive(Debug)]
pub(crate) struct Held(&'static Gauge);

impl Held {
    fn of(gauge: &'static Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

pub(crate) fn request_in_flight() -> Held {
    Held::of(&MEASURED.in_flight)
}

/// How a live connection is carried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport {
    WebSocket,
    Sse,
}

pub(crate) fn live_connection(transport: Transport) -> Held {
    Held::of(&MEASURED.live[transport as usize])
}

/// Which limit refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Login,
    Account,
    Refresh,
    Register,
    Mfa,
    Live,
    Application,
    DeviceCode,
    DevicePoll,
    DeviceGuess,
}

impl Limit {
    const ALL: [Self; 10] = [
        Self::Login,
        Self::Account,
        Self::Refresh,
        Self::Register,
        Self::Mfa,
        Self::Live,
        Self::Application,
        Self::DeviceCode,
        Self::DevicePoll,
        Self::DeviceGuess,
    ];

    /// The name of the limit, here and in the keys of its buckets.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Account => "account",
            Self::Refresh => "refresh",
            Self::Register => "register",
            Self::Mfa => "mfa",
            Self::Live => "live",
            Self::Application => "application",
            Self::DeviceCode => "device_code",
            Self::DevicePoll => "device_poll",
            Self::DeviceGuess => "device_guess",
        }
    }
}

pub(crate) fn limited(limit: Limit) {
    MEASURED.limited[limit as usize].increment(1);
}

/// The handles of every route that was asked for: made once each, found by the route's template.
#[derive(Default)]
pub(crate) struct Requests {
    routes: RwLock<HashMap<Arc<str>, Arc<Route>>>,
}

impl Requests {
    pub(crate) fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = self.handles(route.unwrap_or(NO_ROUTE));
        let handles = route.of_method(method);
        handles.duration.record(took);
        if let Some(counter) = handles.classes.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            counter.increment(1);
        }
    }

    fn handles(&self, template: &str) -> Arc<Route> {
        if let Some(route) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(template) {
            return Arc::clone(route);
        }
        let template: Arc<str> = template.into();
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Route { template: Arc::clone(&template), methods: Default::default() });
        Arc::clone(routes.entry(Arc::clone(&template)).or_insert_with(made))
    }
}

struct Route {
    template: Arc<str>,
    methods: [OnceLock<Handles>; METHODS.len()],
}

struct Handles {
    duration: Histogram,
    classes: [Counter; CLASSES.len()],
}

impl Route {
    fn of_method(&self, method: &Method) -> &Handles {
        let known = METHODS.iter().position(|known| *known == method.as_str());
        let index = known.unwrap_or(METHODS.len() - 1);
        let name = METHODS[index];
        self.methods[index].get_or_init(|| Handles {
            duration: histogram!(DURATION.name, "method" => name, "route" => Arc::clone(&self.template)),
            classes: CLASSES.map(|class| {
                counter!(REQUESTS.name, "method" => name, "route" => Arc::clone(&self.template), "status" => class)
            }),
        })
    }
}
