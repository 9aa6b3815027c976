//! Database, queue and bus: do they let us in, with the rights that are needed, and do they agree about the time.

use super::{Finding, State};
use crate::{
    clock::TOLERANCE,
    connect::target,
    settings::{BrokerChoice, BusChoice, Database, Settings},
};
use bifrost_adapters::{broker::examine_rabbitmq, bus::examine_redis};
use bifrost_domain::clock::{Clock, SystemClock};
use bifrost_migration::{Migrator, MigratorTrait};
use bifrost_storage::examine::{Examined, examine};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::Instant;

/// Looks at the database and at its clock.
pub(super) async fn database(settings: &Settings) -> Vec<Finding> {
    let place = settings.database.describe();
    let (begun, before) = (Instant::now(), SystemClock.now());
    let outcome = examine(&target(&settings.database)).await;
    let (took, after) = (begun.elapsed(), SystemClock.now());
    match outcome {
        Err(error) => vec![match settings.database {
            Database::Postgres { .. } => Finding::explained("database", error.explain(&place)),
            Database::Sqlite { .. } => Finding::fail(
                "database",
                error.explain(&place),
                "correct who owns the file and its folder, or restore it from a backup",
            ),
        }],
        Ok(None) => vec![Finding::ok("database", format!("{place}, made at the first start"))],
        Ok(Some(found)) => {
            let mut findings = vec![judged(&found, &place, settings, took)];
            findings.extend(found.time.map(|theirs| clock(before, theirs, after)));
            findings
        }
    }
}

fn judged(found: &Examined, place: &str, settings: &Settings, took: Duration) -> Finding {
    let product =
        if matches!(settings.database, Database::Postgres { .. }) { "PostgreSQL" } else { "SQLite" };
    let (state, schema) = schema(found.migrations.as_deref());
    let detail = format!("{place}: {product} {}, {schema}{}", found.version, answered(took));
    if found.is_too_old {
        return Finding::fail("database", detail, "PostgreSQL 15 or newer is needed");
    }
    if state == State::Fail {
        return Finding::fail(
            "database",
            detail,
            "install the newer program; it has served this database before",
        );
    }
    match &found.may_not_create {
        Some(advice) => Finding::fail("database", detail, advice.as_str()),
        None => Finding::ok("database", detail),
    }
}

fn schema(applied: Option<&[String]>) -> (State, String) {
    let Some(applied) = applied else {
        return (State::Ok, "no tables yet: the first start makes them".to_owned());
    };
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    if let Some(newer) = applied.iter().find(|name| !known.contains(name)) {
        return (State::Fail, format!("newer than this program (it has the migration {newer})"));
    }
    match known.iter().filter(|name| !applied.contains(name)).count() {
        0 => (State::Ok, "schema up to date".to_owned()),
        1 => (State::Ok, "one migration to come with the next start".to_owned()),
        missing => (State::Ok, format!("{missing} migrations to come with the next start")),
    }
}

/// Judges the server's time, which was read somewhere between `before` and `after`.
fn clock(before: DateTime<Utc>, theirs: DateTime<Utc>, after: DateTime<Utc>) -> Finding {
    let off = (before - theirs).max(theirs - after).max(chrono::Duration::zero());
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let seconds = off.num_milliseconds() as f64 / 1_000.0;
    if off > TOLERANCE {
        return Finding::fail(
            "clock",
            format!("{seconds:.1} s off the database's"),
            "set both by NTP (leases and ids stand on them)",
        );
    }
    Finding::ok("clock", format!("at most {seconds:.1} s off the database's"))
}

fn answered(took: Duration) -> String {
    format!(", answered in {} ms", took.as_millis())
}

/// Looks at the queue.
pub(super) async fn broker(settings: &Settings) -> Vec<Finding> {
    let BrokerChoice::RabbitMq { url, prefix } = &settings.broker else {
        return vec![Finding::ok("broker", "in process")];
    };
    let begun = Instant::now();
    let outcome = examine_rabbitmq(url.expose_secret(), prefix).await;
    vec![served("broker", &settings.broker.describe(), "RabbitMQ", outcome, begun.elapsed())]
}

/// Looks at the bus.
pub(super) async fn bus(settings: &Settings) -> Vec<Finding> {
    let BusChoice::Redis { url, prefix } = &settings.bus else {
        return vec![Finding::ok("redis", "in process")];
    };
    let begun = Instant::now();
    let outcome = examine_redis(url.expose_secret(), prefix).await;
    vec![served("redis", &settings.bus.describe(), "Redis", outcome, begun.elapsed())]
}

fn served(
    check: &'static str,
    place: &str,
    product: &str,
    outcome: Result<Option<String>, String>,
    took: Duration,
) -> Finding {
    match outcome {
        Ok(version) => {
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            Finding::ok(check, format!("{place}: {product}{version}{}", answered(took)))
        }
        Err(explanation) => Finding::explained(check, explanation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_a_little_off() {
        let now = SystemClock.now();
        let seconds = chrono::Duration::seconds;
        for (theirs, state) in
            [(0, State::Ok), (4, State::Ok), (-5, State::Ok), (7, State::Fail), (-6, State::Fail)]
        {
            let finding = clock(now, now + seconds(theirs), now + seconds(1));
            assert_eq!(finding.state, state, "{theirs}: {finding:?}");
        }
    }

    #[test]
    fn a_schema_is_missing_behind_or_ahead() {
        let all: Vec<String> = Migrator::migrations().iter().map(|one| one.name().to_owned()).collect();
        assert!(schema(None).1.contains("first start"));
        assert_eq!(schema(Some(&all)).1, "schema up to date");
        assert_eq!(schema(Some(&all[1..])).1, "one migration to come with the next start");
        let mut newer = all.clone();
        newer.push("m29990101_000001_later".to_owned());
        assert_eq!(schema(Some(&newer)).0, State::Fail);
    }
}
