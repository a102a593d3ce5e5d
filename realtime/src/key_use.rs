//! Who uses which key of an app on this node: open connections, and the minute of the last use over WebSocket and over HTTP.
//! What was used is told to storage with the usage; which keys there are is decided by the snapshot alone.
//!
//! Opening and closing a connection takes a lock of the app; a request looks without one; a delivery does nothing here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::app::KeyPair;
use crate::clock;

/// Where a key stands among those of its app, for as long as a connection holds it.
pub(crate) type Slot = u16;
/// A connection that came with no key of the app.
pub(crate) const NO_SLOT: Slot = Slot::MAX;

/// What a socket is told whose key was revoked, with code 4001.
pub(crate) const KEY_REVOKED: &str = "The app key was revoked";

/// One key and its use. Minutes are counted since 1970; 0 is never.
#[derive(Debug)]
struct KeyUse {
    key: Arc<str>,
    revoked: AtomicBool,
    connections: AtomicU64,
    ws_minute: AtomicU32,
    rest_minute: AtomicU32,
    told_ws: AtomicU32,
    told_rest: AtomicU32,
}

/// What a page shows of one key's use on this node. Times are milliseconds since 1970, whole minutes; 0 is never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNumbers {
    /// The key.
    pub key: Arc<str>,
    /// Open connections that came with it.
    pub connections: u64,
    /// Last minute in which such a connection was open.
    pub last_ws_ms: i64,
    /// Last minute in which a request was signed with it.
    pub last_rest_ms: i64,
}

/// The keys of an app and their use. Revoked ones stay while connections hold them; their places are used again.
#[derive(Debug, Default)]
pub(crate) struct KeyUses {
    slots: ArcSwap<Vec<Arc<KeyUse>>>,
    changing: Mutex<()>,
}

impl KeyUses {
    pub(crate) fn new(keys: &[KeyPair]) -> KeyUses {
        let uses = KeyUses::default();
        uses.sync(keys);
        uses
    }

    /// Follows the snapshot. Gives the places of keys that are no more and still have connections.
    pub(crate) fn sync(&self, keys: &[KeyPair]) -> Vec<Slot> {
        let _changing = self.changing.lock();
        let mut slots = self.slots.load().to_vec();
        for slot in &slots {
            slot.revoked.store(!keys.iter().any(|pair| pair.key == slot.key), Relaxed);
        }
        for pair in
            keys.iter().filter(|pair| !slots.iter().any(|slot| slot.key == pair.key)).collect::<Vec<_>>()
        {
            let new = Arc::new(KeyUse::new(pair.key.clone()));
            match slots.iter().position(|slot| slot.is_gone()) {
                Some(at) => slots[at] = new,
                None => slots.push(new),
            }
        }
        while slots.last().is_some_and(|slot| slot.is_gone()) {
            slots.pop();
        }
        let held = |(at, slot): (usize, &Arc<KeyUse>)| {
            (slot.revoked.load(Relaxed) && !slot.is_gone()).then(|| Slot::try_from(at).ok()).flatten()
        };
        let held = slots.iter().enumerate().filter_map(held).collect();
        self.slots.store(Arc::new(slots));
        held
    }

    /// Counts a connection that came with `key`.
    pub(crate) fn open(&self, key: &str) -> Slot {
        let _changing = self.changing.lock();
        let slots = self.slots.load();
        let at = slots.iter().position(|slot| &*slot.key == key);
        let Some(at) = at.and_then(|at| Slot::try_from(at).ok()) else { return NO_SLOT };
        let slot = &slots[at as usize];
        slot.connections.fetch_add(1, Relaxed);
        slot.ws_minute.fetch_max(clock::minute(), Relaxed);
        at
    }

    /// The connection of a place is over.
    pub(crate) fn close(&self, at: Slot) {
        let _changing = self.changing.lock();
        if let Some(slot) = self.slots.load().get(at as usize) {
            slot.connections.fetch_sub(1, Relaxed);
        }
    }

    /// Is the key of a place no more? A connection without a place came with a key that was revoked on its way here.
    pub(crate) fn is_revoked(&self, at: Slot) -> bool {
        self.slots.load().get(at as usize).is_none_or(|slot| slot.revoked.load(Relaxed))
    }

    /// A request was signed with `key`.
    pub(crate) fn requested(&self, key: &str) {
        let slots = self.slots.load();
        let minute = clock::minute();
        if let Some(slot) = slots.iter().find(|slot| &*slot.key == key)
            && slot.rest_minute.load(Relaxed) < minute
        {
            slot.rest_minute.store(minute, Relaxed);
        }
    }

