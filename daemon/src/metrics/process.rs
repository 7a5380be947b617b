//! What the process uses, as the kernel says.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What the process uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Process {
    /// Processor time, all threads, user and system.
    pub(super) cpu_seconds: f64,
    /// Memory that is not swapped out.
    pub(super) resident_bytes: f64,
    /// Open descriptors.
    pub(super) open_fds: f64,
}

impl Process {
    /// This process, now. What cannot be read is zero.
    #[must_use]
    pub(super) fn read() -> Self {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        let cpu = usage.map(|usage| seconds(usage.user_time()) + seconds(usage.system_time()));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            cpu_seconds: cpu.unwrap_or_default(),
            resident_bytes: resident(&status).unwrap_or_default(),
            // One of them is the look itself.
            open_fds: fds.saturating_sub(1) as f64,
        }
    }
}

/// `VmRSS`, which the kernel gives in KiB.
pub(super) fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}
