//! `soak`: a paced load with bursts beside clients that come and go, readers that stall and clients that misbehave, for minutes.
//! Nothing may go wrong for those that behave, and the server's memory and descriptors must stay flat.

mod guests;
mod mixed;
mod samples;
mod vandals;

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use self::guests::Guests;
use self::mixed::Mixed;
use self::samples::Samples;
use self::vandals::Vandals;
use super::{check_size, check_times};
use crate::load::{Bursts, Group, Run, prepare};
use crate::machine::Server;
use crate::report::Report;
use crate::target::Target;
use crate::window::nanoseconds;

/// Publishes on their way in a burst: frames gather at the server and are joined.
const BURST_WINDOW: usize = 16;
/// A second of every ten, soon enough for a short run.
const BURSTS: Bursts = Bursts { every_ns: 10_000_000_000, after_ns: 1_000_000_000, length_ns: 1_000_000_000 };
/// Every third message of a stream leaves out a subscriber.
const EXCLUDING: u32 = 3;
/// Descriptors by which a server may grow.
const DESCRIPTORS_GROWTH_MAX: f64 = 50.0;
/// What the end of all parts may take, and slack over it.
const ENDING_NS: u64 = 60_000_000_000;
/// By then the server has closed what is over.
const DESCRIPTORS_BACK_WITHIN: Duration = Duration::from_secs(15);

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Soak {
    /// Steady subscribers: they stay and get everything.
    #[arg(short, long, default_value_t = 200)]
    pub(crate) n: usize,
    /// Channels; each has n / channels steady subscribers.
    #[arg(long, default_value_t = 8)]
    pub(crate) channels: usize,
    /// Publishers: kept HTTP connections with one request at a time.
    #[arg(short, long, default_value_t = 16)]
    pub(crate) publishers: usize,
    /// Publishes a second over all publishers; for a second of every ten as fast as 16 on their way allow.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) size: usize,
    /// Clients that connect, subscribe, check what they get, leave in one of four ways and start over.
    #[arg(long, default_value_t = 32)]
    pub(crate) churn: usize,
    /// Readers that stop reading until the server closes them, and start over.
    #[arg(long, default_value_t = 8)]
    pub(crate) stalled: usize,
    /// Seconds after which a stalled reader that was not closed reads again; it must not have lost anything then.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) stall_secs: f64,
    /// Clients that misbehave, one fault after the other; 0 leaves refused publishes out as well.
    #[arg(long, default_value_t = 8)]
    pub(crate) faults: usize,
    /// Seconds between two looks at the server's memory and descriptors.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) sample: f64,
    /// Most MiB by which the server's memory may grow.
    #[arg(long, default_value_t = 32.0)]
    pub(crate) growth_max: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 180.0)]
    pub(crate) secs: f64,
    /// Seconds of load before.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) warmup: f64,
}

impl Soak {
    fn check(&self, server: &Server) -> anyhow::Result<()> {
        check_size(self.size)?;
        check_times(self.warmup, self.secs)?;
        ensure!(
            self.channels > 0 && self.channels <= self.n,
            "--channels is from 1 to the number of steady subscribers"
        );
        ensure!(self.publishers > 0, "--publishers is at least 1");
        ensure!(self.rate > 0.0, "--rate is more than 0");
        ensure!(self.stall_secs > 0.0, "--stall-secs is more than 0");
        ensure!(self.sample >= 0.01, "--sample is at least 0.01");
        ensure!(
            !server.known() || server.descriptors().is_some(),
            "the descriptors of --server-pid can't be read: run as the server's user"
        );
        Ok(())
    }

    fn group(&self) -> Group {
        Group {
            subscribers: self.n,
            channels: self.channels,
            publishers: self.publishers,
            window: BURST_WINDOW,
            rate: self.rate,
            excluding: EXCLUDING,
            bursts: Some(BURSTS),
            ..Group::default()
        }
    }
}