    /// All keys with their use.
    pub(crate) fn numbers(&self) -> Vec<KeyNumbers> {
        self.slots.load().iter().filter(|slot| !slot.is_gone()).map(|slot| slot.numbers()).collect()
    }

    /// The use that storage has not been told, and `told` to be called once it has.
    pub(crate) fn news(&self) -> Vec<KeyNumbers> {
        let minute = clock::minute();
        let slots = self.slots.load();
        let mut news = Vec::new();
        for slot in slots.iter() {
            if slot.connections.load(Relaxed) > 0 {
                slot.ws_minute.fetch_max(minute, Relaxed);
            }
            let is_new = slot.ws_minute.load(Relaxed) > slot.told_ws.load(Relaxed)
                || slot.rest_minute.load(Relaxed) > slot.told_rest.load(Relaxed);
            if is_new && !slot.revoked.load(Relaxed) {
                news.push(slot.numbers());
            }
        }
        news
    }

    /// Storage has been told.
    pub(crate) fn told(&self, told: &KeyNumbers) {
        let slots = self.slots.load();
        if let Some(slot) = slots.iter().find(|slot| slot.key == told.key) {
            slot.told_ws.fetch_max(minute_of(told.last_ws_ms), Relaxed);
            slot.told_rest.fetch_max(minute_of(told.last_rest_ms), Relaxed);
        }
    }
}

impl KeyUse {
    fn new(key: Arc<str>) -> KeyUse {
        KeyUse {
            key,
            revoked: false.into(),
            connections: 0.into(),
            ws_minute: 0.into(),
            rest_minute: 0.into(),
            told_ws: 0.into(),
            told_rest: 0.into(),
        }
    }

    fn is_gone(&self) -> bool {
        self.revoked.load(Relaxed) && self.connections.load(Relaxed) == 0
    }

    fn numbers(&self) -> KeyNumbers {
        KeyNumbers {
            key: self.key.clone(),
            connections: self.connections.load(Relaxed),
            last_ws_ms: i64::from(self.ws_minute.load(Relaxed)) * 60_000,
            last_rest_ms: i64::from(self.rest_minute.load(Relaxed)) * 60_000,
        }
    }
}

fn minute_of(ms: i64) -> u32 {
    u32::try_from(ms / 60_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Secret;

    fn pairs(keys: &[&str]) -> Vec<KeyPair> {
        keys.iter().map(|key| KeyPair { key: (*key).into(), secret: Secret::new("s") }).collect()
    }

    fn connections(uses: &KeyUses) -> Vec<(String, u64)> {
        uses.numbers().into_iter().map(|one| (one.key.to_string(), one.connections)).collect()
    }

    #[test]
    fn a_revoked_key_keeps_its_place_while_connections_hold_it_and_then_gives_it_back() {
        let uses = KeyUses::new(&pairs(&["a", "b"]));
        let (a, b) = (uses.open("a"), uses.open("b"));
        assert_eq!(uses.sync(&pairs(&["b"])), [a]);
        assert!(uses.is_revoked(a) && !uses.is_revoked(b));
        uses.sync(&pairs(&["b", "c"]));
        assert_eq!(connections(&uses), [("a".into(), 1), ("b".into(), 1), ("c".into(), 0)]);
        uses.close(a);
        assert_eq!(uses.sync(&pairs(&["b", "c", "d"])), [] as [Slot; 0]);
        assert_eq!(connections(&uses), [("d".into(), 0), ("b".into(), 1), ("c".into(), 0)]);
        assert_eq!(uses.open("x"), NO_SLOT);
        assert!(uses.is_revoked(NO_SLOT));
        uses.close(NO_SLOT);
        assert_eq!(uses.open("d"), a);
    }

    #[test]
    fn use_is_told_once_a_minute_and_again_if_nobody_took_it() {
        let uses = KeyUses::new(&pairs(&["a", "b"]));
        assert!(uses.news().is_empty());
        uses.requested("a");
        uses.requested("unknown");
        let slot = uses.open("b");
        let news = uses.news();
        assert_eq!(news.iter().map(|one| &*one.key).collect::<Vec<_>>(), ["a", "b"]);
        assert!(news[0].last_rest_ms > 0 && news[0].last_ws_ms == 0 && news[1].last_ws_ms > 0);
        assert_eq!(uses.news().len(), 2, "not taken");
        news.iter().for_each(|one| uses.told(one));
        uses.requested("a");
        // A minute may have passed between the two lines.
        assert!(uses.news().iter().all(|one| one.last_ws_ms.max(one.last_rest_ms) > news[1].last_ws_ms));
        uses.close(slot);
    }
}
