//! Which limit holds how many sockets. A limit that other programs share counts with what they leave of it now; sockets that
//! the server has open already count as held.

use super::assumed::{
    DESCRIPTORS_BESIDE, PROCESS_BYTES_BESIDE, TCP_PAGES_PER_SOCKET, THREADS_BESIDE, THREADS_PER_CORE,
    bytes_per_socket,
};
use super::proc::Cap;
use super::readings::{Place, Readings};
use super::{bytes, grouped};
use crate::accept::BACKLOG;

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    OpenFiles,
    NrOpen,
    FileMax,
    EpollWatches,
    Memory,
    GroupMemory,
    TcpMemory,
    Conntrack,
    Tasks,
    AcceptQueue,
    Ports,
    Swap,
}

impl Which {
    /// For people, and for programs.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Which::OpenFiles => ("open files", "open_files"),
            Which::NrOpen => ("open files of any process", "nr_open"),
            Which::FileMax => ("open files of all processes", "file_max"),
            Which::EpollWatches => ("epoll watches", "epoll_watches"),
            Which::Memory => ("memory", "memory"),
            Which::GroupMemory => ("memory of the cgroup", "cgroup_memory"),
            Which::TcpMemory => ("TCP memory", "tcp_memory"),
            Which::Conntrack => ("connection tracking", "conntrack"),
            Which::Tasks => ("tasks of the cgroup", "tasks"),
            Which::AcceptQueue => ("accept queue", "accept_queue"),
            Which::Ports => ("local ports", "ports"),
            Which::Swap => ("swap", "swap"),
        }
    }
}

/// What a limit allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// So many sockets.
    Sockets(u64),
    /// Any number.
    Any,
    /// So many of something else, which bounds no number of open sockets.
    Aside(u64, &'static str),
    /// Something that doesn't grow with sockets is enough, or not.
    Enough(bool),
    /// It can't be read.
    Unknown,
}

/// One limit.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) which: Which,
    /// What it is set to.
    pub(crate) value: String,
    pub(crate) holds: Holds,
    /// Which setting it is, and what to know about it.
    pub(crate) about: String,
}

/// How the doctor is asked to reckon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// TLS ends in the server.
    pub(crate) tls: bool,
    /// All clients come through a proxy that has so many addresses.
    pub(crate) proxy_addresses: Option<u64>,
}

impl Limit {
    /// Is it below `wanted` sockets?
    pub(crate) fn is_below(&self, wanted: u64) -> bool {
        match self.holds {
            Holds::Sockets(sockets) => sockets < wanted,
            Holds::Enough(enough) => !enough,
            Holds::Any | Holds::Aside(..) | Holds::Unknown => false,
        }
    }
}

/// The limit that stops first, and at how many sockets.
pub(crate) fn first(limits: &[Limit]) -> Option<(&Limit, u64)> {
    let numbers = limits.iter().filter_map(|limit| match limit.holds {
        Holds::Sockets(sockets) => Some((limit, sockets)),
        _ => None,
    });
    numbers.min_by_key(|(_, sockets)| *sockets)
}

