//! The last event of each cache channel of an app, for who subscribes next. In memory, bounded, gone after half an hour.
//!
//! Used under the channel's lock, so that a newcomer gets the cached event and then exactly those that came after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::limits::CACHE_SECONDS;

const TTL: Duration = Duration::from_secs(CACHE_SECONDS);
/// Cached channels of one app; beyond it the one that was published to longest ago is forgotten.
const CHANNELS_MAX: usize = 10_000;
/// Bytes of one app's cached events; beyond it the oldest are forgotten.
const APP_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Bytes of all apps' cached events on a node; beyond it an app that publishes forgets its own oldest.
const NODE_BYTES_MAX: usize = 512 * 1_024 * 1_024;
/// What an entry weighs beside its texts.
const ENTRY_BYTES: usize = 160;
/// A cache miss of one channel is told to webhooks once in this time, however many subscribe.
const MISS_TOLD_EVERY: Duration = Duration::from_secs(10);
/// Channels whose miss is remembered; beyond it all are forgotten, and at worst a miss is told twice.
const MISSES_MAX: usize = 10_000;

static NODE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What a cache channel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The event's data, as a text.
    pub data: String,
    /// How long it is still kept.
    pub ttl: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_channel: HashMap<Arc<str>, Entry>,
    /// By age; all live equally long, so the first is also the first to expire.
    by_age: BTreeMap<u64, Arc<str>>,
    next: u64,
    bytes: usize,
    missed: HashMap<Arc<str>, Instant>,
}

#[derive(Debug)]
struct Entry {
    /// The whole WebSocket frame, as it went out.
    frame: Bytes,
    age: u64,
    expires: Instant,
}

fn weight(channel: &str, frame: &Bytes) -> usize {
    ENTRY_BYTES + channel.len() + frame.len()
}

impl State {
    fn remove(&mut self, channel: &str) {
        if let Some((name, old)) = self.by_channel.remove_entry(channel) {
            self.by_age.remove(&old.age);
            let freed = weight(&name, &old.frame);
            self.bytes -= freed;
            NODE_BYTES.fetch_sub(freed, Relaxed);
        }
    }

    fn remove_oldest_if(&mut self, condition: impl Fn(&State, &Entry) -> bool) -> bool {
        let Some(name) = self.by_age.first_key_value().map(|(_, name)| name.clone()) else { return false };
        let hit = self.by_channel.get(&name).is_some_and(|entry| condition(self, entry));
        if hit {
            self.remove(&name);
        }
        hit
    }
}

impl Drop for State {
    fn drop(&mut self) {
        NODE_BYTES.fetch_sub(self.bytes, Relaxed);
    }
}

impl Cache {
    /// Keeps a channel's last frame.
    pub(crate) fn put(&self, channel: &str, frame: Bytes, now: Instant) {
        self.put_for(channel, frame, now, TTL);
    }

    /// Keeps a frame that is to be forgotten earlier than a new one.
    pub(crate) fn put_for(&self, channel: &str, frame: Bytes, now: Instant, ttl: Duration) {
        let mut state = self.0.lock();
        state.remove(channel);
        state.missed.remove(channel);
        while state.remove_oldest_if(|_, entry| entry.expires <= now) {}
        let new = weight(channel, &frame);
        let over = |state: &State| {
            state.by_channel.len() >= CHANNELS_MAX
                || state.bytes + new > APP_BYTES_MAX
                || NODE_BYTES.load(Relaxed) + new > NODE_BYTES_MAX
        };
        while state.remove_oldest_if(|state, _| over(state)) {}
        if over(&state) {
            return;
        }
        let (name, age): (Arc<str>, u64) = (channel.into(), state.next);
        state.next += 1;
        state.bytes += new;
        NODE_BYTES.fetch_add(new, Relaxed);
        state.by_age.insert(age, name.clone());
        state.by_channel.insert(name, Entry { frame, age, expires: now + ttl.min(TTL) });
    }

    /// The frame that a channel holds.
    pub(crate) fn frame(&self, channel: &str, now: Instant) -> Option<Bytes> {
        let state = self.0.lock();
        state.by_channel.get(channel).filter(|entry| entry.expires > now).map(|entry| entry.frame.clone())
    }

    /// What a channel holds, for who asks over HTTP.
    pub(crate) fn get(&self, channel: &str, now: Instant) -> Option<Cached> {
        #[derive(serde::Deserialize)]
        struct Event {
            data: String,
        }
        let (frame, ttl) = {
            let state = self.0.lock();
            let entry = state.by_channel.get(channel).filter(|entry| entry.expires > now)?;
            (entry.frame.clone(), entry.expires - now)
        };
        let event: Event = serde_json::from_slice(crate::frame::payload(&frame)?).ok()?;
        Some(Cached { data: event.data, ttl })
    }

    /// Somebody met an empty channel. Is it to be told to webhooks?
    pub(crate) fn missed(&self, channel: &Arc<str>, now: Instant) -> bool {
        let mut state = self.0.lock();
        if state.missed.get(channel).is_some_and(|told| now.duration_since(*told) < MISS_TOLD_EVERY) {
            return false;
        }
        if state.missed.len() >= MISSES_MAX {
            state.missed.clear();
        }
        state.missed.insert(channel.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Bytes {
        crate::frame::text(format!(r#"{{"event":"e","data":{data:?},"channel":"cache-a"}}"#).as_bytes())
    }

    #[test]
    fn the_last_event_is_kept_for_half_an_hour() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.put("cache-a", frame("one"), now);
        cache.put("cache-a", frame("two"), now + Duration::from_secs(60));
        let later = now + Duration::from_secs(61);
        assert_eq!(
            cache.get("cache-a", later),
            Some(Cached { data: "two".into(), ttl: Duration::from_secs(30 * 60 - 1) })
        );
        assert_eq!(cache.frame("cache-a", later), Some(frame("two")));
        assert_eq!(cache.get("cache-b", later), None);
        let expired = now + Duration::from_secs(31 * 60);
        assert_eq!((cache.get("cache-a", expired), cache.frame("cache-a", expired)), (None, None));
    }

    #[test]
    fn the_oldest_make_room_and_the_bytes_are_given_back() {
        let (cache, now) = (Cache::default(), Instant::now());
        let large = "x".repeat(100_000);
        for n in 0..300 {
            cache.put(&format!("cache-{n}"), frame(&large), now);
        }
        let bytes = cache.0.lock().bytes;
        assert!(bytes <= APP_BYTES_MAX && bytes > APP_BYTES_MAX - 200_000, "{bytes}");
        assert!(cache.frame("cache-0", now).is_none() && cache.frame("cache-299", now).is_some());
        for n in 0..CHANNELS_MAX + 10 {
            cache.put(&format!("cache-small-{n}"), frame(""), now);
        }
        let state = cache.0.lock();
        assert!(state.by_channel.len() <= CHANNELS_MAX && state.by_age.len() == state.by_channel.len());
        let sum: usize = state.by_channel.iter().map(|(name, e)| weight(name, &e.frame)).sum();
        assert_eq!(sum, state.bytes);
    }

    #[test]
    fn a_burst_of_misses_is_told_once() {
        let (cache, now) = (Cache::default(), Instant::now());
        let name: Arc<str> = "cache-a".into();
        assert!(cache.missed(&name, now) && !cache.missed(&name, now));
        assert!(cache.missed(&name, now + MISS_TOLD_EVERY));
        cache.put(&name, frame(""), now);
        assert!(cache.missed(&name, now), "it was filled and is empty again");
    }
}
