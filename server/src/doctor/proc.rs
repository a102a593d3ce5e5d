//! Reads the texts that Linux gives about limits. Functions of text alone: who opens the files is `readings`.

/// A limit that may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cap {
    /// So much.
    At(u64),
    /// No limit; above every number.
    Unlimited,
}

impl Cap {
    /// The number, if there is one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Cap::At(number) => Some(number),
            Cap::Unlimited => None,
        }
    }
}

/// `unlimited` (limits), `max` (cgroup v2) or a number. What the kernel says for "all there is" (2^63 - 1) is no limit either.
pub(crate) fn cap(text: &str) -> Option<Cap> {
    match text.trim() {
        "unlimited" | "max" => Some(Cap::Unlimited),
        number => match number.parse::<u64>().ok()? {
            number if number >= i64::MAX as u64 => Some(Cap::Unlimited),
            number => Some(Cap::At(number)),
        },
    }
}

/// Soft and hard limit of the line `name` in `/proc/PID/limits`.
pub(crate) fn limit(limits: &str, name: &str) -> Option<(Cap, Cap)> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = rest.split_whitespace();
    Some((cap(words.next()?)?, cap(words.next()?)?))
}

/// The numbers of a file of `/proc/sys`, separated by blanks or tabs.
pub(crate) fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

/// How many ports are in `ip_local_port_range` and not in `ip_local_reserved_ports` (such as `8080,9148-9150`).
pub(crate) fn ports(range: &str, reserved: &str) -> Option<u64> {
    let &[first, last] = numbers(range)?.as_slice() else { return None };
    let mut taken = 0;
    for part in reserved.trim().split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        // Only the part that lies within the range takes anything from it.
        taken += (to.min(last) + 1).saturating_sub(from.max(first));
    }
    Some((last + 1).checked_sub(first)?.saturating_sub(taken))
}

/// The number after `name` in a text of lines such as `MemAvailable:  1234 kB` or `inactive_file 1234`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| {
        (words.next()?.trim_end_matches(':') == name).then(|| words.next()?.parse().ok())?
    })
}

/// Pages of TCP memory in use, of `/proc/net/sockstat`.
pub(crate) fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

/// The process's group in the tree of cgroup v2, of `/proc/PID/cgroup`.
pub(crate) fn cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The process's group in the memory tree of cgroup v1: then that one has the limits, not cgroup v2.
pub(crate) fn memory_v1(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|controller| controller == "memory").then_some(path)
    })
}

/// Folders of a group and of those above it, the innermost first: below the place where cgroup v2 is mounted, as
/// `/proc/PID/mountinfo` tells. A container may see a part of the tree only, and the group's path then begins above it.
pub(crate) fn cgroup_folders(mountinfo: &str, group: &str) -> Option<Vec<String>> {
    let (root, at) = mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        after.starts_with("cgroup2 ").then_some((before.next()?, before.next()?))
    })?;
    // `/../x` is a group outside of what can be seen from here.
    if group.split('/').any(|part| part == "..") {
        return None;
    }
    let below = group.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
    let mut folder = format!("{at}{}", below.trim_end_matches('/'));
    let mut folders = vec![folder.clone()];
    while folder.len() > at.len() {
        folder.truncate(folder.rfind('/')?);
        folders.push(folder.clone());
    }
    Some(folders)
}

/// The systemd unit of a group such as `/system.slice/fanfare.service`.
pub(crate) fn unit(group: &str) -> Option<&str> {
    group.split('/').rfind(|part| part.ends_with(".service"))
}

