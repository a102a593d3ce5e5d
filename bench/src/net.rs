//! The generator: one thread, one edge-triggered poll, any number of WebSocket clients and a few kept HTTP connections.
//!
//! It knows frames and answers, not what they mean: that is the [`Driver`]'s. A socket at rest holds no buffer; what arrives
//! is read into one shared buffer and handed on from there, one read per wake-up when it fits (`receive`). Kept HTTP
//! connections: `requests`.

mod receive;
mod requests;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio_rustls::rustls::ClientConnection;

use self::requests::{HTTP, Http};
use self::stream::Stream;
use crate::app::App;
use crate::frame;
use crate::tls::Tls;

/// Room for what one read takes.
const READ_BYTES: usize = 256 * 1_024;
/// Wake-ups taken from the kernel at once.
const EVENTS: usize = 256;
/// Events handled in one go by a generator that lets others go first: a tenth of a millisecond.
const EVENTS_BEFORE_OTHERS: usize = 16;
/// A buffer of a connection that grew beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = 8 * 1_024;
/// Poll sleeps in whole milliseconds, so the rest up to a due time is spent awake.
const SLEEP_STEP: Duration = Duration::from_millis(1);
/// Most loopback addresses that connections start from.
const SOURCES_MAX: u32 = 200;
/// Connections of one source address: below the kernel's range of ports for outgoing ones.
pub(crate) const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// How a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    Connecting,
    Upgrading,
    Open,
}

/// A WebSocket client.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Option<Stream>,
    generation: usize,
    pub(crate) state: State,
    paused: bool,
    /// It sends what is no handshake, and what comes is thrown away.
    wild: bool,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// Given by the server.
    pub(crate) socket_id: String,
    /// When its connection was begun.
    pub(crate) begun: u64,
    close_code: Option<u16>,
}

/// What a scenario does with what happens.
pub(crate) trait Driver {
    /// A text frame came.
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64);
    /// The server (or a failure) ended a connection.
    fn closed(&mut self, net: &mut Net, id: usize, code: Option<u16>);
    /// A request was answered; status 0 if the connection ended without an answer.
    fn answered(&mut self, _net: &mut Net, _http: usize, _status: u16, _body: &[u8], _now: u64) {}
    /// Before each sleep: acts, and says until when to sleep, or that it is done (`None`).
    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64>;
}

/// What went wrong on the way.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// By what it was.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Connections that the server ended, by close code (0 = without one).
    pub(crate) closed: BTreeMap<u16, u64>,
    /// HTTP connections that had to be opened again.
    pub(crate) reconnects: u64,
}

impl Trouble {
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        *self.errors.entry(what.into()).or_default() += 1;
    }
}

/// The generator.
pub(crate) struct Net {
    poll: Poll,
    started: Instant,
    pub(crate) apps: Vec<App>,
    to: Addresses,
    pub(crate) sockets: Vec<Socket>,
    https: Vec<Http>,
    sources: u32,
    next_source: u32,
    /// Clients that read again.
    resumed: Vec<usize>,
    buffer: Vec<u8>,
    mask: u32,
    /// Other threads of the tool go first: this one gives its processor away after every [`EVENTS_BEFORE_OTHERS`] events.
    pub(crate) yields: bool,
    pub(crate) trouble: Trouble,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) socket: SocketAddr,
    pub(crate) socket_host: String,
    pub(crate) socket_tls: Option<Tls>,
    pub(crate) http: SocketAddr,
    pub(crate) http_host: String,
    pub(crate) http_tls: Option<Tls>,
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

impl Net {
    /// A generator with room for `sockets` clients, none of them connected.
    pub(crate) fn new(to: &Addresses, apps: Vec<App>, sockets: usize) -> io::Result<Net> {
        let socket = || Socket {
            stream: None,
            generation: 0,
            state: State::Closed,
            paused: false,
            wild: false,
            unread: Vec::new(),
            unsent: Vec::new(),
            socket_id: String::new(),
            begun: 0,
            close_code: None,
        };
        Ok(Net {
            poll: Poll::new()?,
            started: Instant::now(),
            apps,
            to: to.clone(),
            sockets: (0..sockets).map(|_| socket()).collect(),
            https: Vec::new(),
            sources: (sockets / CONNECTIONS_PER_SOURCE) as u32,
            next_source: 0,
            resumed: Vec::new(),
            buffer: vec![0; READ_BYTES],
            mask: 0x2545_F491,
            yields: false,
            trouble: Trouble::default(),
        })
    }

    /// Nanoseconds of the tool's clock.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Lets connections start from several loopback addresses, so that ports of ended ones don't run out.
    pub(crate) fn spread(&mut self) {
        self.sources = SOURCES_MAX;
    }

