//! Readings of the server's processes, of this one and of the machine. Linux only: CPU time comes from process clocks, memory
//! and the rest from /proc; elsewhere processes of a server cannot be named.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

/// Descriptors that are needed beside the sockets: epoll, /proc files, standard streams, and a reserve.
const DESCRIPTORS_BESIDE: u64 = 64;
/// The kernel counts the machine's time in hundredths of a second (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number after `name` in a file of /proc such as `VmRSS:  1234 kB`.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// CPU time of a process, all its threads, ended ones too; in nanoseconds. `None` if there is no such process.
#[cfg(target_os = "linux")]
fn cpu_ns(pid: i32) -> Option<u64> {
    use nix::time::ClockId;
    use nix::unistd::Pid;
    let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?.now().ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Other systems have no clock of another process.
#[cfg(not(target_os = "linux"))]
fn cpu_ns(_: i32) -> Option<u64> {
    None
}

/// The kernel's own threads for network work that it took out of the processes' time.
fn ksoftirqd() -> &'static [i32] {
    static PIDS: OnceLock<Vec<i32>> = OnceLock::new();
    PIDS.get_or_init(|| {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| read(&format!("/proc/{pid}/comm")).starts_with("ksoftirqd/"))
            .collect()
    })
}

/// Processes whose id, group or ancestor is `root`: a start command and what it started.
pub(crate) fn family(root: i32) -> Vec<i32> {
    let mut processes: Vec<(i32, i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = read(&format!("/proc/{pid}/stat"));
        // Behind the name, which may hold anything: state, parent, group.
        let mut after = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(1);
        let (parent, group) = (after.next(), after.next());
        if let (Some(Ok(parent)), Some(Ok(group))) = (parent.map(str::parse), group.map(str::parse)) {
            processes.push((pid, parent, group));
        }
    }
    let mut found: Vec<i32> =
        processes.iter().filter(|(pid, _, group)| *pid == root || *group == root).map(|p| p.0).collect();
    loop {
        let more: Vec<i32> = processes
            .iter()
            .filter(|(pid, parent, _)| found.contains(parent) && !found.contains(pid))
            .map(|p| p.0)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The server's processes; empty if none were named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server(Vec<i32>);

impl Server {
    /// Fails if one of them does not exist.
    pub(crate) fn new(pids: &[i32]) -> anyhow::Result<Server> {
        for pid in pids {
            cpu_ns(*pid).with_context(|| format!("--server-pid {pid}: there is no such process"))?;
        }
        Ok(Server(pids.to_vec()))
    }

    pub(crate) fn known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.0.iter().map(|pid| field(&read(&format!("/proc/{pid}/status")), "VmRSS:")).sum()
    }

    /// Open descriptors; `None` if they can't be read, as those of another user's processes.
    pub(crate) fn descriptors(&self) -> Option<u64> {
        let counts =
            self.0.iter().map(|pid| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64));
        counts.sum()
    }

    fn cpu_ns(&self) -> u64 {
        self.0.iter().filter_map(|pid| cpu_ns(*pid)).sum()
    }

    /// The first process that is gone.
    pub(crate) fn gone(&self) -> Option<i32> {
        self.0.iter().copied().find(|pid| cpu_ns(*pid).is_none())
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Nanoseconds of the tool's clock.
    pub(crate) at: u64,
    server_ns: u64,
    own_ns: u64,
    softirq_ns: u64,
    /// Time that the machine's cores were busy, in ticks.
    busy_ticks: u64,
    stolen_ticks: u64,
}

impl Reading {
    /// Reads all now.
    pub(crate) fn take(server: &Server, now: u64) -> Reading {
        let stat = read("/proc/stat");
        let cpu: Vec<u64> = stat
            .lines()
            .next()
            .map(|line| line.split_whitespace().skip(1).filter_map(|v| v.parse().ok()).collect())
            .unwrap_or_default();
        let tick = |index: usize| cpu.get(index).copied().unwrap_or(0);
        Reading {
            at: now,
            server_ns: server.cpu_ns(),
            own_ns: cpu_ns(std::process::id() as i32).unwrap_or(0),
            softirq_ns: ksoftirqd().iter().filter_map(|pid| cpu_ns(*pid)).sum(),
            // user, nice, system, irq, softirq; not idle and iowait
            busy_ticks: [0, 1, 2, 5, 6].into_iter().map(tick).sum(),
            stolen_ticks: tick(7),
        }
    }
}

/// What the processors did between two readings, in cores (1 = one core all the time).
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Load {
    /// Seconds between the readings.
    pub(crate) seconds: f64,
    /// The server, kernel work on its behalf included.
    pub(crate) server_cores: f64,
    /// This tool.
    pub(crate) own_cores: f64,
    /// Network work of kernel threads.
    pub(crate) softirq_cores: f64,
    /// Everything else on the machine: above 0.15 the run is noisy. Without `--server-pid` the server is in here.
    pub(crate) noise_cores: f64,
    /// Taken away by a hypervisor.
    pub(crate) stolen_cores: f64,
}

impl Load {
    /// Between two readings.
    pub(crate) fn between(first: &Reading, last: &Reading) -> Load {
        let seconds = (last.at - first.at).max(1) as f64 / 1e9;
        let cores = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9 / seconds;
        let ticks = |from: u64, to: u64| to.saturating_sub(from) as f64 / TICKS_PER_SECOND / seconds;
        let server = cores(first.server_ns, last.server_ns);
        let own = cores(first.own_ns, last.own_ns);
        let softirq = cores(first.softirq_ns, last.softirq_ns);
        let busy = ticks(first.busy_ticks, last.busy_ticks);
        Load {
            seconds,
            server_cores: server,
            own_cores: own,
            softirq_cores: softirq,
            noise_cores: (busy - server - own - softirq).max(0.0),
            stolen_cores: ticks(first.stolen_ticks, last.stolen_ticks),
        }
    }

    /// The server's CPU time for each of `units`, in microseconds.
    pub(crate) fn server_us_per(&self, units: u64) -> Option<f64> {
        (units > 0).then(|| self.server_cores * self.seconds * 1e6 / units as f64)
    }
}

/// Raises this process's limit of open files to what the kernel allows and fails if that is too little for `sockets`.
pub(crate) fn allow_sockets(sockets: u64) -> anyhow::Result<()> {
    let wanted = sockets + DESCRIPTORS_BESIDE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files can't be read")?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        bail!(
            "{sockets} sockets need {wanted} open files, and the hard limit of this process is {hard}: start it with a \
             higher one (`ulimit -Hn {wanted}` as root, or LimitNOFILE= of its unit) or with fewer sockets"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("the limit of open files can't be raised")
}

/// Where the numbers are from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    memory_mib: u64,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Machine {
        let info = read("/proc/cpuinfo");
        let model = info.lines().find(|line| line.starts_with("model name") || line.starts_with("CPU part"));
        let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
        let cores = info.lines().filter(|line| line.starts_with("processor")).count();
        Machine {
            cores: if cores > 0 {
                cores
            } else {
                std::thread::available_parallelism().map_or(1, usize::from)
            },
            cpu: model.trim().to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal:") / 1_024,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_is_seen_in_its_clock() {
        let me = Server::new(&[std::process::id() as i32]).unwrap();
        let first = Reading::take(&me, 1_000);
        let mut last = first;
        let mut sum = 0u64;
        while last.server_ns < first.server_ns + 5_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
            last = Reading::take(&me, 1_000_001_000);
        }
        let load = Load::between(&first, &last);
        assert!(load.server_cores >= 0.005 && load.server_cores < 60.0, "{load:?}");
        assert!(load.server_us_per(1_000).unwrap() >= 5.0);
        assert_eq!(load.server_us_per(0), None);
        assert!(me.resident_kib() > 100);
        assert!(me.descriptors().unwrap() >= 3, "standard streams");
        assert_eq!(me.gone(), None);
    }

    #[test]
    fn a_child_belongs_to_its_family_and_a_missing_process_is_named() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(family(std::process::id() as i32).contains(&(child.id() as i32)));
        assert_eq!(family(child.id() as i32), [child.id() as i32]);
        let pid = child.id() as i32;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Server::new(&[pid]).unwrap_err().to_string().contains("no such process"));
    }

    #[test]
    fn too_many_sockets_are_refused_with_the_number_that_is_missing() {
        let error = allow_sockets(1 << 40).unwrap_err().to_string();
        assert!(error.contains("hard limit") && error.contains("1099511627840"), "{error}");
        allow_sockets(10).unwrap();
    }

    #[test]
    fn the_machine_has_a_name() {
        let machine = Machine::here();
        assert!(machine.cores >= 1 && !machine.kernel.is_empty() && machine.memory_mib > 0);
    }
}
