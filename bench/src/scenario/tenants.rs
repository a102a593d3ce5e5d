//! `tenants`: one app at full load beside another that publishes at its own pace. The quiet one is measured twice, first alone.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{check_size, check_times};
use crate::app::App;
use crate::load::{Group, Run, measure};
use crate::report::Report;
use crate::target::Target;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Tenants {
    /// Id of the quiet app; --app-id is the loud one.
    #[arg(long)]
    pub(crate) quiet_app_id: String,
    /// Its key.
    #[arg(long)]
    pub(crate) quiet_key: String,
    /// Its secret.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) quiet_secret: String,
    /// Subscribers of the loud app, on one channel.
    #[arg(short, long, default_value_t = 1_000)]
    pub(crate) n: usize,
    /// Publishers of the loud app, each as fast as it can.
    #[arg(short, long, default_value_t = 16)]
    pub(crate) publishers: usize,
    /// Publishes of the loud app on their way.
    #[arg(short, long, default_value_t = 16)]
    pub(crate) window: usize,
    /// Subscribers of the quiet app, on one channel.
    #[arg(long, default_value_t = 50)]
    pub(crate) quiet_n: usize,
    /// Publishes a second of the quiet app.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) quiet_rate: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Measured seconds, of each of the two parts.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) secs: f64,
    /// Seconds of load before, of each of the two parts.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
}

/// Measures.
pub(crate) fn run(args: &Tenants, target: &Target) -> anyhow::Result<Report> {
    check_size(args.size)?;
    check_times(args.warmup, args.secs)?;
    ensure!(args.n > 0 && args.quiet_n > 0, "both apps have at least one subscriber");
    ensure!(args.publishers > 0 && args.window > 0, "--publishers and --window are at least 1");
    ensure!(args.quiet_rate > 0.0, "--quiet-rate is more than 0");
    ensure!(args.quiet_app_id != target.app_id, "--quiet-app-id is another app than --app-id");
    let apps = || vec![App::new(&args.quiet_app_id, &args.quiet_key, &args.quiet_secret), target.app()];
    let quiet = Group {
        app: 0,
        subscribers: args.quiet_n,
        channels: 1,
        publishers: 1,
        window: 1,
        rate: args.quiet_rate,
        ..Group::default()
    };
    let loud = Group {
        app: 1,
        subscribers: args.n,
        channels: 1,
        publishers: args.publishers,
        window: args.window,
        rate: 0.0,
        ..Group::default()
    };
    let server = target.server()?;
    let run = Run { size: args.size, warmup: args.warmup, seconds: args.secs };
    let mut report = Report::new("tenants", super::parameters(target, args));

    let mut net = target.net(apps(), args.quiet_n, 1)?;
    let alone = measure(&mut net, std::slice::from_ref(&quiet), run, &server, target.connect_seconds)?;
    alone.report_faults(&mut report);
    report.add_trouble(&net.trouble);
    drop(net);

    let mut net = target.net(apps(), args.quiet_n + args.n, args.publishers + 1)?;
    let both = measure(&mut net, &[quiet, loud], run, &server, target.connect_seconds)?;
    both.report_faults(&mut report);
    report.add_trouble(&net.trouble);

    report.add_latency("quiet_alone_latency", &alone.groups[0].latency);
    report.add_latency("quiet_beside_latency", &both.groups[0].latency);
    for part in ["p50", "p99"] {
        let of = |name: &str| report.get(&format!("quiet_{name}_latency_{part}_us")).unwrap_or(0.0);
        let ratio = of("beside") / of("alone").max(0.001);
        report.add(format!("quiet_{part}_ratio"), ratio);
    }
    let seconds = both.processors.seconds;
    report.add("quiet_deliveries_per_s", both.groups[0].deliveries as f64 / seconds);
    report.add("loud_deliveries_per_s", both.groups[1].deliveries as f64 / seconds);
    report.add_latency("loud_latency", &both.groups[1].latency);
    let deliveries = both.groups.iter().map(|group| group.deliveries).sum();
    report.add_load(&both.processors, &server, "delivery", deliveries);
    Ok(report)
}
