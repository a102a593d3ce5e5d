//! `compare`: two servers in turns, A B A B, each started for its round and ended after it.
//!
//! The measuring itself is a process of its own (this very program), so that it can stand on a core of its own and one round
//! leaves nothing behind for the next.

mod summary;

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::machine::family;
use crate::target::Target;

/// Core of the server with `--pin`.
const SERVER_CORE: usize = 0;
/// Core of the generator with `--pin`.
const GENERATOR_CORE: usize = 1;
/// Pause between two looks at a port or a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time that a server has to end by itself after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of a server's log that are shown when it doesn't come up.
const LOG_BYTES_SHOWN: usize = 2_000;
/// Exit code after SIGINT and the like.
const EXIT_INTERRUPTED: i32 = 130;

#[derive(Args, Clone, Debug)]
pub(crate) struct Compare {
    /// Command that starts server A; run by `sh -c`, ended with all that it started.
    #[arg(long)]
    a: String,
    /// Command that starts server B.
    #[arg(long)]
    b: String,
    /// What is measured: fanout, publish, idle, presence, churn, client-events, slow or tenants.
    #[arg(long)]
    scenario: String,
    /// Times that each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Server on core 0, generator on core 1.
    #[arg(long)]
    pin: bool,
    /// Names in the table.
    #[arg(long, value_delimiter = ',', default_values = ["A", "B"])]
    names: Vec<String>,
    /// Seconds that a server has to take its first publish.
    #[arg(long, default_value_t = 30)]
    ready_seconds: u64,
    #[command(flatten)]
    target: Target,
    /// Address of server B, if it is another one.
    #[arg(long)]
    url_b: Option<String>,
    /// The app's id on server B, if it is another one.
    #[arg(long)]
    app_id_b: Option<String>,
    /// The app's key on server B.
    #[arg(long)]
    key_b: Option<String>,
    /// The app's secret on server B.
    #[arg(long)]
    secret_b: Option<String>,
    /// Behind `--`: arguments of the scenario, such as -n 1000 --size 64.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Process groups of servers that run and their logs, for the case that this program is told to end.
static RUNNING: Mutex<Vec<(i32, PathBuf)>> = Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<(i32, PathBuf)>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lets SIGINT, SIGTERM and SIGHUP end the servers first.
fn end_with_us() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            for (group, log) in running().iter() {
                let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
                let _ = std::fs::remove_file(log);
            }
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

/// A server that was started here; ended when dropped.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(command: &str, pin: bool, log: PathBuf) -> anyhow::Result<Server> {
        let mut shell = if pin {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &SERVER_CORE.to_string(), "sh", "-c", command]);
            taskset
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", command]);
            shell
        };
        let out = File::create(&log).with_context(|| format!("{} can't be written", log.display()))?;
        let child = shell
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .context(if pin { "taskset (of util-linux) can't be run" } else { "sh can't be run" })?;
        running().push((child.id() as i32, log.clone()));
        Ok(Server { child, log })
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_BYTES_SHOWN);
        String::from_utf8_lossy(&text[from..]).trim().to_owned()
    }

    /// Waits until it takes a publish.
    fn ready(&mut self, target: &Target, seconds: u64) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}) before it was ready:\n{}", self.tail());
            }
            match target.try_publish() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    return Err(error
                        .context(format!("the server was not ready within {seconds} s:\n{}", self.tail())));
                }
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.pid());
        let until = Instant::now() + END_WITHIN;
        let _ = killpg(group, Signal::SIGTERM);
        // The group may outlive the shell that leads it: it is gone when no signal finds it.
        loop {
            let _ = self.child.try_wait();
            if killpg(group, None).is_err() {
                break;
            }
            if Instant::now() > until {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        running().retain(|(pid, _)| *pid != group.as_raw());
        let _ = std::fs::remove_file(&self.log);
    }
}

impl Compare {
    fn side(&self, index: usize) -> Target {
        let mut target = self.target.clone();
        if index == 1 {
            let other = |own: &mut String, b: &Option<String>| {
                if let Some(b) = b {
                    own.clone_from(b);
                }
            };
            if self.url_b.is_some() {
                target.http_url = None;
            }
            other(&mut target.url, &self.url_b);
            other(&mut target.app_id, &self.app_id_b);
            other(&mut target.key, &self.key_b);
            other(&mut target.secret, &self.secret_b);
        }
        target
    }

