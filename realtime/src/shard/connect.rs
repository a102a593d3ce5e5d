//! A connection arrives: its slot, its watch, its verdict, and the first frame.

use bytes::{Bytes, BytesMut};
use mio::{Interest, Token};
use protocol::close::CloseCode;
use protocol::server_message;
use protocol::socket_id::SocketId;

use super::Shard;
use super::conn::{Carrier, Conn, HttpLink, Link, NewConn, Session, Verdict};
use super::inbox::Place;
use super::socket::Socket;
use super::wire::Wire;
use crate::console::{Kind, Row, Source, mask_ip};
use crate::frame;
use crate::key_use::KEY_REVOKED;

impl Shard {
    pub(super) fn connect(&mut self, new: NewConn) {
        let NewConn { carrier, transport, verdict, ip, sdk, origin, protocol } = new;
        let entry = self.conns.vacant_entry();
        let index = entry.key();
        self.generation = self.generation.wrapping_add(1);
        let (link, answer, early) = match carrier {
            Carrier::Socket { mut stream, tls, answer, early } => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Err(error) = self.poll.registry().register(&mut stream, Token(index), interest) {
                    tracing::warn!(%error, "a socket can't be watched; it is closed");
                    return;
                }
                let mut socket = Socket::new(Wire::new(stream, tls));
                if let Verdict::Echo { message_bytes_max } = verdict {
                    socket.echo(message_bytes_max);
                }
                (Link::Socket(socket), answer, early)
            }
            Carrier::Http(outbox) => {
                let generation = self.generation;
                outbox.settle(Place { shard: self.id, index: index as u32, generation });
                (Link::Http(HttpLink(outbox)), Bytes::new(), Bytes::new())
            }
        };
        entry.insert(Conn::new(link, self.generation, self.now, protocol, transport));
        self.look_by(index, self.now + 1);
        let Some(conn) = self.conns.get_mut(index) else { return };
        let (app, permit, key) = match verdict {
            Verdict::Admit { app, permit, key } => (app, permit, key),
            Verdict::Refuse { code, message } => {
                self.node.totals().refused(code.code());
                self.send(index, &answer);
                return self.close(index, code.code(), &message);
            }
            Verdict::Echo { .. } => {
                self.send(index, &answer);
                return self.guarded(index, |shard, index| shard.feed(index, &early));
            }
        };
        if permit.is_revoked() {
            // Between its admission and here.
            return self.close(index, CloseCode::UnknownApp.code(), KEY_REVOKED);
        }
        let socket_id =
            SocketId { node: rand::random_range(1..1_000_000), random: rand::random_range(1..1 << 53) };
        self.node.totals().opened();
        conn.session = Some(Session::new(app.clone(), permit, socket_id, self.now));
        let established = frame::text(&server_message::connection_established(socket_id));
        self.send(index, &behind(answer, established));
        app.console.record(Kind::Connection, |row| {
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.ip = Some(mask_ip(ip));
            row.set_key(&key);
            row.sdk = sdk.as_deref().and_then(Row::text);
            row.origin = origin.as_deref().and_then(Row::text);
            row.transport = transport.shown();
            let parts = [
                row.sdk.clone(),
                row.transport.map(|name| format!("over {name}")),
                row.ip.clone().map(|ip| format!("from {ip}")),
                row.origin.clone(),
            ];
            row.details = parts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
        });
        if !early.is_empty() {
            self.guarded(index, |shard, index| shard.feed(index, &early));
        }
    }
}

/// The first frame behind the answer to the upgrade request, so that both leave in one call of the kernel.
fn behind(answer: Bytes, frame: Bytes) -> Bytes {
    if answer.is_empty() {
        return frame;
    }
    let mut both = BytesMut::from(answer);
    both.extend_from_slice(&frame);
    both.freeze()
}