/// All limits.
pub(crate) fn limits(of: &Readings, terms: Terms) -> Vec<Limit> {
    let held = of.process.sockets();
    let beside = of.process.beside().max(DESCRIPTORS_BESIDE);
    let own_files = of.process.descriptors.map_or(0, |(all, _)| all);
    let plain = |cap: Cap| match cap {
        Cap::At(number) => grouped(number),
        Cap::Unlimited => "no limit".to_owned(),
    };
    let sockets = |cap: Cap, less: u64| match cap {
        Cap::At(number) => Holds::Sockets(number.saturating_sub(less)),
        Cap::Unlimited => Holds::Any,
    };
    let mut all = Vec::new();
    let mut add = |which: Which, found: Option<(String, Holds, String)>| {
        let unread = || ("not known".to_owned(), Holds::Unknown, "can't be read".to_owned());
        let (value, holds, about) = found.unwrap_or_else(unread);
        all.push(Limit { which, value, holds, about });
    };

    let who = match (&of.process.place, of.process.pid) {
        (Place::Unit(unit), Some(_)) => format!(" of {unit}"),
        (_, Some(_)) => " of the process".to_owned(),
        (_, None) => " of this shell".to_owned(),
    };
    add(
        Which::OpenFiles,
        of.process.open_files.map(|(soft, hard)| match of.process.pid {
            Some(_) => {
                (plain(soft), sockets(soft, beside), format!("ulimit -n{who}; hard limit {}", plain(hard)))
            }
            // A server takes all of what it may have when it starts.
            None => {
                (plain(hard), sockets(hard, beside), format!("ulimit -Hn{who}; a server takes all of it"))
            }
        }),
    );
    add(
        Which::NrOpen,
        of.nr_open.map(|max| {
            (grouped(max), sockets(Cap::At(max), beside), "fs.nr_open, above which no ulimit goes".to_owned())
        }),
    );
    add(
        Which::FileMax,
        of.file_max.map(|(max, open)| {
            // The server's own are in its share; what others have open is not to be had.
            let others = open.saturating_sub(own_files) + beside;
            (plain(max), sockets(max, others), format!("fs.file-max; {} open now", grouped(open)))
        }),
    );
    add(
        Which::EpollWatches,
        of.epoll_watches.map(|max| {
            let about = "fs.epoll.max_user_watches, for each user".to_owned();
            (grouped(max), sockets(Cap::At(max), DESCRIPTORS_BESIDE), about)
        }),
    );
    let each = bytes_per_socket(terms.tls);
    // A running server has its memory beside sockets already.
    let start = if of.process.pid.is_some() { 0 } else { PROCESS_BYTES_BESIDE };
    let fit = |left: u64| Holds::Sockets(held + left.saturating_sub(start) / each);
    add(
        Which::Memory,
        of.memory_available
            .map(|left| (bytes(left), fit(left), format!("available now, at {} a socket", bytes(each)))),
    );
    add(
        Which::GroupMemory,
        Some(match &of.group {
            Err(why) => ("not known".to_owned(), Holds::Unknown, why.clone()),
            Ok(group) => match &group.memory {
                None => ("no limit".to_owned(), Holds::Any, "memory.max".to_owned()),
                Some((name, max, used, folder)) => (
                    bytes(*max),
                    fit(max.saturating_sub(*used)),
                    format!("{name} of {folder}; {} in use", bytes(*used)),
                ),
            },
        }),
    );
    network(of, terms, held, &mut add);
    add(
        Which::Tasks,
        Some(match &of.group {
            Err(why) => ("not known".to_owned(), Holds::Unknown, why.clone()),
            Ok(group) => match &group.tasks {
                None => ("no limit".to_owned(), Holds::Enough(true), "pids.max".to_owned()),
                Some((max, used, folder)) => {
                    let needed = THREADS_PER_CORE * of.cores + THREADS_BESIDE;
                    let enough =
                        max.saturating_sub(*used) >= needed || (of.process.pid.is_some() && *max >= needed);
                    let about = format!("pids.max of {folder}; {needed} do for any number of sockets");
                    (grouped(*max), Holds::Enough(enough), about)
                }
            },
        }),
    );
    add(
        Which::Swap,
        of.swap.map(|(total, free)| match total {
            0 => (
                "none".to_owned(),
                Holds::Aside(0, ""),
                "not counted: out of memory, the kernel ends a process".to_owned(),
            ),
            total => {
                let about =
                    format!("{} free; not counted: a socket that was swapped out answers late", bytes(free));
                (bytes(total), Holds::Aside(0, ""), about)
            }
        }),
    );
    all
}

/// Limits that each network namespace has for itself.
fn network(
    of: &Readings,
    terms: Terms,
    held: u64,
    add: &mut dyn FnMut(Which, Option<(String, Holds, String)>),
) {
    let here = |found: Option<(String, Holds, String)>| match of.process.pid {
        Some(pid) if of.process.other_network => {
            let about = format!("another network namespace: nsenter -n -t {pid} fanfare doctor --pid {pid}");
            Some(("not known".to_owned(), Holds::Unknown, about))
        }
        _ => found,
    };
    // For all of the machine, whatever the namespace.
    add(
        Which::TcpMemory,
        of.tcp_pages.map(|(max, used)| {
            let fit = held + max.saturating_sub(used) / TCP_PAGES_PER_SOCKET;
            let about = "net.ipv4.tcp_mem, with a message on its way to each socket; idle ones take none";
            (format!("{} pages", grouped(max)), Holds::Sockets(fit), about.to_owned())
        }),
    );
    if let Some((max, used)) = of.conntrack {
        let about = "net.netfilter.nf_conntrack_max";
        add(
            Which::Conntrack,
            here(Some(match used {
                // Loaded, but no rule of a firewall uses it: then connections leave no entry.
                0 => (grouped(max), Holds::Any, format!("{about}; loaded, but nothing is tracked now")),
                used => {
                    let fit = held.min(used) + max.saturating_sub(used);
                    (grouped(max), Holds::Sockets(fit), format!("{about}; {} tracked now", grouped(used)))
                }
            })),
        );
    }
    add(
        Which::AcceptQueue,
        here(of.somaxconn.map(|max| {
            let backlog = BACKLOG as u64;
            let about = format!("the lower of net.core.somaxconn and the server's {}", grouped(backlog));
            (grouped(max), Holds::Aside(max.min(backlog), "arriving at once"), about)
        })),
    );
    add(
        Which::Ports,
        here(of.ports.map(|ports| match terms.proxy_addresses {
            Some(addresses) => {
                let about =
                    format!("net.ipv4.ip_local_port_range, for each of {addresses} addresses of the proxy");
                (grouped(ports), Holds::Sockets(ports.saturating_mul(addresses)), about)
            }
            None => {
                let about = "net.ipv4.ip_local_port_range; no limit of the server, see below".to_owned();
                (grouped(ports), Holds::Aside(ports, "per client address"), about)
            }
        })),
    );
}

#[cfg(test)]
pub(super) mod tests;
