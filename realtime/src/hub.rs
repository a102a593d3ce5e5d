//! Who is subscribed on this node, per app: the index that says which shards hold a channel, its members and its order.
//!
//! A channel's lock covers one step: joining, leaving, and handing a frame to the shards. So every subscriber sees one order
//! of a channel's frames, and a member list and the frames after it never disagree. Frames carry the channel's sequence
//! number; a subscriber takes those above the number at which it joined.
//!
//! In a cluster a channel also knows what other nodes have of it (`cluster::remote`); its numbers and its member list are then those
//! of all nodes. What is held for them stands here while somebody is subscribed, and a little longer.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use protocol::member::Member;
use protocol::server_message::Roster;
use protocol::socket_id::SocketId;

use crate::cluster::remote::Remote;
use crate::subscribers::Subscribers;
use crate::users::ONLINE;

/// Locks per app; a power of two. 16 keep two publishers of one app apart nearly always and cost an idle app 1 KiB.
const STRIPES: usize = 16;

static NEXT_CHANNEL_ID: AtomicU64 = AtomicU64::new(1);

/// Names an occupied channel within this process, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ChannelId(pub(crate) u64);

/// Channels stand in boxes, so that a table which doubles costs a few bytes for each of them and not two hundred.
type Stripe = Mutex<HashMap<Arc<str>, Box<Channel>>>;

/// The channels of one app on this node.
#[derive(Debug)]
pub struct Channels {
    stripes: Box<[Stripe; STRIPES]>,
    hasher: std::hash::RandomState,
}

impl Default for Channels {
    fn default() -> Channels {
        Channels { stripes: Box::new(std::array::from_fn(|_| Mutex::default())), hasher: Default::default() }
    }
}

/// An occupied channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    /// Number of the last frame.
    pub(crate) seq: u64,
    /// Who is subscribed: a publish that leaves a socket out must know whether it would have got it.
    subscribers: Subscribers,
    /// `(shard, subscriptions there)`, without zeros.
    pub(crate) shards: Vec<(u16, u32)>,
    members: Option<Box<Members>>,
    /// What other nodes have of it; `None` on a node that is alone.
    pub(crate) remote: Option<Box<Remote>>,
    /// When the subscribers were last told how many they are, and whether that is to be done again.
    pub(crate) count_told: Option<Instant>,
    pub(crate) count_due: bool,
    /// It changed here, and not only on another node.
    pub(crate) count_own: bool,
}

#[derive(Debug, Default)]
struct Members {
    by_id: HashMap<Arc<str>, Present>,
}

#[derive(Debug)]
struct Present {
    info: Box<str>,
    sockets: u32,
}

/// What is told about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Subscribed connections.
    pub subscriptions: u32,
    /// Distinct users, on presence channels.
    pub users: Option<u32>,
}

/// What a join changed.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) occupied: bool,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) member_added: bool,
    pub(crate) roster: Option<String>,
    pub(crate) subscriptions: u32,
    pub(crate) users: Option<u32>,
}

/// What a leave changed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) vacated: bool,
    pub(crate) member_removed: bool,
    pub(crate) subscriptions: u32,
    pub(crate) users: Option<u32>,
}

/// Why nobody joined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotJoined {
    /// The presence channel has as many users as the app allows.
    PresenceFull,
    /// What other nodes have of the channel is not known yet.
    Unattached,
}

/// Who wants to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining<'a> {
    pub(crate) shard: u16,
    pub(crate) socket_id: SocketId,
    pub(crate) member: Option<&'a Member>,
    pub(crate) members_max: u32,
    /// In a cluster: wait until it is known what other nodes have of the channel.
    pub(crate) attached: bool,
    /// This node is one of a cluster.
    pub(crate) clustered: bool,
}

impl Channel {
    fn new(name: Arc<str>, clustered: bool) -> Box<Channel> {
        let is_presence = name.starts_with("presence-");
        Box::new(Channel {
            id: ChannelId(NEXT_CHANNEL_ID.fetch_add(1, Relaxed)),
            name,
            seq: 0,
            subscribers: Subscribers::default(),
            shards: Vec::new(),
            members: is_presence.then(Box::default),
            remote: clustered.then(Box::default),
            count_told: None,
            count_due: false,
            count_own: false,
        })
    }

    /// Subscribed connections of this node.
    pub(crate) fn here(&self) -> u32 {
        self.subscribers.len() as u32
    }

