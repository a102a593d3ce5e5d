//! Between a shard and the HTTP requests of one session: frames that the shard wrote, until a receive request takes them, and
//! what the shard must know of the client's doings. The shard never waits here, and knows nothing of lines or requests.
//!
//! One receive request reads at a time; a newer one takes over.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::frame::{self, Opcode};
use crate::shard::inbox::Place;
use crate::shard::socket::{BACKLOG_BYTES_MAX, Sent};

/// Seconds without a receive request after which a session is over: a polling client asks again at once, and a phone that
/// changes its network has come back or begun anew by then.
pub(crate) const AWAY_SECONDS_MAX: u32 = 15;
/// Bytes of frames taken at once, so that a slow reader's progress shows while it reads.
const TAKE_BYTES: usize = 64 * 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    place: Option<Place>,
    /// Whole WebSocket frames of the server, each piece one or several of them.
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The client has been told that the session is open.
    opened: bool,
    /// The client asks whether we are there.
    asked: bool,
    /// We ask whether the client is there.
    probing: bool,
    /// How it ended. Nothing is taken in after that.
    farewell: Option<(u16, String)>,
    /// Number of the request that reads; 0 if none does.
    reader: u64,
    readers: u64,
    waker: Option<Waker>,
    /// The client did something since the shard's last look.
    touched: bool,
    /// Seconds of the shard's clock.
    away_since: Option<u32>,
    stuck_since: Option<u32>,
}

/// What the shard sees when it looks after a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vitals {
    /// The client gave a sign of life since the last look.
    Seen,
    Silent,
    /// No receive request for [`AWAY_SECONDS_MAX`].
    Lost,
}

/// What a receive request has to tell next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The session is open; told once in its life.
    Open,
    /// Pieces of whole frames.
    Frames(Vec<Bytes>),
    /// The client's question is answered by a line of any kind.
    Answer,
    /// Something that makes the client give a sign of life.
    Probe,
    /// Close code and reason; the last.
    Farewell(u16, String),
    /// A newer request took over.
    Superseded,
}

impl Outbox {
    /// The shard gave the session a place.
    pub(crate) fn settle(&self, place: Place) {
        self.state.lock().place = Some(place);
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.state.lock().place
    }

    /// The shard writes: whole frames.
    pub(crate) fn push(&self, frames: Bytes) -> Sent {
        let mut state = self.state.lock();
        if state.farewell.is_some() {
            return Sent::Ok;
        }
        match frame::first(&frames) {
            (Opcode::Close, payload) => {
                let (code, reason) = frame::close_parts(payload);
                self.finish(&mut state, code, reason);
            }
            (Opcode::Ping, _) => state.probing = true,
            _ => {
                state.bytes += frames.len();
                state.frames.push_back(frames);
                if state.bytes > BACKLOG_BYTES_MAX {
                    return Sent::TooSlow;
                }
            }
        }
        state.wake();
        Sent::Ok
    }

    /// The connection is over. The first end counts; a client that is too far behind, or away, is told nothing else any more.
    pub(crate) fn end(&self, code: u16, reason: &str) {
        let mut state = self.state.lock();
        if state.farewell.is_some() {
            return;
        }
        if state.bytes > BACKLOG_BYTES_MAX || state.reader == 0 {
            state.frames = VecDeque::new();
            state.bytes = 0;
        }
        self.finish(&mut state, code, reason);
        state.wake();
    }

    fn finish(&self, state: &mut State, code: u16, reason: &str) {
        state.farewell = Some((code, reason.to_owned()));
        self.ended.notify_one();
    }

    /// Resolves when the connection is over; for one who waits.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// The client sent something.
    pub(crate) fn touch(&self) {
        self.state.lock().touched = true;
    }

    /// The client asks whether we are there: some line must come.
    pub(crate) fn ask(&self) {
        let mut state = self.state.lock();
        state.touched = true;
        state.asked = true;
        state.wake();
    }

