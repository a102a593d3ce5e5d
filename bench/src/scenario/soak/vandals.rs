//! Clients that do what they must not, one thing after the other, and requests that must be refused. Each has to be answered as
//! it deserves; what it costs the others is seen by the others.

use std::collections::BTreeMap;

use crate::frame;
use crate::net::Net;
use crate::pusher::{self, Said};

/// The server must have refused or closed a client by then. Longer than a server waits for the rest of a request's head.
const PATIENCE_NS: u64 = 15_000_000_000;
/// Between two things of a client, and two requests.
const REST_NS: u64 = 200_000_000;
/// After this time a half head is given up, but every so many wait for the server to give up.
const HALF_HEAD_NS: u64 = 500_000_000;
const PATIENT_HALF_HEAD: usize = 4;
/// Larger than any server takes from a client.
const OVERSIZE_BYTES: usize = 300_000;
/// Nobody listens there.
const CHANNEL: &str = "bench-soak-refused";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Garbage,
    HalfHead,
    InvalidFrame,
    OversizeFrame,
    InvalidJson,
    WrongSignature,
}

/// Frames that a server has to close a connection for (RFC 6455).
const INVALID_FRAMES: [&[u8]; 7] = [
    &[0x81, 0x02, b'{', b'}'],             // not masked
    &[0x83, 0x80, 1, 2, 3, 4],             // an opcode that doesn't exist
    &[0xC1, 0x82, 0, 0, 0, 0, b'{', b'}'], // a bit of an extension
    &[0x09, 0x80, 1, 2, 3, 4],             // a ping in fragments
    &[0x80, 0x82, 0, 0, 0, 0, b'{', b'}'], // goes on with nothing
    &[0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28], // text that is not UTF-8
    &[0x88, 0x81, 0, 0, 0, 0, 0x03],       // half a close code
];

impl Fault {
    const ALL: [Fault; 6] = [
        Fault::Garbage,
        Fault::HalfHead,
        Fault::InvalidFrame,
        Fault::OversizeFrame,
        Fault::InvalidJson,
        Fault::WrongSignature,
    ];

    fn key(self) -> &'static str {
        match self {
            Fault::Garbage => "garbage_handshakes",
            Fault::HalfHead => "half_heads",
            Fault::InvalidFrame => "invalid_frames",
            Fault::OversizeFrame => "oversize_frames",
            Fault::InvalidJson => "invalid_json",
            Fault::WrongSignature => "wrong_signatures",
        }
    }

    /// A `pusher:error` is answer enough; the connection may go on.
    fn is_answered_with_an_error(self) -> bool {
        matches!(self, Fault::InvalidJson | Fault::WrongSignature)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Resting,
    Arriving,
    /// Has done it, and waits for what it deserves.
    Done,
}

#[derive(Debug)]
struct Vandal {
    doing: Doing,
    due: u64,
    /// Counts what it does; the fault follows from it.
    turn: usize,
}

/// Requests in turn: between two that are refused, one that is right, on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    WrongSignature,
    Right,
    BrokenJson,
}

const REQUESTS: [Request; 4] = [Request::WrongSignature, Request::Right, Request::BrokenJson, Request::Right];

impl Request {
    fn status(self) -> u16 {
        match self {
            Request::WrongSignature => 401,
            Request::Right => 200,
            Request::BrokenJson => 400,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Request::WrongSignature => "forged_publishes",
            Request::Right => "publishes_between",
            Request::BrokenJson => "broken_publishes",
        }
    }
}

/// All of them, and one HTTP connection.
#[derive(Debug)]
pub(super) struct Vandals {
    /// Id of the first one's socket.
    first: usize,
    vandals: Vec<Vandal>,
    due: u64,
    http: usize,
    requests: usize,
    busy: bool,
    post_due: u64,
    over: bool,
    done: BTreeMap<&'static str, u64>,
    faults: BTreeMap<String, u64>,
}

