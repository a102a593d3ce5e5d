//! `churn`: clients that connect, subscribe, leave and start over.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::check_times;
use crate::histogram::Histogram;
use crate::net::{Driver, Net, State};
use crate::pusher::{self, Said};
use crate::report::Report;
use crate::target::Target;
use crate::window::{Stage, Window, nanoseconds};

/// Slack for cycles that are under way at the end.
const DRAIN_NS: u64 = 10_000_000_000;
/// After this many failures the run ends.
const FAILURES_MAX: u64 = 100;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Churn {
    /// Clients at the same time.
    #[arg(short, long, default_value_t = 64)]
    pub(crate) n: usize,
    /// Channels that they share.
    #[arg(long, default_value_t = 100)]
    pub(crate) channels: usize,
    /// Measured seconds.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) secs: f64,
    /// Seconds of load before.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warmup: f64,
}

struct Cycles<'a> {
    args: &'a Churn,
    window: Window,
    over: bool,
    idle: Vec<usize>,
    established: Histogram,
    subscribed: Histogram,
    cycles: u64,
    failed: u64,
}

impl Driver for Cycles<'_> {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        let took = now - net.sockets[id].begun;
        let counts = self.window.holds(now);
        match pusher::read(text) {
            Said::Established { socket_id } => {
                if counts {
                    self.established.record(took);
                }
                let channel = format!("bench-churn-{}", id % self.args.channels);
                let text = net.apps[0].subscribe(&socket_id, &channel, None);
                net.send(id, text.as_bytes());
            }
            Said::Subscribed { channel, .. }
                if channel == format!("bench-churn-{}", id % self.args.channels) =>
            {
                if counts {
                    self.subscribed.record(took);
                    self.cycles += 1;
                }
                net.leave(id);
                self.idle.push(id);
            }
            Said::Aside | Said::Ping => {}
            other => {
                net.trouble.note(format!("unexpected: {other:?}"));
                self.failed += 1;
                net.reset(id);
                self.idle.push(id);
            }
        }
    }

    fn closed(&mut self, _: &mut Net, id: usize, _: Option<u16>) {
        self.failed += 1;
        self.idle.push(id);
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        self.over |= self.window.stage(now, || net.now()) == Stage::Over || self.failed >= FAILURES_MAX;
        if self.over {
            return (self.idle.len() < self.args.n).then_some(now + 100_000_000);
        }
        while let Some(id) = self.idle.pop() {
            if let Err(error) = net.connect(id, 0, None) {
                net.trouble.note(format!("connecting: {error}"));
                self.failed += 1;
                self.idle.push(id);
                return Some(now + 1_000_000);
            }
        }
        Some(self.window.next())
    }
}

/// Measures.
pub(crate) fn run(args: &Churn, target: &Target) -> anyhow::Result<Report> {
    check_times(args.warmup, args.secs)?;
    ensure!(args.n > 0 && args.channels > 0, "-n and --channels are at least 1");
    let server = target.server()?;
    let mut net = target.net(vec![target.app()], args.n, 0)?;
    net.spread();
    let before_kib = server.resident_kib();
    let now = net.now();
    let mut cycles = Cycles {
        args,
        window: Window::new(&server, now, args.warmup, args.secs),
        over: false,
        idle: (0..args.n).collect(),
        established: Histogram::default(),
        subscribed: Histogram::default(),
        cycles: 0,
        failed: 0,
    };
    let finished = net.run(&mut cycles, now + nanoseconds(args.warmup + args.secs) + DRAIN_NS)?;
    let left_open = net.sockets.iter().filter(|socket| socket.state != State::Closed).count();
    let mut report = Report::new("churn", super::parameters(target, args));
    report.fault("failed cycles", cycles.failed);
    report.fault("unfinished", u64::from(!finished) + left_open as u64);
    report.fault("no cycle in the measured time", u64::from(cycles.cycles == 0));
    if let Some(load) = cycles.window.load() {
        report.add("cycles_per_s", cycles.cycles as f64 / load.seconds);
        report.add_latency("established", &cycles.established);
        report.add_latency("subscribed", &cycles.subscribed);
        report.add_load(&load, &server, "cycle", cycles.cycles);
    }
    if server.known() {
        let growth = server.resident_kib() as f64 - before_kib as f64;
        report.add("memory_growth_mib", growth / 1_024.0);
    }
    report.add_trouble(&net.trouble);
    Ok(report)
}