    /// A receive request begins; whoever read before stops.
    pub(crate) fn attach(self: &Arc<Self>) -> Reader {
        let mut state = self.state.lock();
        state.readers += 1;
        state.reader = state.readers;
        state.touched = true;
        state.away_since = None;
        state.probing = false;
        state.wake();
        Reader { outbox: self.clone(), number: state.reader }
    }

    /// The shard's look, once a second of its clock.
    pub(crate) fn look(&self, now: u32) -> Vitals {
        let mut state = self.state.lock();
        let touched = std::mem::take(&mut state.touched);
        let reading = state.reader != 0;
        state.stuck_since = match state.frames.is_empty() || !reading {
            true => None,
            false => state.stuck_since.or(Some(now)),
        };
        if reading {
            state.away_since = None;
        } else if now - *state.away_since.get_or_insert(now) >= AWAY_SECONDS_MAX {
            return Vitals::Lost;
        }
        if touched { Vitals::Seen } else { Vitals::Silent }
    }

    /// The second since which a request is there that takes nothing of what waits.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        self.state.lock().stuck_since
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn next(&mut self) -> Option<Next> {
        if !self.opened {
            self.opened = true;
            return Some(Next::Open);
        }
        if !self.frames.is_empty() {
            let (mut taken, mut bytes) = (Vec::new(), 0);
            while bytes < TAKE_BYTES
                && let Some(frame) = self.frames.pop_front()
            {
                bytes += frame.len();
                taken.push(frame);
            }
            self.bytes -= bytes;
            self.asked = false;
            self.stuck_since = None;
            return Some(Next::Frames(taken));
        }
        if let Some((code, reason)) = &self.farewell {
            return Some(Next::Farewell(*code, reason.clone()));
        }
        if std::mem::take(&mut self.asked) {
            return Some(Next::Answer);
        }
        std::mem::take(&mut self.probing).then_some(Next::Probe)
    }
}

/// A receive request's hold on its session; letting go of it is leaving.
#[derive(Debug)]
pub(crate) struct Reader {
    outbox: Arc<Outbox>,
    number: u64,
}

