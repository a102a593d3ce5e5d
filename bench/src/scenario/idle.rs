//! `idle`: what a connection costs that does nothing, connected only and subscribed, at several counts.
//!
//! At each count the missing connections are opened, then subscribed. The difference of the server's resident memory over the
//! new ones is what one costs; equal costs at every count mean that memory grows linearly. At the end, with all subscribed: after
//! one event to all of them, and after half of them left and came again. The kernel's socket buffers are not in it.

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
    /// Channels that they share; 0 = each has its own. With 1 to 100, one event goes to all at the end.
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

/// Most channels of one publish.
const CHANNELS_PER_EVENT_MAX: usize = 100;

/// One event to all channels, until each connection has it.
struct Broadcast {
    channels: usize,
    asked: bool,
    heard: usize,
    wanted: usize,
    refused: u64,
}

impl Driver for Broadcast {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], _: u64) {
        match pusher::read(text) {
            Said::Ping => net.send(id, pusher::PONG),
            _ => self.heard += usize::from(text.windows(10).any(|part| part == b"idle-event")),
        }
    }

    fn closed(&mut self, _: &mut Net, _: usize, _: Option<u16>) {}

    fn answered(&mut self, _: &mut Net, _: usize, status: u16, _: &[u8], _: u64) {
        self.refused += u64::from(status != 200);
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        if !self.asked {
            self.asked = true;
            let names: Vec<String> = (0..self.channels).map(|n| format!("bench-idle-{n}")).collect();
            let body = serde_json::json!({ "name": "idle-event", "channels": names, "data": "to all" });
            net.post(0, "events", body.to_string().as_bytes());
        }
        (self.heard < self.wanted && self.refused == 0).then_some(now + 100_000_000)
    }
}

fn broadcast(net: &mut Net, channels: usize, wanted: usize, report: &mut Report) -> anyhow::Result<()> {
    net.add_http(0)?;
    let mut event = Broadcast { channels, asked: false, heard: 0, wanted, refused: 0 };
    let begun = net.now();
    net.run(&mut event, begun + nanoseconds(30.0))?;
    report.add("broadcast_s", (net.now() - begun) as f64 / 1e9);
    report.fault("not reached by the broadcast", (wanted - event.heard.min(wanted)) as u64);
    report.fault("broadcast refused", event.refused);
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
    let mut net = target.net(vec![target.app()], last, 1)?;
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
    report.add_load(&load, &server, "connection", 0);
    if let Some(cores) = report.get("server_cores") {
        report.add("server_cpu_us_per_connection_and_s", cores * 1e6 / last as f64);
    }
    if (1..=CHANNELS_PER_EVENT_MAX).contains(&args.channels) {
        broadcast(&mut net, args.channels.min(last), last, &mut report)?;
        hold(&mut net, args.settle, &mut report)?;
        if server.known() {
            report.add("after_broadcast_bytes_per_connection", bytes_each(base, server.resident_kib(), last));
        }
    }
    let half = last / 2;
    (0..half).for_each(|id| net.leave(id));
    hold(&mut net, args.settle.max(0.2), &mut report)?;
    bring_up(&mut net, 0..half, target.connect_seconds, |id| Place {
        channel: Some(channel(id)),
        ..Place::default()
    })?;
    hold(&mut net, args.settle, &mut report)?;
    if server.known() {
        report.add("after_churn_bytes_per_connection", bytes_each(base, server.resident_kib(), last));
    }
    let open = net.sockets.iter().filter(|socket| socket.state == State::Open).count();
    report.add("connections", open as f64);
    report.fault("missing at the end", (last - open) as u64);
    (0..last).for_each(|id| net.leave(id));
    hold(&mut net, args.settle.max(0.2), &mut report)?;
    if server.known() {
        report.add("memory_before_mib", base as f64 / 1_024.0);
        report.add("memory_after_all_left_mib", server.resident_kib() as f64 / 1_024.0);
    }
    report.add_trouble(&net.trouble);
    Ok(report)
}
