//! The queue into a shard under a model checker: every interleaving of its producers and the owner, who really sleeps.

use loom::sync::Arc;

/// The model checker's part, under the name that the queue uses.
mod sync {
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

#[path = "../src/shard/queue.rs"]
mod queue;

use queue::{Queue, Wake};

/// As the shard's waker: a wake before the sleep makes the sleep end at once.
#[derive(Clone)]
struct Alarm(Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>);

impl Wake for Alarm {
    fn wake(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }
}

impl Alarm {
    fn sleep(&self) {
        let mut rings = self.0.0.lock().unwrap();
        while !*rings {
            rings = self.0.1.wait(rings).unwrap();
        }
        *rings = false;
    }
}

/// The owner's loop. Without a timeout, unlike the shard's, so that a lost wake-up would hang and be found.
fn collect(queue: &Queue<(u8, u8), Alarm>, alarm: &Alarm, count: usize) -> Vec<(u8, u8)> {
    let (mut got, mut batch) = (Vec::new(), Vec::new());
    loop {
        queue.take(&mut batch);
        got.append(&mut batch);
        if got.len() == count {
            return got;
        }
        if queue.may_sleep() {
            alarm.sleep();
        }
    }
}

fn run(producers: u8, each: u8) {
    loom::model(move || {
        let alarm = Alarm(Arc::new((loom::sync::Mutex::new(false), loom::sync::Condvar::new())));
        let queue = Arc::new(Queue::new(alarm.clone()));
        let threads: Vec<_> = (0..producers)
            .map(|p| {
                let queue = queue.clone();
                loom::thread::spawn(move || (0..each).for_each(|n| queue.push((p, n))))
            })
            .collect();
        let got = collect(&queue, &alarm, usize::from(producers * each));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for p in 0..producers {
            let of_one: Vec<u8> = got.iter().filter(|(from, _)| *from == p).map(|(_, n)| *n).collect();
            assert_eq!(of_one, (0..each).collect::<Vec<_>>(), "each producer's items, once and in order");
        }
    });
}

#[test]
fn two_producers_never_leave_an_item_with_a_sleeping_owner() {
    run(2, 1);
}

#[test]
fn the_items_of_one_producer_keep_their_order_over_sleeps() {
    run(1, 2);
}
