//! What is written together.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::keep::{Accepted, Table, Value, Write, Writes};
use crate::model::{Spooled, TenantId};
use crate::world::TENANT;

/// Names a row: its table, whose it is, and its key among the tenant's.
pub(crate) type RowKey = (Table, TenantId, u128);

/// Changes that are applied together, whole or not at all: first what is void, then the rows.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Tenants who have ended: all rows they had are void.
    pub(crate) ended: BTreeSet<TenantId>,
    /// Those with another service: the rows of the one before are void.
    pub(crate) anew: BTreeSet<TenantId>,
    /// Each row once, as it is in the end.
    pub(crate) rows: BTreeMap<RowKey, Option<Value>>,
    /// Requests below these numbers are gone.
    pub(crate) first_requests: BTreeMap<TenantId, u64>,
    /// What is told as accepted once the batch is safe.
    pub(crate) accepted: Vec<(TenantId, Accepted)>,
    /// Whether there is more than requests.
    pub(crate) has_state: bool,
    /// Kept until the batch is safe, so that no other body takes their places.
    freed: Vec<Spooled>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.first_requests.is_empty()
            && self.anew.is_empty()
            && self.ended.is_empty()
    }

    /// Adds what has changed in a tenant's service after all that is in it.
    pub(crate) fn add(&mut self, tenant: TenantId, writes: Writes) {
        if writes.is_anew {
            self.rows.retain(|(table, of, _), _| *of != tenant || !table.is_of_service());
            self.anew.insert(tenant);
        }
        self.has_state |= writes.is_anew || !writes.rows.is_empty();
        self.extend(tenant, writes.rows);
        self.freed.extend(writes.freed);
        self.accepted.extend(writes.accepted.into_iter().map(|one| (tenant, one)));
    }

    /// The same for requests; those below `first` are gone.
    pub(crate) fn add_requests(&mut self, tenant: TenantId, rows: Vec<Write>, first: Option<u64>) {
        self.extend(tenant, rows);
        let Some(first) = first else { return };
        self.first_requests.insert(tenant, first);
        // What is gone need not be written. The oldest of them is the first of the tenant's in its table.
        let gone = (Table::Journal, tenant, 0)..(Table::Journal, tenant, u128::from(first));
        while let Some((key, _)) = self.rows.range(gone.clone()).next() {
            let key = *key;
            self.rows.remove(&key);
        }
    }

    /// Adds the row of a tenant itself.
    pub(crate) fn add_tenant(&mut self, tenant: TenantId, row: Value) {
        self.rows.insert((Table::Tenants, tenant, TENANT), Some(row));
        self.has_state = true;
    }

    /// A tenant has ended; `freed` are the bodies that rows of it name. None of this number comes again.
    pub(crate) fn end_tenant(&mut self, tenant: TenantId, freed: Vec<Spooled>) {
        self.rows.retain(|(_, of, _), _| *of != tenant);
        self.first_requests.remove(&tenant);
        self.anew.remove(&tenant);
        self.ended.insert(tenant);
        self.freed.extend(freed);
        self.has_state = true;
    }

    fn extend(&mut self, tenant: TenantId, rows: Vec<Write>) {
        let rows = rows.into_iter();
        self.rows.extend(rows.map(|((table, key), value)| ((table, tenant, key), value)));
    }

    /// Puts one that could not be applied before this one.
    pub(crate) fn put_before(&mut self, failed: Self) {
        for (key, row) in failed.rows {
            let (table, tenant, _) = key;
            let is_anew = self.anew.contains(&tenant) && table.is_of_service();
            if !is_anew && !self.ended.contains(&tenant) {
                self.rows.entry(key).or_insert(row);
            }
        }
        let ended = &self.ended;
        let is_there = |tenant: &TenantId| !ended.contains(tenant);
        self.anew.extend(failed.anew.into_iter().filter(is_there));
        for (tenant, first) in failed.first_requests {
            if is_there(&tenant) {
                self.first_requests.entry(tenant).or_insert(first);
            }
        }
        self.ended.extend(failed.ended);
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

    const FIRST: TenantId = TenantId::FIRST;

    fn texts(batch: &Batch) -> Vec<(Table, u128, Option<String>)> {
        let text = |value: &Option<Value>| {
            let value = value.as_ref()?;
            Some(String::from_utf8(super::super::render(value).1.to_vec()).unwrap())
        };
        let rows = batch.rows.iter();
        rows.map(|((table, _, key), value)| (*table, *key, text(value))).collect()
    }

    #[test]
    fn the_last_word_counts_whatever_failed_before() {
        let mut failed = Batch::default();
        failed.add(
            FIRST,
            Writes {
                rows: vec![
                    ((Table::Jobs, 1), value("old")),
                    ((Table::Jobs, 2), value("only")),
                    ((Table::Stands, 1), None),
                ],
                ..Writes::default()
            },
        );
        failed.add_requests(FIRST, vec![((Table::Journal, 7), value("request"))], None);
        let mut batch = Batch::default();
        let rows = vec![((Table::Jobs, 1), value("new"))];
        batch.add(FIRST, Writes { rows, ..Writes::default() });
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
        let rows = vec![((Table::Jobs, 3), value("x"))];
        anew.add(FIRST, Writes { is_anew: true, rows, ..Writes::default() });
        anew.put_before(batch);
        assert!(anew.anew.contains(&FIRST));
        assert_eq!(
            texts(&anew),
            [(Table::Jobs, 3, text("x")), (Table::Journal, 7, text("request"))]
        );
    }

    #[test]
    fn requests_that_are_gone_are_not_written() {
        let mut batch = Batch::default();
        let rows = (1..6).map(|number| ((Table::Journal, number), value("x"))).collect();
        batch.add_requests(FIRST, rows, Some(4));
        assert_eq!(batch.rows.len(), 2);
        assert_eq!(batch.first_requests[&FIRST], 4);
        assert!(!batch.has_state && !batch.is_empty());
    }

    #[test]
    fn of_a_tenant_who_has_ended_nothing_is_written_and_of_others_all() {
        let other = FIRST.next().unwrap();
        let writes = |is_anew| Writes {
            is_anew,
            rows: vec![((Table::Jobs, 1), value("job"))],
            ..Writes::default()
        };
        let fill = |batch: &mut Batch| {
            for tenant in [FIRST, other] {
                batch.add(tenant, writes(true));
                batch.add_requests(tenant, vec![((Table::Journal, 2), value("x"))], Some(2));
            }
            batch.add_tenant(other, value("tenant").unwrap());
        };
        let of_first = |batch: &Batch| {
            let whose: Vec<_> = batch.rows.keys().map(|(_, tenant, _)| *tenant).collect();
            assert_eq!(whose, [FIRST, FIRST]);
            assert_eq!(batch.anew, BTreeSet::from([FIRST]));
            assert_eq!(batch.first_requests, BTreeMap::from([(FIRST, 2)]));
            assert_eq!(batch.ended, BTreeSet::from([other]));
        };
        let mut batch = Batch::default();
        fill(&mut batch);
        // Another service of the one leaves the rows of the other.
        batch.add(FIRST, writes(true));
        assert_eq!(batch.rows.len(), 5);
        batch.end_tenant(other, Vec::new());
        of_first(&batch);

        let (mut failed, mut batch) = (Batch::default(), Batch::default());
        fill(&mut failed);
        batch.end_tenant(other, Vec::new());
        batch.put_before(failed);
        of_first(&batch);
    }
}
