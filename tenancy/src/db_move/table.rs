//! Rows of any table: a schema of ours knows texts and numbers only, either of which may be null. It sends no SQL.

use sha2::{Digest, Sha256};

/// Rows sent at once.
const BATCH_ROWS_MAX: usize = 500;
/// Bytes of texts sent at once; one row may have more.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A column, by the name that both engines have for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    Number,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Text(Some(text)) => text.len(),
            Value::Text(None) | Value::Number(_) => 8,
        }
    }
}

/// The values of one column of several rows.
#[derive(Debug)]
pub(super) enum Values {
    Texts(Vec<Option<String>>),
    Numbers(Vec<Option<i64>>),
}

/// Rows on their way, by columns.
#[derive(Debug)]
pub(super) struct Batch {
    kinds: Vec<Kind>,
    columns: Vec<Values>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(columns: &[Column]) -> Batch {
        let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
        Batch { columns: empty(&kinds), kinds, rows: 0, bytes: 0 }
    }

    /// Adds a row with a value of each column; says whether it is time to send them.
    pub(super) fn push(&mut self, row: Vec<Value>) -> bool {
        self.rows += 1;
        for (values, value) in self.columns.iter_mut().zip(row) {
            self.bytes += value.bytes();
            match (values, value) {
                (Values::Texts(all), Value::Text(one)) => all.push(one),
                (Values::Numbers(all), Value::Number(one)) => all.push(one),
                // A row is read by the same columns.
                (Values::Texts(all), Value::Number(_)) => all.push(None),
                (Values::Numbers(all), Value::Text(_)) => all.push(None),
            }
        }
        self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// The rows so far, and their number.
    pub(super) fn take(&mut self) -> (usize, Vec<Values>) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        (rows, std::mem::replace(&mut self.columns, empty(&self.kinds)))
    }
}

fn empty(kinds: &[Kind]) -> Vec<Values> {
    let column = |kind: &Kind| match kind {
        Kind::Text => Values::Texts(vec![]),
        Kind::Number => Values::Numbers(vec![]),
    };
    kinds.iter().map(column).collect()
}

/// How many rows there are, and a sum of their content that does not depend on their order, which is each engine's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    sum: [u64; 4],
}

impl Tally {
    pub(super) fn add(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            match value {
                Value::Text(None) | Value::Number(None) => hash.update([0]),
                Value::Text(Some(text)) => {
                    hash.update([1]);
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
                Value::Number(Some(number)) => {
                    hash.update([2]);
                    hash.update(number.to_be_bytes());
                }
            }
        }
        self.rows += 1;
        for (sum, part) in self.sum.iter_mut().zip(hash.finalize().as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*part));
        }
    }

    /// The sum for people.
    pub(super) fn hex(&self) -> String {
        self.sum.iter().map(|part| format!("{part:016x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: &[&[Value]]) -> Tally {
        let mut all = Tally::default();
        rows.iter().for_each(|row| all.add(row));
        all
    }

    #[test]
    fn a_sum_tells_content_apart_and_not_its_order() {
        let text = |text: &str| Value::Text(Some(text.to_owned()));
        let (a, b) = ([text("a"), Value::Number(Some(1))], [text("b"), Value::Number(None)]);
        assert_eq!(tally(&[&a, &b]), tally(&[&b, &a]));
        assert_ne!(tally(&[&a, &b]), tally(&[&a, &a]));
        assert_ne!(tally(&[&[text("ab"), text("c")]]), tally(&[&[text("a"), text("bc")]]));
        assert_ne!(tally(&[&[text("")]]), tally(&[&[Value::Text(None)]]), "nothing and null are two things");
        assert_ne!(tally(&[&[Value::Number(Some(0))]]), tally(&[&[Value::Number(None)]]));
    }

    #[test]
    fn a_batch_is_full_by_rows_or_by_bytes() {
        let columns = [Column { name: "a".to_owned(), kind: Kind::Text }];
        let mut batch = Batch::new(&columns);
        let pushed = (1..).find(|_| batch.push(vec![Value::Text(None)])).unwrap();
        assert_eq!(pushed, BATCH_ROWS_MAX);
        assert_eq!(batch.take().0, BATCH_ROWS_MAX);
        assert!(!batch.push(vec![Value::Text(Some("x".repeat(BATCH_BYTES_MAX - 1)))]));
        assert!(batch.push(vec![Value::Text(Some("xx".to_owned()))]));
        assert_eq!((batch.take().0, batch.take().0), (2, 0));
    }
}