    /// One round of one side.
    fn round(&self, index: usize, round: usize) -> anyhow::Result<Value> {
        let target = self.side(index);
        let address = target.addresses()?.socket;
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            bail!("something answers on {address} already, before {} was started", self.names[index]);
        }
        let command = if index == 0 { &self.a } else { &self.b };
        let log = std::env::temp_dir().join(format!("fanfare-bench-{}-{index}.log", std::process::id()));
        let mut server = Server::start(command, self.pin, log)?;
        server.ready(&target, self.ready_seconds)?;

        let program = std::env::current_exe().context("this program can't be found again")?;
        let mut generator = if self.pin {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &GENERATOR_CORE.to_string()]).arg(program);
            taskset
        } else {
            Command::new(program)
        };
        generator.args(["bench", &self.scenario, "--json"]);
        let pids: Vec<String> = family(server.pid()).iter().map(i32::to_string).collect();
        let connect_seconds = target.connect_seconds.to_string();
        for (flag, value) in [
            ("--url", &target.url),
            ("--app-id", &target.app_id),
            ("--key", &target.key),
            ("--server-pid", &pids.join(",")),
            ("--connect-seconds", &connect_seconds),
            ("--label", &format!("{} {}", self.names[index], round + 1)),
        ] {
            generator.args([flag, value]);
        }
        if let Some(url) = &target.http_url {
            generator.args(["--http-url", url]);
        }
        if let Some(commit) = &target.commit {
            generator.args(["--commit", commit]);
        }
        let output = generator
            .args(&self.args)
            .env("FANFARE_APP_SECRET", &target.secret)
            .stdin(Stdio::null())
            .output()
            .context("the generator can't be run")?;
        match serde_json::from_slice(&output.stdout) {
            Ok(result) => Ok(result),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}

/// Measures both in turns; `false` if something came out wrong.
pub(crate) fn run(args: &Compare) -> anyhow::Result<bool> {
    ensure!(args.rounds > 0, "--rounds is at least 1");
    ensure!(args.names.len() == 2, "--names are two, with a comma");
    ensure!(args.scenario != "compare", "--scenario is one that measures");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(!args.pin || cores > GENERATOR_CORE, "--pin needs two cores, this process may use {cores}");
    end_with_us()?;
    let mut results: [Vec<Value>; 2] = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        for (index, results) in results.iter_mut().enumerate() {
            let name = &args.names[index];
            let result = args.round(index, round).with_context(|| format!("{name}, round {}", round + 1))?;
            if args.target.json {
                println!("{result}");
            } else {
                eprintln!(
                    "{name}, round {} of {}: {}",
                    round + 1,
                    args.rounds,
                    if result["ok"] == true { "right" } else { "WRONG" }
                );
            }
            results.push(result);
        }
    }
    let rows = summary::rows(&results);
    if args.target.json {
        println!(
            "{}",
            json!({
                "tool": concat!("fanfare bench ", env!("CARGO_PKG_VERSION")),
                "compare": args.scenario,
                "names": args.names,
                "rounds": args.rounds,
                "ok": summary::all_right(&results),
                "rows": rows.iter().map(summary::Row::json).collect::<Vec<_>>(),
                "parameters": results[0][0]["parameters"],
                "machine": results[0][0]["machine"],
            })
        );
    } else {
        print!("{}", summary::table(&args.scenario, &args.names, args.rounds, &rows));
    }
    for (name, results) in args.names.iter().zip(&results) {
        for result in results.iter().filter(|result| result["ok"] != true) {
            eprintln!(
                "{name}: {}: wrong: {}",
                result["label"].as_str().unwrap_or_default(),
                result["faults"]
            );
        }
    }
    Ok(summary::all_right(&results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ended_with_all_that_it_started() {
        let log = std::env::temp_dir().join(format!("fanfare-bench-test-{}.log", std::process::id()));
        let server =
            Server::start("echo here; cat /dev/zero > /dev/null & wait", false, log.clone()).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while (family(server.pid()).len() < 2 || server.tail() != "here") && Instant::now() < until {
            std::thread::yield_now();
        }
        let all = family(server.pid());
        assert_eq!(all.len(), 2, "the shell and what it started");
        drop(server);
        let gone = |pid: &i32| nix::sys::signal::kill(Pid::from_raw(*pid), None).is_err();
        while !all.iter().all(gone) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(all.iter().all(gone));
        assert!(!log.exists());
    }
}
