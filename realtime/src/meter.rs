//! Counters of connections and messages, per app and per meter scope (an account, or an app with a plan of its own).
//!
//! Plain atomics; a message counter knows its UTC day and starts again at zero when the day changes. What is not yet in storage
//! lies in cells of a minute; [`crate::usage`] empties them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::app::MessageQuota;
use crate::clock;
use crate::cluster::{self, Shared};
use crate::key_use::{NO_SLOT, Slot};

const MINUTES_PER_DAY: u32 = 1_440;

/// Bits of a day's count; above them is the day. 2⁴⁸ messages a day are 3 billion a second.
const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A count that belongs to one UTC day: the day and the number in one word, so that midnight loses nothing.
#[derive(Debug)]
pub(crate) struct DayCount {
    word: AtomicU64,
    /// What of it storage has, as far as this node knows: the day and the count.
    stored: Mutex<(u32, u64)>,
}

fn word(day: u32, count: u64) -> u64 {
    u64::from(day) << COUNT_BITS | count.min(COUNT_MASK)
}

fn day_of(word: u64) -> u32 {
    (word >> COUNT_BITS) as u32
}

impl DayCount {
    pub(crate) fn starting_with(day: u32, count: u64) -> DayCount {
        DayCount { word: word(day, count).into(), stored: Mutex::new((day, count)) }
    }

