//! Console rows of all nodes: each keeps its own, and a reader asks all of them and puts the answers together. A node that does
//! not answer in time is left out; its rows come with the next question.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::queue::Op;
use super::{Cluster, message};
use crate::app::App;
use crate::console::Page;
use crate::node::Node;

/// How long the others have to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);

/// Rows of one node or of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// As JSON, oldest first.
    pub rows: Vec<Value>,
    /// Where to go on: `node:number`, several joined by commas.
    pub cursor: String,
    /// Rows after the caller's cursor that nobody holds any more.
    pub lost: u64,
}

/// Questions of this node that wait for answers. Bounded by the requests that a node serves at a time.
pub(super) type Asked = HashMap<u64, mpsc::UnboundedSender<Rows>>;

impl Rows {
    fn of(page: &Page, payloads: bool) -> Rows {
        let rows = page.rows.iter();
        let rows = match payloads {
            true => rows.filter_map(|row| serde_json::to_value(row).ok()).collect(),
            false => rows.filter_map(|row| serde_json::to_value(row.without_payload()).ok()).collect(),
        };
        Rows { rows, cursor: page.cursor.clone(), lost: page.lost }
    }
}

/// The part of a cursor that is this node's.
fn own_part<'a>(cursor: &'a str, node: &str) -> Option<&'a str> {
    cursor.split(',').find(|part| part.rsplit_once(':').is_some_and(|(name, _)| name == node))
}

impl Node {
    /// Rows of an app's console on all nodes after a cursor (or the last ones), oldest first, at most `limit`; `payloads`: with
    /// what clients wrote.
    pub async fn rows(&self, app: &App, after: Option<&str>, limit: usize, payloads: bool) -> Rows {
        let here = self.rows_here(app, after, limit, payloads);
        let Some(cluster) = self.cluster().filter(|cluster| cluster.is_up()) else { return here };
        let peers = cluster.alive.lock().iter().filter(|one| one.name != *cluster.node).count();
        if peers == 0 {
            return here;
        }
        let (to, mut answers) = mpsc::unbounded_channel();
        let id = cluster.next_seq.fetch_add(1, Relaxed);
        cluster.asked_rows.lock().insert(id, to);
        let flag = if payloads { "1" } else { "0" };
        let (app_id, limit_text, id_text) = (app.id().to_string(), limit.to_string(), id.to_string());
        cluster.notify(
            "rows",
            &[&app_id, after.unwrap_or_default(), &limit_text, flag, &cluster.own_topic(), &id_text],
        );
        let mut all = vec![here];
        let _ = tokio::time::timeout(ANSWER_WITHIN, async {
            while all.len() <= peers
                && let Some(one) = answers.recv().await
            {
                all.push(one);
            }
        })
        .await;
        cluster.asked_rows.lock().remove(&id);
        merge(all, limit, after)
    }

    fn rows_here(&self, app: &App, after: Option<&str>, limit: usize, payloads: bool) -> Rows {
        let own = after.map(|after| own_part(after, self.name()).unwrap_or(after));
        Rows::of(&app.console.after(own, limit), payloads)
    }

    /// Another node asks for rows.
    pub(super) fn answer_rows(&self, cluster: &Cluster, texts: &[String]) {
        let [app, after, limit, payloads, topic, id] = texts else { return };
        if *topic == cluster.own_topic() {
            return;
        }
        let app = app.parse().ok().and_then(|id| self.apps().loaded(id));
        let rows = app.map_or_else(Rows::default, |app| {
            let after = (!after.is_empty()).then_some(after.as_str());
            self.rows_here(&app, after, limit.parse().unwrap_or(0), payloads == "1")
        });
        let Ok(json) = serde_json::to_string(&rows) else { return };
        let payload = message::notice("rows-are", &[id, &json]);
        cluster.queue.push(Op::Publish { topic: topic.clone(), payload, cache: None });
    }

    /// Another node answers.
    pub(super) fn rows_came(&self, cluster: &Cluster, texts: &[String]) {
        let [id, json] = texts else { return };
        let to = id.parse().ok().and_then(|id: u64| cluster.asked_rows.lock().get(&id).cloned());
        if let (Some(to), Ok(rows)) = (to, serde_json::from_str(json)) {
            let _ = to.send(rows);
        }
    }
}

/// Puts the rows of several nodes in the order of their times, at most `limit`: the last ones, or with a cursor the first.
fn merge(all: Vec<Rows>, limit: usize, after: Option<&str>) -> Rows {
    let number = |row: &Value, name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
    let node = |row: &Value| row.get("node").and_then(Value::as_str).unwrap_or_default().to_owned();
    // Where each node's rows end, and whether some of them are left for the next page.
    let mut ends: HashMap<String, u64> = HashMap::new();
    for (name, seq) in
        all.iter().flat_map(|one| one.cursor.split(',')).filter_map(|part| part.rsplit_once(':'))
    {
        ends.insert(name.to_owned(), seq.parse().unwrap_or_default());
    }
    let lost = all.iter().map(|one| one.lost).sum();
    let mut rows: Vec<Value> = all.into_iter().flat_map(|one| one.rows).collect();
    rows.sort_by_cached_key(|row| (number(row, "ts"), node(row), number(row, "seq")));
    let cut = rows.len().saturating_sub(limit);
    if after.is_none() {
        rows.drain(..cut);
    } else {
        for row in rows.split_off(rows.len() - cut) {
            if let Some(end) = ends.get_mut(&node(&row)) {
                *end = (*end).min(number(&row, "seq").saturating_sub(1));
            }
        }
    }
    let mut cursor: Vec<String> = ends.into_iter().map(|(name, seq)| format!("{name}:{seq}")).collect();
    cursor.sort();
    Rows { rows, cursor: cursor.join(","), lost }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(node: &str, of: &[(u64, u64)]) -> Rows {
        let rows = of.iter().map(|(seq, ts)| json!({ "node": node, "seq": seq, "ts": ts })).collect();
        Rows { rows, cursor: format!("{node}:{}", of.last().map_or(0, |(seq, _)| *seq)), lost: 1 }
    }

    fn shown(rows: &Rows) -> Vec<String> {
        rows.rows.iter().map(|row| format!("{}{}", row["node"].as_str().unwrap(), row["seq"])).collect()
    }

    #[test]
    fn rows_of_two_nodes_stand_in_the_order_of_their_times() {
        let all = vec![rows("a", &[(1, 10), (2, 30)]), rows("b", &[(7, 20), (8, 40)])];
        let page = merge(all.clone(), 10, None);
        assert_eq!(shown(&page), ["a1", "b7", "a2", "b8"]);
        assert_eq!((&*page.cursor, page.lost), ("a:2,b:8", 2));
        assert_eq!(shown(&merge(all.clone(), 2, None)), ["a2", "b8"], "the last ones");
        let first = merge(all, 2, Some("a:0,b:6"));
        assert_eq!(
            (shown(&first), &*first.cursor),
            (vec!["a1".to_owned(), "b7".to_owned()], "a:1,b:7"),
            "the others come next"
        );
    }

    #[test]
    fn each_node_reads_its_own_part_of_a_cursor() {
        assert_eq!(own_part("n1:5,n2:9", "n2"), Some("n2:9"));
        assert_eq!(own_part("n1:5", "n2"), None);
    }
}
