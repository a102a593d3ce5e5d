//! `fanfare doctor`: asks `doctor` and shows the answers, to people as tables and to programs as one JSON object. Exit code: 0
//! all is well, 1 a limit is too low or a check failed, 2 it could not be asked.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::doctor::assumed::{
    DESCRIPTORS_BESIDE, KERNEL_BYTES_PER_SOCKET, PROCESS_BYTES_BESIDE, PROCESS_BYTES_PER_SOCKET,
    PROCESS_BYTES_PER_TLS_SOCKET, bytes_per_socket,
};
use crate::doctor::lift::{self, Line};
use crate::doctor::limits::{self, Holds, Limit, Terms, Which};
use crate::doctor::outside::{self, Check, Credentials, State};
use crate::doctor::readings::Readings;
use crate::doctor::{bytes, grouped};

/// A question could not be asked at all.
const EXIT_UNASKED: u8 = 2;

/// Without a URL, the limits of this machine. With one, the way to that server; its limits too if --for or --pid is given.
#[derive(Args)]
pub(super) struct Doctor {
    /// A running server, such as https://ws.example.com: check it from here.
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// Wanted sockets: exit 1 when a limit is below, and say what to change.
    #[arg(long = "for", value_name = "N")]
    wanted: Option<u64>,
    /// A running server: its limits and open descriptors, instead of those of this shell.
    #[arg(long)]
    pid: Option<u32>,
    /// Reckon with connections whose TLS ends in the server itself.
    #[arg(long)]
    tls: bool,
    /// Addresses from which a reverse proxy connects: count its ports as a limit too.
    #[arg(long, value_name = "N")]
    proxy_addresses: Option<u64>,
    /// An app's id, for an event there and back.
    #[arg(long, env = "FANFARE_APP_ID")]
    app_id: Option<String>,
    /// An app's key, for a connection.
    #[arg(long, env = "FANFARE_APP_KEY")]
    key: Option<String>,
    /// The app's secret.
    #[arg(long, env = "FANFARE_APP_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// The limits as they were found.
struct Found {
    of: Readings,
    terms: Terms,
    all: Vec<Limit>,
    wanted: Option<u64>,
}

impl Doctor {
    pub(super) fn run(&self) -> ExitCode {
        let answers = self.limits().and_then(|found| Ok((found, self.checks()?)));
        let (found, checks) = match answers {
            Ok(answers) => answers,
            Err(error) => {
                eprintln!("fanfare doctor: {error}");
                return EXIT_UNASKED.into();
            }
        };
        let enough = found.as_ref().is_none_or(|found| found.too_low().next().is_none());
        let reached = checks.iter().flatten().all(|check| check.state != State::Failed);
        if self.json {
            let checks = checks.as_ref().map(|all| all.iter().map(check_json).collect::<Vec<_>>());
            let limits = found.as_ref().map(Found::json);
            println!("{}", json!({ "ok": enough && reached, "limits": limits, "checks": checks }));
        } else {
            // The sentence that counts comes last; with both, that is the way to the server.
            if let Some(found) = &found {
                print!("{}", found.text());
            }
            if let Some(checks) = &checks {
                print!("{}{}", if found.is_some() { "\n" } else { "" }, checks_text(checks));
            }
        }
        if enough && reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn limits(&self) -> Result<Option<Found>, String> {
        let asked = self.server.is_none() || self.wanted.is_some() || self.pid.is_some();
        if !asked {
            return Ok(None);
        }
        if !cfg!(target_os = "linux") {
            let text =
                "the limits of this system are not known: they are read from /proc, which Linux alone has";
            // With a URL there is something to check all the same.
            return if self.server.is_some() {
                eprintln!("{text}");
                Ok(None)
            } else {
                Err(text.to_owned())
            };
        }
        let of = Readings::take(self.pid)?;
        let terms = Terms { tls: self.tls, proxy_addresses: self.proxy_addresses };
        let all = limits::limits(&of, terms);
        Ok(Some(Found { of, terms, all, wanted: self.wanted }))
    }

    fn checks(&self) -> Result<Option<Vec<Check>>, String> {
        let Some(url) = &self.server else { return Ok(None) };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let app = Credentials {
            id: given(&self.app_id),
            key: given(&self.key),
            secret: given(&self.secret).map(|secret| realtime::app::Secret::new(&secret)),
        };
        outside::check(url, &app).map(Some)
    }
}

impl Found {
    /// The limits that are below what is wanted.
    fn too_low(&self) -> impl Iterator<Item = &Limit> {
        self.all.iter().filter(|limit| self.wanted.is_some_and(|wanted| limit.is_below(wanted)))
    }

