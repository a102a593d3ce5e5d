//! A queue that many threads fill and one empties, which sleeps when there is nothing.
//!
//! Whether the owner sleeps is known under the same lock as the items, so no item is ever left lying with a sleeping owner, and
//! a burst wakes it once. `tests/queue_model.rs` runs this file through every interleaving of its steps.

use super::sync::Mutex;

/// Wakes the owner's thread, or keeps it from falling asleep.
pub(crate) trait Wake {
    /// May be called from any thread, any number of times.
    fn wake(&self);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<T, W> {
    state: Mutex<State<T>>,
    waker: W,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    asleep: bool,
}

impl<T, W: Wake> Queue<T, W> {
    /// An empty queue, its owner awake.
    pub(crate) fn new(waker: W) -> Queue<T, W> {
        Queue { state: Mutex::new(State { items: Vec::new(), asleep: false }), waker }
    }

    /// Appends an item; wakes the owner if it sleeps.
    pub(crate) fn push(&self, item: T) {
        let asleep = {
            let mut state = self.state.lock();
            state.items.push(item);
            std::mem::take(&mut state.asleep)
        };
        if asleep {
            self.waker.wake();
        }
    }

    /// The owner is about to sleep; `false` if there is work, then it must not.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut state = self.state.lock();
        state.asleep = state.items.is_empty();
        state.asleep
    }

    /// Moves all items into `into`, which must be empty. The owner is awake.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        let mut state = self.state.lock();
        state.asleep = false;
        std::mem::swap(&mut state.items, into);
    }
}
