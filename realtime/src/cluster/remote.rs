//! What other nodes have of a channel, as their messages tell: connections per node, and the users of a presence channel.
//! Each node speaks of what its own sockets do; nobody else changes a node's part, but the one that buries it. Kept and read
//! under the channel's lock, beside what this node's own sockets do. It decides nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The part of the others, and what of this node's own part the others have yet to hear.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// The others' part is known; until then messages about it are of the past.
    pub(crate) loaded: bool,
    nodes: HashMap<Arc<str>, Part>,
    users: HashMap<Arc<str>, User>,
    /// Our part waits to be told.
    pub(crate) dirty: bool,
    /// Our part was told at least once and not taken back.
    pub(crate) told: bool,
    /// Our part is to be told whole, since the others may have lost it.
    pub(crate) anew: bool,
    /// Users who came or went here since our part was last told.
    changed: HashSet<Arc<str>>,
    /// It is looked at later whether anybody still needs the channel here.
    pub(crate) detaching: bool,
}

#[derive(Debug, Default)]
struct Part {
    subscriptions: u32,
    users: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct User {
    info: Box<str>,
    nodes: u32,
}

/// What one node says of its part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Connections there now.
    pub(crate) subscriptions: u32,
    /// Users who are there now, with their infos.
    pub(crate) added: Vec<(Arc<str>, Box<str>)>,
    /// Users who are not there any more.
    pub(crate) removed: Vec<Arc<str>>,
}

/// What that means for all other nodes together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Users that no other node had before.
    pub(crate) came: Vec<(Arc<str>, Box<str>)>,
    /// Users that no other node has any more.
    pub(crate) went: Vec<Arc<str>>,
    /// The number of connections is another one.
    pub(crate) counts: bool,
}

impl Remote {
    /// Connections on other nodes.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.nodes.values().map(|part| part.subscriptions).sum()
    }

    /// Users on other nodes.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.users.iter().map(|(id, user)| (id, &*user.info))
    }

    pub(crate) fn has(&self, user_id: &str) -> bool {
        self.users.contains_key(user_id)
    }

    /// A user's first connection to this node came, or its last one went. Gives back the shared name, if there is one.
    pub(crate) fn user_changed(&mut self, id: &mut Arc<str>) {
        if let Some((known, _)) = self.users.get_key_value(id) {
            *id = known.clone();
        }
        self.changed.insert(id.clone());
    }

    /// Who came or went here since the last call.
    pub(crate) fn take_changed(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.changed)
    }

    /// Takes what a node says of its part.
    pub(crate) fn apply(&mut self, node: &Arc<str>, change: Change) -> Effect {
        let mut effect = Effect::default();
        let part = self.nodes.entry(node.clone()).or_default();
        effect.counts = part.subscriptions != change.subscriptions;
        part.subscriptions = change.subscriptions;
        for (id, info) in change.added {
            if !part.users.insert(id.clone()) {
                continue;
            }
            match self.users.entry(id.clone()) {
                std::collections::hash_map::Entry::Occupied(mut held) => held.get_mut().nodes += 1,
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(User { info: info.clone(), nodes: 1 });
                    effect.came.push((id, info));
                }
            }
        }
        for id in change.removed {
            if part.users.remove(&id) {
                gone(&mut self.users, id, &mut effect);
            }
        }
        if part.subscriptions == 0 {
            let part = self.nodes.remove(node).unwrap_or_default();
            part.users.into_iter().for_each(|id| gone(&mut self.users, id, &mut effect));
        }
        effect
    }

    /// Sets the whole part of the others.
    pub(crate) fn load(&mut self, parts: HashMap<Arc<str>, Change>) -> Effect {
        let (users, subscriptions) = (std::mem::take(&mut self.users), self.subscriptions());
        self.nodes.clear();
        for (node, change) in parts {
            self.apply(&node, change);
        }
        self.loaded = true;
        Effect {
            came: self
                .users
                .iter()
                .filter(|(id, _)| !users.contains_key(*id))
                .map(|(id, user)| (id.clone(), user.info.clone()))
                .collect(),
            went: users.into_keys().filter(|id| !self.users.contains_key(id)).collect(),
            counts: self.subscriptions() != subscriptions,
        }
    }
}

fn gone(users: &mut HashMap<Arc<str>, User>, id: Arc<str>, effect: &mut Effect) {
    if let Some(user) = users.get_mut(&id) {
        user.nodes -= 1;
        if user.nodes == 0 {
            users.remove(&id);
            effect.went.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(subscriptions: u32, added: &[&str], removed: &[&str]) -> Change {
        Change {
            subscriptions,
            added: added.iter().map(|id| ((*id).into(), "{}".into())).collect(),
            removed: removed.iter().map(|id| (*id).into()).collect(),
        }
    }

    fn names(effect: &Effect) -> (Vec<&str>, Vec<&str>) {
        let mut names: (Vec<&str>, Vec<&str>) =
            (effect.came.iter().map(|(id, _)| &**id).collect(), effect.went.iter().map(|id| &**id).collect());
        names.0.sort_unstable();
        names.1.sort_unstable();
        names
    }

    #[test]
    fn a_user_on_two_nodes_goes_with_the_second_one() {
        let (mut remote, [a, b]) = (Remote::default(), ["a", "b"].map(Arc::<str>::from));
        assert_eq!(names(&remote.apply(&a, change(1, &["ana"], &[]))), (vec!["ana"], vec![]));
        assert_eq!(names(&remote.apply(&b, change(2, &["ana", "ben"], &[]))), (vec!["ben"], vec![]));
        assert_eq!(remote.subscriptions(), 3);
        assert_eq!(names(&remote.apply(&a, change(0, &[], &["ana"]))), (vec![], vec![]));
        assert_eq!(names(&remote.apply(&b, change(1, &[], &["ana", "cem"]))), (vec![], vec!["ana"]));
        assert_eq!(names(&remote.apply(&b, change(0, &[], &[]))), (vec![], vec!["ben"]), "all of it is over");
        assert_eq!((remote.subscriptions(), remote.users().count()), (0, 0));
    }

    #[test]
    fn what_is_told_twice_counts_once() {
        let (mut remote, a) = (Remote::default(), Arc::<str>::from("a"));
        remote.apply(&a, change(1, &["ana"], &[]));
        let again = remote.apply(&a, change(1, &["ana"], &[]));
        assert_eq!(again, Effect::default());
        assert_eq!(names(&remote.apply(&a, change(0, &[], &[]))), (vec![], vec!["ana"]));
    }

    #[test]
    fn a_new_look_tells_the_difference_only() {
        let (mut remote, [a, b]) = (Remote::default(), ["a", "b"].map(Arc::<str>::from));
        remote.apply(&a, change(1, &["ana"], &[]));
        remote.apply(&b, change(1, &["ben"], &[]));
        let effect = remote.load([(a, change(2, &["ana", "cem"], &[]))].into());
        assert_eq!(names(&effect), (vec!["cem"], vec!["ben"]));
        assert!(!effect.counts && remote.loaded, "two before, two now");
    }
}
