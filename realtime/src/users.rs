//! Who is signed in on this node, per app: to end a user's connections, and to tell those who watch a user when the user
//! comes and goes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::close::CloseCode;
use protocol::server_message::watchlist_events;
use protocol::socket_id::SocketId;

use crate::app::App;
use crate::frame;
use crate::hub::Joining;
use crate::later::Task;
use crate::meter::Class;
use crate::node::Node;
use crate::shard::inbox::{Command, Place};

/// Before the id of a user: the channel whose subscribers are the connections that are signed in as the user. No client can
/// name it, and nothing is published on it; by it the nodes of a cluster tell each other who is online.
pub(crate) const ONLINE: &str = "\u{1}online:";

/// A user whose last connection went is called offline after this time, if none came back.
const OFFLINE_GRACE: Duration = Duration::from_secs(2);

/// The signed-in users of an app. Bounded by its connections: one user and one watchlist each.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    signed_in: HashMap<Arc<str>, Signed>,
    /// Connections that watch a user.
    watchers: HashMap<Arc<str>, HashSet<Place>>,
}

#[derive(Debug, Default)]
struct Signed {
    places: Vec<Place>,
    /// Another node has a connection of the user; known of users who are watched here.
    elsewhere: bool,
    /// When the last connection went.
    left: Option<Instant>,
}

/// Who of a watchlist is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot<'a> {
    pub(crate) online: Vec<&'a str>,
    pub(crate) offline: Vec<&'a str>,
}

impl Users {
    /// A connection signed in. `tell` gets those who watch the user, if that brought the user online.
    pub(crate) fn sign_in(&self, id: &Arc<str>, place: Place, tell: impl FnMut(Place)) {
        let mut state = self.0.lock();
        let is_new = !state.signed_in.contains_key(id);
        let signed = state.signed_in.entry(id.clone()).or_default();
        signed.left = None;
        if !signed.places.contains(&place) {
            signed.places.push(place);
        }
        if is_new && let Some(watchers) = state.watchers.get(id) {
            watchers.iter().copied().for_each(tell);
        }
    }

    /// A connection watches these users from now on. Who of them is there.
    pub(crate) fn watch<'a>(&self, place: Place, ids: &'a [Arc<str>]) -> Snapshot<'a> {
        let mut state = self.0.lock();
        let mut snapshot = Snapshot::default();
        for id in ids {
            state.watchers.entry(id.clone()).or_default().insert(place);
            let list =
                if state.signed_in.contains_key(id) { &mut snapshot.online } else { &mut snapshot.offline };
            list.push(id);
        }
        snapshot
    }

    /// A connection no longer watches these users.
    pub(crate) fn unwatch(&self, place: Place, ids: &[Arc<str>]) {
        let mut state = self.0.lock();
        for id in ids {
            if let Some(watchers) = state.watchers.get_mut(id) {
                watchers.remove(&place);
                if watchers.is_empty() {
                    state.watchers.remove(id);
                    // Of who is not watched here, nothing is known of other nodes.
                    if state.signed_in.get_mut(id).is_some_and(|signed| {
                        signed.elsewhere = false;
                        signed.places.is_empty() && signed.left.is_none()
                    }) {
                        state.signed_in.remove(id);
                    }
                }
            }
        }
    }

    /// A signed-in connection is gone. When the user may be called offline, if this was the last one and somebody watches.
    pub(crate) fn sign_out(&self, id: &str, place: Place, now: Instant) -> Option<Instant> {
        let mut state = self.0.lock();
        let is_watched = state.watchers.contains_key(id);
        let signed = state.signed_in.get_mut(id)?;
        signed.places.retain(|p| *p != place);
        if !signed.places.is_empty() || (signed.elsewhere && is_watched) {
            return None;
        }
        if !is_watched {
            state.signed_in.remove(id);
            return None;
        }
        signed.left = Some(now);
        Some(now + OFFLINE_GRACE)
    }

    /// Other nodes have connections of the user, or have none any more. `tell` gets those who watch the user, if that brought the
    /// user online; what comes back is when the user may be called offline.
    pub(crate) fn elsewhere(
        &self,
        id: &Arc<str>,
        is_there: bool,
        now: Instant,
        tell: impl FnMut(Place),
    ) -> Option<Instant> {
        let mut state = self.0.lock();
        if is_there {
            let is_new = !state.signed_in.contains_key(id);
            let signed = state.signed_in.entry(id.clone()).or_default();
            (signed.elsewhere, signed.left) = (true, None);
            if is_new && let Some(watchers) = state.watchers.get(id) {
                watchers.iter().copied().for_each(tell);
            }
            return None;
        }
        let signed = state.signed_in.get_mut(id)?;
        signed.elsewhere = false;
        if !signed.places.is_empty() {
            return None;
        }
        signed.left = Some(now);
        Some(now + OFFLINE_GRACE)
    }

    /// Does somebody here watch the user?
    pub(crate) fn is_watched(&self, id: &str) -> bool {
        self.0.lock().watchers.contains_key(id)
    }

    /// The grace of a user is over. `tell` gets those who watch the user, if none of its connections came back.
    pub(crate) fn gone(&self, id: &str, now: Instant, tell: impl FnMut(Place)) {
        let mut state = self.0.lock();
        let over = |s: &Signed| s.left.is_some_and(|left| now.duration_since(left) >= OFFLINE_GRACE);
        if state.signed_in.get(id).is_some_and(over) {
            state.signed_in.remove(id);
            if let Some(watchers) = state.watchers.get(id) {
                watchers.iter().copied().for_each(tell);
            }
        }
    }

    /// The connections of a user.
    pub(crate) fn places(&self, id: &str) -> Vec<Place> {
        self.0.lock().signed_in.get(id).map(|s| s.places.clone()).unwrap_or_default()
    }
}

