//! `idle`: what a connection costs that does nothing, connected only and subscribed, at several counts.
//!
//! At each count the missing connections are opened, then subscribed. The difference of the server's resident memory over the
//! new ones is what one costs; equal costs at every count mean that memory grows linearly. The kernel's socket buffers are not
//! in it.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use crate::crowd::{Place, bring_up};
use crate::machine::{Load, Reading, Server};
use crate::net::{Driver, Net, State};
use crate::pusher::{self, Said};
use crate::report::Report;
use crate::target::Target;
use crate::window::nanoseconds;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Idle {
    /// Counts of connections, growing, with commas.
    #[arg(short = 'n', long, value_delimiter = ',', default_values_t = [2_000, 10_000])]
    pub(crate) counts: Vec<usize>,
    /// Channels that they share; 0 = each has its own.
    #[arg(long, default_value_t = 0)]
    pub(crate) channels: usize,
    /// Seconds of rest before each look at the memory.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) settle: f64,
    /// Seconds for which all are held at the end, for the processor time of doing nothing.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) secs: f64,
}

/// Does nothing until a time, but answers pings.
struct Hold {
    until: u64,
    unexpected: u64,
    closed: u64,
}

impl Driver for Hold {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], _: u64) {
        match pusher::read(text) {
            Said::Ping => net.send(id, pusher::PONG),
            Said::Aside => {}
            _ => self.unexpected += 1,
        }
    }

    fn closed(&mut self, _: &mut Net, _: usize, _: Option<u16>) {
        self.closed += 1;
    }

    fn turn(&mut self, _: &mut Net, now: u64) -> Option<u64> {
        (now < self.until).then_some(self.until)
    }
}

fn hold(net: &mut Net, seconds: f64, report: &mut Report) -> anyhow::Result<()> {
    let mut hold = Hold { until: net.now() + nanoseconds(seconds), unexpected: 0, closed: 0 };
    net.run(&mut hold, u64::MAX)?;
    report.fault("unexpected frames", hold.unexpected);
    report.fault("closed", hold.closed);
    Ok(())
}

fn bytes_each(from_kib: u64, to_kib: u64, connections: usize) -> f64 {
    (to_kib as f64 - from_kib as f64) * 1_024.0 / connections as f64
}

/// Measures.
pub(crate) fn run(args: &Idle, target: &Target) -> anyhow::Result<Report> {
    let grows = args.counts.windows(2).all(|pair| pair[0] < pair[1]) && args.counts.first() > Some(&0);
    ensure!(grows, "--counts are at least 1 and grow");
    ensure!(args.settle >= 0.0 && args.secs > 0.0, "--settle is at least 0, --secs more than 0");
    let server: Server = target.server()?;
    let last = args.counts.last().copied().unwrap_or(0);
    let mut net = target.net(vec![target.app()], last, 0)?;
    let mut report = Report::new("idle", super::parameters(target, args));
    let base = server.resident_kib();
    let mut from = 0;
    let channel = |id: usize| match args.channels {
        0 => format!("bench-idle-{id}"),
        channels => format!("bench-idle-{}", id % channels),
    };
    for count in &args.counts {
        let (before, new) = (server.resident_kib(), count - from);
        let seconds = bring_up(&mut net, from..*count, target.connect_seconds, |_| Place::default())?;
        hold(&mut net, args.settle, &mut report)?;
        let connected = server.resident_kib();
        bring_up(&mut net, from..*count, target.connect_seconds, |id| Place {
            channel: Some(channel(id)),
            ..Place::default()
        })?;
        hold(&mut net, args.settle, &mut report)?;
        let subscribed = server.resident_kib();
        report.add(format!("at_{count}_connects_per_s"), new as f64 / seconds);
        if server.known() {
            report.add(format!("at_{count}_idle_bytes_per_connection"), bytes_each(before, connected, new));
            report.add(
                format!("at_{count}_subscribed_bytes_per_connection"),
                bytes_each(before, subscribed, new),
            );
        }
        from = *count;
    }
    if server.known() {
        report.add("subscribed_bytes_per_connection", bytes_each(base, server.resident_kib(), last));
    }
    let first = Reading::take(&server, net.now());
    hold(&mut net, args.secs, &mut report)?;
    let load = Load::between(&first, &Reading::take(&server, net.now()));
    let open = net.sockets.iter().filter(|socket| socket.state == State::Open).count();
    report.add("connections", open as f64);
    report.fault("missing at the end", (last - open) as u64);
    report.add_load(&load, &server, "connection", 0);
    (0..last).for_each(|id| net.leave(id));
    hold(&mut net, args.settle.max(0.2), &mut report)?;
    if server.known() {
        report.add("memory_before_mib", base as f64 / 1_024.0);
        report.add("memory_after_all_left_mib", server.resident_kib() as f64 / 1_024.0);
    }
    report.add_trouble(&net.trouble);
    Ok(report)
}
