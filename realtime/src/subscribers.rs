//! Who is on a channel, by socket id: most channels of a busy app have one or two subscribers, some have thousands, so few
//! stand in a list of their own size and many in a hash set.

use std::collections::HashSet;

use protocol::socket_id::SocketId;

/// Ids in a list; beyond it they stand in a set. Sixteen ids are four cache lines, as quick to go through as to hash.
const FEW_MAX: usize = 16;

/// See the module. Each id stands once.
#[derive(Debug)]
pub(crate) enum Subscribers {
    Few(Vec<SocketId>),
    Many(HashSet<SocketId>),
}

impl Default for Subscribers {
    fn default() -> Subscribers {
        Subscribers::Few(Vec::new())
    }
}

impl Subscribers {
    pub(crate) fn len(&self) -> usize {
        match self {
            Subscribers::Few(few) => few.len(),
            Subscribers::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, id: SocketId) -> bool {
        match self {
            Subscribers::Few(few) => few.contains(&id),
            Subscribers::Many(many) => many.contains(&id),
        }
    }

    pub(crate) fn insert(&mut self, id: SocketId) {
        match self {
            Subscribers::Few(few) if few.contains(&id) => {}
            Subscribers::Few(few) if few.len() < FEW_MAX => {
                // One is by far the most frequent number, and would keep the four places that a vector begins with.
                few.reserve_exact(usize::from(few.is_empty()));
                few.push(id);
            }
            Subscribers::Few(few) => {
                *self = Subscribers::Many(few.drain(..).chain([id]).collect());
            }
            Subscribers::Many(many) => {
                many.insert(id);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: SocketId) {
        match self {
            Subscribers::Few(few) => few.retain(|other| *other != id),
            Subscribers::Many(many) => {
                many.remove(&id);
                // Half of it, so that one who comes and goes doesn't move all the others each time.
                if many.len() <= FEW_MAX / 2 {
                    *self = Subscribers::Few(many.drain().collect());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes and goes, in whichever shape it stands: the same ids as in a plain set.
        #[test]
        fn few_or_many_they_are_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..40), 0..300)) {
            let (mut ours, mut plain) = (Subscribers::default(), HashSet::new());
            for (comes, n) in steps {
                let id = SocketId { node: 1, random: n };
                if comes {
                    ours.insert(id);
                    plain.insert(id);
                } else {
                    ours.remove(id);
                    plain.remove(&id);
                }
                prop_assert_eq!((ours.len(), ours.is_empty()), (plain.len(), plain.is_empty()));
                let ids = (0..40).map(|random| SocketId { node: 1, random });
                prop_assert!(ids.into_iter().all(|id| ours.contains(id) == plain.contains(&id)), "membership");
            }
        }
    }
}
