//! Finds names that were meant for us and that we do not know.
//!
//! The environment is full of foreign names, so only three kinds are reported: everything with our prefix, near-misses of our
//! names, and names that one of ours begins with. How near depends on the length: `HOME` is two letters from `HOST`.

use super::{Problem, table};
use std::collections::HashMap;

const PREFIX: &str = "BIFROST_";

/// Read by the Python SDK outside a worker, and by the command line; no settings of a server, but they may stand in the same file.
const CLIENTS: &[&str] = &[
    "BIFROST_API_URL",
    "BIFROST_API_KEY",
    "BIFROST_DEV_URL",
    "BIFROST_DEV_KEY",
    "BIFROST_URL",
    "BIFROST_TOKEN",
];

/// Longest name that is compared; longer ones cannot be near-misses.
const MAX_COMPARED: usize = 64;

/// One problem for each variable that looks like a mistyped setting, sorted by name.
pub(super) fn find(map: &HashMap<String, String>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = map
        .keys()
        .filter(|name| !is_known(name))
        .filter_map(|name| message(name).map(|message| Problem { variable: name.clone(), message }))
        .collect();
    problems.sort_by(|a, b| a.variable.cmp(&b.variable));
    problems
}

fn is_known(name: &str) -> bool {
    if table::find(name).is_some() || CLIENTS.contains(&name) {
        return true;
    }
    name.strip_suffix("_FILE").and_then(table::find).is_some_and(|variable| variable.secret)
}

fn message(name: &str) -> Option<String> {
    if let Some(variable) = name.strip_suffix("_FILE").and_then(table::find) {
        return Some(format!("only secrets are read from a file; set {} itself", variable.name));
    }
    if let Some(rest) = name.strip_prefix(PREFIX) {
        let meant = match table::find(rest) {
            Some(variable) if nearest(name).is_none() => vec![variable.name],
            _ => [meant(name), meant(rest)].into_iter().find(|names| !names.is_empty()).unwrap_or_default(),
        };
        return Some(if meant.is_empty() {
            "is not a setting (see .env.example)".to_owned()
        } else {
            did_you_mean(&meant)
        });
    }
    let meant = meant(name);
    (!meant.is_empty()).then(|| did_you_mean(&meant))
}

fn did_you_mean(names: &[&str]) -> String {
    format!("is not a setting; did you mean {}?", names.join(" or "))
}

/// All settings that begin so, else the one that is spelled nearly so.
fn meant(name: &str) -> Vec<&'static str> {
    let beginning = beginning_with(name);
    if beginning.is_empty() { nearest(name).into_iter().collect() } else { beginning }
}

/// A first word shorter than this is anybody's: `DATABASE`, `RABBITMQ`, `METRICS`.
const OWN_WORD: usize = 9;
/// A last word may be cut to so many letters: `METRICS_ADDR`.
const CUT_WORD: usize = 4;

/// The settings that this is the beginning of, up to the end of a word. Of several words the last one may be cut.
fn beginning_with(name: &str) -> Vec<&'static str> {
    let last = name.rsplit_once('_').map(|(_, last)| last);
    let is_beginning = |known: &str| {
        known.strip_prefix(name).is_some_and(|rest| match last {
            None => name.len() >= OWN_WORD && rest.starts_with('_'),
            Some(last) => !last.is_empty() && (rest.starts_with('_') || last.len() >= CUT_WORD),
        })
    };
    table::VARIABLES.iter().map(|variable| variable.name).filter(|known| is_beginning(known)).collect()
}

/// How many letters may differ for a name of this length to count as mistyped.
const fn tolerance(length: usize) -> usize {
    match length {
        0..=5 => 0,
        6..=8 => 1,
        _ => 2,
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    table::VARIABLES
        .iter()
        .map(|variable| (distance(name, variable.name), variable.name))
        .filter(|(distance, known)| *distance > 0 && *distance <= tolerance(known.len()))
        .min()
        .map(|(_, known)| known)
}

/// Edits between two names: letters put in, taken out, replaced, or swapped with the next.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Option<String> {
        find(&HashMap::from([(name.to_owned(), "x".to_owned())])).pop().map(|problem| problem.message)
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("PORT", "PORT"), 0);
        assert_eq!(distance("REDIS_URI", "REDIS_URL"), 1);
        assert_eq!(distance("REDSI_URL", "REDIS_URL"), 1);
        assert_eq!(distance("", "PORT"), 4);
        assert_eq!(distance("HOME", "HOST"), 2);
    }

    #[test]
    fn mistyped_names_are_told() {
        for (name, meant) in [
            ("DATABSE_URL", "DATABASE_URL"),
            ("REDIS_URI", "REDIS_URL"),
            ("RABBITMQ_URLS", "RABBITMQ_URL"),
            ("ENCRYPTON_KEY", "ENCRYPTION_KEY"),
            ("BIFROST_PORT", "PORT"),
            ("BIFROST_ISOLATON", "BIFROST_ISOLATION"),
            ("BIFROST_SECRETKEY", "SECRET_KEY"),
        ] {
            let message = found(name);
            assert!(message.as_deref().is_some_and(|text| text.contains(meant)), "{name}: {message:?}");
        }
        for (name, meant) in [
            ("RUN_MEMORY", "RUN_MEMORY_MB"),
            ("BIFROST_RUN_MEMORY", "RUN_MEMORY_MB"),
            ("METRICS_ADDR", "METRICS_ADDRESS"),
            ("WORKSPACE", "WORKSPACE_DIR"),
            ("REGISTRATION", "REGISTRATION_ENABLED"),
            ("DATABASE_POOL", "DATABASE_POOL_MIN_SIZE or DATABASE_POOL_MAX_SIZE"),
            ("LOG_MAX", "LOG_MAX_LINES or LOG_MAX_LINE_BYTES"),
            (
                "RATE_LIMIT",
                "RATE_LIMIT_LOGIN_PER_MINUTE or RATE_LIMIT_ACCOUNT_FAILURES or RATE_LIMIT_MFA_PER_MINUTE",
            ),
        ] {
            assert_eq!(found(name), Some(format!("is not a setting; did you mean {meant}?")), "{name}");
        }
        assert_eq!(found("BIFROST_COLOUR").as_deref(), Some("is not a setting (see .env.example)"));
        assert!(found("PORT_FILE").is_some_and(|text| text.contains("only secrets")));
    }

    #[test]
    fn foreign_and_known_names_pass() {
        for name in [
            "HOME",
            "PATH",
            "PWD",
            "POST",
            "USER",
            "LANG",
            "TERM",
            "HOSTNAME",
            "SHELL",
            "LOGNAME",
            "TMPDIR",
            "RUST_LOG_STYLE",
            "DATABASE_URL",
            "SECRET_KEY_FILE",
            "BIFROST_API_KEY",
            "BIFROST_URL",
            "BIFROST_TOKEN",
            "DATABASE",
            "DATABASE_",
            "ENCRYPT",
            "LOG",
            "LOG_L",
            "METRICS",
            "PORT_8000_TCP",
            "PUBLIC",
            "RABBITMQ",
            "RABBITMQ_NODENAME",
            "REDIS",
            "REDIS_HOST",
            "RUN",
            "RUN_MEMORY_MB",
            "SECRET",
            "WORKER",
            "WORKSPACES",
            "PYTHONPATH",
            "EDITOR",
        ] {
            assert_eq!(found(name), None, "{name}");
        }
        assert_eq!(found(&"D".repeat(10_000)), None);
    }
}