/// Waits until the server has closed what is over, and gives its descriptors then.
fn descriptors_at_rest(server: &Server, before: u64) -> Option<u64> {
    let begun = Instant::now();
    loop {
        let now = server.descriptors()?;
        if now <= before || begun.elapsed() > DESCRIPTORS_BACK_WITHIN {
            return Some(now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Measures.
pub(crate) fn run(args: &Soak, target: &Target) -> anyhow::Result<Report> {
    let server = target.server()?;
    args.check(&server)?;
    let (guests_from, guests) = (args.n, args.churn + args.stalled);
    let vandals_from = guests_from + guests;
    let before = server.descriptors();
    let before_kib = server.resident_kib();
    let mut net = target.net(vec![target.app()], vandals_from + args.faults, args.publishers + 1)?;
    net.spread();
    let run = Run { size: args.size, warmup: args.warmup, seconds: args.secs };
    let load = prepare(&mut net, &[args.group()], run, &server, target.connect_seconds)?;
    let http = net.add_http(0)?;
    let mut mixed = Mixed {
        load,
        guests: Guests::new(
            guests_from,
            args.churn,
            args.stalled,
            args.publishers,
            nanoseconds(args.stall_secs),
        ),
        vandals: Vandals::new(vandals_from, args.faults, http),
        samples: Samples::new(&server, args.sample),
        guests_from,
        vandals_from,
        publishers: args.publishers,
        over: false,
    };
    let deadline = net.now() + nanoseconds(args.warmup + args.secs) + ENDING_NS;
    let finished = net.run(&mut mixed, deadline)?;

    let mut report = Report::new("soak", super::parameters(target, args));
    let Mixed { load, guests, vandals, samples, .. } = mixed;
    let results = load.results(&net, finished);
    let group = &results.groups[0];
    let (tally, guest_faults) = guests.results();
    let (done, vandal_faults) = vandals.results();
    report.add("deliveries_per_s", group.deliveries as f64 / results.processors.seconds);
    report.add("publishes_per_s", group.publishes as f64 / results.processors.seconds);
    report.add("bursts", group.bursts as f64);
    report.add("publishes_that_exclude", group.excluding as f64);
    report.add_latency("latency", &group.latency);
    report.add("churn_cycles", tally.cycles as f64);
    for (key, times) in &tally.ways {
        report.add(*key, *times as f64);
    }
    report.add("deliveries_to_guests", tally.deliveries as f64);
    report.add("stalled_closed", tally.stalled_closed as f64);
    report.add("stalled_kept_open", tally.stalled_kept_open as f64);
    for (key, times) in done {
        report.add(key, times as f64);
    }
    report.add_load(&results.processors, &server, "delivery", group.deliveries);
    results.report_faults(&mut report);
    for (what, times) in guest_faults.iter().chain(&vandal_faults) {
        report.fault(what, *times);
    }
    report.fault("no cycle of churn", u64::from(args.churn > 0 && tally.cycles == 0));
    report.add_trouble(&net.trouble);
    drop(net);
    if let Some(before) = before.filter(|_| server.known()) {
        judge(&mut report, args, &server, &samples, before, before_kib);
    } else {
        report.note("without --server-pid nobody looked at the server's memory and descriptors");
    }
    Ok(report)
}

/// Memory and descriptors: enters how they grew, and whether that is too much.
fn judge(report: &mut Report, args: &Soak, server: &Server, samples: &Samples, before: u64, before_kib: u64) {
    match samples.growth() {
        Some((memory, descriptors)) => {
            report.add("memory_growth_mib", memory);
            report.add("descriptors_growth", descriptors);
            report.fault("memory grew by more than --growth-max", u64::from(memory > args.growth_max));
            report.fault("descriptors grew by more than 50", u64::from(descriptors > DESCRIPTORS_GROWTH_MAX));
        }
        None => report.note("too few samples to tell growth: a longer --secs or a shorter --sample"),
    }
    report.add("memory_before_mib", before_kib as f64 / 1_024.0);
    report.add("descriptors_before", before as f64);
    if let Some(after) = descriptors_at_rest(server, before) {
        report.add("descriptors_after_all_left", after as f64);
        let stayed = after as f64 - before as f64;
        report.fault("descriptors that stayed when all had left", u64::from(stayed > DESCRIPTORS_GROWTH_MAX));
    }
    report.add("memory_after_all_left_mib", server.resident_kib() as f64 / 1_024.0);
    report.add_list("samples", samples.json());
}
