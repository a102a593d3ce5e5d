//! Fans rows out to who watches: as ordinary events on the dashboard's own app, so that the console proves the data plane
//! that it shows. Without watchers it only moves its position. Whoever may see payloads listens to `private-dash-app-…`, the
//! others to `private-dash-meta-…`, where rows come without payloads and members.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Group, Kind, Row, Source};
use crate::app::App;
use crate::clock;
use crate::node::Node;
use crate::publish::{Origin, Publication};

/// Batches go out this often.
const INTERVAL: Duration = Duration::from_millis(100);
/// Rows in one batch event.
const BATCH_ROWS: usize = 50;
/// Payload bytes of one batch before it is cut in two.
const BATCH_BYTES: usize = 128 * 1_024;

/// How far an app's rows were fanned out.
#[derive(Debug, Default)]
pub(crate) struct Position {
    seq: u64,
    previous: [u64; Group::ALL.len()],
}

#[derive(Serialize)]
struct Batch<'a> {
    node: &'a str,
    prev: u64,
    rows: &'a [Arc<Row>],
    dropped: serde_json::Map<String, serde_json::Value>,
    totals: serde_json::Map<String, serde_json::Value>,
}

/// The beginnings of the channels of an app's console: with payloads, and without.
pub(crate) fn prefixes(app_id: u64) -> [String; 2] {
    ["app", "meta"].map(|kind| format!("private-dash-{kind}-{app_id}-"))
}

/// Runs until the node ends.
pub(crate) async fn run(node: Node, system: Arc<App>) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0u64;
    loop {
        tick.tick().await;
        rounds += 1;
        let watched = system.channels.list("private-dash-");
        for app in node.apps().with_news() {
            let is_watched = |channel: &str| {
                watched.iter().any(|c| &*c.name == channel)
                    || node.cluster().is_some_and(|cluster| cluster.is_watched(channel))
            };
            fan_out(&node, &system, &app, is_watched).await;
        }
        if rounds.is_multiple_of(10) {
            for channel in watched.iter().filter(|c| c.name.ends_with("-stat")) {
                let id = channel.name.split('-').nth(3).and_then(|id| id.parse().ok());
                if let Some(app) = id.and_then(|id| node.apps().loaded(id)) {
                    send(&node, &system, &channel.name, "stat", &stat(&app)).await;
                }
            }
        }
    }
}

/// The numbers of the live strip.
pub fn stat(app: &App) -> serde_json::Value {
    let (usage, snapshot, quota) = (app.usage(), app.snapshot(), app.message_quota());
    serde_json::json!({
        "connections": usage.scope_connections,
        "connections_max": snapshot.limits.connections_max,
        "messages": quota.map_or(usage.scope_messages_today, |quota| quota.used),
        "messages_max": quota.map(|quota| quota.limit),
        "own_cap": quota.is_some_and(|quota| quota.own_cap),
        "resets_ms": clock::resets_ms(),
    })
}

async fn fan_out(node: &Node, system: &Arc<App>, app: &App, is_watched: impl Fn(&str) -> bool) {
    let prefixes = prefixes(app.id());
    let take =
        |counts: &[std::sync::atomic::AtomicU64; Kind::COUNT]| counts.each_ref().map(|n| n.swap(0, Relaxed));
    let (totals, dropped) = (take(&app.console.totals), take(&app.console.dropped));
    // One pass holds at most what the ring holds.
    let page = {
        let from = app.console.tap.lock().seq;
        app.console.after(Some(&format!("{}:{from}", app.console.node)), usize::MAX)
    };
    let last = page.rows.last().map(|row| row.seq);
    for group in Group::ALL {
        let rows: Vec<Arc<Row>> = page.rows.iter().filter(|row| row.group == group).cloned().collect();
        let at = group as usize;
        let [full, meta] = prefixes.each_ref().map(|prefix| format!("{prefix}{}", group.name()));
        let (full_watched, meta_watched) = (is_watched(&full), is_watched(&meta));
        if full_watched || meta_watched {
            let of = |counts: &[u64; Kind::COUNT]| {
                Kind::ALL
                    .iter()
                    .filter(|k| k.group() == group && counts[**k as usize] > 0)
                    .map(|k| (k.name().to_owned(), counts[*k as usize].into()))
                    .collect::<serde_json::Map<_, _>>()
            };
            let (mut totals, mut dropped) = (of(&totals), of(&dropped));
            let mut rest = rows.as_slice();
            while !rest.is_empty() || !totals.is_empty() {
                let mut bytes = 0;
                let fits = rest.iter().take(BATCH_ROWS).take_while(|row| {
                    bytes += row.weight();
                    bytes <= BATCH_BYTES
                });
                let (now, later) = rest.split_at(fits.count().max(1).min(rest.len()));
                let prev = app.console.tap.lock().previous[at];
                let (dropped, totals) = (std::mem::take(&mut dropped), std::mem::take(&mut totals));
                let mut batch = Batch { node: &app.console.node, prev, rows: now, dropped, totals };
                if full_watched && let Ok(batch) = serde_json::to_value(&batch) {
                    send(node, system, &full, "batch", &batch).await;
                }
                if meta_watched {
                    let bare: Vec<Arc<Row>> = now.iter().map(|row| Arc::new(row.without_payload())).collect();
                    batch.rows = &bare;
                    if let Ok(batch) = serde_json::to_value(&batch) {
                        send(node, system, &meta, "batch", &batch).await;
                    }
                }
                if let Some(row) = now.last() {
                    app.console.tap.lock().previous[at] = row.seq;
                }
                rest = later;
            }
        }
        if let Some(row) = rows.last() {
            app.console.tap.lock().previous[at] = row.seq;
        }
    }
    if let Some(last) = last {
        app.console.tap.lock().seq = last;
    }
}

async fn send(node: &Node, system: &Arc<App>, channel: &str, event: &str, data: &serde_json::Value) {
    let Ok(text) = to_raw_value(data) else { return };
    let data: &RawValue = &text;
    let origin = Origin { source: Source::System, ..Origin::default() };
    // A node that is overloaded loses a batch; the page sees the gap by `prev` and asks for it.
    let _ =
        node.publish(system, &Publication { channels: &[channel], event, data, exclude: None, origin }).await;
}
