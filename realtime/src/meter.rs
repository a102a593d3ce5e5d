//! Counters of connections and messages, per app and per meter scope (an account, or an app with a plan of its own).
//!
//! Plain atomics; a message counter knows its UTC day and starts again at zero when the day changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::clock;
use crate::key_use::{NO_SLOT, Slot};

/// A count that belongs to one UTC day.
#[derive(Debug, Default)]
pub(crate) struct DayCount {
    day: AtomicU32,
    count: AtomicI64,
}

impl DayCount {
    pub(crate) fn starting_with(day: u32, count: u64) -> DayCount {
        DayCount { day: day.into(), count: (count as i64).into() }
    }

    fn roll(&self) {
        let today = clock::day();
        let day = self.day.load(Relaxed);
        if day < today && self.day.compare_exchange(day, today, Relaxed, Relaxed).is_ok() {
            self.count.store(0, Relaxed);
        }
    }

    pub(crate) fn add(&self, n: i64) {
        self.roll();
        self.count.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.roll();
        self.count.load(Relaxed).max(0) as u64
    }
}

/// What a plan limits together.
#[derive(Debug)]
pub(crate) struct ScopeMeter {
    connections: AtomicU64,
    messages: DayCount,
}

impl ScopeMeter {
    pub(crate) fn new(day: u32, messages: u64) -> ScopeMeter {
        ScopeMeter { connections: 0.into(), messages: DayCount::starting_with(day, messages) }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    pub(crate) fn messages_today(&self) -> u64 {
        self.messages.get()
    }
}

/// What a message was, for the bill and for charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Publish,
    Delivery,
    ClientEvent,
    Presence,
    Read,
    Webhook,
}

/// Number of classes.
const CLASSES: usize = 6;

/// Counts by class.
pub(crate) type Counts = [i64; CLASSES];

/// One app's own counters; the classes hold what is not yet written to storage.
#[derive(Debug)]
pub(crate) struct AppMeter {
    connections: AtomicU64,
    /// Open connections that don't count yet: their app wants them authorized first.
    unauthorized: AtomicU64,
    peak: AtomicU64,
    messages: DayCount,
    pending: [AtomicI64; CLASSES],
}

impl AppMeter {
    pub(crate) fn new(day: u32, messages: u64) -> AppMeter {
        AppMeter {
            connections: 0.into(),
            unauthorized: 0.into(),
            peak: 0.into(),
            messages: DayCount::starting_with(day, messages),
            pending: Default::default(),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// All open connections, those not yet authorized too.
    pub(crate) fn open(&self) -> u64 {
        self.connections() + self.unauthorized.load(Relaxed)
    }

    pub(crate) fn messages_today(&self) -> u64 {
        self.messages.get()
    }

    pub(crate) fn count(&self, scope: &ScopeMeter, class: Class, n: i64) {
        if n != 0 {
            self.messages.add(n);
            scope.messages.add(n);
            self.pending[class as usize].fetch_add(n, Relaxed);
        }
    }

    /// Takes what storage has not seen: counts by class, and the highest number of connections since the last call.
    pub(crate) fn take_pending(&self) -> (Counts, u64) {
        let counts = std::array::from_fn(|i| self.pending[i].swap(0, Relaxed));
        (counts, self.peak.swap(self.connections(), Relaxed))
    }

    /// Is there anything that storage has not seen?
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.iter().any(|n| n.load(Relaxed) != 0)
    }

    /// Gives back what storage did not take.
    pub(crate) fn give_back(&self, counts: Counts, peak: u64) {
        for (pending, n) in self.pending.iter().zip(counts) {
            pending.fetch_add(n, Relaxed);
        }
        self.peak.fetch_max(peak, Relaxed);
    }
}

/// Connections of one app that may be open without being authorized yet, where the app wants that: they count against no
/// plan, so this is what bounds them.
const UNAUTHORIZED_MAX: u64 = 10_000;

/// A connection's place within the limits; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    app: Arc<crate::app::App>,
    counted: bool,
    /// The place of the key that the connection came with.
    key: Slot,
}

impl Permit {
    /// Takes a place, or says which limit is reached: `(in use, limit)`.
    pub(crate) fn take(app: &Arc<crate::app::App>) -> Result<Permit, (u64, u64)> {
        let limits = &app.snapshot().limits;
        let step = |counter: &AtomicU64, max: Option<u64>| {
            counter
                .fetch_update(Relaxed, Relaxed, |n| max.is_none_or(|max| n < max).then_some(n + 1))
                .map_err(|n| (n, max.unwrap_or(u64::MAX)))
        };
        step(&app.scope.connections, limits.connections_max)?;
        match step(&app.meter.connections, limits.app_connections_max) {
            Ok(before) => {
                app.meter.peak.fetch_max(before + 1, Relaxed);
                Ok(Permit { app: app.clone(), counted: true, key: NO_SLOT })
            }
            Err(full) => {
                app.scope.connections.fetch_sub(1, Relaxed);
                Err(full)
            }
        }
    }
}

impl Permit {
    /// A place for a connection that must be authorized before it counts; `None` if too many wait already.
    pub(crate) fn unauthorized(app: &Arc<crate::app::App>) -> Option<Permit> {
        let waiting = &app.meter.unauthorized;
        let step = waiting.fetch_update(Relaxed, Relaxed, |n| (n < UNAUTHORIZED_MAX).then_some(n + 1));
        step.ok().map(|_| Permit { app: app.clone(), counted: false, key: NO_SLOT })
    }

    /// The same place, counted for the key that the connection comes with.
    pub(crate) fn with_key(mut self, key: &str) -> Permit {
        self.key = self.app.keys.open(key);
        self
    }

    /// Takes over the key of the permit that this one replaces.
    pub(crate) fn in_place_of(mut self, other: &mut Permit) -> Permit {
        self.key = std::mem::replace(&mut other.key, NO_SLOT);
        self
    }

    /// The place of its key.
    pub(crate) fn key(&self) -> Slot {
        self.key
    }

    /// Was its key revoked meanwhile?
    pub(crate) fn is_revoked(&self) -> bool {
        self.app.keys.is_revoked(self.key)
    }

    /// Does it count against the plan?
    pub(crate) fn is_counted(&self) -> bool {
        self.counted
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.key != NO_SLOT {
            self.app.keys.close(self.key);
        }
        if self.counted {
            self.app.meter.connections.fetch_sub(1, Relaxed);
            self.app.scope.connections.fetch_sub(1, Relaxed);
        } else {
            self.app.meter.unauthorized.fetch_sub(1, Relaxed);
        }
    }
}
