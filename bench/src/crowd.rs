//! Brings clients up: connects them, a bounded number at a time, and subscribes each to its place.

use std::ops::Range;

use anyhow::bail;

use crate::net::{Driver, Net, State};
use crate::pusher::{self, Said};

/// Connections being made at the same time: enough to keep a server busy, few enough for any accept queue.
const AT_ONCE: usize = 128;
/// After this many failures the rest is not tried.
const FAILURES_MAX: usize = 20;

/// Where a client is to stand.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Which app.
    pub(crate) app: usize,
    /// `None`: connected, without a subscription.
    pub(crate) channel: Option<String>,
    /// Bytes of the receive buffer; `None` leaves the kernel's.
    pub(crate) receive_bytes: Option<usize>,
}

/// Connections (or, of sockets that are open, subscriptions) on their way.
struct Crowd<F> {
    clients: Range<usize>,
    place: F,
    waiting: usize,
    ready: Vec<bool>,
    first: usize,
    failures: usize,
}

/// Brings up `clients` and waits until each stands at its place; sockets that are open already are only subscribed. Gives the
/// seconds it took.
pub(crate) fn bring_up(
    net: &mut Net,
    clients: Range<usize>,
    seconds_max: u64,
    place: impl FnMut(usize) -> Place,
) -> anyhow::Result<f64> {
    let started = net.now();
    let wanted = clients.len();
    let mut crowd =
        Crowd { first: clients.start, ready: vec![false; wanted], clients, place, waiting: 0, failures: 0 };
    let in_time = net.run(&mut crowd, started + seconds_max * 1_000_000_000)?;
    let ready = crowd.ready.iter().filter(|ready| **ready).count();
    if ready < wanted {
        let why = if in_time { String::new() } else { format!(" within {seconds_max} s") };
        let errors: Vec<String> =
            net.trouble.errors.iter().map(|(what, times)| format!("{what} ({times} times)")).collect();
        let closed: Vec<String> = net
            .trouble
            .closed
            .iter()
            .map(|(code, times)| match code {
                0 => format!("closed without a code ({times} times)"),
                code => format!("closed with {code} ({times} times)"),
            })
            .collect();
        let causes = [errors, closed].concat().join("; ");
        bail!(
            "only {ready} of {wanted} clients came up{why}: {}",
            if causes.is_empty() { "no answer" } else { &causes }
        );
    }
    Ok((net.now() - started) as f64 / 1e9)
}

impl<F: FnMut(usize) -> Place> Crowd<F> {
    /// A client stands, or has failed.
    fn settle(&mut self, id: usize, stands: bool) {
        let Some(ready) = id.checked_sub(self.first).and_then(|i| self.ready.get_mut(i)) else { return };
        if *ready && stands {
            return;
        }
        self.failures += usize::from(!stands);
        self.waiting = self.waiting.saturating_sub(usize::from(!*ready));
        *ready = stands;
    }

    fn subscribe(&mut self, net: &mut Net, id: usize) {
        let place = (self.place)(id);
        match place.channel {
            Some(channel) => {
                let text = net.apps[place.app].subscribe(&net.sockets[id].socket_id, &channel, None);
                net.send(id, text.as_bytes());
            }
            None => self.settle(id, true),
        }
    }
}

impl<F: FnMut(usize) -> Place> Driver for Crowd<F> {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], _: u64) {
        match pusher::read(text) {
            Said::Established { socket_id } => {
                net.sockets[id].socket_id = socket_id;
                self.subscribe(net, id);
            }
            Said::Subscribed { .. } => self.settle(id, true),
            Said::Error { code, message } => {
                let code = code.map_or_else(String::new, |code| format!(" {code}"));
                net.trouble.note(format!("error{code}: {message}"));
                self.settle(id, false);
            }
            Said::Ping => net.send(id, pusher::PONG),
            _ => {}
        }
    }

    fn closed(&mut self, _: &mut Net, id: usize, _: Option<u16>) {
        self.settle(id, false);
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        while self.waiting < AT_ONCE && self.failures < FAILURES_MAX {
            let Some(id) = self.clients.next() else { break };
            self.waiting += 1;
            if net.sockets[id].state == State::Open {
                self.subscribe(net, id);
                continue;
            }
            let place = (self.place)(id);
            if let Err(error) = net.connect(id, place.app, place.receive_bytes) {
                net.trouble.note(format!("connecting: {error}"));
                self.settle(id, false);
            }
        }
        (self.waiting > 0).then_some(now + 1_000_000_000)
    }
}
