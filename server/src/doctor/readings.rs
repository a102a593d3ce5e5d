//! Reads the limits of a process and of its machine. What can't be read is `None`, and the doctor then says that it is not
//! known. Linux only: elsewhere nothing is known.

use std::fs;
use std::path::Path;

use super::proc::{self, Cap};

/// Where a process was started, and so where its limits are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By a systemd unit of this name.
    Unit(String),
    /// In a container.
    Container,
    /// By hand.
    Shell,
}

/// A process: a running server, or the doctor itself for what a shell would start.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Named on the command line, so a running server.
    pub(crate) pid: Option<u32>,
    /// Its command line.
    pub(crate) command: String,
    pub(crate) place: Place,
    /// Soft and hard.
    pub(crate) open_files: Option<(Cap, Cap)>,
    /// Open descriptors of a running server: all, and those that are sockets.
    pub(crate) descriptors: Option<(u64, u64)>,
    /// It has its own view of the network's settings, which can't be read from here.
    pub(crate) other_network: bool,
}

impl Process {
    /// Sockets that are open already and so hold their part of each limit.
    pub(crate) fn sockets(&self) -> u64 {
        self.descriptors.map_or(0, |(_, sockets)| sockets)
    }

    /// Descriptors that are no sockets.
    pub(crate) fn beside(&self) -> u64 {
        self.descriptors.map_or(0, |(all, sockets)| all - sockets)
    }
}

/// Memory and tasks of a cgroup and of all above it: the tightest of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Setting (`memory.max` or `memory.high`), limit, in use without what can be given back, and the folder.
    pub(crate) memory: Option<(&'static str, u64, u64, String)>,
    /// `pids.max`, in use, and the folder.
    pub(crate) tasks: Option<(u64, u64, String)>,
}

/// All that was read.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    pub(crate) process: Process,
    /// `fs.file-max`, and how many are open.
    pub(crate) file_max: Option<(Cap, u64)>,
    pub(crate) nr_open: Option<u64>,
    pub(crate) epoll_watches: Option<u64>,
    pub(crate) somaxconn: Option<u64>,
    pub(crate) ports: Option<u64>,
    /// The highest of the three in `net.ipv4.tcp_mem` and how many are in use, in pages.
    pub(crate) tcp_pages: Option<(u64, u64)>,
    /// `nf_conntrack_max` and entries in use; `None` when the module isn't loaded.
    pub(crate) conntrack: Option<(u64, u64)>,
    /// Memory that programs may still take, in bytes.
    pub(crate) memory_available: Option<u64>,
    /// All swap and free swap, in bytes.
    pub(crate) swap: Option<(u64, u64)>,
    /// Why it is not known, or the limits.
    pub(crate) group: Result<Group, String>,
    pub(crate) cores: u64,
}

/// Reads one file; `None` when it can't be.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

fn from_disk(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

impl Readings {
    /// Of this process or of a running one. Errors: there is no such process.
    pub(crate) fn take(pid: Option<u32>) -> Result<Readings, String> {
        if let Some(pid) = pid
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            return Err(format!("there is no process {pid}; a running server's: pidof fanfare"));
        }
        let mut readings = read(pid, &from_disk);
        if let Some(pid) = pid {
            readings.process.descriptors = descriptors(pid);
            let network = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
            let (own, other) = (network("self"), network(&pid.to_string()));
            readings.process.other_network = own.is_some() && other.is_some() && own != other;
        }
        if readings.process.place == Place::Shell
            && ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists())
        {
            readings.process.place = Place::Container;
        }
        Ok(readings)
    }
}

/// Of a running process: open descriptors and how many of them are sockets. Another user's can be read by root alone.
fn descriptors(pid: u32) -> Option<(u64, u64)> {
    let (mut all, mut sockets) = (0, 0);
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        // One that was closed meanwhile counts for nothing.
        if let Ok(to) = fs::read_link(entry.path()) {
            all += 1;
            sockets += u64::from(to.to_string_lossy().starts_with("socket:"));
        }
    }
    Some((all, sockets))
}

