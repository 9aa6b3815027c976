//! Processes of this machine, as the kernel shows them.

use std::fs;

/// The pids of processes that carry `mark`: as the name they gave themselves, or in their arguments. A run's own pid is one of
/// its namespace, so runs are found by what they call themselves.
pub(crate) fn processes(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            // A process that ended meanwhile, or waits to be reaped, has neither.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
            });
            !is_zombie && (name.trim() == mark || String::from_utf8_lossy(&arguments).contains(mark))
        })
        .collect()
}