    /// For how many sockets the lines are written.
    fn aim(&self) -> u64 {
        self.wanted.unwrap_or_else(|| lift::round_above(limits::first(&self.all).map_or(0, |(_, stop)| stop)))
    }

    fn lines(&self, limit: &Limit) -> Vec<Line> {
        lift::lines(limit, self.aim(), &self.of, self.terms)
    }

    fn title(&self) -> String {
        let process = &self.of.process;
        match (process.pid, process.descriptors) {
            (None, _) => {
                "Limits of this shell and of what it starts (of a running server: --pid $(pidof fanfare))"
                    .to_owned()
            }
            (Some(pid), None) => format!(
                "Limits of process {pid} ({}); as root, its open sockets are counted too",
                process.command
            ),
            (Some(pid), Some((all, sockets))) => format!(
                "Limits of process {pid} ({}), which has {} descriptors open, {} of them sockets",
                process.command,
                grouped(all),
                grouped(sockets)
            ),
        }
    }

    fn assumptions(&self) -> Vec<String> {
        let each = bytes_per_socket(self.terms.tls);
        let process = if self.terms.tls { PROCESS_BYTES_PER_TLS_SOCKET } else { PROCESS_BYTES_PER_SOCKET };
        let tls = match self.terms.tls {
            true => "with TLS that ends in the server".to_owned(),
            false => format!("{} where TLS ends in the server: --tls", bytes(bytes_per_socket(true))),
        };
        vec![
            format!(
                "a socket takes {}: {} of the process, {} of the kernel ({tls}); the server itself {}",
                bytes(each),
                bytes(process),
                bytes(KERNEL_BYTES_PER_SOCKET),
                bytes(PROCESS_BYTES_BESIDE)
            ),
            format!("a socket is one descriptor; the server has up to {DESCRIPTORS_BESIDE} others"),
        ]
    }

    /// What the range of local ports means.
    fn ports(&self) -> Option<String> {
        let ports = grouped(self.of.ports.filter(|_| !self.of.process.other_network)?);
        Some(format!(
            "The server needs one local port for all its clients. The range limits a client's side, such as a reverse proxy\n\
             or a load generator: one source address has {ports} connections to one server address and port."
        ))
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.title());
        for limit in &self.all {
            let holds = match &limit.holds {
                Holds::Sockets(sockets) => format!("{:>13} sockets", grouped(*sockets)),
                Holds::Any => "    any number".to_owned(),
                Holds::Aside(_, "") => String::new(),
                Holds::Aside(number, of) => format!("{:>13} {of}", grouped(*number)),
                Holds::Enough(true) => "        enough".to_owned(),
                Holds::Enough(false) => "    NOT ENOUGH".to_owned(),
                Holds::Unknown => String::new(),
            };
            let mark = match self.wanted {
                None => "",
                Some(wanted) if limit.is_below(wanted) => "LOW   ",
                Some(_) => "      ",
            };
            let (name, _) = limit.which.names();
            out += &format!("{mark}{name:<27}{:>14}  {holds:<32}  {}\n", limit.value, limit.about);
        }
        out += "\nAssumed: ";
        out += &self.assumptions().join(";\n         ");
        out += ".\n";
        let unknown: Vec<_> =
            self.all.iter().filter(|l| l.holds == Holds::Unknown).map(|l| l.which.names().0).collect();
        if !unknown.is_empty() {
            out += &format!("Not known, and so not counted: {}.\n", unknown.join(", "));
        }
        if let Some(ports) = self.ports() {
            out += &format!("{ports}\n");
        }
        let mut raised: Vec<_> =
            self.all.iter().map(|limit| (limit, self.lines(limit))).filter(|(_, l)| !l.is_empty()).collect();
        // A process can't be given more than any may have, so that line is pasted first.
        raised.sort_by_key(|(limit, _)| limit.which != Which::NrOpen);
        if !raised.is_empty() {
            out += &format!("\nTo hold {} sockets:\n", grouped(self.aim()));
        }
        for (limit, lines) in raised {
            out += &format!("  {}\n", limit.which.names().0);
            lines.iter().for_each(|line| out += &format!("    {:<52}  # {}\n", line.text, line.about));
        }
        out += &format!("\n{}\n", self.last_line());
        out
    }

