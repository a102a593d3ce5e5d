//! The lines that lift a limit, ready to be pasted.

use super::assumed::{
    DESCRIPTORS_BESIDE, PROCESS_BYTES_BESIDE, TCP_PAGES_PER_SOCKET, THREADS_BESIDE, THREADS_PER_CORE,
    bytes_per_socket,
};
use super::bytes;
use super::limits::{Holds, Limit, Terms, Which};
use super::proc::Cap;
use super::readings::{Place, Readings};
use crate::accept::BACKLOG;

const MIB: u64 = 1_024 * 1_024;

/// A line to paste and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) about: String,
}

fn line(text: impl Into<String>, about: impl Into<String>) -> Line {
    Line { text: text.into(), about: about.into() }
}

fn sysctl(name: &str, value: impl std::fmt::Display) -> Vec<Line> {
    vec![line(
        format!("sysctl -w {name}={value}"),
        "to keep it: the same without `sysctl -w` in /etc/sysctl.d/90-fanfare.conf",
    )]
}

/// The number of sockets to lift limits to when none was asked for: the next round one above `stop`.
pub(crate) fn round_above(stop: u64) -> u64 {
    [10_000, 100_000, 1_000_000].into_iter().find(|round| *round > stop).unwrap_or(stop.saturating_mul(2))
}

/// What makes `limit` hold `wanted` sockets; empty when it does already.
pub(crate) fn lines(limit: &Limit, wanted: u64, of: &Readings, terms: Terms) -> Vec<Line> {
    let slow_queue = matches!(limit.holds, Holds::Aside(queue, _) if limit.which == Which::AcceptQueue && queue < BACKLOG as u64);
    if !limit.is_below(wanted) && !slow_queue {
        return Vec::new();
    }
    let mut lines = lines_here(limit.which, wanted, of, terms);
    if of.process.place == Place::Container {
        // A container has an accept queue and a range of ports of its own; the other settings are the machine's.
        for line in lines.iter_mut().filter(|line| line.text.starts_with("sysctl")) {
            match limit.which {
                Which::AcceptQueue => {
                    line.text = line.text.replace("sysctl -w", "docker run --sysctl") + " …";
                    line.about = "a container".to_owned();
                }
                _ => line.about = format!("on the machine of the container; {}", line.about),
            }
        }
    }
    lines
}

fn lines_here(which: Which, wanted: u64, of: &Readings, terms: Terms) -> Vec<Line> {
    let beside = of.process.beside().max(DESCRIPTORS_BESIDE);
    let files = wanted.saturating_add(beside);
    match which {
        Which::OpenFiles => open_files(files, of),
        Which::NrOpen => sysctl("fs.nr_open", files.max(1_048_576)),
        Which::FileMax => {
            let own = of.process.descriptors.map_or(0, |(all, _)| all);
            let open = of.file_max.map_or(0, |(_, open)| open);
            sysctl("fs.file-max", files.saturating_add(open.saturating_sub(own)))
        }
        Which::EpollWatches => sysctl("fs.epoll.max_user_watches", wanted.saturating_add(DESCRIPTORS_BESIDE)),
        Which::Memory => {
            let needed = bytes(memory(wanted, of, terms));
            vec![line(
                format!("{needed} of memory"),
                "what these sockets take beyond what is in use; no setting replaces it",
            )]
        }
        Which::GroupMemory => group_memory(wanted, of, terms),
        Which::TcpMemory => {
            let used = of.tcp_pages.map_or(0, |(_, used)| used);
            let max = used.saturating_add(wanted.saturating_mul(TCP_PAGES_PER_SOCKET));
            // In the kernel's own proportions: lowest, pressure, highest = 3 : 4 : 6.
            sysctl("net.ipv4.tcp_mem", format!("\"{} {} {max}\"", max / 2, max / 3 * 2))
        }
        Which::Conntrack => {
            let used = of.conntrack.map_or(0, |(_, used)| used);
            let others = used.saturating_sub(of.process.sockets());
            sysctl("net.netfilter.nf_conntrack_max", wanted.saturating_add(others))
        }
        Which::Tasks => {
            let used =
                of.group.as_ref().ok().and_then(|group| group.tasks.as_ref()).map_or(0, |tasks| tasks.1);
            let needed = used + THREADS_PER_CORE * of.cores + THREADS_BESIDE;
            by_place(of, &format!("TasksMax={needed}"), &format!("--pids-limit {needed}"))
        }
        Which::AcceptQueue => sysctl("net.core.somaxconn", BACKLOG),
        Which::Ports => {
            let ports = of.ports.unwrap_or(1).max(1);
            let mut lines = sysctl("net.ipv4.ip_local_port_range", "\"1024 65535\"");
            lines[0].about =
                "on the proxy's machine: 64,512 connections for each of its addresses".to_owned();
            lines.push(line(
                format!("{} addresses of the proxy", wanted.div_ceil(ports)),
                "or as many, or as many ports of the server, with the range as it is",
            ));
            lines
        }
        Which::Swap => Vec::new(),
    }
}

