//! `client-events`: members of private channels trigger events for the other members.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{check_size, check_times};
use crate::crowd::{Place, bring_up};
use crate::histogram::Histogram;
use crate::ledger::{Flight, Ledger};
use crate::net::{Driver, Net};
use crate::payload::{Checker, Payload, Stamp};
use crate::pusher::{self, Said};
use crate::report::Report;
use crate::target::Target;
use crate::window::{Stage, Window, nanoseconds};

/// Name of the measured events.
const EVENT: &str = "client-measured";
/// Wait without any progress after which what is on its way counts as lost.
const DRAIN_NS: u64 = 3_000_000_000;
/// Slack of the deadline.
const SLACK_NS: u64 = 30_000_000_000;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct ClientEvents {
    /// Channels.
    #[arg(long, default_value_t = 100)]
    pub(crate) channels: usize,
    /// Members of each channel.
    #[arg(long, default_value_t = 10)]
    pub(crate) members: usize,
    /// Members of each channel that trigger, each the next event when all others have its last.
    #[arg(long, default_value_t = 1)]
    pub(crate) senders: usize,
    /// Events a second over all members in turn, whatever is on its way; 0 = as fast as --senders goes.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Measured seconds.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) secs: f64,
    /// Seconds of load before.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
}

/// Client `id` is member `id / channels` of channel `id % channels`; the stream of its events has its number.
struct Members<'a> {
    args: &'a ClientEvents,
    heads: Vec<Vec<u8>>,
    checker: Checker,
    payload: Payload,
    ledger: Ledger,
    flight: Flight,
    window: Window,
    /// Those that may trigger now.
    ready: Vec<usize>,
    due: u64,
    turn: usize,
    text: Vec<u8>,
    progress: u64,
    over: bool,
    latency: Histogram,
    deliveries: u64,
    events: u64,
    echoes: u64,
    invalid: u64,
    refused: u64,
    closed: u64,
}

impl Members<'_> {
    fn trigger(&mut self, net: &mut Net, id: usize, due: u64) {
        let number = self.flight.launch(id, self.args.members as u32 - 1, due);
        self.text.clear();
        self.text.extend_from_slice(&self.heads[id % self.args.channels]);
        self.payload.write(&Stamp { at: due, stream: id as u32, number }, &mut self.text);
        self.text.extend_from_slice(b"\"}");
        self.events += u64::from(self.window.holds(due));
        net.send(id, &self.text);
    }
}

impl Driver for Members<'_> {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        let channel = id % self.args.channels;
        let Some(stamp) = self.checker.check(channel, text) else {
            match pusher::read(text) {
                Said::Ping => net.send(id, pusher::PONG),
                Said::Aside => {}
                Said::Error { code, message } => {
                    self.refused += 1;
                    net.trouble.note(format!("error {}: {message}", code.unwrap_or_default()));
                }
                _ => self.invalid += 1,
            }
            return;
        };
        let sender = stamp.stream as usize;
        if sender >= self.args.channels * self.args.members || sender % self.args.channels != channel {
            self.invalid += 1;
            return;
        }
        if sender == id {
            self.echoes += 1;
            return;
        }
        let is_new = self.ledger.enter(id * self.args.members + sender / self.args.channels, stamp.number);
        self.deliveries += u64::from(self.window.holds(now));
        if self.window.holds(stamp.at) {
            self.latency.record(now.saturating_sub(stamp.at));
        }
        if is_new {
            self.progress = now;
            if self.flight.landed(sender, stamp.number).is_some() && self.args.rate == 0.0 {
                self.ready.push(sender);
            }
        }
    }

    fn closed(&mut self, _: &mut Net, _: usize, _: Option<u16>) {
        self.closed += 1;
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        if self.window.stage(now, || net.now()) == Stage::Over {
            if !self.over {
                (self.over, self.progress) = (true, now);
            }
            let waits = self.flight.open > 0 && now < self.progress + DRAIN_NS;
            return waits.then_some(self.progress + DRAIN_NS);
        }
        if self.args.rate == 0.0 {
            while let Some(id) = self.ready.pop() {
                self.trigger(net, id, now);
            }
            return Some(self.window.next());
        }
        while self.due <= now {
            let (id, due) = (self.turn % (self.args.channels * self.args.members), self.due);
            self.turn += 1;
            self.due += (1e9 / self.args.rate) as u64;
            self.trigger(net, id, due);
        }
        Some(self.due.min(self.window.next()))
    }
}

/// Measures.
pub(crate) fn run(args: &ClientEvents, target: &Target) -> anyhow::Result<Report> {
    check_size(args.size)?;
    check_times(args.warmup, args.secs)?;
    ensure!(args.channels > 0 && args.members > 1, "--channels is at least 1, --members at least 2");
    ensure!(args.senders > 0 && args.senders <= args.members, "--senders is from 1 to --members");
    ensure!(args.rate >= 0.0 && args.rate < 1e9, "--rate is not negative");
    let (server, clients) = (target.server()?, args.channels * args.members);
    let names: Vec<String> = (0..args.channels).map(|c| format!("private-bench-{c}")).collect();
    let mut net = target.net(vec![target.app()], clients, 0)?;
    let connect_s = bring_up(&mut net, 0..clients, target.connect_seconds, |id| Place {
        channel: Some(names[id % args.channels].clone()),
        ..Place::default()
    })?;
    let now = net.now();
    let head =
        |channel: &String| format!(r#"{{"event":"{EVENT}","channel":"{channel}","data":""#).into_bytes();
    let mut members = Members {
        args,
        heads: names.iter().map(head).collect(),
        checker: Checker::new(EVENT, names, args.size),
        payload: Payload::new(args.size),
        ledger: Ledger::new(clients * args.members),
        flight: Flight::new(clients),
        window: Window::new(&server, now, args.warmup, args.secs),
        ready: (0..args.channels * args.senders).collect(),
        due: now,
        turn: 0,
        text: Vec::new(),
        progress: now,
        over: false,
        latency: Histogram::default(),
        deliveries: 0,
        events: 0,
        echoes: 0,
        invalid: 0,
        refused: 0,
        closed: 0,
    };
    let limit = nanoseconds(args.warmup + args.secs) + SLACK_NS;
    let finished = net.run(&mut members, now + limit)?;
    let mut lost = 0;
    for id in 0..clients {
        for member in 0..args.members {
            let sender = member * args.channels + id % args.channels;
            if sender != id {
                lost += members.ledger.lost(id * args.members + member, members.flight.sent(sender));
            }
        }
    }
    let mut report = Report::new("client-events", super::parameters(target, args));
    if let Some(load) = members.window.load() {
        report.add("events_per_s", members.events as f64 / load.seconds);
        report.add("deliveries_per_s", members.deliveries as f64 / load.seconds);
        report.add_latency("latency", &members.latency);
        report.add_load(&load, &server, "delivery", members.deliveries);
    }
    report.add("connect_s", connect_s);
    for (what, times) in [
        ("lost", lost),
        ("doubled", members.ledger.doubled),
        ("swapped", members.ledger.swapped),
        ("invalid", members.invalid),
        ("sent back to their sender", members.echoes),
        ("closed", members.closed),
        ("no delivery in the measured time", u64::from(members.deliveries == 0)),
        ("unfinished", u64::from(!finished)),
    ] {
        report.fault(what, times);
    }
    if members.refused > 0 {
        report.note(
            "the server refused events: most allow ten a second and connection; pace with --rate, or lift the app's limit",
        );
    }
    report.add_trouble(&net.trouble);
    Ok(report)
}
