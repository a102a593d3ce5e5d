//! Who got what: lost, doubled and swapped messages of every receiver, and messages that are still on their way.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// What every receiver got of every stream that it hears. A *slot* is one receiver's view of one stream.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The number that each slot waits for.
    next: Vec<u32>,
    /// Numbers that a slot skipped.
    holes: HashMap<usize, BTreeSet<u32>>,
    /// Numbers that a slot must not get, kept for as long as the ledger: they may come at any time.
    except: HashMap<usize, BTreeSet<u32>>,
    /// Slots that joined and have got nothing since: the latest number that may come first.
    joined: HashMap<usize, u32>,
    /// Messages that came again.
    pub(crate) doubled: u64,
    /// Messages that came after a later one.
    pub(crate) swapped: u64,
    /// Messages that came to a slot which they leave out.
    pub(crate) unwanted: u64,
}

/// What a slot waits for that joined: nothing known yet. No stream gets that far.
const JOINING: u32 = u32::MAX;

impl Ledger {
    /// With this many slots, nothing received.
    pub(crate) fn new(slots: usize) -> Ledger {
        Ledger {
            next: vec![0; slots],
            holes: HashMap::new(),
            except: HashMap::new(),
            joined: HashMap::new(),
            doubled: 0,
            swapped: 0,
            unwanted: 0,
        }
    }

    /// A message of its stream leaves this slot out. To be told before it is sent.
    pub(crate) fn except(&mut self, slot: usize, number: u32) {
        self.except.entry(slot).or_default().insert(number);
    }

    /// A slot begins anew in the middle of its stream: what it gets first is at most number `latest`, the rest follows on it.
    pub(crate) fn join(&mut self, slot: usize, latest: u32) {
        self.holes.remove(&slot);
        self.next[slot] = JOINING;
        self.joined.insert(slot, latest);
    }

    fn excepts(&self, slot: usize, number: u32) -> bool {
        !self.except.is_empty() && self.except.get(&slot).is_some_and(|numbers| numbers.contains(&number))
    }

    /// Enters a received message; `false` if it had come before.
    #[inline]
    pub(crate) fn enter(&mut self, slot: usize, number: u32) -> bool {
        if self.next[slot] == number && !self.excepts(slot, number) {
            self.next[slot] += 1;
            return true;
        }
        self.enter_oddly(slot, number)
    }

    #[cold]
    fn enter_oddly(&mut self, slot: usize, number: u32) -> bool {
        let next = match self.joined.remove(&slot) {
            Some(latest) => latest.min(number),
            None => self.next[slot],
        };
        let is_unwanted = self.excepts(slot, number);
        self.unwanted += u64::from(is_unwanted);
        if number >= next {
            let skipped: Vec<u32> = (next..number).filter(|skipped| !self.excepts(slot, *skipped)).collect();
            if !skipped.is_empty() {
                self.holes.entry(slot).or_default().extend(skipped);
            }
            self.next[slot] = number + 1;
            return !is_unwanted;
        }
        if is_unwanted {
            return false;
        }
        if self.holes.get_mut(&slot).is_some_and(|holes| holes.remove(&number)) {
            self.swapped += 1;
            return true;
        }
        self.doubled += 1;
        false
    }

    /// How many of the `sent` messages of its stream a slot never got.
    pub(crate) fn lost(&self, slot: usize, sent: u32) -> u64 {
        let holes = self.holes.get(&slot).map_or(0, |holes| holes.range(..sent).count());
        let next = self.joined.get(&slot).copied().unwrap_or(self.next[slot]);
        let excepted = self.except.get(&slot).filter(|_| next < sent);
        let excepted = excepted.map_or(0, |numbers| numbers.range(next..sent).count());
        holes as u64 + u64::from(sent.saturating_sub(next)) - excepted as u64
    }

    /// How many messages a slot lacks of those before its last one.
    pub(crate) fn gaps(&self, slot: usize) -> u64 {
        self.holes.get(&slot).map_or(0, |holes| holes.len() as u64)
    }
}

#[derive(Debug)]
struct Message {
    /// Receivers that lack it.
    left: u32,
    at: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// Number of the first message in `open`.
    base: u32,
    open: VecDeque<Message>,
}

/// Messages on their way, by stream.
#[derive(Debug)]
pub(crate) struct Flight {
    streams: Vec<Stream>,
    /// Messages that somebody lacks.
    pub(crate) open: usize,
}

impl Flight {
    /// With this many streams, nothing sent.
    pub(crate) fn new(streams: usize) -> Flight {
        Flight { streams: (0..streams).map(|_| Stream::default()).collect(), open: 0 }
    }

    /// Sends a message off to `receivers`; gives its number.
    pub(crate) fn launch(&mut self, stream: usize, receivers: u32, at: u64) -> u32 {
        let stream = &mut self.streams[stream];
        let number = stream.base + stream.open.len() as u32;
        stream.open.push_back(Message { left: receivers, at });
        self.open += usize::from(receivers > 0);
        stream.shrink();
        number
    }

    /// How many messages a stream has sent.
    pub(crate) fn sent(&self, stream: usize) -> u32 {
        let stream = &self.streams[stream];
        stream.base + stream.open.len() as u32
    }

    /// One receiver has it; gives when it was launched if that was the last one.
    #[inline]
    pub(crate) fn landed(&mut self, stream: usize, number: u32) -> Option<u64> {
        let stream = self.streams.get_mut(stream)?;
        let message = stream.open.get_mut(number.checked_sub(stream.base)? as usize)?;
        message.left = message.left.checked_sub(1)?;
        if message.left > 0 {
            return None;
        }
        let at = message.at;
        stream.shrink();
        self.open -= 1;
        Some(at)
    }

