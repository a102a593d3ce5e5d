//! What was recorded and is not yet stored: a queue that nobody waits at. It is bounded per app and per node; what does not
//! fit is dropped and counted, so that neither a flood nor a storage that is away slows a channel or fills the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use protocol::webhook::Event;
use tokio::sync::Notify;

use crate::app::App;

/// Bytes of one app's events on their way into storage. Client events of 10 KiB at 1,000 a second fill it in under a second
/// while storage is away; ordinary events last for minutes.
pub(crate) const APP_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// The same for all apps of a node together.
pub(crate) const NODE_BYTES_MAX: usize = 128 * 1_024 * 1_024;
/// What an event weighs beside its texts.
const EVENT_BYTES: usize = 256;

/// An app's share of the backlog.
#[derive(Debug, Default)]
pub(crate) struct AppBacklog {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// A happening on its way. It counts in the backlog until it is dropped.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) app: Arc<App>,
    pub(crate) event: Event,
    /// It is an end that was waited for.
    pub(crate) waited: bool,
    pub(crate) charge: Charge,
}

/// Bytes of the backlog, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    app: Arc<App>,
    node: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.app.backlog.bytes.fetch_sub(self.bytes, Relaxed);
        self.node.fetch_sub(self.bytes, Relaxed);
    }
}

/// A node's queue.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: Mutex<VecDeque<Recorded>>,
    bytes: Arc<AtomicUsize>,
    dropping: Mutex<Vec<Arc<App>>>,
    pub(crate) news: Notify,
}

impl Backlog {
    /// Takes a happening, or counts it as dropped.
    pub(crate) fn push(&self, app: &Arc<App>, event: Event) {
        self.push_as(app, event, false);
    }

    /// Takes an end that has waited for its time.
    pub(crate) fn push_ended(&self, app: &Arc<App>, event: Event) {
        self.push_as(app, event, true);
    }

    fn push_as(&self, app: &Arc<App>, event: Event, waited: bool) {
        let bytes = EVENT_BYTES + event.weight();
        let charge = Charge { app: app.clone(), node: self.bytes.clone(), bytes };
        let of_app = app.backlog.bytes.fetch_add(bytes, Relaxed) + bytes;
        let of_node = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        if of_app > APP_BYTES_MAX || of_node > NODE_BYTES_MAX {
            self.dropped(app, 1);
            return;
        }
        self.queue.lock().push_back(Recorded { app: app.clone(), event, waited, charge });
        self.news.notify_one();
    }

    /// Counts events that are lost, to be told by [`Backlog::take_dropped`].
    pub(crate) fn dropped(&self, app: &Arc<App>, count: u64) {
        if count > 0 && app.backlog.dropped.fetch_add(count, Relaxed) == 0 {
            self.dropping.lock().push(app.clone());
        }
    }

    /// All that waits, in its order.
    pub(crate) fn take(&self) -> VecDeque<Recorded> {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Apps that lost events since the last call, and how many.
    pub(crate) fn take_dropped(&self) -> Vec<(Arc<App>, u64)> {
        let apps = std::mem::take(&mut *self.dropping.lock());
        apps.into_iter().map(|app| (app.clone(), app.backlog.dropped.swap(0, Relaxed))).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::app::AppSnapshot;
    use crate::meter::{AppMeter, ScopeMeter};

    pub(crate) fn app_with(snapshot: AppSnapshot) -> Arc<App> {
        Arc::new(App::new(snapshot, AppMeter::new(0, 0), Arc::new(ScopeMeter::new(0, 0)), "n"))
    }

    pub(crate) fn app(id: u64) -> Arc<App> {
        app_with(AppSnapshot { id, ..crate::app::tests::snapshot() })
    }

    pub(crate) fn recorded(app: &Arc<App>, event: Event) -> Recorded {
        let backlog = Backlog::default();
        backlog.push(app, event);
        backlog.take().pop_front().unwrap()
    }

    fn big(bytes: usize) -> Event {
        Event::CacheMiss { channel: "x".repeat(bytes).into() }
    }

    #[test]
    fn one_apps_flood_is_dropped_and_counted_and_another_app_has_its_own_room() {
        let (backlog, one, two) = (Backlog::default(), app(1001), app(1002));
        for _ in 0..100 {
            backlog.push(&one, big(APP_BYTES_MAX / 10));
        }
        backlog.push(&two, big(1_000));
        let held = backlog.take();
        assert_eq!(held.iter().filter(|r| r.app.id() == 1001).count(), 9);
        assert_eq!(held.iter().filter(|r| r.app.id() == 1002).count(), 1);
        let dropped: Vec<_> = backlog.take_dropped().into_iter().map(|(app, n)| (app.id(), n)).collect();
        assert_eq!(dropped, [(1001, 91)]);
        assert!(backlog.take_dropped().is_empty());

        backlog.push(&one, big(APP_BYTES_MAX / 10));
        assert_eq!(backlog.take().len(), 0, "they are still in hand");
        drop(held);
        backlog.push(&one, big(APP_BYTES_MAX / 10));
        assert_eq!(backlog.take().len(), 1, "what is done makes room");
        assert_eq!(backlog.bytes.load(Relaxed), 0);
        assert_eq!(one.backlog.bytes.load(Relaxed), 0);
    }

    #[test]
    fn all_apps_together_are_bounded_too() {
        let backlog = Backlog::default();
        let apps: Vec<_> = (2..=40).map(app).collect();
        apps.iter().for_each(|app| backlog.push(app, big(APP_BYTES_MAX - 1_000)));
        let held = backlog.take().len();
        assert_eq!(held, NODE_BYTES_MAX / APP_BYTES_MAX);
        assert_eq!(backlog.take_dropped().len(), apps.len() - held);
    }
}