    /// Subscribed connections of all nodes.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.here() + self.remote.as_ref().map_or(0, |remote| remote.subscriptions())
    }

    /// Connections of this node that a frame reaches when it leaves `exclude` out.
    pub(crate) fn reaches(&self, exclude: Option<SocketId>) -> u64 {
        let left_out = exclude.is_some_and(|id| self.subscribers.contains(id));
        u64::from(self.here() - u32::from(left_out))
    }

    /// The member list as its subscribers get it; `None` if this is no presence channel.
    pub(crate) fn roster(&self) -> Option<String> {
        let members = self.members.as_ref()?;
        let mut list = Roster::default();
        members.by_id.iter().for_each(|(id, present)| list.push(id, &present.info));
        for (id, info) in self.remote.iter().flat_map(|remote| remote.users()) {
            if !members.by_id.contains_key(id) {
                list.push(id, info);
            }
        }
        Some(list.finish())
    }

    /// Is this user of a presence channel connected to this node?
    pub(crate) fn has_here(&self, user_id: &str) -> bool {
        self.members.as_ref().is_some_and(|members| members.by_id.contains_key(user_id))
    }

    /// The users of a presence channel that are connected to this node, with their infos.
    pub(crate) fn users_here(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.members.iter().flat_map(|members| members.by_id.iter().map(|(id, one)| (id, &*one.info)))
    }

    /// What a user of a presence channel that is connected to this node says of itself.
    pub(crate) fn info_here(&self, user_id: &str) -> Option<&str> {
        self.members.as_ref()?.by_id.get(user_id).map(|one| &*one.info)
    }

    fn is_elsewhere(&self, user_id: &str) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.has(user_id))
    }

    /// Distinct users of all nodes; `None` if this is no presence channel.
    pub(crate) fn users(&self) -> Option<u32> {
        let members = self.members.as_ref()?;
        let others = self.remote.iter().flat_map(|remote| remote.users());
        let others = others.filter(|(id, _)| !members.by_id.contains_key(*id)).count();
        Some((members.by_id.len() + others) as u32)
    }

    fn facts(&self) -> ChannelFacts {
        ChannelFacts { name: self.name.clone(), subscriptions: self.subscriptions(), users: self.users() }
    }
}

impl Channels {
    fn stripe(&self, name: &str) -> &Stripe {
        &self.stripes[self.hasher.hash_one(name) as usize & (STRIPES - 1)]
    }

    /// Runs `f` on the channel under its lock, if it is occupied.
    pub(crate) fn with<T>(&self, name: &str, f: impl FnOnce(&mut Channel) -> T) -> Option<T> {
        self.stripe(name).lock().get_mut(name).map(|channel| f(channel))
    }

    /// Runs `f` under the channel's lock, whether or not the channel is occupied.
    pub(crate) fn locked<T>(&self, name: &str, f: impl FnOnce(Option<&mut Channel>) -> T) -> T {
        f(self.stripe(name).lock().get_mut(name).map(|channel| &mut **channel))
    }

    /// Adds a subscription of a shard. `announce` gets the channel when the user is new here; frames that it hands over are
    /// not for the one who joins. `settled` gets it at the end, still under the lock; its frames are for all.
    pub(crate) fn join(
        &self,
        name: &str,
        who: Joining<'_>,
        announce: impl FnOnce(&mut Channel),
        settled: impl FnOnce(&mut Channel, &Joined),
    ) -> Result<Joined, NotJoined> {
        let Joining { shard, socket_id, member, members_max, attached, clustered } = who;
        let mut stripe = self.stripe(name).lock();
        let held = stripe.get(name);
        if clustered
            && attached
            && !held.and_then(|channel| channel.remote.as_ref()).is_some_and(|r| r.loaded)
        {
            return Err(NotJoined::Unattached);
        }
        if let (Some(member), Some(channel)) = (member, held)
            && channel.users().is_some_and(|users| users >= members_max)
            && !channel.has_here(&member.user_id)
            && !channel.is_elsewhere(&member.user_id)
        {
            return Err(NotJoined::PresenceFull);
        }
        if !stripe.contains_key(name) {
            let key: Arc<str> = name.into();
            stripe.insert(key.clone(), Channel::new(key, clustered));
        }
        let Some(channel) = stripe.get_mut(name) else { unreachable!("inserted above") };
        let occupied = channel.subscriptions() == 0;
        let (mut user_id, mut member_added, mut roster) = (None, false, None);
        if let Some(member) = member {
            let elsewhere = channel.is_elsewhere(&member.user_id);
            if let Some(members) = channel.members.as_mut() {
                let (mut id, is_known) = match members.by_id.get_key_value(&*member.user_id) {
                    Some((id, _)) => (id.clone(), true),
                    None => (member.user_id.as_str().into(), false),
                };
                if !is_known {
                    let info = member.user_info.as_str().into();
                    members.by_id.insert(id.clone(), Present { info, sockets: 0 });
                    member_added = !elsewhere;
                    if let Some(remote) = &mut channel.remote {
                        remote.user_changed(&mut id);
                    }
                }
                if let Some(present) = members.by_id.get_mut(&*member.user_id) {
                    present.sockets += 1;
                }
                user_id = Some(id);
            }
            roster = channel.roster();
        }
        if member_added {
            announce(channel);
        }
        channel.subscribers.insert(socket_id);
        match channel.shards.iter_mut().find(|(s, _)| *s == shard) {
            Some((_, n)) => *n += 1,
            None => {
                channel.shards.reserve_exact(1);
                channel.shards.push((shard, 1));
            }
        }
        let joined = Joined {
            id: channel.id,
            name: channel.name.clone(),
            seq: channel.seq,
            occupied,
            user_id,
            member_added,
            roster,
            subscriptions: channel.subscriptions(),
            users: channel.users(),
        };
        settled(channel, &joined);
        Ok(joined)
    }