impl Reader {
    /// What to tell next.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.outbox.state.lock();
        if state.reader != self.number {
            return Poll::Ready(Next::Superseded);
        }
        match state.next() {
            Some(next) => Poll::Ready(next),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As [`Reader::poll_next`], but takes nothing: ready when a newer request took over.
    pub(crate) fn poll_superseded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.outbox.state.lock();
        if state.reader != self.number {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What to tell next.
    pub(crate) async fn next(&mut self) -> Next {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        if state.reader == self.number {
            state.reader = 0;
            state.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(reader: &mut Reader) -> Option<Next> {
        match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_session_opens_once_and_keeps_its_frames_between_two_requests() {
        let outbox = Arc::new(Outbox::default());
        let mut first = outbox.attach();
        assert_eq!(ready(&mut first), Some(Next::Open));
        assert_eq!(ready(&mut first), None);
        drop(first);
        let frame = frame::text(b"kept");
        assert_eq!(outbox.push(frame.clone()), Sent::Ok);
        let mut second = outbox.attach();
        assert_eq!(ready(&mut second), Some(Next::Frames(vec![frame])));
        assert_eq!(ready(&mut second), None);
    }

    #[test]
    fn a_newer_request_takes_over_and_nothing_is_told_twice() {
        let outbox = Arc::new(Outbox::default());
        let mut old = outbox.attach();
        assert_eq!(ready(&mut old), Some(Next::Open));
        let mut new = outbox.attach();
        assert_eq!(outbox.push(frame::text(b"x")), Sent::Ok);
        assert_eq!(ready(&mut old), Some(Next::Superseded));
        drop(old);
        assert!(matches!(ready(&mut new), Some(Next::Frames(_))), "the old one's end harms nobody");
    }

    #[test]
    fn what_a_client_does_not_fetch_is_bounded_and_it_is_told_so() {
        let outbox = Arc::new(Outbox::default());
        let mut reader = outbox.attach();
        assert_eq!(ready(&mut reader), Some(Next::Open));
        let frame = frame::text(&[b'x'; 10_000]);
        let pushed = (0..).take_while(|_| outbox.push(frame.clone()) == Sent::Ok).count();
        assert_eq!(pushed, BACKLOG_BYTES_MAX / frame.len());
        outbox.end(4_100, "slow reader");
        assert_eq!(ready(&mut reader), Some(Next::Farewell(4_100, "slow reader".into())));
        assert_eq!(outbox.push(frame), Sent::Ok, "and takes nothing in any more");
        assert_eq!(ready(&mut reader), Some(Next::Farewell(4_100, "slow reader".into())));
    }

    #[test]
    fn frames_before_the_end_are_told_before_it() {
        let outbox = Arc::new(Outbox::default());
        let mut reader = outbox.attach();
        assert_eq!(ready(&mut reader), Some(Next::Open));
        let frame = frame::text(b"last words");
        assert_eq!(outbox.push(frame.clone()), Sent::Ok);
        assert_eq!(outbox.push(frame::close(4_200, "reconnect")), Sent::Ok);
        outbox.end(1_000, "closed");
        assert_eq!(ready(&mut reader), Some(Next::Frames(vec![frame])));
        assert_eq!(ready(&mut reader), Some(Next::Farewell(4_200, "reconnect".into())));
    }

    #[test]
    fn a_question_is_answered_once_and_by_any_line() {
        let outbox = Arc::new(Outbox::default());
        let mut reader = outbox.attach();
        assert_eq!(ready(&mut reader), Some(Next::Open));
        outbox.ask();
        assert_eq!(ready(&mut reader), Some(Next::Answer));
        assert_eq!(ready(&mut reader), None);
        outbox.ask();
        assert_eq!(outbox.push(frame::text(b"x")), Sent::Ok);
        assert!(matches!(ready(&mut reader), Some(Next::Frames(_))));
        assert_eq!(ready(&mut reader), None);
    }

    #[test]
    fn only_requests_keep_a_session_and_sends_are_signs_of_life() {
        let outbox = Arc::new(Outbox::default());
        let reader = outbox.attach();
        assert_eq!(outbox.look(0), Vitals::Seen);
        assert_eq!(outbox.look(1_000), Vitals::Silent);
        outbox.touch();
        assert_eq!(outbox.look(1_001), Vitals::Seen);
        drop(reader);
        assert_eq!(outbox.look(2_000), Vitals::Silent, "the shard notices that it is away");
        assert_eq!(outbox.look(2_000 + AWAY_SECONDS_MAX - 1), Vitals::Silent);
        let again = outbox.attach();
        assert_eq!(outbox.look(2_000 + AWAY_SECONDS_MAX), Vitals::Seen);
        drop(again);
        assert_eq!(outbox.look(3_000), Vitals::Silent);
        outbox.touch();
        assert_eq!(outbox.look(3_000 + AWAY_SECONDS_MAX), Vitals::Lost);
    }

    #[test]
    fn a_request_that_takes_nothing_stalls_and_an_absent_one_does_not() {
        let outbox = Arc::new(Outbox::default());
        let mut reader = outbox.attach();
        assert_eq!(ready(&mut reader), Some(Next::Open));
        assert_eq!(outbox.push(frame::text(b"x")), Sent::Ok);
        outbox.look(5);
        outbox.look(6);
        assert_eq!(outbox.stalled_since(), Some(5));
        assert!(matches!(ready(&mut reader), Some(Next::Frames(_))));
        assert_eq!(outbox.stalled_since(), None);
        drop(reader);
        assert_eq!(outbox.push(frame::text(b"x")), Sent::Ok);
        outbox.look(7);
        assert_eq!(outbox.stalled_since(), None);
    }
}
