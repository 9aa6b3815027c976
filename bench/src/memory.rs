//! Memory of the server's processes, from `/proc/PID/smaps_rollup`.
//!
//! PSS counts a page that is shared by n processes as 1/n in each, so sums are what the machine has really given. RSS counts
//! it in full each time and is told beside it because other tools show it.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{collections::BTreeMap, fs};

/// One process.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// `api`, `jobs` (or `bifrost`), `zygote`, `inspector`, `child`, or the program's name.
    pub(crate) role: String,
    pub(crate) pss_kib: u64,
    pub(crate) rss_kib: u64,
}

/// All processes at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
    /// When: what had happened before.
    pub(crate) after: String,
    /// Our programs and the zygote: what the target is about. MB of a million bytes.
    pub(crate) core_pss_mb: f64,
    /// Children of the zygote: forked ahead of need, and kept ones in isolation reuse.
    pub(crate) children_pss_mb: f64,
    /// Everything, with what else the programs have started.
    pub(crate) all_pss_mb: f64,
    pub(crate) all_rss_mb: f64,
    pub(crate) processes: Vec<Process>,
}

/// Looks at these processes and all their descendants.
pub(crate) fn snapshot(after: &str, roots: &[(String, u32)]) -> Result<Snapshot> {
    let parents = parents()?;
    let mut processes = Vec::new();
    let mut queue: Vec<(u32, String)> = roots.iter().map(|(role, pid)| (*pid, role.clone())).collect();
    while let Some((pid, role)) = queue.pop() {
        for (&child, _) in parents.iter().filter(|&(_, &parent)| parent == pid) {
            queue.push((child, role_of(child, &role)));
        }
        // A child that ended meanwhile has no memory any more.
        if let Some((pss_kib, rss_kib)) = rollup(pid) {
            processes.push(Process { pid, role, pss_kib, rss_kib });
        }
    }
    processes.sort_by(|a, b| (&a.role, a.pid).cmp(&(&b.role, b.pid)));
    let sum =
        |wanted: &dyn Fn(&Process) -> u64| processes.iter().map(wanted).sum::<u64>() as f64 * 1024.0 / 1e6;
    let is_core = |role: &str| role == "zygote" || roots.iter().any(|(root, _)| root == role);
    Ok(Snapshot {
        after: after.to_owned(),
        core_pss_mb: sum(&|process| if is_core(&process.role) { process.pss_kib } else { 0 }),
        children_pss_mb: sum(&|process| if process.role == "child" { process.pss_kib } else { 0 }),
        all_pss_mb: sum(&|process| process.pss_kib),
        all_rss_mb: sum(&|process| process.rss_kib),
        processes,
    })
}

/// Each process and its parent.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) =
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parent_of)
        {
            found.insert(pid, parent);
        }
    }
    Ok(found)
}

/// The fourth field of `stat`; the second is in parentheses and may contain anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn role_of(pid: u32, parent: &str) -> String {
    if parent == "zygote" || parent == "child" {
        return "child".to_owned();
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    for role in ["zygote", "inspector"] {
        if arguments.contains(role) {
            return role.to_owned();
        }
    }
    let program = arguments.split('\0').next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or("other").to_owned()
}

fn rollup(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some((field(&text, "Pss:")?, field(&text, "Rss:")?))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text =
            "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    1234 kB\nPss:      99 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(
            (field(text, "Pss:"), field(text, "Rss:"), field(text, "Swap:")),
            (Some(99), Some(1234), None)
        );
        assert_eq!(parent_of("77 (a) (b c) S 12 77 77 0"), Some(12));
    }

    #[test]
    fn this_process_has_memory() {
        let own = snapshot("now", &[("test".to_owned(), std::process::id())]).expect("a snapshot");
        assert!(own.processes.iter().any(|process| process.role == "test" && process.rss_kib > 100));
        assert!(
            own.core_pss_mb > 0.1 && own.all_pss_mb >= own.core_pss_mb && own.all_rss_mb >= own.all_pss_mb
        );
    }
}