impl Node {
    /// Ends all connections that signed in as this user (close code 4009, so that official clients stay away), on every node.
    /// How many there were on this one.
    pub fn terminate_user(&self, app: &App, user_id: &str) -> u64 {
        if let Some(cluster) = self.cluster() {
            cluster.notify("terminate", &[&app.id().to_string(), user_id]);
        }
        self.terminate_here(app, user_id)
    }

    pub(crate) fn terminate_here(&self, app: &App, user_id: &str) -> u64 {
        let places = app.users.places(user_id);
        let reason: Arc<str> =
            "Connection terminated: the user's connections were ended by the app's server".into();
        for place in &places {
            let code = CloseCode::Unauthorized.code();
            self.shard(place.shard).push(Command::Close(*place, code, reason.clone()));
        }
        places.len() as u64
    }

    pub(crate) fn tell_online(&self, app: &App, id: &str, place: Place) {
        self.tell_watcher(app, place, &watchlist_events(&[id], &[]));
    }

    pub(crate) fn tell_offline(&self, app: &App, id: &str, now: Instant) {
        app.users.gone(id, now, |place| self.tell_watcher(app, place, &watchlist_events(&[], &[id])));
    }

    fn tell_watcher(&self, app: &App, place: Place, text: &[u8]) {
        app.meter.count(&app.scope, Class::Presence, 1);
        self.shard(place.shard).push(Command::Send(place, frame::text(text)));
    }

    /// What other nodes say of a user who is watched here.
    pub(crate) fn online_elsewhere(&self, app: &Arc<App>, id: Arc<str>, is_there: bool) {
        let tell = |place| self.tell_online(app, &id, place);
        if let Some(due) = app.users.elsewhere(&id, is_there, Instant::now(), tell) {
            self.later().at(due, Task::Offline(app.clone(), id));
        }
    }

    /// The other nodes hear that a connection signed in, and that it is gone.
    pub(crate) fn tell_signed_in(
        &self,
        app: &Arc<App>,
        id: &str,
        (shard, socket_id): (u16, SocketId),
        is_in: bool,
    ) {
        let Some(cluster) = self.cluster() else { return };
        let name = format!("{ONLINE}{id}");
        if is_in {
            let who =
                Joining { shard, socket_id, member: None, members_max: 0, attached: false, clustered: true };
            let _ = app.channels.join(&name, who, |_| (), |channel, _| cluster.touch(self, app, channel));
        } else {
            app.channels
                .leave(&name, (shard, socket_id), None, |channel, _| cluster.touch(self, app, channel));
        }
    }

    /// The other nodes are asked who of these is there.
    pub(crate) fn watch_elsewhere(&self, app: &Arc<App>, ids: &[Arc<str>]) {
        let Some(cluster) = self.cluster() else { return };
        ids.iter().for_each(|id| cluster.listen(self, app, &format!("{ONLINE}{id}")));
    }

    pub(crate) fn sign_out(&self, app: &Arc<App>, id: &Arc<str>, place: Place) {
        if let Some(due) = app.users.sign_out(id, place, Instant::now()) {
            self.later().at(due, Task::Offline(app.clone(), id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: u32) -> Place {
        Place { shard: 0, index, generation: 1 }
    }

    fn nobody(place: Place) {
        panic!("{place:?} was told");
    }

    #[test]
    fn watchers_hear_of_the_first_connection_and_of_the_last() {
        let (users, now) = (Users::default(), Instant::now());
        let [ana, ben]: [Arc<str>; 2] = ["ana".into(), "ben".into()];
        users.sign_in(&ana, place(1), nobody);
        let ids = [ana.clone(), ben.clone()];
        let snapshot = users.watch(place(1), &ids);
        assert_eq!((snapshot.online, snapshot.offline), (vec!["ana"], vec!["ben"]));

        let mut told = Vec::new();
        users.sign_in(&ben, place(2), |p| told.push(p));
        assert_eq!(told, [place(1)]);
        users.sign_in(&ben, place(3), nobody);
        assert_eq!(users.places("ben"), [place(2), place(3)]);

        assert_eq!(users.sign_out("ben", place(2), now), None);
        let due = users.sign_out("ben", place(3), now).unwrap();
        users.gone("ben", now, nobody);
        let mut told = Vec::new();
        users.gone("ben", due, |p| told.push(p));
        assert_eq!(told, [place(1)]);
        users.gone("ben", due, nobody);
    }

    #[test]
    fn who_comes_back_within_the_grace_was_never_away() {
        let (users, now) = (Users::default(), Instant::now());
        let ben: Arc<str> = "ben".into();
        let ids = [ben.clone()];
        users.watch(place(1), &ids);
        users.sign_in(&ben, place(2), |_| ());
        let due = users.sign_out("ben", place(2), now).unwrap();
        users.sign_in(&ben, place(3), nobody);
        users.gone("ben", due, nobody);
        // Away again: the first notice is too early for this one.
        let later = due + Duration::from_millis(500);
        let due = users.sign_out("ben", place(3), later).unwrap();
        users.gone("ben", later + Duration::from_millis(500), nobody);
        let mut told = Vec::new();
        users.gone("ben", due, |p| told.push(p));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let (users, now) = (Users::default(), Instant::now());
        let [ana, ben]: [Arc<str>; 2] = ["ana".into(), "ben".into()];
        let ids = [ben.clone()];
        users.sign_in(&ana, place(1), nobody);
        users.watch(place(1), &ids);
        users.unwatch(place(1), &ids);
        assert_eq!(users.sign_out("ana", place(1), now), None);
        let state = users.0.lock();
        assert!(state.signed_in.is_empty() && state.watchers.is_empty());
    }
}
