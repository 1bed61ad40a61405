//! What is written together.

use std::collections::BTreeMap;

use crate::model::Spooled;
use crate::model::keep::{Accepted, Table, Value, Write, Writes};

/// Changes that are applied together, whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// All rows there were are void but those of requests.
    pub(crate) is_anew: bool,
    /// Each row once, as it is in the end.
    pub(crate) rows: BTreeMap<(Table, u128), Option<Value>>,
    /// Requests below this number are gone.
    pub(crate) first_request: Option<u64>,
    /// What is told as accepted once the batch is safe.
    pub(crate) accepted: Vec<Accepted>,
    /// Whether there is more than requests.
    pub(crate) has_state: bool,
    /// Kept until the batch is safe, so that no other body takes their places.
    freed: Vec<Spooled>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.first_request.is_none() && !self.is_anew
    }

    /// Adds what has changed after all that is in it.
    pub(crate) fn add(&mut self, writes: Writes) {
        if writes.is_anew {
            self.rows.retain(|(table, _), _| *table == Table::Journal);
            self.is_anew = true;
        }
        self.has_state |= writes.is_anew || !writes.rows.is_empty();
        self.rows.extend(writes.rows);
        self.freed.extend(writes.freed);
        self.accepted.extend(writes.accepted);
    }

    /// The same for requests; those below `first` are gone.
    pub(crate) fn add_requests(&mut self, rows: Vec<Write>, first: Option<u64>) {
        self.rows.extend(rows);
        let Some(first) = first else { return };
        self.first_request = Some(first);
        // What is gone need not be written. The oldest of them is the first in its table.
        let end = (Table::Journal, u128::from(first));
        while let Some((key, _)) = self.rows.range((Table::Journal, 0)..end).next() {
            let key = *key;
            self.rows.remove(&key);
        }
    }

    /// Puts one that could not be applied before this one.
    pub(crate) fn put_before(&mut self, failed: Self) {
        for (key, row) in failed.rows {
            if !self.is_anew || key.0 == Table::Journal {
                self.rows.entry(key).or_insert(row);
            }
        }
        self.is_anew |= failed.is_anew;
        self.first_request = self.first_request.or(failed.first_request);
        self.has_state |= failed.has_state;
        self.freed.extend(failed.freed);
    }

    /// Whether bodies that the spool keeps are to be named.
    pub(crate) fn names_spooled(&self) -> bool {
        self.rows.values().any(|value| matches!(value, Some(Value::Spooled(_))))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn value(text: &'static str) -> Option<Value> {
        Some(Value::Bytes(Vec::new(), Bytes::from_static(text.as_bytes())))
    }

    fn texts(batch: &Batch) -> Vec<(Table, u128, Option<String>)> {
        let text = |value: &Option<Value>| {
            let value = value.as_ref()?;
            Some(String::from_utf8(super::super::render(value).1.to_vec()).unwrap())
        };
        batch.rows.iter().map(|((table, key), value)| (*table, *key, text(value))).collect()
    }

    #[test]
    fn the_last_word_counts_whatever_failed_before() {
        let mut failed = Batch::default();
        failed.add(Writes {
            rows: vec![
                ((Table::Jobs, 1), value("old")),
                ((Table::Jobs, 2), value("only")),
                ((Table::Stands, 1), None),
            ],
            ..Writes::default()
        });
        failed.add_requests(vec![((Table::Journal, 7), value("request"))], None);
        let mut batch = Batch::default();
        batch.add(Writes { rows: vec![((Table::Jobs, 1), value("new"))], ..Writes::default() });
        batch.put_before(failed);
        let text = |text: &str| Some(text.to_owned());
        let rows = [
            (Table::Jobs, 1, text("new")),
            (Table::Jobs, 2, text("only")),
            (Table::Stands, 1, None),
            (Table::Journal, 7, text("request")),
        ];
        assert_eq!(texts(&batch), rows);

        // What begins anew voids all but requests, also what failed before it.
        let mut anew = Batch::default();
        anew.add(Writes {
            is_anew: true,
            rows: vec![((Table::Jobs, 3), value("x"))],
            ..Writes::default()
        });
        anew.put_before(batch);
        assert!(anew.is_anew);
        assert_eq!(
            texts(&anew),
            [(Table::Jobs, 3, text("x")), (Table::Journal, 7, text("request"))]
        );
    }

    #[test]
    fn requests_that_are_gone_are_not_written() {
        let mut batch = Batch::default();
        let rows = (1..6).map(|number| ((Table::Journal, number), value("x"))).collect();
        batch.add_requests(rows, Some(4));
        assert_eq!(batch.rows.len(), 2);
        assert_eq!(batch.first_request, Some(4));
        assert!(!batch.has_state && !batch.is_empty());
    }
}