    fn connection(&mut self, to: SocketAddr, receive_bytes: Option<usize>) -> io::Result<TcpStream> {
        let raw = RawSocket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        raw.set_nonblocking(true)?;
        raw.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_bytes {
            raw.set_recv_buffer_size(bytes)?;
        }
        if let (IpAddr::V4(ip), true) = (to.ip(), self.sources > 0)
            && ip.is_loopback()
        {
            let last = 2 + self.next_source % self.sources.min(SOURCES_MAX);
            self.next_source = self.next_source.wrapping_add(1);
            raw.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last as u8), 0)).into())?;
        }
        match raw.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
            Err(error) => return Err(error),
        }
        Ok(TcpStream::from_std(raw.into()))
    }

    // -- WebSocket clients --

    /// Begins a connection of client `id` to the app `app`. A small `receive_bytes` makes a reader that is soon full.
    pub(crate) fn connect(&mut self, id: usize, app: usize, receive_bytes: Option<usize>) -> io::Result<()> {
        let tls = self.to.socket_tls.as_ref().map(Tls::connection).transpose().map_err(io::Error::other)?;
        self.begin(id, receive_bytes, tls)?;
        self.apps[app].upgrade(&self.to.socket_host, &mut self.sockets[id].unsent);
        Ok(())
    }

    /// Begins a connection that sends these bytes instead of a handshake and throws away what comes, until the server ends it.
    pub(crate) fn connect_wild(&mut self, id: usize, bytes: &[u8]) -> io::Result<()> {
        self.begin(id, None, None)?;
        self.sockets[id].wild = true;
        self.sockets[id].unsent.extend_from_slice(bytes);
        Ok(())
    }

    fn begin(
        &mut self,
        id: usize,
        receive_bytes: Option<usize>,
        tls: Option<ClientConnection>,
    ) -> io::Result<()> {
        let mut stream = self.connection(self.to.socket, receive_bytes)?;
        let begun = self.now();
        let socket = &mut self.sockets[id];
        socket.generation = (socket.generation + 1) & 0x3FFF_FFFF;
        let token = Token(socket.generation << 32 | id);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        socket.stream = Some(Stream::new(stream, tls));
        socket.state = State::Connecting;
        socket.paused = false;
        socket.wild = false;
        socket.close_code = None;
        socket.begun = begun;
        socket.unread.clear();
        socket.unsent.clear();
        Ok(())
    }

    /// Sends a text frame; what the kernel doesn't take waits.
    pub(crate) fn send(&mut self, id: usize, text: &[u8]) {
        self.send_frame(id, frame::TEXT, text);
    }

    fn send_frame(&mut self, id: usize, opcode: u8, payload: &[u8]) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mask = self.mask.to_be_bytes();
        let socket = &mut self.sockets[id];
        if let (State::Open, Some(stream)) = (socket.state, &mut socket.stream) {
            frame::write(&mut socket.unsent, opcode, payload, mask);
            stream.flush(&mut socket.unsent);
        }
    }

    /// Sends these very bytes, a frame or not.
    pub(crate) fn send_bytes(&mut self, id: usize, bytes: &[u8]) {
        let socket = &mut self.sockets[id];
        if let (State::Open, Some(stream)) = (socket.state, &mut socket.stream) {
            socket.unsent.extend_from_slice(bytes);
            stream.flush(&mut socket.unsent);
        }
    }

    /// Sends a pong that nobody asked for. If the server has ended the connection, its kernel answers with a reset: so a reader
    /// that stalls, and will never see the end behind what it doesn't read, learns of it.
    pub(crate) fn probe(&mut self, id: usize) {
        self.send_frame(id, frame::PONG, &[]);
    }

    /// Sends a close frame and goes on reading until the server ends the connection.
    pub(crate) fn say_goodbye(&mut self, id: usize) {
        self.send_frame(id, frame::CLOSE, &1000u16.to_be_bytes());
    }

    /// Sends nothing more, without a close frame, and goes on reading until the server ends the connection.
    pub(crate) fn finish(&mut self, id: usize) {
        if let Some(stream) = &self.sockets[id].stream {
            let _ = stream.tcp.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Leaves with a close frame, as an SDK does.
    pub(crate) fn leave(&mut self, id: usize) {
        self.send_frame(id, frame::CLOSE, &1000u16.to_be_bytes());
        self.drop_socket(id);
    }

    /// Ends the connection with a reset: no port stays behind.
    pub(crate) fn reset(&mut self, id: usize) {
        if let Some(stream) = &self.sockets[id].stream {
            let _ = SockRef::from(&stream.tcp).set_linger(Some(Duration::ZERO));
        }
        self.drop_socket(id);
    }

    fn drop_socket(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.stream = None; // closes it, which takes it out of the poll as well
        socket.state = State::Closed;
        socket.generation = (socket.generation + 1) & 0x3FFF_FFFF;
        socket.unread = Vec::new();
        socket.unsent = Vec::new();
    }

    /// Stops reading: what comes stays in the kernel until its buffers are full.
    pub(crate) fn pause(&mut self, id: usize) {
        self.sockets[id].paused = true;
    }

    /// Reads again, from the driver's next turn on.
    pub(crate) fn resume(&mut self, id: usize) {
        self.sockets[id].paused = false;
        self.resumed.push(id);
    }

    /// Runs until the driver is done; `false` if `deadline` (of the tool's clock) came first.
    pub(crate) fn run<D: Driver>(&mut self, driver: &mut D, deadline: u64) -> io::Result<bool> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = self.now();
            let Some(until) = driver.turn(self, now) else { return Ok(true) };
            if now >= deadline {
                return Ok(false);
            }
            if !self.resumed.is_empty() {
                for id in std::mem::take(&mut self.resumed) {
                    self.receive(driver, id, true);
                }
                continue;
            }
            let sleep = Duration::from_nanos(until.min(deadline).saturating_sub(now));
            let whole = if sleep < SLEEP_STEP { 0 } else { sleep.as_millis() as u64 };
            match self.poll.poll(&mut events, Some(Duration::from_millis(whole))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for (number, event) in events.iter().enumerate() {
                if self.yields && number % EVENTS_BEFORE_OTHERS == 0 {
                    std::thread::yield_now();
                }
                let Token(token) = event.token();
                if token & HTTP != 0 {
                    self.http_event(driver, token, event)?;
                } else {
                    self.socket_event(driver, token, event);
                }
            }
        }
    }
}
