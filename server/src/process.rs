//! What this process uses right now, for metrics and for the page of the server. Other processes, and what a machine allows, are read
//! by `doctor`.

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

use crate::doctor::proc;

/// What was read; `None` where the system doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Processor time, user and system.
    pub(crate) cpu_seconds: Option<f64>,
    /// Resident memory.
    pub(crate) resident_bytes: Option<u64>,
    /// Open files, each socket among them.
    pub(crate) open_files: Option<u64>,
    /// The most there may be.
    pub(crate) open_files_max: Option<u64>,
}

impl Used {
    /// Reads it.
    pub(crate) fn now() -> Used {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Used {
            cpu_seconds: cpu.map(|cpu| cpu.tv_sec() as f64 + cpu.tv_nsec() as f64 / 1e9),
            resident_bytes: proc::field(&status, "VmRSS").map(|kib| kib * 1_024),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
            open_files_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let used = Used::now();
        assert!(
            used.resident_bytes > Some(1_000_000)
                && used.open_files >= Some(3)
                && used.open_files_max >= used.open_files
                && used.cpu_seconds.is_some(),
            "{used:?}"
        );
    }
}
