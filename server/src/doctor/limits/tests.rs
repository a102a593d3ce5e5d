//! Limits of a machine that is made up, and what they hold.

use super::*;
use crate::doctor::readings::{Group, Process};

/// A machine of 4 GiB, as Debian sets it up.
pub(crate) fn debian() -> Readings {
    Readings {
        process: Process {
            pid: None,
            command: String::new(),
            place: Place::Shell,
            open_files: Some((Cap::At(1_024), Cap::At(20_000))),
            descriptors: None,
            other_network: false,
        },
        file_max: Some((Cap::Unlimited, 1_000)),
        nr_open: Some(1_048_576),
        epoll_watches: Some(895_000),
        somaxconn: Some(4_096),
        ports: Some(28_232),
        tcp_pages: Some((92_000, 100)),
        conntrack: None,
        memory_available: Some(3 << 30),
        swap: Some((0, 0)),
        group: Ok(Group { memory: None, tasks: Some((4_915, 3, "/sys/fs/cgroup/x".into())) }),
        cores: 2,
    }
}

fn holds(of: &Readings, terms: Terms, which: Which) -> Holds {
    limits(of, terms).into_iter().find(|limit| limit.which == which).unwrap().holds
}

#[test]
fn the_limit_that_stops_first_is_named_with_its_number() {
    let of = debian();
    let all = limits(&of, Terms::default());
    let (limit, sockets) = first(&all).unwrap();
    assert_eq!((limit.which, &*limit.value, sockets), (Which::OpenFiles, "20,000", 19_900));
    let below: Vec<Which> =
        all.iter().filter(|limit| limit.is_below(100_000)).map(|limit| limit.which).collect();
    assert_eq!(below, [Which::OpenFiles, Which::TcpMemory]);
    assert!(!all.iter().any(|limit| limit.is_below(19_900)));
}

#[test]
fn memory_counts_what_is_left_and_what_open_sockets_hold_already() {
    let mut of = debian();
    let plain = ((3u64 << 30) - PROCESS_BYTES_BESIDE) / 5_632;
    assert_eq!(holds(&of, Terms::default(), Which::Memory), Holds::Sockets(plain));
    let tls = Terms { tls: true, ..Terms::default() };
    assert_eq!(holds(&of, tls, Which::Memory), Holds::Sockets(((3 << 30) - PROCESS_BYTES_BESIDE) / 9_728));
    of.process.pid = Some(7);
    of.process.descriptors = Some((5_020, 5_000));
    assert_eq!(holds(&of, Terms::default(), Which::Memory), Holds::Sockets(5_000 + (3 << 30) / 5_632));
    of.group = Ok(Group { memory: Some(("memory.max", 1 << 30, 1 << 29, "/g".into())), tasks: None });
    assert_eq!(holds(&of, Terms::default(), Which::GroupMemory), Holds::Sockets(5_000 + (1 << 29) / 5_632));
}

#[test]
fn a_servers_own_descriptors_are_in_its_share_of_what_all_processes_may_open() {
    let mut of = debian();
    of.file_max = Some((Cap::At(100_000), 7_020));
    of.process.pid = Some(7);
    of.process.descriptors = Some((5_020, 5_000));
    assert_eq!(holds(&of, Terms::default(), Which::FileMax), Holds::Sockets(100_000 - 2_000 - 100));
}

#[test]
fn ports_bound_a_proxy_and_not_the_server() {
    let of = debian();
    assert_eq!(holds(&of, Terms::default(), Which::Ports), Holds::Aside(28_232, "per client address"));
    let behind = Terms { proxy_addresses: Some(2), ..Terms::default() };
    assert_eq!(holds(&of, behind, Which::Ports), Holds::Sockets(56_464));
}

#[test]
fn tracking_counts_when_something_is_tracked() {
    let mut of = debian();
    assert!(limits(&of, Terms::default()).iter().all(|limit| limit.which != Which::Conntrack));
    of.conntrack = Some((65_536, 0));
    assert_eq!(holds(&of, Terms::default(), Which::Conntrack), Holds::Any);
    of.conntrack = Some((65_536, 536));
    assert_eq!(holds(&of, Terms::default(), Which::Conntrack), Holds::Sockets(65_000));
}

#[test]
fn too_few_tasks_stop_the_server_whatever_the_number_of_sockets() {
    let mut of = debian();
    assert_eq!(holds(&of, Terms::default(), Which::Tasks), Holds::Enough(true));
    of.group = Ok(Group { memory: None, tasks: Some((64, 3, "/g".into())) });
    assert!(
        limits(&of, Terms::default()).iter().any(|limit| limit.which == Which::Tasks && limit.is_below(1))
    );
}

#[test]
fn another_network_namespace_is_not_guessed_at() {
    let mut of = debian();
    of.process.pid = Some(7);
    of.process.other_network = true;
    for which in [Which::AcceptQueue, Which::Ports] {
        let limit = limits(&of, Terms::default()).into_iter().find(|limit| limit.which == which).unwrap();
        assert_eq!(limit.holds, Holds::Unknown);
        assert!(limit.about.contains("nsenter -n -t 7"));
    }
    assert_ne!(holds(&of, Terms::default(), Which::TcpMemory), Holds::Unknown);
}
