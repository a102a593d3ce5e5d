//! `fanout`: what is published reaches many subscribers.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{check_size, check_times};
use crate::load::{Group, Results, Run, measure};
use crate::report::Report;
use crate::target::Target;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Fanout {
    /// Subscribers.
    #[arg(short, long, default_value_t = 1_000)]
    pub(crate) n: usize,
    /// Channels; each has n / channels subscribers.
    #[arg(long, default_value_t = 1)]
    pub(crate) channels: usize,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Publishers: kept HTTP connections with one request at a time.
    #[arg(short, long, default_value_t = 1)]
    pub(crate) publishers: usize,
    /// Publishes on their way to anybody; 1 = the next one goes when all have the last.
    #[arg(short, long, default_value_t = 1)]
    pub(crate) window: usize,
    /// Publishes a second over all publishers, whatever is on its way; 0 = as fast as the window allows.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) secs: f64,
    /// Seconds of load before.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
}

impl Fanout {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        check_size(self.size)?;
        check_times(self.warmup, self.secs)?;
        ensure!(
            self.channels > 0 && self.channels <= self.n,
            "--channels is from 1 to the number of subscribers"
        );
        ensure!(self.publishers > 0 && self.window > 0, "--publishers and --window are at least 1");
        ensure!(self.rate >= 0.0, "--rate is not negative");
        Ok(())
    }

    pub(crate) fn group(&self, app: usize, stalled: usize) -> Group {
        Group {
            app,
            subscribers: self.n,
            channels: self.channels,
            publishers: self.publishers,
            window: self.window,
            rate: self.rate,
            stalled,
            ..Group::default()
        }
    }

    pub(crate) fn run(&self) -> Run {
        Run { size: self.size, warmup: self.warmup, seconds: self.secs }
    }
}

/// Rates, latencies and processor time of a run's first group.
pub(crate) fn add_results(report: &mut Report, results: &Results) {
    let group = &results.groups[0];
    let seconds = results.processors.seconds;
    report.add("deliveries_per_s", group.deliveries as f64 / seconds);
    report.add("publishes_per_s", group.publishes as f64 / seconds);
    report.add_latency("latency", &group.latency);
    report.add_latency("complete", &group.complete);
    report.add_latency("api", &group.api);
}

/// Measures.
pub(crate) fn run(args: &Fanout, target: &Target) -> anyhow::Result<Report> {
    args.check()?;
    let server = target.server()?;
    let mut net = target.net(vec![target.app()], args.n, args.publishers)?;
    let results = measure(&mut net, &[args.group(0, 0)], args.run(), &server, target.connect_seconds)?;
    let mut report = Report::new("fanout", super::parameters(target, args));
    add_results(&mut report, &results);
    if args.rate > 0.0 {
        report.add("generator_behind_p99_us", results.groups[0].behind.quantile(0.99) as f64 / 1e3);
    }
    report.add_load(&results.processors, &server, "delivery", results.groups[0].deliveries);
    report.add("connect_s", results.connect_s);
    results.report_faults(&mut report);
    report.add_trouble(&net.trouble);
    Ok(report)
}