/// Bytes that are needed beyond those in use.
fn memory(wanted: u64, of: &Readings, terms: Terms) -> u64 {
    let start = if of.process.pid.is_some() { 0 } else { PROCESS_BYTES_BESIDE };
    wanted
        .saturating_sub(of.process.sockets())
        .saturating_mul(bytes_per_socket(terms.tls))
        .saturating_add(start)
}

fn group_memory(wanted: u64, of: &Readings, terms: Terms) -> Vec<Line> {
    let Ok(Some((name, _, used, _))) = of.group.as_ref().map(|group| &group.memory) else {
        return Vec::new();
    };
    let needed = used.saturating_add(memory(wanted, of, terms)).div_ceil(MIB);
    let setting = if *name == "memory.high" { "MemoryHigh" } else { "MemoryMax" };
    by_place(of, &format!("{setting}={needed}M"), &format!("--memory {needed}m"))
}

/// A setting of systemd and the one of a container: both where it isn't known which of them holds.
fn by_place(of: &Readings, systemd: &str, docker: &str) -> Vec<Line> {
    let container = line(format!("docker run {docker} …"), "a container");
    match &of.process.place {
        Place::Unit(unit) => {
            vec![line(systemd, format!("in [Service]: systemctl edit {unit}, then restart it"))]
        }
        Place::Container => vec![container],
        Place::Shell => vec![line(systemd, "in [Service] of its unit: systemctl edit fanfare"), container],
    }
}