    fn last_line(&self) -> String {
        let Some((limit, sockets)) = limits::first(&self.all) else {
            return "No limit of this machine is known.".to_owned();
        };
        let stop = format!(
            "This machine stops at {} sockets: {} ({}).",
            grouped(sockets),
            limit.which.names().0,
            limit.value
        );
        let Some(wanted) = self.wanted else { return stop };
        match self.too_low().find(|limit| limit.holds == Holds::Enough(false)) {
            Some(low) => {
                format!("{} ({}) is too low for the server itself. {stop}", low.which.names().0, low.value)
            }
            None if sockets < wanted => format!("{} sockets do not fit. {stop}", grouped(wanted)),
            None => format!("{} sockets fit. {stop}", grouped(wanted)),
        }
    }

    fn json(&self) -> Value {
        let rows = self.all.iter().map(|limit| {
            let (name, id) = limit.which.names();
            let (sockets, known) = match limit.holds {
                Holds::Sockets(sockets) => (Some(sockets), true),
                Holds::Unknown => (None, false),
                Holds::Any | Holds::Aside(..) | Holds::Enough(_) => (None, true),
            };
            let number = match limit.holds {
                Holds::Aside(number, of) if !of.is_empty() => json!({ "number": number, "of": of }),
                _ => Value::Null,
            };
            json!({
                "id": id, "name": name, "value": limit.value, "sockets": sockets, "known": known, "aside": number,
                "enough": self.wanted.map(|wanted| !limit.is_below(wanted)), "about": limit.about,
                "lift": self.lines(limit).iter().map(|line| json!({ "line": line.text, "about": line.about })).collect::<Vec<_>>(),
            })
        });
        let first = limits::first(&self.all);
        let process = &self.of.process;
        json!({
            "sockets": first.map(|(_, sockets)| sockets),
            "first": first.map(|(limit, _)| limit.which.names().1),
            "wanted": self.wanted,
            "lifted_for": self.aim(),
            "pid": process.pid,
            "descriptors": process.descriptors.map(|(all, sockets)| json!({ "all": all, "sockets": sockets })),
            "rows": rows.collect::<Vec<_>>(),
            "assumptions": self.assumptions(),
        })
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Good => "ok",
        State::Noted => "note",
        State::Failed => "failed",
        State::Skipped => "skipped",
    }
}

fn check_json(check: &Check) -> Value {
    let ms = check.ms.map(|ms| (ms * 10.0).round() / 10.0);
    json!({ "id": check.name, "state": state_name(check.state), "text": check.text, "ms": ms, "fix": check.fix })
}

fn checks_text(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let shown = match check.state {
            State::Failed => "FAILED",
            other => state_name(other),
        };
        let ms = check.ms.map(|ms| format!(", {ms:.1} ms")).unwrap_or_default();
        out += &format!("{:<10} {shown:<8} {}{ms}\n", check.name, check.text);
        check.fix.iter().for_each(|line| out += &format!("{:20}{line}\n", ""));
    }
    let failed: Vec<&str> =
        checks.iter().filter(|check| check.state == State::Failed).map(|check| check.name).collect();
    out += &match failed.as_slice() {
        [] => "\nThe server is reached, and nothing on the way is broken.\n".to_owned(),
        some => format!("\nBroken: {}.\n", some.join(", ")),
    };
    out
}
