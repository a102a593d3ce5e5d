//! `publish`: how many requests a second the HTTP API takes, for channels where nobody listens.

use std::collections::BTreeMap;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{check_size, check_times};
use crate::histogram::Histogram;
use crate::net::{Driver, Net};
use crate::payload::{Payload, Stamp};
use crate::report::Report;
use crate::target::Target;
use crate::window::{Stage, Window, nanoseconds};

/// Slack for requests that are under way at the end.
const DRAIN_NS: u64 = 10_000_000_000;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Publish {
    /// Kept connections, each with one request at a time.
    #[arg(short = 'p', long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Events in a request; more than one goes to batch_events.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// Channels that are published to in turn.
    #[arg(long, default_value_t = 100)]
    pub(crate) channels: usize,
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

struct Requests<'a> {
    args: &'a Publish,
    window: Window,
    payload: Payload,
    body: Vec<u8>,
    free: Vec<usize>,
    begun: Vec<u64>,
    turn: usize,
    api: Histogram,
    done: u64,
    refused: BTreeMap<String, u64>,
}

impl Requests<'_> {
    fn event(&mut self, now: u64) {
        let channel = self.turn % self.args.channels;
        let stamp = Stamp { at: now, stream: channel as u32, number: self.turn as u32 };
        self.turn += 1;
        let head = format!(r#"{{"name":"measured","channel":"bench-publish-{channel}","data":""#);
        self.body.extend_from_slice(head.as_bytes());
        self.payload.write(&stamp, &mut self.body);
        self.body.extend_from_slice(b"\"}");
    }

    fn post(&mut self, net: &mut Net, connection: usize, now: u64) {
        self.body.clear();
        self.begun[connection] = now;
        if self.args.batch == 1 {
            self.event(now);
            return net.post(connection, "events", &self.body);
        }
        self.body.extend_from_slice(br#"{"batch":["#);
        for event in 0..self.args.batch {
            if event > 0 {
                self.body.push(b',');
            }
            self.event(now);
        }
        self.body.extend_from_slice(b"]}");
        net.post(connection, "batch_events", &self.body);
    }
}

impl Driver for Requests<'_> {
    fn text(&mut self, _: &mut Net, _: usize, _: &[u8], _: u64) {}

    fn closed(&mut self, _: &mut Net, _: usize, _: Option<u16>) {}

    fn answered(&mut self, _: &mut Net, http: usize, status: u16, body: &[u8], now: u64) {
        self.free.push(http);
        if status != 200 || body.first() != Some(&b'{') {
            let text = String::from_utf8_lossy(&body[..body.len().min(120)]);
            *self.refused.entry(format!("answered {status}: {}", text.trim())).or_default() += 1;
        } else if self.window.holds(now) {
            self.done += 1;
            self.api.record(now - self.begun[http]);
        }
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        if self.window.stage(now, || net.now()) == Stage::Over {
            return (self.free.len() < self.begun.len()).then_some(now + 100_000_000);
        }
        while let Some(connection) = self.free.pop() {
            self.post(net, connection, now);
        }
        Some(self.window.next())
    }
}

/// Measures.
pub(crate) fn run(args: &Publish, target: &Target) -> anyhow::Result<Report> {
    check_size(args.size)?;
    check_times(args.warmup, args.secs)?;
    ensure!(args.connections > 0 && args.channels > 0, "--connections and --channels are at least 1");
    ensure!(args.batch > 0, "--batch is at least 1");
    let server = target.server()?;
    let mut net = target.net(vec![target.app()], 0, args.connections)?;
    for _ in 0..args.connections {
        net.add_http(0)?;
    }
    let now = net.now();
    let mut requests = Requests {
        args,
        window: Window::new(&server, now, args.warmup, args.secs),
        payload: Payload::new(args.size),
        body: Vec::new(),
        free: (0..args.connections).collect(),
        begun: vec![0; args.connections],
        turn: 0,
        api: Histogram::default(),
        done: 0,
        refused: BTreeMap::new(),
    };
    let finished = net.run(&mut requests, now + nanoseconds(args.warmup + args.secs) + DRAIN_NS)?;
    let mut report = Report::new("publish", super::parameters(target, args));
    report.fault("unfinished", u64::from(!finished));
    report.fault("no answer in the measured time", u64::from(requests.done == 0));
    if let Some(load) = requests.window.load() {
        report.add("requests_per_s", requests.done as f64 / load.seconds);
        report.add("events_per_s", (requests.done * args.batch as u64) as f64 / load.seconds);
        report.add_latency("api", &requests.api);
        report.add_load(&load, &server, "request", requests.done);
    }
    for (what, times) in &requests.refused {
        report.fault(what, *times);
    }
    report.add_trouble(&net.trouble);
    Ok(report)
}
