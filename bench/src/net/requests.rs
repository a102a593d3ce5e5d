//! Kept HTTP connections: one request at a time on each, opened again when the server ends one.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Interest, Token};

use super::stream::Stream;
use super::{Driver, Net, is_later};
use crate::app::App;
use crate::http;
use crate::tls::Tls;

/// A token of an HTTP connection.
pub(super) const HTTP: usize = 1 << 63;

#[derive(Debug)]
pub(super) struct Http {
    app: usize,
    stream: Option<Stream>,
    generation: usize,
    connected: bool,
    busy: bool,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Net {
    /// Adds a kept connection for requests to the app `app`.
    pub(crate) fn add_http(&mut self, app: usize) -> io::Result<usize> {
        let index = self.https.len();
        self.https.push(Http {
            app,
            stream: None,
            generation: 0,
            connected: false,
            busy: false,
            unread: Vec::new(),
            unsent: Vec::new(),
        });
        self.connect_http(index)?;
        Ok(index)
    }

    fn connect_http(&mut self, index: usize) -> io::Result<()> {
        let mut stream = self.connection(self.to.http, None)?;
        let tls = self.to.http_tls.as_ref().map(Tls::connection).transpose().map_err(io::Error::other)?;
        let http = &mut self.https[index];
        http.generation = (http.generation + 1) & 0x3FFF_FFFF;
        let token = Token(HTTP | http.generation << 32 | index);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        http.stream = Some(Stream::new(stream, tls));
        (http.connected, http.busy) = (false, false);
        http.unread.clear();
        http.unsent.clear();
        Ok(())
    }

    /// Sends a signed POST; one at a time on each connection.
    pub(crate) fn post(&mut self, index: usize, what: &str, body: &[u8]) {
        self.request(index, |app, host, unix, out| app.post(host, what, body, unix, out));
    }

    /// Sends a POST with a wrong signature.
    pub(crate) fn post_forged(&mut self, index: usize, what: &str, body: &[u8]) {
        self.request(index, |app, host, unix, out| app.post_forged(host, what, body, unix, out));
    }

    fn request(&mut self, index: usize, write: impl FnOnce(&App, &str, u64, &mut Vec<u8>)) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let http = &mut self.https[index];
        debug_assert!(!http.busy, "one request at a time");
        http.busy = true;
        write(&self.apps[http.app], &self.to.http_host, unix, &mut http.unsent);
        if let (true, Some(stream)) = (http.connected, &mut http.stream) {
            stream.flush(&mut http.unsent);
        }
    }

    pub(super) fn http_event<D: Driver>(
        &mut self,
        driver: &mut D,
        token: usize,
        event: &Event,
    ) -> io::Result<()> {
        let index = token & 0xFFFF_FFFF;
        let http = &mut self.https[index];
        if http.generation != (token & !HTTP) >> 32 {
            return Ok(());
        }
        let Some(stream) = &mut http.stream else { return Ok(()) };
        if !http.connected {
            if let Some(error) = stream.tcp.take_error()? {
                return Err(error); // a server that takes no connections has nothing to be measured
            }
            http.connected = event.is_writable();
        }
        if event.is_writable() {
            stream.flush(&mut http.unsent);
        }
        let mut ended = false;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            loop {
                match stream.read(&mut self.buffer) {
                    Ok(0) => ended = true,
                    Ok(got) => {
                        http.unread.extend_from_slice(&self.buffer[..got]);
                        continue;
                    }
                    Err(error) if is_later(&error) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => ended = true,
                }
                break;
            }
        }
        let mut body = Vec::new();
        loop {
            let http = &mut self.https[index];
            match http::read(&http.unread, &mut body) {
                Ok(None) => break,
                Ok(Some(answer)) => {
                    http.unread.drain(..answer.length);
                    http.busy = false;
                    if answer.keeps {
                        driver.answered(self, index, answer.status, &body, self.now());
                    } else {
                        // First a new connection: the driver may publish again at once.
                        self.trouble.reconnects += 1;
                        self.connect_http(index)?;
                        driver.answered(self, index, answer.status, &body, self.now());
                        return Ok(());
                    }
                }
                Err(what) => {
                    self.trouble.note(what);
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            let waited = self.https[index].busy;
            self.trouble.reconnects += 1;
            self.connect_http(index)?;
            if waited {
                driver.answered(self, index, 0, b"", self.now());
            }
        }
        Ok(())
    }
}
