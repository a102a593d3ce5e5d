//! `slow`: some subscribers stop reading. The same load is measured twice, first with all reading.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::fanout::{Fanout, add_results};
use crate::load::measure;
use crate::report::Report;
use crate::target::Target;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Slow {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) fanout: Fanout,
    /// Subscribers that stop reading.
    #[arg(short = 'm', long, default_value_t = 20)]
    pub(crate) stalled: usize,
}

/// Measures.
pub(crate) fn run(args: &Slow, target: &Target) -> anyhow::Result<Report> {
    args.fanout.check()?;
    ensure!(
        args.stalled > 0 && args.stalled < args.fanout.n,
        "--stalled is from 1 to less than all subscribers"
    );
    let server = target.server()?;
    let load = &args.fanout;
    let mut quiet_net = target.net(vec![target.app()], load.n, load.publishers)?;
    let quiet = measure(&mut quiet_net, &[load.group(0, 0)], load.run(), &server, target.connect_seconds)?;
    let mut report = Report::new("slow", super::parameters(target, args));
    quiet.report_faults(&mut report);
    report.add_trouble(&quiet_net.trouble);
    drop(quiet_net);

    let mut net = target.net(vec![target.app()], load.n, load.publishers)?;
    let groups = [load.group(0, args.stalled)];
    let results = measure(&mut net, &groups, load.run(), &server, target.connect_seconds)?;
    add_results(&mut report, &results);
    let p99 = |latency: &crate::histogram::Histogram| latency.quantile(0.99) as f64 / 1e3;
    let (before, beside) = (p99(&quiet.groups[0].latency), p99(&results.groups[0].latency));
    report.add("all_reading_latency_p50_us", quiet.groups[0].latency.quantile(0.5) as f64 / 1e3);
    report.add("all_reading_latency_p99_us", before);
    report.add("p99_beside_stalled_ratio", beside / before.max(0.001));
    let stalled = &results.stalled;
    report.add("stalled_closed", stalled.closed as f64);
    report.add("stalled_still_open", stalled.open as f64);
    report.add("stalled_open_missed", stalled.lost as f64);
    if server.known() {
        let growth = stalled.memory_max_kib.saturating_sub(stalled.memory_before_kib);
        report.add("memory_growth_mib", growth as f64 / 1_024.0);
    }
    report.add_load(&results.processors, &server, "delivery", results.groups[0].deliveries);
    results.report_faults(&mut report);
    report.add_trouble(&net.trouble);
    if stalled.lost > 0 {
        report.fault("lost by stalled readers that were kept open", stalled.lost);
    }
    Ok(report)
}