impl Vandals {
    /// On sockets from `first` on, with this HTTP connection.
    pub(super) fn new(first: usize, count: usize, http: usize) -> Vandals {
        // Each begins with another fault.
        let vandal = |index| Vandal { doing: Doing::Resting, due: 0, turn: index };
        Vandals {
            first,
            vandals: (0..count).map(vandal).collect(),
            due: 0,
            http,
            requests: 0,
            busy: false,
            post_due: if count > 0 { 0 } else { u64::MAX },
            over: false,
            done: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    fn fault(&mut self, what: impl Into<String>) {
        *self.faults.entry(what.into()).or_default() += 1;
    }

    fn set(&mut self, vandal: usize, doing: Doing, due: u64) {
        self.vandals[vandal].doing = doing;
        self.vandals[vandal].due = due;
        self.due = self.due.min(due);
    }

    fn what(&self, vandal: usize) -> Fault {
        Fault::ALL[self.vandals[vandal].turn % Fault::ALL.len()]
    }

    /// Acts for all whose time has come; gives when to look again.
    pub(super) fn turn(&mut self, net: &mut Net, now: u64) -> u64 {
        if now >= self.due {
            self.due = u64::MAX;
            for vandal in 0..self.vandals.len() {
                if self.vandals[vandal].due <= now {
                    self.act(net, vandal, now);
                }
                self.due = self.due.min(self.vandals[vandal].due);
            }
        }
        if !self.busy && now >= self.post_due {
            self.post(net);
        }
        self.due.min(if self.busy { u64::MAX } else { self.post_due })
    }

    fn act(&mut self, net: &mut Net, vandal: usize, now: u64) {
        let (id, what) = (self.first + vandal, self.what(vandal));
        match self.vandals[vandal].doing {
            Doing::Resting if self.over => self.set(vandal, Doing::Resting, u64::MAX),
            Doing::Resting => self.begin(net, vandal, now),
            Doing::Arriving => {
                self.fault("misbehaving clients that were not let in within 15 s");
                self.rest(net, vandal, now);
            }
            Doing::Done => {
                let is_given_up = what == Fault::HalfHead && now < net.sockets[id].begun + PATIENCE_NS;
                if is_given_up {
                    self.count(vandal);
                } else {
                    self.fault(format!(
                        "{}: neither refused nor closed within 15 s",
                        what.key().replace('_', " ")
                    ));
                }
                self.rest(net, vandal, now);
            }
        }
    }

    fn begin(&mut self, net: &mut Net, vandal: usize, now: u64) {
        let (id, what) = (self.first + vandal, self.what(vandal));
        let lap = self.vandals[vandal].turn / Fault::ALL.len();
        let begun = match what {
            Fault::Garbage => net.connect_wild(id, &garbage(lap)),
            Fault::HalfHead => {
                net.connect_wild(id, b"GET /app/any?protocol=7 HTTP/1.1\r\nHost: bench\r\nUpgra")
            }
            _ => net.connect(id, 0, None),
        };
        match (begun, what) {
            (Err(error), _) => {
                net.trouble.note(format!("connecting: {error}"));
                self.rest(net, vandal, now);
            }
            (Ok(()), Fault::HalfHead) if !lap.is_multiple_of(PATIENT_HALF_HEAD) => {
                self.set(vandal, Doing::Done, now + HALF_HEAD_NS);
            }
            (Ok(()), Fault::Garbage | Fault::HalfHead) => self.set(vandal, Doing::Done, now + PATIENCE_NS),
            (Ok(()), _) => self.set(vandal, Doing::Arriving, now + PATIENCE_NS),
        }
    }

    /// Does it, on a connection that is established.
    fn provoke(&mut self, net: &mut Net, vandal: usize, socket_id: &str, now: u64) {
        let (id, lap) = (self.first + vandal, self.vandals[vandal].turn / Fault::ALL.len());
        match self.what(vandal) {
            Fault::InvalidFrame => net.send_bytes(id, INVALID_FRAMES[(lap + vandal) % INVALID_FRAMES.len()]),
            Fault::OversizeFrame => {
                let mut bytes = Vec::new();
                frame::write(&mut bytes, frame::TEXT, &[b' '; OVERSIZE_BYTES], [9; 4]);
                net.send_bytes(id, &bytes);
            }
            Fault::InvalidJson => net.send(id, br#"{"event":"pusher:subscribe","data":{"channel":"#),
            Fault::WrongSignature => {
                // Signed, but for another socket.
                let text = net.apps[0].subscribe(&format!("{socket_id}0"), "private-bench-soak", None);
                net.send(id, text.as_bytes());
            }
            Fault::Garbage | Fault::HalfHead => {}
        }
        self.set(vandal, Doing::Done, now + PATIENCE_NS);
    }

    fn count(&mut self, vandal: usize) {
        let key = self.what(vandal).key();
        *self.done.entry(key).or_default() += 1;
    }

    fn rest(&mut self, net: &mut Net, vandal: usize, now: u64) {
        net.reset(self.first + vandal);
        self.vandals[vandal].turn += 1;
        self.set(vandal, Doing::Resting, now + REST_NS);
    }

    /// A frame for one of them.
    pub(super) fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        let vandal = id - self.first;
        let (doing, what) = (self.vandals[vandal].doing, self.what(vandal));
        match pusher::read(text) {
            Said::Established { socket_id } if doing == Doing::Arriving => {
                self.provoke(net, vandal, &socket_id, now)
            }
            Said::Error { .. } if doing == Doing::Done && what.is_answered_with_an_error() => {
                self.count(vandal);
                self.rest(net, vandal, now);
            }
            Said::Error { .. } | Said::Aside => {}
            Said::Ping => net.send(id, pusher::PONG),
            Said::Subscribed { .. } => {
                self.fault("subscribed in spite of a wrong signature");
                self.rest(net, vandal, now);
            }
            _ => self.fault("invalid frames for misbehaving clients"),
        }
    }

    /// The server ended a connection.
    pub(super) fn closed(&mut self, net: &mut Net, id: usize, now: u64) {
        let vandal = id - self.first;
        match self.vandals[vandal].doing {
            Doing::Resting => return,
            Doing::Arriving => self.fault("misbehaving clients that were not let in"),
            Doing::Done => self.count(vandal),
        }
        self.rest(net, vandal, now);
    }

    fn post(&mut self, net: &mut Net) {
        self.busy = true;
        let right = format!(r#"{{"name":"between","channel":"{CHANNEL}","data":"{{}}"}}"#);
        match REQUESTS[self.requests % REQUESTS.len()] {
            Request::WrongSignature => net.post_forged(self.http, "events", right.as_bytes()),
            Request::Right => net.post(self.http, "events", right.as_bytes()),
            Request::BrokenJson => net.post(self.http, "events", &right.as_bytes()[..right.len() / 2]),
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, status: u16, now: u64) {
        let request = REQUESTS[self.requests % REQUESTS.len()];
        if status == request.status() {
            *self.done.entry(request.key()).or_default() += 1;
        } else {
            let what = request.key().replace('_', " ");
            self.fault(format!("{what}: answered {status} instead of {}", request.status()));
        }
        self.requests += 1;
        self.busy = false;
        self.post_due = if self.over { u64::MAX } else { now + REST_NS };
    }

    /// Nothing new; who waits for a deadline of the server's need not.
    pub(super) fn stop(&mut self, net: &mut Net, now: u64) {
        self.over = true;
        self.post_due = u64::MAX;
        for vandal in 0..self.vandals.len() {
            if self.vandals[vandal].doing == Doing::Done && self.what(vandal) == Fault::HalfHead {
                self.rest(net, vandal, now);
            }
        }
    }

    /// Nothing is under way.
    pub(super) fn all_rest(&self) -> bool {
        !self.busy && self.vandals.iter().all(|vandal| vandal.doing == Doing::Resting)
    }

    /// How often each was done and answered as it should be, and what was not.
    pub(super) fn results(self) -> (Vec<(&'static str, u64)>, BTreeMap<String, u64>) {
        let keys =
            Fault::ALL.map(Fault::key).into_iter().chain(REQUESTS[..3].iter().map(|request| request.key()));
        (keys.map(|key| (key, self.done.get(key).copied().unwrap_or(0))).collect(), self.faults)
    }
}

/// Bytes that are no request: noise, another protocol, an HTTP head with nonsense in it.
fn garbage(lap: usize) -> Vec<u8> {
    match lap % 3 {
        0 => (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect(),
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello, more or less".to_vec(),
        _ => b"GET /app/any HTTP/9.9\r\n: no name\r\n\r\n".to_vec(),
    }
}