    /// Takes a subscription of a shard away. `settled` gets the channel and what changed, still under the lock.
    pub(crate) fn leave(
        &self,
        name: &str,
        (shard, socket_id): (u16, SocketId),
        user_id: Option<&str>,
        settled: impl FnOnce(&mut Channel, &Left),
    ) -> Left {
        let mut stripe = self.stripe(name).lock();
        let Some(channel) = stripe.get_mut(name) else { return Left::default() };
        channel.subscribers.remove(socket_id);
        if let Some(at) = channel.shards.iter().position(|(s, _)| *s == shard) {
            channel.shards[at].1 -= 1;
            if channel.shards[at].1 == 0 {
                channel.shards.swap_remove(at);
            }
        }
        let mut left = Left { subscriptions: channel.subscriptions(), ..Left::default() };
        if let (Some(user), Some(members)) = (user_id, channel.members.as_mut())
            && let Some(present) = members.by_id.get_mut(user)
        {
            present.sockets -= 1;
            if present.sockets == 0
                && let Some((mut id, _)) = members.by_id.remove_entry(user)
            {
                if let Some(remote) = &mut channel.remote {
                    remote.user_changed(&mut id);
                }
                left.member_removed = !channel.is_elsewhere(user);
            }
        }
        left.users = channel.users();
        left.vacated = channel.subscriptions() == 0;
        settled(channel, &left);
        if channel.subscribers.is_empty() && channel.remote.is_none() {
            stripe.remove(name);
        }
        left
    }

    /// Holds a channel of a cluster's node, so that what others have of it can be kept. `false` if that is known already.
    pub(crate) fn attach(&self, name: &str) -> bool {
        let mut stripe = self.stripe(name).lock();
        if let Some(channel) = stripe.get(name) {
            return !channel.remote.as_ref().is_some_and(|remote| remote.loaded);
        }
        let key: Arc<str> = name.into();
        stripe.insert(key.clone(), Channel::new(key, true));
        true
    }

    /// Lets a channel go that `may` says nobody needs any more; `gone` is called under the lock.
    pub(crate) fn detach(&self, name: &str, may: impl FnOnce(&mut Channel) -> bool, gone: impl FnOnce()) {
        let mut stripe = self.stripe(name).lock();
        if stripe.get_mut(name).is_some_and(|channel| channel.subscribers.is_empty() && may(channel)) {
            stripe.remove(name);
            gone();
        }
    }

    /// The names of all channels that are held, occupied or not.
    pub(crate) fn held(&self) -> Vec<Arc<str>> {
        self.stripes.iter().flat_map(|stripe| stripe.lock().keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Channels that are occupied on this node.
    pub(crate) fn len(&self) -> usize {
        let occupied = |stripe: &Stripe| {
            stripe.lock().values().filter(|c| c.here() > 0 && !c.name.starts_with(ONLINE)).count()
        };
        self.stripes.iter().map(occupied).sum()
    }

    /// An occupied channel's numbers, as far as this node knows.
    pub fn get(&self, name: &str) -> Option<ChannelFacts> {
        self.with(name, |channel| channel.facts()).filter(|facts| facts.subscriptions > 0)
    }

    /// Is what all nodes have of the channel known here?
    pub(crate) fn is_attached(&self, name: &str) -> bool {
        self.with(name, |channel| channel.remote.as_ref().is_none_or(|remote| remote.loaded)).unwrap_or(false)
    }

    /// All occupied channels that this node knows and whose name starts with `prefix`.
    pub fn list(&self, prefix: &str) -> Vec<ChannelFacts> {
        let mut found = Vec::new();
        for stripe in self.stripes.iter() {
            let stripe = stripe.lock();
            let matching = stripe.values().filter(|c| c.name.starts_with(prefix)).map(|c| c.facts());
            found.extend(matching.filter(|facts| facts.subscriptions > 0 && !facts.name.starts_with(ONLINE)));
        }
        found
    }

    /// The distinct users of a presence channel, as far as this node knows.
    pub fn user_ids(&self, name: &str) -> Vec<Arc<str>> {
        let ids = |c: &mut Channel| {
            let elsewhere = c.remote.iter().flat_map(|remote| remote.users()).map(|(id, _)| id);
            let others = elsewhere.filter(|id| !c.has_here(id)).cloned();
            c.users_here().map(|(id, _)| id.clone()).chain(others).collect()
        };
        self.with(name, ids).unwrap_or_default()
    }
}