fn open_files(files: u64, of: &Readings) -> Vec<Line> {
    let mut lines = Vec::new();
    let hard = of.process.open_files.map_or(Cap::Unlimited, |(_, hard)| hard);
    let as_root = if hard < Cap::At(files) { ", as root" } else { "" };
    match of.process.pid {
        // Lifts it at once, with all sockets open.
        Some(pid) => lines.push(line(
            format!("prlimit --pid {pid} --nofile={files}:{files}"),
            "now, until it ends; as root",
        )),
        None => lines.push(line(
            format!("ulimit -n {files}"),
            format!("this shell, then start the server from it{as_root}"),
        )),
    }
    lines.extend(by_place(of, &format!("LimitNOFILE={files}"), &format!("--ulimit nofile={files}:{files}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::limits::limits;
    use crate::doctor::limits::tests::debian;
    use crate::doctor::readings::Group;

    fn lift(of: &Readings, which: Which, wanted: u64, terms: Terms) -> Vec<String> {
        let all = limits(of, terms);
        let limit = all.iter().find(|limit| limit.which == which).unwrap();
        lines(limit, wanted, of, terms).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn each_limit_has_a_line_with_the_number_that_is_needed() {
        let mut of = debian();
        of.nr_open = Some(65_536);
        of.file_max = Some((Cap::At(100_000), 1_000));
        of.epoll_watches = Some(100_000);
        of.conntrack = Some((65_536, 500));
        of.somaxconn = Some(128);
        let plain = Terms::default();
        for (which, line) in [
            (Which::OpenFiles, "ulimit -n 1000100"),
            (Which::NrOpen, "sysctl -w fs.nr_open=1048576"),
            (Which::FileMax, "sysctl -w fs.file-max=1001100"),
            (Which::EpollWatches, "sysctl -w fs.epoll.max_user_watches=1000100"),
            (Which::Memory, "5.3 GiB of memory"),
            (Which::TcpMemory, "sysctl -w net.ipv4.tcp_mem=\"500050 666732 1000100\""),
            (Which::Conntrack, "sysctl -w net.netfilter.nf_conntrack_max=1000500"),
            (Which::AcceptQueue, "sysctl -w net.core.somaxconn=4096"),
        ] {
            assert_eq!(lift(&of, which, 1_000_000, plain).first().map(String::as_str), Some(line));
        }
        let behind = Terms { proxy_addresses: Some(1), ..plain };
        let ports = lift(&of, Which::Ports, 100_000, behind);
        assert_eq!(
            ports,
            ["sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"", "4 addresses of the proxy"]
        );
    }

    #[test]
    fn a_limit_that_is_high_enough_needs_no_line() {
        let of = debian();
        for limit in limits(&of, Terms::default()) {
            assert_eq!(lines(&limit, 1_000, &of, Terms::default()), [], "{limit:?}");
        }
    }

    /// The number in a line is enough, and one less is not: the way back through `limits` gives what was wanted.
    #[test]
    fn what_a_line_sets_holds_what_was_wanted() {
        let wanted = 123_457;
        let mut of = debian();
        of.process.open_files = Some((Cap::At(1_024), Cap::At(wanted + DESCRIPTORS_BESIDE)));
        assert_eq!(lift(&of, Which::OpenFiles, wanted, Terms::default()), [""; 0]);
        assert!(!lift(&of, Which::OpenFiles, wanted + 1, Terms::default()).is_empty());
        of.group = Ok(Group { memory: Some(("memory.max", 64 * MIB, 10 * MIB, "/g".into())), tasks: None });
        let set = lift(&of, Which::GroupMemory, wanted, Terms::default());
        let mib: u64 = set[0].trim_start_matches("MemoryMax=").trim_end_matches('M').parse().unwrap();
        of.group = Ok(Group { memory: Some(("memory.max", mib * MIB, 10 * MIB, "/g".into())), tasks: None });
        assert_eq!(lift(&of, Which::GroupMemory, wanted, Terms::default()), [""; 0]);
        of.group =
            Ok(Group { memory: Some(("memory.max", (mib - 1) * MIB, 10 * MIB, "/g".into())), tasks: None });
        assert!(!lift(&of, Which::GroupMemory, wanted, Terms::default()).is_empty());
    }

    #[test]
    fn lines_fit_the_place_where_the_server_runs() {
        let mut of = debian();
        of.process.pid = Some(7);
        of.process.place = Place::Unit("fanfare.service".into());
        assert_eq!(
            lift(&of, Which::OpenFiles, 50_000, Terms::default()),
            ["prlimit --pid 7 --nofile=50100:50100", "LimitNOFILE=50100"]
        );
        of.process.place = Place::Container;
        assert_eq!(
            lift(&of, Which::OpenFiles, 50_000, Terms::default()).last().map(String::as_str),
            Some("docker run --ulimit nofile=50100:50100 …")
        );
        of.somaxconn = Some(128);
        let queue = lift(&of, Which::AcceptQueue, 1, Terms::default());
        assert_eq!(queue, ["docker run --sysctl net.core.somaxconn=4096 …"]);
        of.group = Ok(Group { memory: None, tasks: Some((10, 3, "/g".into())) });
        assert_eq!(lift(&of, Which::Tasks, 1, Terms::default()), ["docker run --pids-limit 135 …"]);
    }

    #[test]
    fn without_a_number_the_next_round_one_is_aimed_at() {
        for (stop, aim) in [(924, 10_000), (19_900, 100_000), (100_000, 1_000_000), (2_000_000, 4_000_000)] {
            assert_eq!(round_above(stop), aim);
        }
    }
}
