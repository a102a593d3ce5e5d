//! A server that misbehaves in a known way, and what a run says about it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::app::{App, SOCKET_ACCEPT};
use crate::net::Addresses;

/// The publish that something happens to. Within the first, so that it is there however slow the machine is.
const ODD_ONE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mischief {
    None,
    /// Nobody gets it.
    Lose,
    /// Everybody gets it twice.
    Double,
    /// It comes behind the next one.
    Swap,
    /// One letter is another.
    Damage,
    /// It is sent on another channel.
    Misroute,
    /// The request is refused.
    Refuse,
    /// The first subscriber is thrown out.
    Close,
}

struct Server {
    mischief: Mischief,
    published: usize,
    held: Option<String>,
    subscribers: Vec<TcpStream>,
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut out = vec![0x81];
    if text.len() < 126 {
        out.push(text.len() as u8);
    } else {
        out.push(126);
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    out
}

impl Server {
    fn send(&mut self, text: &str) {
        for subscriber in &mut self.subscribers {
            let _ = subscriber.write_all(&text_frame(text));
        }
    }

    /// Delivers the body of a publish; `false` refuses it.
    fn publish(&mut self, body: &str) -> bool {
        let text = body.replace(r#""name":"#, r#""event":"#);
        self.published += 1;
        if self.published != ODD_ONE {
            self.send(&text);
            if let Some(held) = self.held.take() {
                self.send(&held);
            }
            return true;
        }
        match self.mischief {
            Mischief::None => self.send(&text),
            Mischief::Lose => {}
            Mischief::Double => {
                self.send(&text);
                self.send(&text);
            }
            Mischief::Swap => self.held = Some(text),
            Mischief::Damage => self.send(&text.replace('k', "K")),
            Mischief::Misroute => self.send(&text.replace("bench-0-0", "bench-0-1")),
            Mischief::Refuse => return false,
            Mischief::Close => {
                self.send(&text);
                self.subscribers.remove(0);
            }
        }
        true
    }
}

fn serve(mut stream: TcpStream, server: &Mutex<Server>) -> std::io::Result<()> {
    let (mut got, mut buffer) = (Vec::new(), [0; 16_384]);
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            if head.contains("Upgrade: websocket") {
                break;
            }
            let length: usize =
                head.split_once("Content-Length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                got.drain(..head.len() + 4 + length);
                let status = if server.lock().unwrap().publish(&body[..length]) { 200 } else { 503 };
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}")?;
                continue;
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => got.extend_from_slice(&buffer[..count]),
        }
    }
    write!(stream, "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {SOCKET_ACCEPT}\r\n\r\n")?;
    let established = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\"}"}"#;
    stream.write_all(&text_frame(established))?;
    let _subscribe = stream.read(&mut buffer)?;
    let succeeded = r#"{"event":"pusher_internal:subscription_succeeded","channel":"bench-0-0","data":"{}"}"#;
    let mut server = server.lock().unwrap();
    stream.write_all(&text_frame(succeeded))?;
    server.subscribers.push(stream);
    Ok(())
}

/// Three subscribers, one publisher, two publishes on their way, against that server.
fn faults_with(mischief: Mischief) -> BTreeMap<String, u64> {
    results_with(mischief, 0).0
}

/// The faults, and how many publishes left out a subscriber.
fn results_with(mischief: Mischief, excluding: u32) -> (BTreeMap<String, u64>, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Mutex::new(Server { mischief, published: 0, held: None, subscribers: vec![] }));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            std::thread::spawn(move || serve(stream, &server));
        }
    });
    let host = address.to_string();
    let to = Addresses {
        socket: address,
        socket_host: host.clone(),
        socket_tls: None,
        http: address,
        http_host: host,
        http_tls: None,
    };
    let mut net = Net::new(&to, vec![App::new("1", "k", "s")], 3).unwrap();
    let group =
        Group { subscribers: 3, channels: 1, publishers: 1, window: 2, excluding, ..Group::default() };
    let run = Run { size: 64, warmup: 0.0, seconds: 0.2 };
    let results = measure(&mut net, &[group], run, &crate::machine::Server::default(), 20).unwrap();
    let mut faults = results.faults;
    faults.retain(|_, times| *times > 0);
    (faults, results.groups[0].excluding)
}

#[test]
fn a_faithful_server_has_no_faults() {
    assert_eq!(faults_with(Mischief::None), BTreeMap::new());
}

#[test]
fn every_kind_of_mischief_is_found_and_named() {
    let cases: [(Mischief, &str, u64); 7] = [
        (Mischief::Lose, "lost", 3),
        (Mischief::Double, "doubled", 3),
        (Mischief::Swap, "swapped", 3),
        (Mischief::Damage, "invalid", 3),
        (Mischief::Misroute, "invalid", 3),
        (Mischief::Refuse, "publishes answered 503", 1),
        (Mischief::Close, "closed", 1),
    ];
    let runs = cases.map(|(mischief, ..)| std::thread::spawn(move || faults_with(mischief)));
    for ((mischief, fault, times), run) in cases.into_iter().zip(runs) {
        let faults = run.join().unwrap();
        assert_eq!(faults.get(fault), Some(&times), "{mischief:?}: {faults:?}");
        // What doesn't arrive as it was sent is missing too.
        let is_missing = matches!(mischief, Mischief::Damage | Mischief::Misroute | Mischief::Close);
        let explained = |name: &str| name == fault || (is_missing && name == "lost");
        assert!(faults.keys().all(|name| explained(name)), "{mischief:?}: {faults:?}");
    }
}

#[test]
fn a_server_that_excludes_nobody_is_found() {
    let (faults, excluding) = results_with(Mischief::None, 3);
    assert!(excluding > 0);
    // Where the server sent it too, it was not wanted; nothing else is wrong.
    assert_eq!(faults, BTreeMap::from([("sent to the socket that they exclude".to_owned(), excluding)]));
}
