//! What the pages of the server tell about it, and the links between them. It reads nothing by itself: the facts come from whoever
//! starts the pages, numbers from [`crate::Live`].

use std::path::PathBuf;

/// What this server is; the same from its start to its end.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// Its release.
    pub version: &'static str,
    /// When it started, in ms since the epoch.
    pub started_ms: i64,
    /// What it does, such as `all`.
    pub roles: &'static str,
    /// Where events go between nodes.
    pub broker: &'static str,
    /// `SQLite` or `PostgreSQL`.
    pub database: &'static str,
    /// The file of a SQLite database; backups are of it.
    pub database_file: Option<PathBuf>,
    /// The folder of data.
    pub data_dir: PathBuf,
    /// Threads of the data plane.
    pub workers: usize,
    /// The name of this node.
    pub node: String,
}

impl ServerFacts {
    /// The folder of backups.
    pub fn backups(&self) -> PathBuf {
        self.data_dir.join("backups")
    }
}

/// What the process uses right now; `None` where the system doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Open files, each socket among them.
    pub open_files: Option<u64>,
    /// The most there may be.
    pub open_files_max: Option<u64>,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
}

/// What a node of the cluster said of itself a second ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name; another one after each start.
    pub name: String,
    /// It is the one that shows the page.
    pub is_this: bool,
    /// Its release.
    pub version: String,
    /// Its region.
    pub cluster: String,
    /// Its machine.
    pub host: String,
    /// When it started, in ms since the epoch.
    pub started_ms: i64,
    /// Threads of its data plane.
    pub workers: u64,
    /// Open connections.
    pub connections: u64,
    /// Channels with a subscriber there.
    pub channels: u64,
    /// Of one processor, over the last second.
    pub cpu_percent: Option<u64>,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// The most there may be.
    pub open_files_max: Option<u64>,
    /// It goes away.
    pub draining: bool,
}

/// The pages of the server: templates that include `server_nav.html` have it as `section`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerSection {
    /// `/dash/server`
    Overview,
    /// `/dash/server/nodes`
    Nodes,
    /// `/dash/server/organisations` and below
    Organisations,
    /// `/dash/server/plans`
    Plans,
    /// `/dash/server/sign-up`
    SignUp,
    /// `/dash/server/mail`
    Mail,
    /// `/dash/server/backups`
    Backups,
}

impl ServerSection {
    /// `aria-current` for the links.
    pub(crate) fn current(self, section: ServerSection) -> &'static str {
        if self == section { "true" } else { "false" }
    }
}

/// `12.3 MB`
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} bytes"),
    }
}

/// `3 d 4 h`, `5 h 12 min`, `40 s`
pub(crate) fn lasted(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (n, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_950, "1.9 kB"),
            (12_345_678, "12.3 MB"),
            (5_000_000_000, "5.0 GB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        for (ms, text) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (18_720_000, "5 h 12 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(lasted(ms), text);
        }
    }
}
