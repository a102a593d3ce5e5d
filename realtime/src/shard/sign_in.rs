//! `pusher:signin`: who is behind a connection. And what follows: the watchlist, and the authorization that an app may want.

use std::sync::Arc;

use protocol::client_message::SignIn;
use protocol::close::WATCHLIST_TOO_LONG;
use protocol::limits::WATCHLIST_IDS_MAX;
use protocol::server_message;
use protocol::signature::verify_user_auth;
use protocol::user::User;

use super::Shard;
use super::conn::SignedIn;
use super::inbox::Place;
use crate::admission::over_limit;
use crate::app::App;
use crate::console::{Kind, Row, Source};
use crate::frame;
use crate::meter::{Class, Permit};

impl Shard {
    pub(super) fn sign_in(&mut self, index: usize, wanted: &SignIn<'_>) {
        let Some(session) = self.session(index) else { return };
        let (app, own_id) = (session.app.clone(), session.socket_id);
        let socket_id = own_id.to_string();
        let user = match check(&app, &socket_id, wanted) {
            Ok(user) => user,
            Err(message) => return self.error(index, None, &format!("Sign-in refused: {message}")),
        };
        if let Some(held) = session.user.as_deref().filter(|held| *held.id != *user.id) {
            let message = format!("Sign-in refused: the connection is signed in as {} already", held.id);
            return self.error(index, None, &message);
        }
        if !self.authorize(index) {
            return;
        }
        self.sign_out(index);
        let place = self.place(index);
        let signed_in = SignedIn {
            id: user.id.as_str().into(),
            info: user.user_info.as_str().into(),
            watchlist: match app.snapshot().features.watchlist {
                true => user.watchlist.iter().map(|id| id.as_str().into()).collect(),
                false => Box::default(),
            },
        };
        app.users.sign_in(&signed_in.id, place, |watcher| self.node.tell_online(&app, &user.id, watcher));
        let who = (self.id, own_id);
        self.node.tell_signed_in(&app, &user.id, who, true);
        self.send(index, &frame::text(&server_message::signin_success(&wanted.user_data)));
        if !signed_in.watchlist.is_empty() {
            let snapshot = app.users.watch(place, &signed_in.watchlist);
            self.node.watch_elsewhere(&app, &signed_in.watchlist);
            let text = server_message::watchlist_events(&snapshot.online, &snapshot.offline);
            app.meter.count(&app.scope, Class::Presence, 1);
            self.send(index, &frame::text(&text));
            if user.watchlist_left_out > 0 {
                let message = format!(
                    "The watchlist has {} users, at most {WATCHLIST_IDS_MAX} can be watched. These are: {}",
                    user.watchlist.len() + user.watchlist_left_out,
                    user.watchlist.join(", ")
                );
                self.error(index, Some(WATCHLIST_TOO_LONG), &message);
            }
        }
        let watched = signed_in.watchlist.len();
        match self.session(index) {
            Some(session) => session.user = Some(Box::new(signed_in)),
            // The socket ended while it was written to.
            None => {
                app.users.unwatch(place, &signed_in.watchlist);
                self.node.tell_signed_in(&app, &signed_in.id, who, false);
                return self.node.sign_out(&app, &signed_in.id, place);
            }
        }
        app.console.record(Kind::SignedIn, |row| {
            row.socket_id = Some(socket_id);
            row.user_id = Row::text(&user.id);
            row.source = Some(Source::Ws);
            row.details = match watched {
                0 => format!("as {}", user.id),
                1 => format!("as {} · watches 1 user", user.id),
                n => format!("as {} · watches {n} users", user.id),
            };
        });
    }

    /// Takes a connection out of the list of users.
    pub(super) fn sign_out(&mut self, index: usize) {
        let place = self.place(index);
        let shard = self.id;
        let Some(session) = self.session(index) else { return };
        let Some(user) = session.user.take() else { return };
        let (app, who) = (session.app.clone(), (shard, session.socket_id));
        app.users.unwatch(place, &user.watchlist);
        self.node.tell_signed_in(&app, &user.id, who, false);
        self.node.sign_out(&app, &user.id, place);
    }

    pub(super) fn place(&self, index: usize) -> Place {
        let generation = self.conns.get(index).map_or(0, |conn| conn.generation);
        Place { shard: self.id, index: index as u32, generation }
    }

    /// The connection has shown that the app's server knows it: from now on it counts. `false` if it found no place within
    /// the limits and is closed.
    pub(super) fn authorize(&mut self, index: usize) -> bool {
        let Some(session) = self.session(index).filter(|s| s.authorize_by.is_some()) else { return true };
        match Permit::take(&session.app) {
            Ok(permit) => {
                session.permit = permit.in_place_of(&mut session.permit);
                session.authorize_by = None;
                true
            }
            Err(full) => {
                let (code, reason) = over_limit(&session.app, full);
                self.close(index, code.code(), &reason);
                false
            }
        }
    }
}

fn check(app: &Arc<App>, socket_id: &str, wanted: &SignIn<'_>) -> Result<User, String> {
    let Some((key, signature)) = wanted.auth.split_once(':') else {
        return Err(
            "it needs auth of the form KEY:SIGNATURE, from your server's user authentication endpoint".into(),
        );
    };
    let snapshot = app.snapshot();
    let Some(secret) = snapshot.secret_of(key) else {
        return Err(format!("'{}' is not a key of this app", protocol::json::clip(key, 40).0));
    };
    if !verify_user_auth(secret.expose(), socket_id, &wanted.user_data, signature) {
        let text = format!("{socket_id}::user::{}", wanted.user_data);
        return Err(format!(
            "invalid signature, expected HMAC SHA256 hex digest of {}, but got {}",
            protocol::json::clip(&text, 400).0,
            protocol::json::clip(signature, 80).0
        ));
    }
    User::parse(&wanted.user_data).map_err(|error| error.to_string())
}
