//! The process itself, under the names that Prometheus' own clients use.

use super::text::Text;
use bifrost_domain::{
    clock::{Clock, SystemClock},
    metric::{Kind, Metric, Process as Shown},
};
use chrono::{DateTime, Utc};

/// The unit of times in `/proc`: a hundredth of a second wherever Linux runs us (`USER_HZ`, part of its ABI).
const TICKS_PER_SECOND: f64 = 100.0;

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, labels: &[], process: Shown::Both, help }
}

const BUILD: Metric = Metric {
    labels: &[("version", "the program's version")],
    ..metric("bifrost_build_info", Kind::Gauge, "Always 1")
};
const START: Metric =
    metric("process_start_time_seconds", Kind::Gauge, "Start of the process, seconds since the Unix epoch");
const CPU: Metric = metric(
    "process_cpu_seconds_total",
    Kind::Counter,
    "Processor time of the process, without its Python children",
);
const RESIDENT: Metric = metric(
    "process_resident_memory_bytes",
    Kind::Gauge,
    "Memory of the process that is in RAM, without its Python children",
);
const VIRTUAL: Metric = metric("process_virtual_memory_bytes", Kind::Gauge, "Address space of the process");
const THREADS: Metric = metric("process_threads", Kind::Gauge, "Threads of the process");
const OPEN_FILES: Metric = metric(
    "process_open_fds",
    Kind::Gauge,
    "Open file descriptors; absent where the process may not look at its own",
);
const MOST_FILES: Metric = metric("process_max_fds", Kind::Gauge, "File descriptors that it may have open");

/// See the module.
pub(super) const METRICS: &[Metric] =
    &[BUILD, START, CPU, RESIDENT, VIRTUAL, THREADS, OPEN_FILES, MOST_FILES];

/// This process.
pub(super) struct Process {
    begun: DateTime<Utc>,
}

impl Process {
    /// Called at its start.
    pub(super) fn begun() -> Self {
        Self { begun: SystemClock.now() }
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.metric(&BUILD, [(vec![env!("CARGO_PKG_VERSION").to_owned()], 1.0)]);
        text.value(&START, Some(self.begun.timestamp_micros() as f64 / 1e6));
        text.value(&CPU, read("stat").and_then(|stat| cpu_seconds(&stat)));
        let status = read("status").unwrap_or_default();
        let kib = |name| field(&status, name).map(|kib| kib * 1024.0);
        text.value(&RESIDENT, kib("VmRSS:"));
        text.value(&VIRTUAL, kib("VmSize:"));
        text.value(&THREADS, field(&status, "Threads:"));
        // One of them is the folder's own.
        let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
        text.value(&OPEN_FILES, open.map(|count| count as f64));
        text.value(&MOST_FILES, read("limits").and_then(|limits| field(&limits, "Max open files")));
    }
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// The first number behind `name` in its line; `None` for `unlimited`.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time. The name in the second field may have spaces and parentheses of its own.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 12345 1000 200";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      4096     files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024.0));
        assert_eq!(field("Max open files  unlimited unlimited files", "Max open files"), None);
        let mut text = Text::new();
        Process::begun().write(&mut text);
        let text = text.into_string();
        for metric in METRICS {
            assert!(text.contains(&format!("\n{} ", metric.name)) || metric.name == BUILD.name, "{text}");
        }
    }
}