    /// Counts on a day. What comes late, for a day that is over, counts for the one that has begun.
    fn add(&self, day: u32, n: u64) {
        let mut seen = self.word.fetch_add(n, Relaxed).wrapping_add(n);
        while day_of(seen) < day {
            match self.word.compare_exchange_weak(seen, word(day, n), Relaxed, Relaxed) {
                Ok(_) => return,
                // Somebody else has begun the day, or counted on the old one.
                Err(now) if day_of(now) >= day => {
                    self.word.fetch_add(n, Relaxed);
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Counts one on a day if fewer than `limit` were counted; else says how many. Of calls at the same moment none gets past it.
    fn take(&self, day: u32, limit: Option<u64>) -> Result<(), u64> {
        let Some(limit) = limit else {
            self.add(day, 1);
            return Ok(());
        };
        let next = |seen| {
            let here = if day_of(seen) < day { 0 } else { seen & COUNT_MASK };
            (here < limit).then(|| if day_of(seen) < day { word(day, 1) } else { seen + 1 })
        };
        let taken = self.word.fetch_update(Relaxed, Relaxed, next);
        taken.map(drop).map_err(|seen| if day_of(seen) < day { 0 } else { seen & COUNT_MASK })
    }

    /// Gives one back that was taken on a day.
    fn give_back(&self, day: u32) {
        let back = |seen| (day_of(seen) == day && seen & COUNT_MASK > 0).then(|| seen - 1);
        let _ = self.word.fetch_update(Relaxed, Relaxed, back);
    }

    fn on(&self, day: u32) -> u64 {
        let word = self.word.load(Relaxed);
        if day_of(word) < day { 0 } else { word & COUNT_MASK }
    }

    pub(crate) fn get(&self) -> u64 {
        self.on(clock::day())
    }

    /// Storage took this much of what was counted here on a day.
    pub(crate) fn flushed(&self, day: u32, n: u64) {
        let mut stored = self.stored.lock();
        if stored.0 < day {
            *stored = (day, 0);
        }
        if stored.0 == day {
            stored.1 += n;
        }
    }

    /// Storage has this much of a day, from all nodes: what others counted is added here.
    pub(crate) fn stored(&self, day: u32, count: u64) {
        let mut stored = self.stored.lock();
        if stored.0 > day {
            return;
        }
        let known = if stored.0 == day { stored.1 } else { 0 };
        *stored = (day, count);
        let _ = self.word.fetch_update(Relaxed, Relaxed, |seen| {
            let here = if day_of(seen) < day { 0 } else { seen & COUNT_MASK };
            let both = here.saturating_add(count).saturating_sub(known);
            (day_of(seen) <= day && both != here).then(|| word(day, both))
        });
    }
}

/// Nodes tell each other what was counted after this part of a limit, at the latest; see docs/OPERATING.md for what may pass it.
const STEPS: u64 = 1_000;
/// And not more often than after so many messages.
const STEP_MIN: u64 = 50;

/// What a plan limits together.
#[derive(Debug)]
pub(crate) struct ScopeMeter {
    connections: AtomicU64,
    shared: Shared,
    /// Messages after which the others are told at once and not at the end of the second; 0: nothing is limited.
    step: AtomicU64,
    /// Messages since they were told last.
    untold: AtomicU64,
    wake: OnceLock<Arc<Notify>>,
    pub(crate) messages: DayCount,
}

impl ScopeMeter {
    pub(crate) fn new(day: u32, messages: u64) -> ScopeMeter {
        ScopeMeter {
            connections: 0.into(),
            shared: Shared::default(),
            step: 0.into(),
            untold: 0.into(),
            wake: OnceLock::new(),
            messages: DayCount::starting_with(day, messages),
        }
    }

    /// A limit holds for what is counted here: after each thousandth of it the other nodes are told, `wake` has it done.
    pub(crate) fn limited(&self, limit: Option<u64>, wake: &Arc<Notify>) {
        let Some(limit) = limit else { return };
        let _ = self.wake.set(wake.clone());
        let step = (limit / STEPS).max(STEP_MIN);
        let _ = self.step.fetch_update(Relaxed, Relaxed, |now| (now == 0 || step < now).then_some(step));
    }

    fn stepped(&self, n: u64) {
        let step = self.step.load(Relaxed);
        if step != 0 && self.untold.fetch_add(n, Relaxed) + n >= step {
            self.untold.store(0, Relaxed);
            self.wake.get().inspect(|wake| wake.notify_one());
        }
    }

    /// Connections to this node.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections to all nodes, as far as this one knows.
    pub(crate) fn all_connections(&self) -> u64 {
        self.connections() + self.shared.elsewhere.load(Relaxed)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
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
    /// What a cache channel kept, to somebody who subscribed.
    Cached,
    Read,
    Webhook,
}

/// Number of classes.
const CLASSES: usize = 7;

/// Counts by class, in the order of [`Class`].
pub(crate) type Counts = [u64; CLASSES];

/// What was counted in one minute and not yet taken.
#[derive(Debug, Default)]
struct Cell {
    minute: AtomicU32,
    counts: [AtomicU64; CLASSES],
}

/// One app's own counters.
#[derive(Debug)]
pub(crate) struct AppMeter {
    connections: AtomicU64,
    shared: Shared,
    /// Open connections that don't count yet: their app wants them authorized first.
    unauthorized: AtomicU64,
    peak: AtomicU64,
    /// The last peak that was taken, and its minute.
    peak_told: Mutex<(u32, u64)>,
    pub(crate) messages: DayCount,
    /// The minute that runs and the one before it. They are emptied every second; if that stands still for longer than a
    /// minute, what lies there counts for a later one, and nothing is lost.
    cells: [Cell; 2],
    /// Somebody looked at the numbers: other nodes' counts are asked for at the next flush.
    asked: AtomicBool,
}

impl AppMeter {
    pub(crate) fn new(day: u32, messages: u64) -> AppMeter {
        AppMeter {
            connections: 0.into(),
            shared: Shared::default(),
            unauthorized: 0.into(),
            peak: 0.into(),
            peak_told: Mutex::default(),
            messages: DayCount::starting_with(day, messages),
            cells: Default::default(),
            asked: false.into(),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections to all nodes, as far as this one knows.
    pub(crate) fn all_connections(&self) -> u64 {
        self.connections() + self.shared.elsewhere.load(Relaxed)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Does somebody want to see other nodes' numbers?
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// All open connections, those not yet authorized too.
    pub(crate) fn open(&self) -> u64 {
        self.connections() + self.unauthorized.load(Relaxed)
    }

    pub(crate) fn messages_today(&self) -> u64 {
        self.messages.get()
    }

    /// Counts messages, for the quota at once and for storage at the next flush.
    pub(crate) fn count(&self, scope: &ScopeMeter, class: Class, n: u64) {
        if n != 0 {
            self.count_at(scope, class, n, clock::minute());
        }
    }

    /// Counts one message, if neither the plan's limit for the scope nor the app's own cap is reached; else says which is.
    pub(crate) fn count_within(
        &self,
        scope: &ScopeMeter,
        class: Class,
        plan: Option<u64>,
        own: Option<u64>,
    ) -> Result<(), MessageQuota> {
        let minute = clock::minute();
        let day = minute / MINUTES_PER_DAY;
        let full = |limit: Option<u64>, used, own_cap| {
            let limit = limit.unwrap_or(u64::MAX);
            MessageQuota { used, limit, own_cap }
        };
        scope.messages.take(day, plan).map_err(|used| full(plan, used, false))?;
        if let Err(used) = self.messages.take(day, own) {
            scope.messages.give_back(day);
            return Err(full(own, used, true));
        }
        self.cell(class, 1, minute);
        scope.stepped(1);
        Ok(())
    }

    fn count_at(&self, scope: &ScopeMeter, class: Class, n: u64, minute: u32) {
        let day = minute / MINUTES_PER_DAY;
        self.messages.add(day, n);
        scope.messages.add(day, n);
        self.cell(class, n, minute);
        scope.stepped(n);
    }

    fn cell(&self, class: Class, n: u64, minute: u32) {
        let cell = &self.cells[(minute & 1) as usize];
        let labelled = cell.minute.load(Relaxed);
        if labelled < minute {
            let _ = cell.minute.compare_exchange(labelled, minute, Relaxed, Relaxed);
        }
        cell.counts[class as usize].fetch_add(n, Relaxed);
    }

    /// Takes what storage has not seen, a line for each minute, and the highest number of connections if that is news in this
    /// minute. Only the flush calls it.
    pub(crate) fn take(&self) -> impl Iterator<Item = (u32, Counts, u64)> + '_ {
        let minute = clock::minute();
        let peak = self.peak.swap(self.connections(), Relaxed);
        let mut told = self.peak_told.lock();
        let is_news = peak > 0 && (told.0 < minute || told.1 < peak);
        let peak = is_news.then(|| {
            *told = (minute, peak);
            (minute, Counts::default(), peak)
        });
        let cells = self.cells.iter().filter_map(|cell| {
            let minute = cell.minute.load(Relaxed);
            let counts: Counts = std::array::from_fn(|i| cell.counts[i].swap(0, Relaxed));
            counts.iter().any(|n| *n != 0).then_some((minute, counts, 0))
        });
        cells.chain(peak)
    }

    /// Is there anything that storage has not seen?
    pub(crate) fn has_pending(&self) -> bool {
        self.cells.iter().any(|cell| cell.counts.iter().any(|n| n.load(Relaxed) != 0))
    }

    /// Other nodes' counts are wanted too.
    pub(crate) fn ask(&self) {
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
        }
    }

    /// Was it asked for since the last call?
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.load(Relaxed) && self.asked.swap(false, Relaxed)
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
    /// It has places of the scope and of the app's own cap that all nodes share.
    placed: [bool; 2],
    /// The place of the key that the connection came with.
    key: Slot,
}

impl Permit {
    /// Takes a place, or says which limit is reached: `(in use, limit)`.
    pub(crate) fn take(app: &Arc<crate::app::App>) -> Result<Permit, (u64, u64)> {
        let limits = &app.snapshot().limits;
        let step = |counter: &AtomicU64, shared: &Shared, max: Option<u64>| {
            let elsewhere = shared.elsewhere.load(Relaxed);
            counter
                .fetch_update(Relaxed, Relaxed, |n| {
                    max.is_none_or(|max| n + elsewhere < max).then_some(n + 1)
                })
                .map_err(|n| (n + elsewhere, max.unwrap_or(u64::MAX)))
        };
        step(&app.scope.connections, &app.scope.shared, limits.connections_max)?;
        match step(&app.meter.connections, &app.meter.shared, limits.app_connections_max) {
            Ok(before) => {
                app.meter.peak.fetch_max(before + 1, Relaxed);
                Ok(Permit { app: app.clone(), counted: true, placed: [false; 2], key: NO_SLOT })
            }
            Err(full) => {
                app.scope.connections.fetch_sub(1, Relaxed);
                Err(full)
            }
        }
    }
}

impl Permit {
    /// A connection whose places all nodes share, of the scope and of the app's own cap.
    pub(crate) fn placed(app: &Arc<crate::app::App>, placed: [bool; 2]) -> Permit {
        app.scope.connections.fetch_add(1, Relaxed);
        let before = app.meter.connections.fetch_add(1, Relaxed);
        app.meter.peak.fetch_max(before + 1, Relaxed);
        Permit { app: app.clone(), counted: true, placed, key: NO_SLOT }
    }

    /// A place for a connection that must be authorized before it counts; `None` if too many wait already.
    pub(crate) fn unauthorized(app: &Arc<crate::app::App>) -> Option<Permit> {
        let waiting = &app.meter.unauthorized;
        let step = waiting.fetch_update(Relaxed, Relaxed, |n| (n < UNAUTHORIZED_MAX).then_some(n + 1));
        step.ok().map(|_| Permit { app: app.clone(), counted: false, placed: [false; 2], key: NO_SLOT })
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
            if self.placed != [false; 2] {
                cluster::give_back(&self.app, self.placed);
            }
        } else {
            self.app.meter.unauthorized.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first minute of day 7.
    const MIDNIGHT: u32 = 7 * MINUTES_PER_DAY;

    #[test]
    fn a_day_begins_at_zero_and_no_message_around_midnight_is_lost() {
        let count = Arc::new(DayCount::starting_with(6, 100));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50_000).for_each(|_| count.add(7, 1)));
            }
        });
        assert_eq!(count.on(7), 200_000);
        assert_eq!(count.on(8), 0, "another day");
        count.add(6, 5);
        assert_eq!(count.on(7), 200_005, "late");
    }

    #[test]
    fn what_other_nodes_stored_is_added_once_and_what_is_on_its_way_stays() {
        let count = DayCount::starting_with(7, 10);
        count.add(7, 5);
        count.add(7, 2);
        count.flushed(7, 5);
        count.stored(7, 15);
        assert_eq!(count.on(7), 17, "nothing new: two are on their way");
        count.stored(7, 115);
        count.stored(7, 115);
        assert_eq!(count.on(7), 117, "a hundred of others");
        count.flushed(7, 2);
        count.stored(7, 117);
        assert_eq!(count.on(7), 117);
        count.stored(7, 0);
        assert_eq!(count.on(7), 0, "an app left with all that it used");
        count.stored(8, 3);
        count.stored(7, 900);
        assert_eq!(
            (count.on(8), count.stored.lock().1),
            (3, 3),
            "of the day before nothing is said any more"
        );
    }

    #[test]
    fn each_minute_is_taken_as_its_own_and_only_once() {
        let (meter, scope) = (AppMeter::new(7, 0), ScopeMeter::new(7, 0));
        meter.count_at(&scope, Class::Publish, 1, MIDNIGHT - 1);
        meter.count_at(&scope, Class::Delivery, 20, MIDNIGHT);
        meter.count_at(&scope, Class::Cached, 300, MIDNIGHT);
        assert!(meter.has_pending());
        let mut taken: Vec<_> = meter.take().collect();
        taken.sort();
        assert_eq!(
            taken,
            [(MIDNIGHT - 1, [1, 0, 0, 0, 0, 0, 0], 0), (MIDNIGHT, [0, 20, 0, 0, 300, 0, 0], 0)]
        );
        assert!(!meter.has_pending());
        assert_eq!(meter.take().count(), 0);
        assert_eq!((meter.messages.on(7), scope.messages.on(7)), (321, 321));
    }

    #[test]
    fn a_flush_that_stands_still_blurs_minutes_and_loses_nothing() {
        let (meter, scope) = (AppMeter::new(7, 0), ScopeMeter::new(7, 0));
        for minute in 0..10 {
            meter.count_at(&scope, Class::Read, 1, MIDNIGHT + minute);
        }
        let taken: u64 = meter.take().map(|(_, counts, _)| counts.iter().sum::<u64>()).sum();
        assert_eq!(taken, 10);
    }
}
