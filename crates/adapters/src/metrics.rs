//! What the adapters measure (names and meanings: [`METRICS`]). One process has one broker and one bus.

use bifrost_domain::{
    metric::{Kind, Metric, Process},
    ports::broker::Error,
};
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::LazyLock;

const BROKER_CONNECTED: Metric = Metric {
    name: "bifrost_broker_connected",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Both,
    help: "1 while the broker can be used, else 0",
};
const BROKER_CONNECTIONS: Metric = Metric {
    name: "bifrost_broker_connections_total",
    kind: Kind::Counter,
    labels: &[],
    process: Process::Both,
    help: "Connections to the broker that were made; each after the first follows an outage",
};
const BROKER_PUBLISHES: Metric = Metric {
    name: "bifrost_broker_publishes_total",
    kind: Kind::Counter,
    labels: &[("outcome", "confirmed, refused, away")],
    process: Process::Both,
    help: "Messages that were published: confirmed by the broker, refused by it, or without an answer",
};
const BUS_CONNECTED: Metric = Metric {
    name: "bifrost_bus_connected",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Both,
    help: "1 while live events flow, else 0",
};
const BUS_EVENTS: Metric = Metric {
    name: "bifrost_bus_events_total",
    kind: Kind::Counter,
    labels: &[("outcome", "sent, dropped")],
    process: Process::Both,
    help: "Live events of this process; of a dropped one its subscribers hear that they missed something and read the store",
};
const BUS_MISSED: Metric = Metric {
    name: "bifrost_bus_missed_total",
    kind: Kind::Counter,
    labels: &[],
    process: Process::Both,
    help: "Times a subscriber of this process was told to read the store again because events may have been lost",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] =
    &[BROKER_CONNECTED, BROKER_CONNECTIONS, BROKER_PUBLISHES, BUS_CONNECTED, BUS_EVENTS, BUS_MISSED];

static MEASURED: LazyLock<Measured> = LazyLock::new(|| Measured {
    broker_connected: gauge!(BROKER_CONNECTED.name),
    broker_connections: counter!(BROKER_CONNECTIONS.name),
    broker_publishes: ["confirmed", "refused", "away"]
        .map(|outcome| counter!(BROKER_PUBLISHES.name, "outcome" => outcome)),
    bus_connected: gauge!(BUS_CONNECTED.name),
    bus_events: ["sent", "dropped"].map(|outcome| counter!(BUS_EVENTS.name, "outcome" => outcome)),
    bus_missed: counter!(BUS_MISSED.name),
});

struct Measured {
    broker_connected: Gauge,
    broker_connections: Counter,
    broker_publishes: [Counter; 3],
    bus_connected: Gauge,
    bus_events: [Counter; 2],
    bus_missed: Counter,
}

pub(crate) fn broker_connected(is_up: bool) {
    MEASURED.broker_connected.set(u8::from(is_up));
    if is_up {
        MEASURED.broker_connections.increment(1);
    }
}

pub(crate) fn published(outcome: &Result<(), Error>) {
    let index = match outcome {
        Ok(()) => 0,
        Err(Error::Refused(_)) => 1,
        Err(Error::Away(_)) => 2,
    };
    MEASURED.broker_publishes[index].increment(1);
}

pub(crate) fn bus_connected(is_up: bool) {
    MEASURED.bus_connected.set(u8::from(is_up));
}

pub(crate) fn bus_sent(events: u64) {
    MEASURED.bus_events[0].increment(events);
}

pub(crate) fn bus_dropped(events: u64) {
    MEASURED.bus_events[1].increment(events);
}

pub(crate) fn bus_missed() {
    MEASURED.bus_missed.increment(1);
}
