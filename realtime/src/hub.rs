//! Who is subscribed on this node, per app: the index that says which shards hold a channel, its members and its order.
//!
//! A channel's lock covers one step: joining, leaving, and handing a frame to the shards. So every subscriber sees one order
//! of a channel's frames, and a member list and the frames after it never disagree. Frames carry the channel's sequence
//! number; a subscriber takes those above the number at which it joined.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use protocol::member::Member;
use protocol::server_message::Roster;
use protocol::socket_id::SocketId;

use crate::subscribers::Subscribers;

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
    /// When the subscribers were last told how many they are, and whether that is to be done again.
    pub(crate) count_told: Option<Instant>,
    pub(crate) count_due: bool,
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

/// The presence channel has as many users as the app allows.
#[derive(Debug)]
pub(crate) struct PresenceFull;

impl Channel {
    /// Subscribed connections.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.subscribers.len() as u32
    }

    /// Connections that a frame reaches when it leaves `exclude` out.
    pub(crate) fn reaches(&self, exclude: Option<SocketId>) -> u64 {
        let left_out = exclude.is_some_and(|id| self.subscribers.contains(id));
        u64::from(self.subscriptions() - u32::from(left_out))
    }

    /// The member list as its subscribers get it; `None` if this is no presence channel.
    pub(crate) fn roster(&self) -> Option<String> {
        let members = self.members.as_ref()?;
        let mut list = Roster::default();
        members.by_id.iter().for_each(|(id, present)| list.push(id, &present.info));
        Some(list.finish())
    }

    fn facts(&self) -> ChannelFacts {
        let users = self.members.as_ref().map(|m| m.by_id.len() as u32);
        ChannelFacts { name: self.name.clone(), subscriptions: self.subscriptions(), users }
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
        (shard, socket_id): (u16, SocketId),
        member: Option<&Member>,
        members_max: u32,
        announce: impl FnOnce(&mut Channel),
        settled: impl FnOnce(&mut Channel, &Joined),
    ) -> Result<Joined, PresenceFull> {
        let mut stripe = self.stripe(name).lock();
        if let (Some(member), Some(channel)) = (member, stripe.get(name))
            && let Some(members) = &channel.members
            && members.by_id.len() >= members_max as usize
            && !members.by_id.contains_key(&*member.user_id)
        {
            return Err(PresenceFull);
        }
        let mut occupied = false;
        if !stripe.contains_key(name) {
            occupied = true;
            let key: Arc<str> = name.into();
            stripe.insert(
                key.clone(),
                Box::new(Channel {
                    id: ChannelId(NEXT_CHANNEL_ID.fetch_add(1, Relaxed)),
                    name: key,
                    seq: 0,
                    subscribers: Subscribers::default(),
                    shards: Vec::new(),
                    members: member.map(|_| Box::default()),
                    count_told: None,
                    count_due: false,
                }),
            );
        }
        let Some(channel) = stripe.get_mut(name) else { unreachable!("inserted above") };
        let (mut user_id, mut member_added, mut roster) = (None, false, None);
        if let (Some(member), Some(members)) = (member, channel.members.as_mut()) {
            match members.by_id.get_key_value(&*member.user_id) {
                Some((id, _)) => user_id = Some(id.clone()),
                None => {
                    let id: Arc<str> = member.user_id.as_str().into();
                    let info = member.user_info.as_str().into();
                    members.by_id.insert(id.clone(), Present { info, sockets: 0 });
                    user_id = Some(id);
                    member_added = true;
                }
            }
            if let Some(present) = members.by_id.get_mut(&*member.user_id) {
                present.sockets += 1;
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
            users: channel.facts().users,
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
            if present.sockets == 0 {
                members.by_id.remove(user);
                left.member_removed = true;
            }
        }
        left.users = channel.facts().users;
        left.vacated = channel.subscribers.is_empty();
        settled(channel, &left);
        if left.vacated {
            stripe.remove(name);
        }
        left
    }

    /// Occupied channels.
    pub(crate) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// An occupied channel's numbers.
    pub fn get(&self, name: &str) -> Option<ChannelFacts> {
        self.with(name, |channel| channel.facts())
    }

    /// All occupied channels whose name starts with `prefix`.
    pub fn list(&self, prefix: &str) -> Vec<ChannelFacts> {
        let mut found = Vec::new();
        for stripe in self.stripes.iter() {
            found.extend(stripe.lock().values().filter(|c| c.name.starts_with(prefix)).map(|c| c.facts()));
        }
        found
    }

    /// The distinct users of a presence channel.
    pub fn user_ids(&self, name: &str) -> Vec<Arc<str>> {
        let ids = |c: &mut Channel| c.members.as_ref().map(|m| m.by_id.keys().cloned().collect());
        self.with(name, ids).flatten().unwrap_or_default()
    }
}