/// Is this the group of a container?
pub(crate) fn in_container(group: &str) -> bool {
    ["docker", "containerd", "kubepods", "libpod", "crio", "lxc"].iter().any(|word| group.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max core file size        0                    unlimited            bytes     
Max processes             96365                96365                processes 
Max open files            1024                 524288               files     
Max nice priority         0                    0                    
";

    #[test]
    fn limits_of_a_process_are_read_with_and_without_a_number() {
        assert_eq!(limit(LIMITS, "Max open files"), Some((Cap::At(1_024), Cap::At(524_288))));
        assert_eq!(limit(LIMITS, "Max cpu time"), Some((Cap::Unlimited, Cap::Unlimited)));
        assert_eq!(limit(LIMITS, "Max core file size"), Some((Cap::At(0), Cap::Unlimited)));
        assert_eq!(limit(LIMITS, "Max sockets"), None);
        assert_eq!(limit("Max open files  many  few  files", "Max open files"), None);
    }

    #[test]
    fn no_limit_has_several_spellings_and_is_above_every_number() {
        for text in ["max\n", "unlimited", "9223372036854775807\n", "18446744073709551615"] {
            assert_eq!(cap(text), Some(Cap::Unlimited), "{text}");
        }
        assert_eq!(cap("536870912\n"), Some(Cap::At(536_870_912)));
        assert_eq!(cap(""), None);
        assert!(Cap::Unlimited > Cap::At(u64::MAX));
    }

    #[test]
    fn kernel_settings_are_read_as_they_are_written() {
        assert_eq!(numbers("287901\t383868\t575802\n"), Some(vec![287_901, 383_868, 575_802]));
        assert_eq!(numbers("755\t0\t2466177\n").unwrap()[2], 2_466_177);
        assert_eq!(numbers("no number"), None);
        assert_eq!(
            tcp_pages("sockets: used 27\nTCP: inuse 5 orphan 0 tw 0 alloc 5 mem 325\nUDP: inuse 0 mem 1\n"),
            Some(325)
        );
    }

    #[test]
    fn ports_are_the_range_without_those_that_are_reserved() {
        assert_eq!(ports("32768\t60999\n", "\n"), Some(28_232));
        assert_eq!(ports("1024 65535", ""), Some(64_512));
        assert_eq!(ports("32768 60999", "8080,40000,50000-50009\n"), Some(28_221));
        assert_eq!(ports("32768 60999", "60990-65535"), Some(28_222));
        assert_eq!(ports("32768", ""), None);
        assert_eq!(ports("60999 32768", ""), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let meminfo = "MemTotal:       24684092 kB\nMemFree: 18259544 kB\nMemAvailable:   23233704 kB\nSwapTotal:  0 kB\n";
        assert_eq!(field(meminfo, "MemAvailable"), Some(23_233_704));
        assert_eq!(field(meminfo, "Mem"), None);
        assert_eq!(field("anon 1\ninactive_file 8192\nfile 5", "inactive_file"), Some(8_192));
    }

    #[test]
    fn a_nested_group_has_the_folders_of_all_above_it() {
        let mountinfo = "\
23 28 0:21 / /proc rw,nosuid - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(
            cgroup_folders(mountinfo, "/system.slice/fanfare.service").unwrap(),
            ["/sys/fs/cgroup/system.slice/fanfare.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"]
        );
        assert_eq!(cgroup_folders(mountinfo, "/").unwrap(), ["/sys/fs/cgroup"]);
        assert_eq!(cgroup_folders(mountinfo, "/../other"), None);
        assert_eq!(cgroup_folders("23 28 0:21 / /proc rw - proc proc rw\n", "/"), None);
        // A container that was given its own part of the machine's tree.
        let part = "41 31 0:38 /docker/4b1fc8 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(
            cgroup_folders(part, "/docker/4b1fc8/inner").unwrap(),
            ["/sys/fs/cgroup/inner", "/sys/fs/cgroup"]
        );
    }

    #[test]
    fn a_group_tells_the_unit_or_the_container() {
        assert_eq!(cgroup("0::/system.slice/fanfare.service\n"), Some("/system.slice/fanfare.service"));
        let hybrid = "4:cpu,memory:/docker/4b\n1:name=systemd:/\n0::/\n";
        assert_eq!((cgroup(hybrid), memory_v1(hybrid)), (Some("/"), Some("/docker/4b")));
        assert_eq!(memory_v1("0::/memory\n"), None);
        assert_eq!(unit("/system.slice/fanfare.service"), Some("fanfare.service"));
        assert_eq!(unit("/user.slice/user-1000.slice/session-2.scope"), None);
        assert!(in_container("/system.slice/docker-4b1f.scope") && !in_container("/user.slice"));
    }
}
