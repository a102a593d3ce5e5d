//! `presence`: many join one presence channel at once, until each has seen everyone; then half of them leave, until each of the
//! others has seen that. What every single member knows of every other one is kept and checked.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::histogram::Histogram;
use crate::machine::{Load, Reading};
use crate::net::{Driver, Net, State};
use crate::pusher::{self, Said};
use crate::report::Report;
use crate::target::Target;
use crate::window::nanoseconds;

/// Letters of a member's id: all have the same length, so that frames about them differ in the id only.
const ID_BYTES: usize = 7;
/// Connections being made at the same time.
const AT_ONCE: usize = 128;
/// After this many failures the run ends.
const FAILURES_MAX: u64 = 20;
/// Time for frames that came too often to show themselves, once all is seen.
const AFTER_NS: u64 = 200_000_000;

#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Presence {
    /// Members.
    #[arg(short, long, default_value_t = 500)]
    pub(crate) n: usize,
    /// Name of the channel.
    #[arg(long, default_value = "presence-bench")]
    pub(crate) channel: String,
    /// Seconds after which each of the two parts is given up.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) limit: f64,
}

fn id_of(member: usize) -> String {
    format!("m{member:06}")
}

fn member_of(id: &[u8]) -> Option<usize> {
    let digits = id.strip_prefix(b"m").filter(|digits| digits.len() == ID_BYTES - 1)?;
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// A frame about a member, with gaps where its id stands: learnt by parsing the first one, compared byte by byte after.
#[derive(Debug)]
struct Template {
    parts: Vec<Vec<u8>>,
    length: usize,
}

impl Template {
    fn learn(text: &[u8], id: &str) -> Template {
        let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
        while at + id.len() <= text.len() {
            if text[at..].starts_with(id.as_bytes()) {
                parts.push(text[from..at].to_vec());
                from = at + id.len();
                at = from;
            } else {
                at += 1;
            }
        }
        parts.push(text[from..].to_vec());
        Template { parts, length: text.len() }
    }

    /// The member that a frame of this very form is about.
    #[inline]
    fn member(&self, text: &[u8]) -> Option<usize> {
        if text.len() != self.length {
            return None;
        }
        let (mut rest, mut id) = (text, None);
        for (index, part) in self.parts.iter().enumerate() {
            rest = rest.strip_prefix(&part[..])?;
            if index + 1 < self.parts.len() {
                let (found, behind) = rest.split_at_checked(ID_BYTES)?;
                if id.is_some_and(|id| id != found) {
                    return None;
                }
                (id, rest) = (Some(found), behind);
            }
        }
        member_of(id?)
    }
}

struct Members<'a> {
    args: &'a Presence,
    next: usize,
    waiting: usize,
    /// Whom each member knows, a bit each.
    known: Vec<u64>,
    words: usize,
    knows: Vec<usize>,
    /// Members that must be seen: all of them, then those that stayed.
    staying_from: usize,
    wanted: usize,
    complete: usize,
    done_at: Option<u64>,
    /// Of joining and of leaving.
    templates: [Option<Template>; 2],
    lists: u64,
    frames: u64,
    doubled: u64,
    invalid: u64,
    failed: u64,
    joined: Histogram,
}

impl Members<'_> {
    fn set(&mut self, member: usize, other: usize, there: bool) {
        if other >= self.args.n {
            self.invalid += 1;
            return;
        }
        let (word, bit) = (member * self.words + other / 64, 1u64 << (other % 64));
        if (self.known[word] & bit != 0) == there {
            self.doubled += 1;
            return;
        }
        self.known[word] ^= bit;
        if there {
            self.knows[member] += 1;
        } else {
            self.knows[member] -= 1;
        }
        if self.knows[member] == self.wanted && member >= self.staying_from {
            self.complete += 1;
        }
    }

    fn does_know(&self, member: usize, other: usize) -> bool {
        self.known[member * self.words + other / 64] >> (other % 64) & 1 == 1
    }

    fn list(&mut self, id: usize, data: &Value) {
        self.lists += 1;
        let presence = &data["presence"];
        let ids: Vec<Option<usize>> = presence["ids"]
            .as_array()
            .map(|ids| ids.iter().map(|id| member_of(id.as_str()?.as_bytes())).collect())
            .unwrap_or_default();
        let named = presence["hash"].as_object().is_some_and(|hash| {
            hash.len() == ids.len()
                && ids.iter().flatten().all(|member| {
                    hash.get(&id_of(*member)).is_some_and(|info| info["name"] == id_of(*member))
                })
        });
        if presence["count"].as_u64() != Some(ids.len() as u64) || !named {
            self.invalid += 1;
        }
        for other in ids {
            match other {
                // A server may tell of a join just before the list that has it already.
                Some(other) if other < self.args.n && self.does_know(id, other) => {}
                Some(other) => self.set(id, other, true),
                None => self.invalid += 1,
            }
        }
    }

    fn fail(&mut self) {
        self.failed += 1;
        self.waiting = self.waiting.saturating_sub(1);
    }
}

