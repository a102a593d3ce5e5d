//! `tenants`: one app at full load beside another that publishes at its own pace. The quiet one is measured twice, first alone.
//!
//! Each app's clients have a thread of the tool: on one, the quiet clients would wait behind what the loud ones receive, and the
//! tool would measure itself. The loud thread gives its processor away at each turn, so that the quiet one never waits for it
//! either.

use std::sync::mpsc;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{check_size, check_times};
use crate::app::App;
use crate::load::{Group, Results, Run, measure, prepare};
use crate::machine::Server;
use crate::net::Trouble;
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

/// Seconds for which the loud app goes on beyond the time that the quiet one takes.
const LOUD_LONGER_SECONDS: f64 = 2.0;

/// Measures.
pub(crate) fn run(args: &Tenants, target: &Target) -> anyhow::Result<Report> {
    check_size(args.size)?;
    check_times(args.warmup, args.secs)?;
    ensure!(args.n > 0 && args.quiet_n > 0, "both apps have at least one subscriber");
    ensure!(args.publishers > 0 && args.window > 0, "--publishers and --window are at least 1");
    ensure!(args.quiet_rate > 0.0, "--quiet-rate is more than 0");
    ensure!(args.quiet_app_id != target.app_id, "--quiet-app-id is another app than --app-id");
    let quiet_app = || vec![App::new(&args.quiet_app_id, &args.quiet_key, &args.quiet_secret)];
    let quiet = Group {
        subscribers: args.quiet_n,
        channels: 1,
        publishers: 1,
        window: 1,
        rate: args.quiet_rate,
        ..Group::default()
    };
    let loud = Group {
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

    let of_quiet = |report: &mut Report| -> anyhow::Result<Results> {
        let mut net = target.net(quiet_app(), args.quiet_n, 1)?;
        let groups = std::slice::from_ref(&quiet);
        let results = measure(&mut net, groups, run, &server, target.connect_seconds)?;
        results.report_faults(report);
        report.add_trouble(&net.trouble);
        Ok(results)
    };
    let alone = of_quiet(&mut report)?;
    let (ready, loud_is_ready) = mpsc::channel();
    let (beside, loud, trouble) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let loud = scope.spawn(|| {
            let longer = args.warmup + args.secs + LOUD_LONGER_SECONDS;
            load_up(target, &loud, Run { seconds: longer, ..run }, &server, ready)
        });
        // If it fails before, the channel closes, and its own error is the one to tell.
        let beside = loud_is_ready.recv().ok().map(|()| of_quiet(&mut report));
        let (loud, trouble) =
            loud.join().map_err(|_| anyhow::anyhow!("the loud app's thread panicked"))??;
        let beside = beside.transpose()?;
        Ok((beside.ok_or_else(|| anyhow::anyhow!("the loud app never began"))?, loud, trouble))
    })?;
    loud.report_faults(&mut report);
    report.add_trouble(&trouble);

    report.add_latency("quiet_alone_latency", &alone.groups[0].latency);
    report.add_latency("quiet_beside_latency", &beside.groups[0].latency);
    for part in ["p50", "p99"] {
        let of = |name: &str| report.get(&format!("quiet_{name}_latency_{part}_us")).unwrap_or(0.0);
        let ratio = of("beside") / of("alone").max(0.001);
        report.add(format!("quiet_{part}_ratio"), ratio);
    }
    let rate = |results: &Results| results.groups[0].deliveries as f64 / results.processors.seconds;
    report.add("quiet_deliveries_per_s", rate(&beside));
    report.add("loud_deliveries_per_s", rate(&loud));
    report.add_latency("loud_latency", &loud.groups[0].latency);
    // The quiet app's few deliveries are in the processor time and not in the number.
    report.add_load(&loud.processors, &server, "delivery", loud.groups[0].deliveries);
    Ok(report)
}

/// Runs the loud app; says by `ready` when all its clients are there.
fn load_up(
    target: &Target,
    loud: &Group,
    run: Run,
    server: &Server,
    ready: mpsc::Sender<()>,
) -> anyhow::Result<(Results, Trouble)> {
    let mut net = target.net(vec![target.app()], loud.subscribers, loud.publishers)?;
    net.yields = true;
    let load = prepare(&mut net, std::slice::from_ref(loud), run, server, target.connect_seconds)?;
    let _ = ready.send(());
    let results = load.run(&mut net, run)?;
    Ok((results, net.trouble))
}
