//! Slows guessing of second factors: a person's codes are taken at most five times a minute and twenty times an hour, whatever
//! the network. Only who knows the password gets this far, so that nobody else can make the owner wait. In memory of this node.

use crate::clock::{HOUR_MS, MINUTE_MS, now_ms};
use crate::user::UserId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// Codes in a minute: with three good ones of a million at each time, guessing takes years.
const PER_MINUTE: usize = 5;
/// Codes in an hour.
const PER_HOUR: usize = 20;
/// People who are remembered: about 3 MB when full. Beyond it those whose last code is oldest are forgotten.
const ENTRIES_MAX: usize = 10_000;

/// The throttle of a node for codes. Ask [`check`](CodeThrottle::check) before each.
#[derive(Debug, Default)]
pub struct CodeThrottle(Mutex<HashMap<UserId, Vec<i64>>>);

impl CodeThrottle {
    /// Counts a try of this person, or says how long they must wait.
    pub fn check(&self, user_id: &UserId) -> Result<(), Duration> {
        self.check_at(user_id, now_ms())
    }

    /// [`CodeThrottle::check`] at a given time.
    pub fn check_at(&self, user_id: &UserId, now_ms: i64) -> Result<(), Duration> {
        let mut people = self.0.lock();
        if people.len() >= ENTRIES_MAX && !people.contains_key(user_id) {
            make_room(&mut people, now_ms);
        }
        let tries = people.entry(user_id.clone()).or_default();
        tries.retain(|at| now_ms - at < HOUR_MS);
        // The try that must be over before another one is taken.
        let blocking = |count: usize, window_ms: i64| {
            let at = tries.len().checked_sub(count).and_then(|index| tries.get(index))?;
            Some(at + window_ms - now_ms).filter(|wait_ms| *wait_ms > 0)
        };
        let wait_ms = blocking(PER_MINUTE, MINUTE_MS).max(blocking(PER_HOUR, HOUR_MS));
        if let Some(wait_ms) = wait_ms {
            return Err(Duration::from_millis(wait_ms.unsigned_abs()));
        }
        tries.push(now_ms);
        Ok(())
    }

    /// A code was right: they start afresh.
    pub fn succeeded(&self, user_id: &UserId) {
        self.0.lock().remove(user_id);
    }
}

fn make_room(people: &mut HashMap<UserId, Vec<i64>>, now_ms: i64) {
    let last = |tries: &Vec<i64>| tries.last().copied().unwrap_or_default();
    people.retain(|_, tries| now_ms - last(tries) < HOUR_MS);
    if people.len() >= ENTRIES_MAX {
        let mut ages: Vec<i64> = people.values().map(last).collect();
        let (_, cut, _) = ages.select_nth_unstable(ENTRIES_MAX / 10);
        let cut = *cut;
        people.retain(|_, tries| last(tries) > cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_codes_a_minute_and_twenty_an_hour_are_taken_each_person_for_themselves() {
        let throttle = CodeThrottle::default();
        let (ana, bea) = ("ana".to_owned(), "bea".to_owned());
        let mut now = 1_000_000_000;
        for minute in 0..4 {
            for _ in 0..PER_MINUTE {
                assert_eq!(throttle.check_at(&ana, now), Ok(()), "minute {minute}");
            }
            let wait = throttle.check_at(&ana, now + 1).unwrap_err();
            if minute < 3 {
                assert_eq!(wait, Duration::from_millis(59_999));
            }
            now += MINUTE_MS;
        }
        let wait = throttle.check_at(&ana, now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(56 * 60), "twenty are enough for an hour");
        assert_eq!(throttle.check_at(&bea, now), Ok(()));
        assert_eq!(throttle.check_at(&ana, 1_000_000_000 + HOUR_MS), Ok(()));
        throttle.succeeded(&ana);
        assert_eq!(throttle.check_at(&ana, now), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = CodeThrottle::default();
        for n in 0..ENTRIES_MAX as i64 + 5 {
            assert_eq!(throttle.check_at(&n.to_string(), 1_000_000_000 + n), Ok(()));
        }
        assert!(throttle.0.lock().len() <= ENTRIES_MAX);
    }
}
