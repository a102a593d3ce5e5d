//! Work that is due in a few seconds, in the order in which it falls due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::app::App;
use crate::cluster::confirm;
use crate::node::Node;

/// How often due work is looked for; it may be this much late.
const TICK: Duration = Duration::from_millis(100);

/// What may be due. Each stands in the list at most once per channel or user, so the list is bounded by what is connected.
#[derive(Debug)]
pub(crate) enum Task {
    /// Tell a large channel how many its subscribers are.
    Count(Arc<App>, Arc<str>),
    /// A user's last connection has been gone for a while.
    Offline(Arc<App>, Arc<str>),
    /// Nobody here has been on a channel of the cluster for a while.
    Detach(Arc<App>, Arc<str>),
    /// A channel of the cluster, or a user of it, ended a while ago, at that time of Redis.
    Confirm(Arc<App>, Arc<str>, Option<Arc<str>>, String),
}

#[derive(Debug, Default)]
pub(crate) struct Later {
    tasks: Mutex<BTreeMap<(Instant, u64), Task>>,
    next: AtomicU64,
}

impl Later {
    pub(crate) fn at(&self, due: Instant, task: Task) {
        self.tasks.lock().insert((due, self.next.fetch_add(1, Relaxed)), task);
    }

    /// Takes what is due.
    pub(crate) fn take(&self, now: Instant) -> Vec<Task> {
        let mut tasks = self.tasks.lock();
        let mut due = Vec::new();
        while tasks.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            due.extend(tasks.pop_first().map(|(_, task)| task));
        }
        due
    }
}

/// Runs until the process ends.
pub(crate) async fn run(node: Node) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        node.do_due(Instant::now());
    }
}

impl Node {
    /// Does what is due.
    pub(crate) fn do_due(&self, now: Instant) {
        for task in self.later().take(now) {
            match task {
                Task::Count(app, channel) => self.tell_count_again(&app, &channel, now),
                Task::Offline(app, user) => self.tell_offline(&app, &user, now),
                Task::Detach(app, channel) => {
                    self.cluster().into_iter().for_each(|cluster| cluster.detach(self, &app, &channel));
                }
                Task::Confirm(app, channel, user, since) => {
                    if let Some(cluster) = self.cluster().cloned() {
                        tokio::spawn(confirm(self.clone(), cluster, app, channel, user, since));
                    }
                }
            }
        }
        self.cluster().into_iter().for_each(|cluster| cluster.resume_late(self, now));
    }
}
