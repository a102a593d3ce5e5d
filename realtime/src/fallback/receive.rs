//! Answers of receive requests: a stream of lines that stays open, or one answer that waits for something to tell.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::line;
use super::outbox::{Next, Reader};

/// After this time without a line there is one: proxies give up on silent responses, many after 30 s, and to a client any line
/// is a sign of life.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Characters in one response beyond which pusher-js, having read all of it, ends it and asks anew.
const REOPENED_BEYOND: usize = 256 * 1_024;
/// How long a response holds back beyond [`REOPENED_BEYOND`]: what comes between the client's last look and its new request
/// would be lost. A client that doesn't ask anew is served on.
const REOPEN_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of one SockJS response: its clients ask anew only when we end it, and keep all of it in memory until then.
const SOCKJS_BYTES_MAX: usize = 128 * 1_024;
/// Bytes of a heartbeat before all else in a SockJS stream, as its protocol has it: Chromium shows a page nothing of an `o`
/// line that stands alone, and SockJS' clients then give the transport up.
const SOCKJS_PRELUDE: usize = 2_048;

/// Whose rules apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// pusher-js itself.
    Pusher,
    /// A SockJS client; pusher-js is above it.
    SockJs,
}

impl Dialect {
    /// The line after a time without one. pusher-js would answer each `h` with a request; SockJS knows nothing else.
    fn keep_alive(self) -> &'static [u8] {
        match self {
            Dialect::Pusher => line::EMPTY,
            Dialect::SockJs => line::HEARTBEAT,
        }
    }
}

/// Answers when there is something to tell, at the latest after [`KEEP_ALIVE`].
pub(super) async fn poll(mut reader: Reader, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deadline = pin!(tokio::time::sleep(KEEP_ALIVE));
    loop {
        let next = tokio::select! {
            next = reader.next() => next,
            () = &mut deadline => {
                out.extend_from_slice(dialect.keep_alive());
                return out;
            }
        };
        match next {
            // Nobody has told SockJS' client to go on yet; pusher-js' established frame is on its way.
            Next::Open => {
                out.extend_from_slice(line::OPEN);
                if dialect == Dialect::SockJs {
                    return out;
                }
                continue;
            }
            Next::Frames(frames) => line::push_frames(&mut out, &frames),
            Next::Answer => out.extend_from_slice(line::EMPTY),
            Next::Probe => continue, // the next poll is the sign of life
            Next::Farewell(code, reason) => line::push_close(&mut out, code, &reason),
            Next::Superseded => out.extend_from_slice(line::TAKEN_OVER),
        }
        if !out.is_empty() {
            return out;
        }
    }
}

/// The body of a streaming answer.
#[derive(Debug)]
pub(super) struct Stream {
    /// Gone when nothing more comes.
    reader: Option<Reader>,
    dialect: Dialect,
    keep_alive: Pin<Box<Sleep>>,
    /// Told before anything else.
    prelude: bool,
    /// Bytes (SockJS) or characters (pusher-js) sent so far.
    sent: usize,
    holding: Holding,
}

#[derive(Debug)]
enum Holding {
    No,
    /// For the client's next request, until the timer rings.
    Until(Pin<Box<Sleep>>),
    /// The client doesn't ask anew.
    Never,
}

impl Stream {
    pub(super) fn new(reader: Reader, dialect: Dialect) -> Stream {
        Stream {
            reader: Some(reader),
            dialect,
            keep_alive: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
            prelude: dialect == Dialect::SockJs,
            sent: 0,
            holding: Holding::No,
        }
    }

    /// Is the client about to ask anew?
    fn poll_held(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let Holding::Until(timer) = &mut self.holding else { return false };
        if reader.poll_superseded(cx).is_ready() {
            self.holding = Holding::Never;
            return false;
        }
        if timer.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.holding = Holding::Never;
        false
    }

