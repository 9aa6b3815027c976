//! `docs/metrics.md` lists every metric of the programs, and no other.

use bifrost_bin::metrics::all;
use bifrost_domain::metric::{Metric, Process};
use std::{collections::HashSet, fmt::Write as _, path::Path};

const BEGIN: &str = "<!-- names: written by the test `metrics_doc` -->\n";
const END: &str = "<!-- end of names -->\n";

fn table() -> String {
    let mut metrics: Vec<&Metric> = all().collect();
    metrics.sort_by_key(|metric| (metric.name.starts_with("process_"), metric.name));
    let mut text =
        String::from("| name | type | unit | labels | process | meaning |\n|---|---|---|---|---|---|\n");
    for metric in metrics {
        let labels: Vec<String> =
            metric.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
        let process = match metric.process {
            Process::Api => "api",
            Process::Jobs => "jobs",
            Process::Both => "both",
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {process} | {} |",
            metric.name,
            metric.kind.as_str(),
            unit(metric.name),
            labels.join("; "),
            metric.help
        );
    }
    text
}

fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "seconds",
        Some("bytes") => "bytes",
        _ => "",
    }
}

#[test]
fn the_list_of_names_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the list");
    let (listed, after) = rest.split_once(END).expect("the end of the list");
    let table = table();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    let update = std::env::var("UPDATE_METRICS_DOC").is_ok();
    if update {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(
        listed, table,
        "write it again: UPDATE_METRICS_DOC=1 cargo test -p bifrost --test metrics_doc"
    );
}

/// What examples and rules of the page name exists.
#[test]
fn the_page_names_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let names: HashSet<&str> = all().map(|metric| metric.name).collect();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("bifrost_") {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            assert!(names.contains(word) || base.is_some_and(|base| names.contains(base)), "{word}");
        }
    }
}

#[test]
fn names_are_unique() {
    let mut names = HashSet::new();
    for metric in all() {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind.as_str() == "counter", "{}", metric.name);
    }
}