    /// Nobody waits for it any longer; gives how many lacked it.
    pub(crate) fn abandon(&mut self, stream: usize, number: u32) -> u32 {
        let Some(stream) = self.streams.get_mut(stream) else { return 0 };
        let index = number.checked_sub(stream.base).map(|i| i as usize);
        let Some(message) = index.and_then(|i| stream.open.get_mut(i)) else { return 0 };
        let left = std::mem::take(&mut message.left);
        stream.shrink();
        self.open -= usize::from(left > 0);
        left
    }
}

impl Stream {
    fn shrink(&mut self) {
        while self.open.front().is_some_and(|m| m.left == 0) {
            self.open.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lost_doubled_and_swapped_are_told_apart() {
        let mut ledger = Ledger::new(2);
        assert!([0, 1, 2].iter().all(|n| ledger.enter(0, *n)));
        assert_eq!((ledger.lost(0, 3), ledger.doubled, ledger.swapped), (0, 0, 0));
        assert!(ledger.enter(0, 5), "3 and 4 are missing");
        assert_eq!(ledger.lost(0, 6), 2);
        assert!(ledger.enter(0, 4), "late");
        assert_eq!((ledger.lost(0, 6), ledger.swapped), (1, 1));
        assert!(!ledger.enter(0, 4), "again");
        assert!(!ledger.enter(0, 0), "again");
        assert_eq!((ledger.doubled, ledger.swapped), (2, 1));
        assert_eq!(ledger.lost(0, 8), 3, "and what never came at the end");
        assert_eq!(ledger.lost(1, 8), 8, "the other slot got nothing");
    }

    #[test]
    fn a_message_that_leaves_a_slot_out_is_not_lost_there_and_is_found_when_it_comes() {
        let mut ledger = Ledger::new(2);
        [1, 4, 5].iter().for_each(|number| ledger.except(0, *number));
        assert!([0, 2, 3].iter().all(|n| ledger.enter(0, *n)), "1 is left out");
        assert_eq!((ledger.lost(0, 6), ledger.lost(0, 7), ledger.unwanted), (0, 1, 0), "so are 4 and 5");
        assert!([0, 1, 2, 3].iter().all(|n| ledger.enter(1, *n)), "the other slot gets all");
        assert!(!ledger.enter(0, 4), "in its place");
        assert!(ledger.enter(0, 7), "5 is left out, 6 is missing");
        assert!(!ledger.enter(0, 1), "late");
        assert_eq!((ledger.unwanted, ledger.lost(0, 8), ledger.gaps(0)), (2, 1, 1));
        assert_eq!((ledger.doubled, ledger.swapped), (0, 0));
    }

    #[test]
    fn a_slot_that_joins_may_begin_anywhere_up_to_what_was_sent_by_then() {
        let mut ledger = Ledger::new(1);
        ledger.join(0, 7);
        assert_eq!((ledger.lost(0, 7), ledger.lost(0, 9)), (0, 2), "nothing came yet");
        assert!([5, 6, 7].iter().all(|n| ledger.enter(0, *n)), "published before, delivered after");
        assert_eq!((ledger.lost(0, 9), ledger.gaps(0)), (1, 0));
        ledger.join(0, 20);
        assert!(ledger.enter(0, 22), "20 and 21 were published when it was there");
        assert_eq!((ledger.gaps(0), ledger.lost(0, 23)), (2, 2));
        assert!(ledger.enter(0, 21), "late");
        assert_eq!((ledger.gaps(0), ledger.swapped), (1, 1));
        ledger.join(0, 30);
        assert_eq!(ledger.gaps(0), 0, "it starts anew");
        assert!(ledger.enter(0, 30) && !ledger.enter(0, 30));
        assert_eq!(ledger.doubled, 1);
    }

    #[test]
    fn a_message_is_done_when_the_last_receiver_has_it() {
        let mut flight = Flight::new(2);
        let first = flight.launch(1, 2, 10);
        let second = flight.launch(1, 1, 20);
        assert_eq!((first, second, flight.open, flight.sent(1)), (0, 1, 2, 2));
        assert_eq!(flight.landed(1, second), Some(20));
        assert_eq!(flight.landed(1, first), None);
        assert_eq!(flight.landed(1, first), Some(10));
        assert_eq!(flight.landed(1, first), None, "long done");
        assert_eq!((flight.open, flight.sent(1), flight.sent(0)), (0, 2, 0));
        let third = flight.launch(1, 3, 30);
        assert_eq!(flight.abandon(1, third), 3);
        assert_eq!((flight.open, flight.abandon(1, third)), (0, 0));
        assert_eq!(flight.launch(1, 0, 40), 3, "nobody to send it to: done at once");
        assert_eq!((flight.open, flight.sent(1)), (0, 4));
    }

    proptest! {
        /// A shuffled stream with losses and repeats: the numbers add up.
        #[test]
        fn the_sums_are_right(received in proptest::collection::vec(0u32..30, 0..80)) {
            let mut ledger = Ledger::new(1);
            let (mut seen, mut doubled, mut swapped) = (BTreeSet::new(), 0, 0);
            for number in &received {
                let late = seen.last().is_some_and(|last| number < last);
                if seen.insert(*number) {
                    swapped += u64::from(late);
                } else {
                    doubled += 1;
                }
                ledger.enter(0, *number);
            }
            prop_assert_eq!((ledger.doubled, ledger.swapped), (doubled, swapped));
            prop_assert_eq!(ledger.lost(0, 30), 30 - seen.len() as u64);
        }
    }
}