    fn tell(&mut self, line: Vec<u8>) -> Poll<Option<Bytes>> {
        self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        match self.dialect {
            Dialect::SockJs => {
                self.sent += line.len();
                if self.sent >= SOCKJS_BYTES_MAX {
                    self.reader = None;
                }
            }
            Dialect::Pusher => {
                self.sent += line::utf16_units(&line);
                if self.sent > REOPENED_BEYOND && matches!(self.holding, Holding::No) {
                    self.holding = Holding::Until(Box::pin(tokio::time::sleep(REOPEN_WITHIN)));
                }
            }
        }
        Poll::Ready(Some(line.into()))
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.poll_held(cx) {
            return Poll::Pending;
        }
        if std::mem::take(&mut self.prelude) {
            let mut line = b"h".repeat(SOCKJS_PRELUDE);
            line.push(b'\n');
            return self.tell(line);
        }
        loop {
            let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
            let Poll::Ready(next) = reader.poll_next(cx) else { break };
            let mut out = Vec::new();
            match next {
                Next::Open => out.extend_from_slice(line::OPEN),
                Next::Frames(frames) => line::push_frames(&mut out, &frames),
                Next::Answer => out.extend_from_slice(line::EMPTY),
                Next::Probe => match self.dialect {
                    Dialect::Pusher => out.extend_from_slice(line::HEARTBEAT),
                    // SockJS' clients answer no heartbeat, but they ask anew when a response ends.
                    Dialect::SockJs => self.reader = None,
                },
                Next::Farewell(code, reason) => {
                    line::push_close(&mut out, code, &reason);
                    self.reader = None;
                }
                Next::Superseded => {
                    out.extend_from_slice(line::TAKEN_OVER);
                    self.reader = None;
                }
            }
            if !out.is_empty() {
                return self.tell(out);
            }
        }
        if self.keep_alive.as_mut().poll(cx).is_ready() {
            return self.tell(self.dialect.keep_alive().to_vec());
        }
        Poll::Pending
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_line(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::fallback::outbox::Outbox;
    use crate::frame;
    use crate::shard::socket::Sent;

    async fn line(stream: &mut Stream) -> Option<String> {
        let line = std::future::poll_fn(|cx| stream.poll_line(cx)).await?;
        Some(String::from_utf8(line.to_vec()).unwrap())
    }

    fn quiet(stream: &mut Stream) -> bool {
        stream.poll_line(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn push(outbox: &Outbox, text: &str) {
        assert_eq!(outbox.push(frame::text(text.as_bytes())), Sent::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_opens_tells_frames_and_ends_with_the_close_code() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        push(&outbox, "x");
        push(&outbox, "y");
        assert_eq!(line(&mut stream).await.unwrap(), "a[\"x\",\"y\"]\n");
        assert!(quiet(&mut stream) && !stream.is_end_stream());
        assert_eq!(outbox.push(frame::close(4_200, "reconnect")), Sent::Ok);
        assert_eq!(line(&mut stream).await.unwrap(), "c[4200,\"reconnect\"]\n");
        assert_eq!(line(&mut stream).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_has_a_line_every_25_seconds_that_costs_no_request() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        let began = Instant::now();
        assert_eq!(line(&mut stream).await.unwrap(), "a[]\n");
        assert_eq!(line(&mut stream).await.unwrap(), "a[]\n");
        assert_eq!(began.elapsed().as_secs(), 2 * KEEP_ALIVE.as_secs());
        let mut sockjs = Stream::new(outbox.attach(), Dialect::SockJs);
        line(&mut sockjs).await.unwrap();
        assert_eq!(line(&mut sockjs).await.unwrap(), "h\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_never_answered_with_a_heartbeat_and_only_the_shards_own_question_is_one() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        outbox.ask();
        assert_eq!(line(&mut stream).await.unwrap(), "a[]\n");
        assert!(quiet(&mut stream));
        assert_eq!(outbox.push(frame::ping()), Sent::Ok);
        assert_eq!(line(&mut stream).await.unwrap(), "h\n");
        assert!(quiet(&mut stream));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_the_client_will_reopen_holds_back_so_that_nothing_is_lost() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        let mut told = 0;
        while told <= REOPENED_BEYOND {
            push(&outbox, &"ü".repeat(10_000));
            told += line(&mut stream).await.unwrap().encode_utf16().count();
        }
        push(&outbox, "after");
        assert!(quiet(&mut stream), "held back");
        let mut next = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut next).await.unwrap(), "a[\"after\"]\n");
        assert!(line(&mut stream).await.unwrap().starts_with("c[2010"));
        assert_eq!(line(&mut stream).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_on_in_a_long_response_is_served_on() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::Pusher);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        push(&outbox, &"x".repeat(REOPENED_BEYOND));
        line(&mut stream).await.unwrap();
        let began = Instant::now();
        push(&outbox, "more");
        assert_eq!(line(&mut stream).await.unwrap(), "a[\"more\"]\n");
        assert_eq!(began.elapsed().as_secs(), REOPEN_WITHIN.as_secs());
        push(&outbox, "at once");
        assert_eq!(line(&mut stream).await.unwrap(), "a[\"at once\"]\n");
        assert_eq!(began.elapsed().as_secs(), REOPEN_WITHIN.as_secs(), "it waits once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sockjs_response_ends_when_it_is_long_or_when_a_sign_of_life_is_wanted() {
        let outbox = Arc::new(Outbox::default());
        let mut stream = Stream::new(outbox.attach(), Dialect::SockJs);
        assert_eq!(line(&mut stream).await.unwrap().len(), SOCKJS_PRELUDE + 1);
        assert_eq!(line(&mut stream).await.unwrap(), "o\n");
        push(&outbox, &"x".repeat(SOCKJS_BYTES_MAX));
        line(&mut stream).await.unwrap();
        assert_eq!(line(&mut stream).await, None);
        let mut stream = Stream::new(outbox.attach(), Dialect::SockJs);
        line(&mut stream).await.unwrap();
        assert_eq!(outbox.push(frame::ping()), Sent::Ok);
        assert_eq!(line(&mut stream).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_answers_with_all_there_is_and_an_idle_one_with_an_empty_array() {
        let outbox = Arc::new(Outbox::default());
        push(&outbox, "established");
        let text = async |dialect| String::from_utf8(poll(outbox.attach(), dialect).await).unwrap();
        assert_eq!(text(Dialect::Pusher).await, "o\na[\"established\"]\n");
        push(&outbox, "x");
        push(&outbox, "y");
        assert_eq!(text(Dialect::Pusher).await, "a[\"x\",\"y\"]\n");
        let began = Instant::now();
        assert_eq!(text(Dialect::Pusher).await, "a[]\n");
        assert_eq!(began.elapsed().as_secs(), KEEP_ALIVE.as_secs());
        assert_eq!(text(Dialect::SockJs).await, "h\n");
        outbox.ask();
        assert_eq!(text(Dialect::Pusher).await, "a[]\n");
        outbox.end(4_001, "gone");
        assert_eq!(text(Dialect::Pusher).await, "c[4001,\"gone\"]\n");
        assert_eq!(text(Dialect::Pusher).await, "c[4001,\"gone\"]\n", "as often as it is asked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sockjs_poll_opens_with_nothing_else() {
        let outbox = Arc::new(Outbox::default());
        assert_eq!(poll(outbox.attach(), Dialect::SockJs).await, b"o\n");
    }
}
