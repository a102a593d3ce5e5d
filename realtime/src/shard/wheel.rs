//! A coarse timer wheel: one slot a second, in which stands who is to be looked at then.
//!
//! A connection stands in at most one slot that counts: the one of the second that it remembers itself (`Conn::look_at`).
//! Being early is free, since a look that finds nothing due just says when to come again; so frames that arrive and push a
//! deadline away touch nothing here. A nearer deadline enters the connection anew, and the farther entry is passed over.

/// Seconds ahead that an entry can stand; later ones are looked at on the way.
const SLOTS: u32 = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Box<[Vec<Entry>]>,
    /// The last second that was taken out.
    turned: u32,
}

/// A slot of the shard's connections, and which connection was in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { slots: vec![Vec::new(); SLOTS as usize].into(), turned: 0 }
    }
}

impl Wheel {
    /// Enters a connection for this second, or the latest that the wheel reaches. Says for which one.
    pub(super) fn enter(&mut self, entry: Entry, second: u32) -> u32 {
        let second = second.clamp(self.turned + 1, self.turned + SLOTS - 1);
        self.slots[(second % SLOTS) as usize].push(entry);
        second
    }

    /// The next second that is over by `now`, with its entries. `None`: all are taken.
    pub(super) fn turn(&mut self, now: u32) -> Option<(u32, Vec<Entry>)> {
        if self.turned >= now {
            return None;
        }
        self.turned += 1;
        Some((self.turned, std::mem::take(&mut self.slots[(self.turned % SLOTS) as usize])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(index: u32) -> Entry {
        Entry { index, generation: 0 }
    }

    #[test]
    fn what_is_farther_than_the_wheel_reaches_comes_on_the_way_and_what_is_past_comes_next() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.enter(entry(1), 1_000), SLOTS - 1);
        assert_eq!(wheel.enter(entry(2), 0), 1);
        assert_eq!(wheel.turn(1), Some((1, vec![entry(2)])));
        assert_eq!(wheel.turn(1), None);
    }

    proptest! {
        /// However the clock jumps: each entry comes out once, in its second and not before.
        #[test]
        fn each_entry_comes_once_in_its_second(
            entries in proptest::collection::vec((0u32..300, 0u32..400), 0..60),
            jumps in proptest::collection::vec(1u32..200, 1..20),
        ) {
            let mut wheel = Wheel::default();
            let (mut now, mut expected, mut got) = (0, Vec::new(), Vec::new());
            let mut entries = entries.into_iter().enumerate();
            for jump in jumps {
                for (index, (_, second)) in entries.by_ref().take(4) {
                    expected.push((wheel.enter(entry(index as u32), now + second), index as u32));
                }
                now += jump;
                while let Some((second, out)) = wheel.turn(now) {
                    prop_assert!(second <= now);
                    got.extend(out.into_iter().map(|e| (second, e.index)));
                }
            }
            expected.retain(|(second, _)| *second <= now);
            expected.sort_unstable();
            got.sort_unstable();
            prop_assert_eq!(got, expected);
        }
    }
}