impl Driver for Members<'_> {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        for (template, joined) in [(0, true), (1, false)] {
            let form = &self.templates[template];
            if let Some(member) = form.as_ref().and_then(|form| form.member(text)) {
                self.frames += 1;
                return self.set(id, member, joined);
            }
        }
        match pusher::read(text) {
            Said::Established { socket_id } => {
                let text = net.apps[0].subscribe(&socket_id, &self.args.channel, Some(&id_of(id)));
                net.send(id, text.as_bytes());
            }
            Said::Subscribed { channel, data } if channel == self.args.channel => {
                self.waiting = self.waiting.saturating_sub(1);
                self.joined.record(now - net.sockets[id].begun);
                self.list(id, &data);
            }
            Said::Member { channel, joined, user_id } if channel == self.args.channel => {
                self.frames += 1;
                match member_of(user_id.as_bytes()) {
                    Some(member) => {
                        self.templates[usize::from(!joined)] = Some(Template::learn(text, &user_id));
                        self.set(id, member, joined);
                    }
                    None => self.invalid += 1,
                }
            }
            Said::Error { code, message } => {
                net.trouble.note(format!("error {}: {message}", code.unwrap_or_default()));
                self.fail();
            }
            Said::Ping => net.send(id, pusher::PONG),
            Said::Aside => {}
            _ => self.invalid += 1,
        }
    }

    fn closed(&mut self, _: &mut Net, _: usize, _: Option<u16>) {
        self.fail();
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        while self.next < self.args.n && self.waiting < AT_ONCE {
            self.waiting += 1;
            self.next += 1;
            if let Err(error) = net.connect(self.next - 1, 0, None) {
                net.trouble.note(format!("connecting: {error}"));
                self.fail();
            }
        }
        if self.failed >= FAILURES_MAX {
            return None;
        }
        if self.complete == self.args.n - self.staying_from {
            let done = *self.done_at.get_or_insert(now);
            return (now < done + AFTER_NS).then_some(done + AFTER_NS);
        }
        Some(now + 1_000_000_000)
    }
}

/// Measures.
pub(crate) fn run(args: &Presence, target: &Target) -> anyhow::Result<Report> {
    ensure!(args.n > 1 && args.n < 1_000_000, "-n is from 2 to 999,999");
    ensure!(args.channel.starts_with("presence-"), "--channel begins with presence-");
    ensure!(args.limit > 0.0, "--limit is more than 0");
    let (n, server) = (args.n, target.server()?);
    let mut net = target.net(vec![target.app()], n, 0)?;
    let words = n.div_ceil(64);
    let mut members = Members {
        args,
        next: 0,
        waiting: 0,
        known: vec![0; words * n],
        words,
        knows: vec![0; n],
        staying_from: 0,
        wanted: n,
        complete: 0,
        done_at: None,
        templates: [None, None],
        lists: 0,
        frames: 0,
        doubled: 0,
        invalid: 0,
        failed: 0,
        joined: Histogram::default(),
    };
    let mut report = Report::new("presence", super::parameters(target, args));

    let first = Reading::take(&server, net.now());
    net.run(&mut members, first.at + nanoseconds(args.limit))?;
    let end = members.done_at.unwrap_or_else(|| net.now());
    let load = Load::between(&first, &Reading::take(&server, end.max(first.at + 1)));
    let seconds = (end - first.at) as f64 / 1e9;
    report.add("join_s", seconds);
    report.add("joins_per_s", n as f64 / seconds);
    report.add("join_frames", members.frames as f64);
    report.add_latency("subscribed", &members.joined);
    report.add_load(&load, &server, "join", n as u64);
    let unknown: usize =
        (0..n).map(|member| (0..n).filter(|other| !members.does_know(member, *other)).count()).sum();
    report.fault("pairs of which one never knew of the other", unknown as u64);

    if unknown == 0 && members.failed == 0 {
        let leaving = n / 2;
        members.staying_from = leaving;
        members.wanted = n - leaving;
        members.complete = 0;
        members.done_at = None;
        members.frames = 0;
        let begun = net.now();
        (0..leaving).for_each(|id| net.leave(id));
        net.run(&mut members, begun + nanoseconds(args.limit))?;
        let end = members.done_at.unwrap_or_else(|| net.now());
        report.add("leave_s", (end - begun) as f64 / 1e9);
        report.add("leave_frames", members.frames as f64);
        let ghosts: usize = (leaving..n)
            .map(|member| (0..n).filter(|o| members.does_know(member, *o) != (*o >= leaving)).count())
            .sum();
        report.fault("pairs of which one never saw the other leave", ghosts as u64);
    }
    (0..n)
        .filter(|id| net.sockets[*id].state == State::Open)
        .collect::<Vec<_>>()
        .iter()
        .for_each(|id| net.leave(*id));
    report.fault("doubled", members.doubled);
    report.fault("invalid", members.invalid);
    report.fault("failed members", members.failed);
    report.add_trouble(&net.trouble);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_frames_that_differ_in_the_id_only() {
        let frame = |a: &str, b: &str| {
            format!(
                r#"{{"event":"pusher_internal:member_added","data":"{{\"user_id\":\"{a}\",\"user_info\":\"{b}\"}}"}}"#
            )
        };
        let template = Template::learn(frame("m000007", "m000007").as_bytes(), "m000007");
        assert_eq!(template.member(frame("m000123", "m000123").as_bytes()), Some(123));
        assert_eq!(template.member(frame("m000123", "m000124").as_bytes()), None, "two ids");
        assert_eq!(template.member(frame("m00012x", "m00012x").as_bytes()), None, "no id");
        assert_eq!(template.member(frame("m000123", "m000123").replace("added", "addex").as_bytes()), None);
        assert_eq!(template.member(b""), None);
    }
}