fn read(pid: Option<u32>, file: Read<'_>) -> Readings {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let of_process = |name: &str| file(&format!("/proc/{who}/{name}"));
    let setting = |name: &str| file(&format!("/proc/sys/{name}"));
    let one = |name: &str| proc::numbers(&setting(name)?)?.first().copied();
    let meminfo = file("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| proc::field(&meminfo, name).map(|kib| kib * 1_024);
    let groups = of_process("cgroup").unwrap_or_default();
    let place = match proc::cgroup(&groups) {
        Some(group) if proc::in_container(group) => Place::Container,
        Some(group) => proc::unit(group).map_or(Place::Shell, |unit| Place::Unit(unit.to_owned())),
        None => Place::Shell,
    };
    let file_max = || {
        let in_use = *proc::numbers(&setting("fs/file-nr")?)?.first()?;
        Some((proc::cap(&setting("fs/file-max")?)?, in_use))
    };
    let tcp_pages = || {
        let max = *proc::numbers(&setting("net/ipv4/tcp_mem")?)?.get(2)?;
        Some((max, proc::tcp_pages(&of_process("net/sockstat")?)?))
    };
    let command = of_process("cmdline").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    Readings {
        process: Process {
            pid,
            command: command
                .split('\0')
                .filter(|word| !word.is_empty())
                .take(2)
                .collect::<Vec<_>>()
                .join(" "),
            place,
            open_files: of_process("limits").and_then(|text| proc::limit(&text, "Max open files")),
            descriptors: None,
            other_network: false,
        },
        file_max: file_max(),
        nr_open: one("fs/nr_open"),
        epoll_watches: one("fs/epoll/max_user_watches"),
        somaxconn: one("net/core/somaxconn"),
        ports: setting("net/ipv4/ip_local_port_range")
            .and_then(|range| proc::ports(&range, &setting("net/ipv4/ip_local_reserved_ports")?)),
        tcp_pages: tcp_pages(),
        conntrack: one("net/netfilter/nf_conntrack_max").zip(one("net/netfilter/nf_conntrack_count")),
        memory_available: kib("MemAvailable"),
        swap: kib("SwapTotal").zip(kib("SwapFree")),
        group: group(&groups, &of_process("mountinfo").unwrap_or_default(), file),
        cores,
    }
}

fn group(groups: &str, mountinfo: &str, file: Read<'_>) -> Result<Group, String> {
    if let Some(path) = proc::memory_v1(groups) {
        return Err(format!("cgroup v1 is not read: see group {path} below /sys/fs/cgroup"));
    }
    let path = proc::cgroup(groups).ok_or("no cgroup v2 here")?;
    let folders = proc::cgroup_folders(mountinfo, path)
        .ok_or_else(|| format!("cgroup {path} can't be seen from here"))?;
    let mut found = Group { memory: None, tasks: None };
    for folder in folders {
        let number =
            |name: &str| file(&format!("{folder}/{name}")).and_then(|text| proc::cap(&text)?.number());
        // What files' pages take is given back when a program needs the memory.
        let given_back =
            file(&format!("{folder}/memory.stat")).and_then(|stat| proc::field(&stat, "inactive_file"));
        let in_use = number("memory.current").unwrap_or(0).saturating_sub(given_back.unwrap_or(0));
        // Above memory.high a group is slowed down until it is of no use.
        for name in ["memory.max", "memory.high"] {
            let left = |limit: u64, in_use: u64| limit.saturating_sub(in_use);
            if let Some(limit) = number(name)
                && found.memory.as_ref().is_none_or(|m| left(limit, in_use) < left(m.1, m.2))
            {
                found.memory = Some((name, limit, in_use, folder.clone()));
            }
        }
        if let Some(limit) = number("pids.max") {
            let in_use = number("pids.current").unwrap_or(0);
            let left = limit.saturating_sub(in_use);
            if found.tasks.as_ref().is_none_or(|t| left < t.0.saturating_sub(t.1)) {
                found.tasks = Some((limit, in_use, folder.clone()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn machine(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        let files = [
            ("/proc/7/limits", "Max open files            1024                 524288               files\n"),
            ("/proc/7/cgroup", "0::/system.slice/fanfare.service\n"),
            ("/proc/7/mountinfo", MOUNTS),
            ("/proc/7/cmdline", "/usr/local/bin/fanfare\0serve\0--listen\0x\0"),
            ("/proc/7/net/sockstat", "TCP: inuse 5 orphan 0 tw 0 alloc 5 mem 325\n"),
            ("/proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n"),
            ("/proc/meminfo", "MemAvailable: 2048 kB\nSwapTotal: 4 kB\nSwapFree: 1 kB\n"),
            ("/proc/sys/fs/file-max", "9223372036854775807\n"),
            ("/proc/sys/fs/file-nr", "755\t0\t9223372036854775807\n"),
        ];
        files.iter().chain(extra).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn readings(extra: &[(&str, &str)]) -> Readings {
        let files = machine(extra);
        read(Some(7), &|path| files.get(path).cloned())
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_stays_unknown() {
        let found = readings(&[]);
        assert_eq!(found.process.open_files, Some((Cap::At(1_024), Cap::At(524_288))));
        assert_eq!(found.process.place, Place::Unit("fanfare.service".into()));
        assert_eq!(found.process.command, "/usr/local/bin/fanfare serve");
        assert_eq!(found.file_max, Some((Cap::Unlimited, 755)));
        assert_eq!(found.tcp_pages, Some((3, 325)));
        assert_eq!((found.memory_available, found.swap), (Some(2 << 20), Some((4_096, 1_024))));
        assert_eq!((found.nr_open, found.conntrack, found.ports), (None, None, None));
        assert_eq!(found.group, Ok(Group { memory: None, tasks: None }));
    }

    #[test]
    fn the_tightest_of_nested_groups_counts_and_max_is_no_limit() {
        let own = "/sys/fs/cgroup/system.slice/fanfare.service";
        let found = readings(&[
            (&format!("{own}/memory.max"), "max\n"),
            (&format!("{own}/memory.high"), "805306368\n"),
            (&format!("{own}/memory.current"), "300000000\n"),
            (&format!("{own}/memory.stat"), "anon 1\ninactive_file 100000000\n"),
            (&format!("{own}/pids.max"), "4915\n"),
            (&format!("{own}/pids.current"), "9\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/system.slice/memory.current", "900000000\n"),
            ("/sys/fs/cgroup/system.slice/pids.max", "max\n"),
        ]);
        let group = found.group.unwrap();
        let slice = "/sys/fs/cgroup/system.slice".to_owned();
        assert_eq!(group.memory, Some(("memory.max", 1_073_741_824, 900_000_000, slice)));
        assert_eq!(group.tasks, Some((4_915, 9, own.to_owned())));
    }

    #[test]
    fn a_limit_of_cgroup_v1_is_named_and_not_guessed() {
        let found = readings(&[("/proc/7/cgroup", "4:memory:/docker/4b1f\n0::/\n")]);
        assert!(found.group.unwrap_err().contains("cgroup v1 is not read: see group /docker/4b1f"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read_and_a_missing_one_is_named() {
        let own = Readings::take(Some(std::process::id())).unwrap();
        assert!(own.process.open_files.is_some() && own.process.descriptors.unwrap().0 >= 3);
        assert!(own.memory_available.unwrap() > 1 << 20 && !own.process.other_network);
        assert!(Readings::take(Some(u32::MAX)).unwrap_err().contains("no process"));
    }
}
