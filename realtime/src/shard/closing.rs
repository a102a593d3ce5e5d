//! The end of a connection: said with a code and a reason, or found; what it held is given back exactly once.

use protocol::server_message;

use super::Shard;
use super::conn::Link;
use crate::console::{Kind, Source};
use crate::frame;

/// Seconds that a peer has to answer our close frame.
pub(super) const CLOSE_SECONDS: u32 = 5;

impl Shard {
    /// Says good-bye with a code and a reason; the socket goes when the peer answers or [`CLOSE_SECONDS`] have passed.
    pub(super) fn close(&mut self, index: usize, code: u16, reason: &str) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.closing_until.is_some() {
            return;
        }
        conn.closing_until = Some(self.now + CLOSE_SECONDS);
        self.look_by(index, self.now + CLOSE_SECONDS);
        let Some(conn) = self.conns.get_mut(index) else { return };
        // Older protocols, and sockets that never were established, are told in a frame too.
        let told = code >= 4_000 && (conn.session.is_none() || conn.protocol < 6);
        self.leave_all(index, Some(code), reason);
        if told {
            self.send(index, &frame::text(&server_message::error(Some(code), reason)));
        }
        self.send(index, &frame::close(code, reason));
    }

    /// The socket is over: everything it held is given back.
    pub(super) fn end(&mut self, index: usize, code: Option<u16>, reason: &str) {
        self.leave_all(index, code, reason);
        if let Some(mut conn) = self.conns.try_remove(index) {
            match &mut conn.link {
                Link::Socket(socket) => {
                    // Closing the descriptor, which has no copies, ends the watch as well.
                    socket.wire.say_goodbye();
                }
                Link::Http(http) => http.0.end(code.unwrap_or(1_000), reason),
            }
        }
    }

    /// Takes a connection out of its channels, gives its place back and tells the console, once.
    pub(super) fn leave_all(&mut self, index: usize, code: Option<u16>, reason: &str) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let Some(session) = &mut conn.session else { return };
        let (app, socket_id, opened) = (session.app.clone(), session.socket_id, session.opened);
        let transport = conn.transport.shown();
        let count = session.subscriptions.len();
        self.parked.forget(index);
        while let Some(last) =
            self.conns[index].session.as_ref().and_then(|s| s.subscriptions.len().checked_sub(1))
        {
            self.leave(index, last);
        }
        self.sign_out(index);
        self.conns[index].session = None;
        self.node.totals().closed(code);
        app.console.record(Kind::Disconnection, |row| {
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.code = code;
            row.transport = transport;
            let seconds = opened.elapsed().as_secs_f64();
            let code = code.map(|c| format!(" {c}")).unwrap_or_default();
            row.details = format!("lifetime {seconds:.1} s · {reason}{code} · was on {count} channels");
        });
    }
}
