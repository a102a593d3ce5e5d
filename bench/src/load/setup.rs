//! Lays out the sockets, streams and slots of all groups, brings them up and measures.

use std::collections::BTreeMap;

use super::outcome::{Outcome, Results, Stalled};
use super::{
    Base, DRAIN_NS, EVENT, Ending, Group, Load, Publisher, RESUME_NS, Run, SLACK_NS, STALLED_RECEIVE_BYTES,
};
use crate::crowd::{Place, bring_up};
use crate::ledger::{Flight, Ledger};
use crate::machine::Server;
use crate::net::Net;
use crate::payload::{Checker, Payload};
use crate::window::{Window, nanoseconds};

/// Brings up the subscribers of all groups on a fresh generator, lets the stalled ones stall, and measures.
pub(crate) fn measure(
    net: &mut Net,
    groups: &[Group],
    run: Run,
    server: &Server,
    connect_seconds: u64,
) -> anyhow::Result<Results> {
    let load = prepare(net, groups, run, server, connect_seconds)?;
    load.run(net, run)
}

impl Load {
    /// Runs what was prepared to its end.
    pub(crate) fn run(mut self, net: &mut Net, run: Run) -> anyhow::Result<Results> {
        let deadline = self.begun + nanoseconds(run.warmup + run.seconds) + DRAIN_NS + RESUME_NS + SLACK_NS;
        let finished = net.run(&mut self, deadline)?;
        Ok(self.results(net, finished))
    }
}

/// Brings up the subscribers of all groups as the first sockets of a fresh generator, and the publishers as its first HTTP
/// connections; the time begins now.
pub(crate) fn prepare(
    net: &mut Net,
    groups: &[Group],
    run: Run,
    server: &Server,
    connect_seconds: u64,
) -> anyhow::Result<Load> {
    let mut bases = Vec::new();
    let (mut places, mut channels, mut readers, mut publishers) = (vec![], vec![], vec![], vec![]);
    let (mut streams, mut slots) = (0, 0);
    for (g, group) in groups.iter().enumerate() {
        bases.push(Base {
            socket: places.len(),
            channel: channels.len(),
            stream: streams,
            slot: slots,
            publisher: publishers.len(),
        });
        let first_channel = channels.len();
        channels.extend((0..group.channels).map(|c| format!("bench-{g}-{c}")));
        readers.resize(channels.len(), 0);
        for subscriber in 0..group.subscribers {
            let channel = subscriber % group.channels;
            places.push((g as u32, channel as u32));
            readers[first_channel + channel] += u32::from(subscriber >= group.stalled);
        }
        publishers.extend((0..group.publishers).map(|index| Publisher {
            group: g,
            index,
            busy: false,
            due: 0,
            begun: 0,
            turn: 0,
            stream: 0,
            number: 0,
        }));
        streams += group.publishers * group.channels;
        slots += group.publishers * group.subscribers;
    }
    let connect_s = bring_up(net, 0..places.len(), connect_seconds, |id| {
        let (group, channel) = (places[id].0 as usize, places[id].1 as usize);
        let stalls = id - bases[group].socket < groups[group].stalled;
        Place {
            app: groups[group].app,
            channel: Some(channels[bases[group].channel + channel].clone()),
            receive_bytes: stalls.then_some(STALLED_RECEIVE_BYTES),
        }
    })?;
    for publisher in &publishers {
        net.add_http(groups[publisher.group].app)?;
    }
    let now = net.now();
    let head =
        |channel: &String| format!(r#"{{"name":"{EVENT}","channel":"{channel}","data":""#).into_bytes();
    let mut load = Load {
        bodies: channels.iter().map(head).collect(),
        checker: Checker::new(EVENT, channels.clone(), run.size),
        payload: Payload::new(run.size),
        flight: groups.iter().map(|group| Flight::new(group.publishers * group.channels)).collect(),
        ledger: Ledger::new(slots),
        window: Window::new(server, now, run.warmup, run.seconds),
        outcomes: groups.iter().map(|_| Outcome::default()).collect(),
        next: vec![0; groups.len()],
        begun: now,
        bursting: vec![false; groups.len()],
        connect_s,
        body: Vec::new(),
        progress: now,
        ending: Ending::NotYet,
        server: server.clone(),
        memory_at: 0,
        stalled: Stalled { memory_before_kib: server.resident_kib(), ..Stalled::default() },
        invalid: 0,
        closed: 0,
        refused: BTreeMap::new(),
        unsent: BTreeMap::new(),
        groups: groups.to_vec(),
        bases,
        channels,
        places,
        readers,
        publishers,
    };
    (0..load.places.len()).filter(|id| load.is_stalled(*id)).for_each(|id| net.pause(id));
    (0..groups.len()).for_each(|group| load.pace(group, now));
    Ok(load)
}
