//! What HTTP clients send, after it came through the inbox. From here on it is treated as a socket's messages.

use protocol::limits::INBOUND_MESSAGE_BYTES_MAX;

use super::Shard;
use super::inbox::Received;
use super::receive::TOO_LARGE;
use crate::fallback::outbox::Outbox;

impl Shard {
    /// Acts on what an HTTP client sent, in order, if its connection is still there.
    pub(super) fn receive_http(&mut self, from: &Outbox, received: &Received) {
        let Some(place) = from.place() else { return };
        let Some(index) = self.at(place) else { return };
        match received {
            Received::TooLarge => self.close(index, 1_009, TOO_LARGE),
            Received::Unreadable => self.refuse_frame(index, "the body of a send is not an array of strings"),
            Received::Messages(messages) => {
                for message in messages {
                    let Some(index) = self.at(place) else { return };
                    if message.len() > INBOUND_MESSAGE_BYTES_MAX {
                        return self.close(index, 1_009, TOO_LARGE);
                    }
                    self.guarded(index, |shard, index| shard.message(index, message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use protocol::limits::{ACTIVITY_TIMEOUT_SECONDS, PONG_TIMEOUT_SECONDS};

    use super::*;
    use crate::fallback::outbox::{AWAY_SECONDS_MAX, Next, Reader};
    use crate::frame;
    use crate::meter::Permit;
    use crate::shard::Starter;
    use crate::shard::closing::CLOSE_SECONDS;
    use crate::shard::conn::{Carrier, NewConn, Verdict};
    use crate::shard::socket::STALLED_SECONDS_MAX;
    use crate::testing::node_with;
    use crate::transport::Transport;

    fn connect(shard: &mut Shard) -> Arc<Outbox> {
        let (outbox, app) = (Arc::<Outbox>::default(), shard.node.apps().loaded(1001).unwrap());
        shard.connect(NewConn {
            carrier: Carrier::Http(outbox.clone()),
            transport: Transport::XhrStreaming,
            verdict: Verdict::Admit {
                permit: Permit::take(&app).unwrap().with_key("key"),
                app,
                key: "key".into(),
            },
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            sdk: None,
            origin: None,
            protocol: 7,
        });
        outbox
    }

    /// A shard whose clock the test moves, and a receive request of its one client, who has read the first frame.
    async fn shard_with_an_http_session() -> (Shard, Arc<Outbox>, Reader) {
        let (node, _) = node_with(crate::app::tests::snapshot()).await;
        let mut shard = Starter::new().unwrap().shard(0, node);
        let outbox = connect(&mut shard);
        let mut reader = outbox.attach();
        assert_eq!(reader.next().await, Next::Open);
        assert!(texts(reader.next().await)[0].contains("connection_established"));
        (shard, outbox, reader)
    }

    fn texts(next: Next) -> Vec<String> {
        let Next::Frames(pieces) = next else { panic!("{next:?}") };
        pieces.iter().flat_map(frame::split).map(|(_, text)| String::from_utf8_lossy(text).into()).collect()
    }

    fn last_row(shard: &Shard) -> crate::console::Row {
        let app = shard.node.apps().loaded(1001).unwrap();
        let row = app.console.after(None, 10).rows.pop().unwrap();
        (*row).clone()
    }

    fn at(shard: &mut Shard, second: u32) {
        shard.now = second;
        shard.sweep();
    }

    #[tokio::test]
    async fn an_http_session_ends_15_seconds_after_its_last_receive_request() {
        let (mut shard, outbox, reader) = shard_with_an_http_session().await;
        at(&mut shard, 100);
        drop(reader);
        at(&mut shard, 101);
        at(&mut shard, 101 + AWAY_SECONDS_MAX - 1);
        let between = outbox.attach();
        at(&mut shard, 101 + AWAY_SECONDS_MAX);
        drop(between);
        at(&mut shard, 200);
        at(&mut shard, 200 + AWAY_SECONDS_MAX - 1);
        assert_eq!(shard.conns.len(), 1);
        at(&mut shard, 200 + AWAY_SECONDS_MAX);
        assert!(shard.conns.is_empty());
        let row = last_row(&shard);
        assert_eq!((row.kind, row.code), (crate::console::Kind::Disconnection, Some(1_006)));
        assert_eq!(row.transport, Some("xhr_streaming"));
        assert_eq!(shard.node.apps().loaded(1001).unwrap().usage().connections, 0);
    }

    #[tokio::test]
    async fn a_silent_stream_is_asked_for_a_sign_of_life_then_closed_with_4201() {
        let (mut shard, outbox, mut reader) = shard_with_an_http_session().await;
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS - 1);
        assert_eq!(shard.conns[0].last_seen, ACTIVITY_TIMEOUT_SECONDS - 1, "the request was the last one");
        let asked = 2 * ACTIVITY_TIMEOUT_SECONDS;
        at(&mut shard, asked);
        assert_eq!(reader.next().await, Next::Probe);
        outbox.ask(); // the client's `[]`
        assert_eq!(reader.next().await, Next::Answer);
        at(&mut shard, asked + PONG_TIMEOUT_SECONDS);
        let again = asked + PONG_TIMEOUT_SECONDS + ACTIVITY_TIMEOUT_SECONDS;
        at(&mut shard, again - 1);
        at(&mut shard, again);
        assert_eq!(reader.next().await, Next::Probe);
        at(&mut shard, again + PONG_TIMEOUT_SECONDS);
        assert!(matches!(reader.next().await, Next::Farewell(4_201, _)));
        assert_eq!(last_row(&shard).code, Some(4_201));
    }

    #[tokio::test]
    async fn an_http_client_that_does_not_read_is_cut_off_as_any_slow_reader() {
        let (mut shard, _outbox, mut reader) = shard_with_an_http_session().await;
        let frame = frame::text(&[b'x'; 64 * 1_024]);
        shard.send(0, &frame);
        at(&mut shard, 5);
        at(&mut shard, 5 + STALLED_SECONDS_MAX - 1);
        assert_eq!(shard.conns.len(), 1);
        at(&mut shard, 5 + STALLED_SECONDS_MAX);
        assert!(shard.conns.is_empty());
        assert!(last_row(&shard).details.contains("nothing read for 10 s"));
        assert!(matches!(reader.next().await, Next::Frames(_)));
        assert!(matches!(reader.next().await, Next::Farewell(4_100, _)));

        let (mut shard, _outbox, mut reader) = shard_with_an_http_session().await;
        while !shard.conns.is_empty() {
            shard.send(0, &frame);
        }
        assert!(matches!(reader.next().await, Next::Farewell(4_100, _)), "the megabyte is not kept");
        assert!(last_row(&shard).details.contains("1 MiB waiting"));
    }

    #[tokio::test]
    async fn what_an_http_client_sends_is_treated_as_messages_of_a_socket() {
        let (mut shard, outbox, mut reader) = shard_with_an_http_session().await;
        let subscribe = r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#.to_owned();
        let ping = r#"{"event":"pusher:ping"}"#.to_owned();
        shard.receive_http(&outbox, &Received::Messages(vec![subscribe, ping, "garbage".into()]));
        let told = texts(reader.next().await).join("\n");
        let order = ["subscription_succeeded", "pusher:pong", "pusher:error"].map(|event| told.find(event));
        assert!(order.is_sorted() && order[0].is_some(), "{told}");
        shard.receive_http(&outbox, &Received::Unreadable);
        assert!(texts(reader.next().await)[0].contains("array of strings"));
        let at_most = " ".repeat(protocol::limits::INBOUND_MESSAGE_BYTES_MAX);
        shard.receive_http(&outbox, &Received::Messages(vec![at_most.clone(), at_most + " "]));
        assert!(texts(reader.next().await)[0].contains("pusher:error"));
        assert!(matches!(reader.next().await, Next::Farewell(1_009, _)));
        shard.receive_http(&outbox, &Received::Messages(vec!["garbage".into()]));
        assert!(matches!(reader.next().await, Next::Farewell(1_009, _)), "nothing is heard after the end");
    }

    #[tokio::test]
    async fn a_late_send_does_not_reach_the_next_one_in_the_same_place() {
        let (mut shard, outbox, _reader) = shard_with_an_http_session().await;
        shard.end(0, None, "over");
        let next = connect(&mut shard);
        assert_eq!(next.place().unwrap().index, outbox.place().unwrap().index);
        shard.receive_http(&outbox, &Received::Messages(vec!["garbage".into()]));
        let mut reader = next.attach();
        assert_eq!(reader.next().await, Next::Open);
        assert_eq!(texts(reader.next().await).len(), 1, "established and nothing else");
    }

    #[tokio::test]
    async fn a_drain_tells_http_sessions_4200() {
        let (mut shard, _outbox, mut reader) = shard_with_an_http_session().await;
        shard.begin_drain(Duration::ZERO, "");
        at(&mut shard, 1);
        assert!(matches!(reader.next().await, Next::Farewell(4_200, _)));
        at(&mut shard, 1 + CLOSE_SECONDS);
        assert!(shard.conns.is_empty());
    }
}
