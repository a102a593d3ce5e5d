//! `fanfare bench`: a load tool against any server that speaks the Pusher protocol.
//!
//! One thread drives all clients and publishers over raw non-blocking sockets; every delivered frame is checked (event, channel,
//! every payload byte, its place in its stream). What is measured and how to measure fairly: docs/BENCH.md. It knows nothing of
//! the server's own code.

mod app;
mod compare;
mod crowd;
mod frame;
mod histogram;
mod http;
mod ledger;
mod load;
mod machine;
mod net;
mod payload;
mod pusher;
mod report;
mod scenario;
mod target;
mod tls;
mod window;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::scenario::{churn, client_events, fanout, idle, presence, publish, slow, soak, tenants};
use crate::target::Target;

/// Measured, and something came out wrong (lost, doubled, swapped, invalid, refused, closed).
const EXIT_WRONG: u8 = 1;
/// Could not be measured.
const EXIT_FAILED: u8 = 2;

#[derive(Parser)]
#[command(
    name = "fanfare bench",
    version,
    about = "Measures a server that speaks the Pusher protocol, and checks everything that it delivers.",
    after_help = "Exit code: 0 all is right, 1 something arrived wrong or not at all, 2 not measured."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Measured<A: clap::Args> {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    args: A,
}

#[derive(Subcommand)]
enum Command {
    /// What is published reaches many subscribers.
    Fanout(Measured<fanout::Fanout>),
    /// Requests a second of the HTTP API.
    Publish(Measured<publish::Publish>),
    /// Memory of connections that do nothing, idle and subscribed, at several counts.
    Idle(Measured<idle::Idle>),
    /// Many join one presence channel until each knows everyone; half of them leave.
    Presence(Measured<presence::Presence>),
    /// Connect, subscribe, leave, over and over.
    Churn(Measured<churn::Churn>),
    /// Members of private channels trigger events.
    ClientEvents(Measured<client_events::ClientEvents>),
    /// Some subscribers stop reading; what do the others notice?
    Slow(Measured<slow::Slow>),
    /// One app at full load; what does another one notice?
    Tenants(Measured<tenants::Tenants>),
    /// Minutes of load, churn, stalled readers and faults; nothing is lost, memory and descriptors stay flat.
    Soak(Measured<soak::Soak>),
    /// Two servers in turns, A B A B: medians, ratio and spread of a scenario.
    Compare(compare::Compare),
}

/// Runs the command of these arguments (without the program's name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = std::iter::once(OsString::from("fanfare bench")).chain(args);
    match Cli::parse_from(args).command {
        Command::Fanout(m) => show(&m.target, fanout::run(&m.args, &m.target)),
        Command::Publish(m) => show(&m.target, publish::run(&m.args, &m.target)),
        Command::Idle(m) => show(&m.target, idle::run(&m.args, &m.target)),
        Command::Presence(m) => show(&m.target, presence::run(&m.args, &m.target)),
        Command::Churn(m) => show(&m.target, churn::run(&m.args, &m.target)),
        Command::ClientEvents(m) => show(&m.target, client_events::run(&m.args, &m.target)),
        Command::Slow(m) => show(&m.target, slow::run(&m.args, &m.target)),
        Command::Tenants(m) => show(&m.target, tenants::run(&m.args, &m.target)),
        Command::Soak(m) => show(&m.target, soak::run(&m.args, &m.target)),
        Command::Compare(args) => match compare::run(&args) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => EXIT_WRONG.into(),
            Err(error) => failed(&error),
        },
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("fanfare bench: {error:#}");
    EXIT_FAILED.into()
}

fn show(target: &Target, outcome: anyhow::Result<Report>) -> ExitCode {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return failed(&error),
    };
    if target.json {
        println!("{}", report.json(&target.label, target.commit.as_deref()));
    } else {
        print!("{}", report.table());
    }
    if report.is_good() { ExitCode::SUCCESS } else { EXIT_WRONG.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
