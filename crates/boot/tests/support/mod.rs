//! Reading settings from pairs of name and value.

use bifrost_boot::settings::{Mode, Settings};
use std::collections::HashMap;

pub(crate) fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn accepted(pairs: &[(&str, &str)]) -> Settings {
    Settings::from_map(&map(pairs), Mode::Dev).unwrap_or_else(|problems| panic!("{pairs:?}: {problems}"))
}

/// The problems as `variable: message` lines.
pub(crate) fn refused(pairs: &[(&str, &str)], mode: Mode) -> Vec<String> {
    match Settings::from_map(&map(pairs), mode) {
        Ok(_) => panic!("{pairs:?} was accepted"),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

pub(crate) const STACK: [(&str, &str); 3] = [
    ("DATABASE_URL", "postgres://bifrost:hunter2@db:5432/bifrost"),
    ("RABBITMQ_URL", "amqp://guest:hunter2@rabbit:5672/%2f"),
    ("REDIS_URL", "redis://:hunter2@cache:6379/0"),
];
