//! The last rows of an app.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::row::Row;

/// Rows kept per app.
const ROWS_MAX: usize = 1_000;
/// Bytes kept per app.
const BYTES_MAX: usize = 2 * 1_024 * 1_024;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    rows: VecDeque<Arc<Row>>,
    bytes: usize,
    last_seq: u64,
}

/// A piece of a ring.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// Oldest first.
    pub rows: Vec<Arc<Row>>,
    /// Where to go on.
    pub cursor: String,
    /// Rows after the caller's cursor that the ring no longer holds.
    pub lost: u64,
}

impl Ring {
    pub(crate) fn push(&mut self, node: &Arc<str>, mut row: Row) {
        self.last_seq += 1;
        row.node = node.clone();
        row.seq = self.last_seq;
        self.bytes += row.weight();
        self.rows.push_back(Arc::new(row));
        while self.rows.len() > ROWS_MAX || self.bytes > BYTES_MAX {
            let Some(old) = self.rows.pop_front() else { break };
            self.bytes -= old.weight();
        }
    }

    /// Rows above `seq`, at most `limit`; without `seq` the last `limit` rows.
    pub(crate) fn after(&self, node: &str, seq: Option<u64>, limit: usize) -> Page {
        let first_kept = self.rows.front().map_or(self.last_seq + 1, |row| row.seq);
        let (from, lost) = match seq {
            Some(seq) => (seq.min(self.last_seq) + 1, first_kept.saturating_sub(seq.min(self.last_seq) + 1)),
            None => ((self.last_seq + 1).saturating_sub(limit as u64), 0),
        };
        let skip = from.saturating_sub(first_kept) as usize;
        let rows: Vec<Arc<Row>> = self.rows.iter().skip(skip).take(limit).cloned().collect();
        let last = rows.last().map_or(self.last_seq, |row| row.seq);
        Page { rows, cursor: format!("{node}:{last}"), lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Kind;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended_and_says_what_is_lost() {
        let (mut ring, node) = (Ring::default(), Arc::from("n1"));
        for _ in 0..1_500 {
            ring.push(&node, Row::new(Kind::Connection, 0));
        }
        let page = ring.after("n1", None, 200);
        assert_eq!((page.rows.len(), page.rows[0].seq, &*page.cursor, page.lost), (200, 1_301, "n1:1500", 0));
        let page = ring.after("n1", Some(1_498), 200);
        assert_eq!((page.rows.len(), page.lost), (2, 0));
        let page = ring.after("n1", Some(100), 200);
        assert_eq!((page.rows.len(), page.rows[0].seq, page.lost, &*page.cursor), (200, 501, 400, "n1:700"));
        assert!(ring.after("n1", Some(1_500), 9).rows.is_empty());
    }

    #[test]
    fn large_rows_are_bounded_in_bytes() {
        let (mut ring, node) = (Ring::default(), Arc::from("n1"));
        for _ in 0..1_000 {
            let mut row = Row::new(Kind::ApiMessage, 0);
            row.set_data(&"x".repeat(10_000));
            ring.push(&node, row);
        }
        assert!(ring.bytes <= BYTES_MAX && ring.rows.len() < 1_000);
    }
}
