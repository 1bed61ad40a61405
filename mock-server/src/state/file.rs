//! The store in one file: redb, with a table for each kind of row.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, TransactionError,
};

use super::{Batch, FORMAT, StateError, Store, Why, render};
use crate::model::TenantId;
use crate::model::keep::{Rows, Table};

/// A file that this process alone has open.
#[derive(Debug)]
pub(crate) struct FileStore {
    path: PathBuf,
    /// `None` after an error, until it is opened again: the store gives up a database that could not be written.
    database: Option<Database>,
}

impl FileStore {
    /// Opens a file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let database = open(path).map_err(|why| StateError::new(path, why))?;
        Ok(Self { path: path.to_owned(), database: Some(database) })
    }
}

impl Store for FileStore {
    fn read(&mut self) -> Result<BTreeMap<TenantId, Rows>, StateError> {
        let fail = |why: Why| StateError::new(&self.path, why);
        let closed = || Why::Io(io::Error::other("it is closed after an error"));
        let database = self.database.as_ref().ok_or_else(|| fail(closed()))?;
        read(database).map_err(fail)
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StateError> {
        let fail = |why: Why| StateError::new(&self.path, why);
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path).map_err(fail)?,
        };
        apply(&database, batch).map_err(fail)?;
        self.database = Some(database);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, Why> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        // A file that was damaged while nobody had it open shall be told, not trusted.
        .set_check_integrity_on_open(true)
        .create(path)?;
    let transaction = database.begin_read()?;
    let is_new = transaction.list_tables()?.next().is_none();
    let version = match transaction.open_table(ABOUT) {
        Ok(about) => about.get(FORMAT_KEY)?.map(|version| version.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    drop(transaction);
    match version {
        Some(FORMAT) => return Ok(database),
        Some(FORMAT_OF_ONE) => {}
        Some(version) => return Err(Why::Version(version)),
        None if !is_new => return Err(Why::Damaged("a database of another program".to_owned())),
        None => {}
    }
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    Ok(database)
}

fn read(database: &Database) -> Result<BTreeMap<TenantId, Rows>, Why> {
    let mut all: BTreeMap<TenantId, Rows> = BTreeMap::new();
    let transaction = database.begin_read()?;
    for table in Table::ALL {
        let opened = match transaction.open_table(definition(table)) {
            Ok(opened) => opened,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for row in opened.iter()? {
            let (key, value) = row?;
            let (tenant, key) = split(key.value()).ok_or_else(|| {
                Why::Damaged(format!("row {:x} of {table:?} is nobody's", key.value()))
            })?;
            let rows = all.entry(tenant).or_default();
            rows.add(table, key, Bytes::copy_from_slice(value.value()));
        }
    }
    Ok(all)
}

/// A tenant's keys follow each other. Those of the first are what they are.
const fn joint((tenant, key): (TenantId, u128)) -> u128 {
    (tenant.number() as u128) << TENANT_SHIFT | key
}

fn split(joint: u128) -> Option<(TenantId, u128)> {
    let tenant = TenantId::new(u32::try_from(joint >> TENANT_SHIFT).ok()?)?;
    Some((tenant, joint & KEY_MAX))
}

fn apply(database: &Database, batch: &Batch) -> Result<(), Why> {
    let transaction = database.begin_write()?;
    if !batch.anew.is_empty() || !batch.ended.is_empty() {
        for table in Table::ALL {
            let mut opened = transaction.open_table(definition(table))?;
            let anew = batch.anew.iter().filter(|_| table.is_of_service());
            for tenant in anew.chain(&batch.ended) {
                let all = joint((*tenant, 0))..=joint((*tenant, KEY_MAX));
                opened.retain_in(all, |_, _| false)?;
            }
        }
    }
    let mut rows = batch.rows.iter().peekable();
    while let Some(((table, ..), _)) = rows.peek() {
        let table = *table;
        let mut opened = transaction.open_table(definition(table))?;
        while let Some(((_, tenant, key), value)) = rows.next_if(|((next, ..), _)| *next == table) {
            let key = joint((*tenant, *key));
            match value {
                None => drop(opened.remove(key)?),
                Some(value) => {
                    let (head, body) = render(value);
                    let mut place = opened.insert_reserve(key, head.len() + body.len())?;
                    let place = place.as_mut();
                    place[..head.len()].copy_from_slice(&head);
                    place[head.len()..].copy_from_slice(body);
                }
            }
        }
    }
    for (tenant, first) in &batch.first_requests {
        let mut opened = transaction.open_table(definition(Table::Journal))?;
        let gone = joint((*tenant, 0))..joint((*tenant, u128::from(*first)));
        opened.retain_in(gone, |_, _| false)?;
    }
    transaction.commit()?;
    Ok(())
}

const fn definition(table: Table) -> TableDefinition<'static, u128, &'static [u8]> {
    TableDefinition::new(match table {
        Table::Marks => "marks",
        Table::Jobs => "jobs",
        Table::Stands => "stands",
        Table::Files => "files",
        Table::Parts => "parts",
        Table::Blobs => "blobs",
        Table::Deliveries => "deliveries",
        Table::Letters => "letters",
        Table::Journal => "requests",
        Table::Works => "works",
        Table::Tenants => "tenants",
    })
}

impl From<StorageError> for Why {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Damaged(error.to_string())
            }
            StorageError::Io(error) => Self::Io(error),
            StorageError::Corrupted(what) => Self::Damaged(what),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<DatabaseError> for Why {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::Locked
            }
            DatabaseError::UpgradeRequired(version) => Self::OldStore(version),
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for Why {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Why {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<CommitError> for Why {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

/// What the file says of itself.
const ABOUT: TableDefinition<'static, &'static str, u64> = TableDefinition::new("fal-mock");

const FORMAT_KEY: &str = "format";

/// What was the form while only the first tenant was kept: the same, without others.
const FORMAT_OF_ONE: u64 = 1;

/// Above it the number of the tenant stands in a key.
const TENANT_SHIFT: u32 = 96;

/// The greatest key of a tenant's row.
const KEY_MAX: u128 = (1 << TENANT_SHIFT) - 1;

/// Pages that the store keeps in memory. All rows are in the model, so only what is written again is of use there.
const CACHE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::batch::RowKey;
    use super::*;
    use crate::model::keep::{Value, Writes};

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let file = format!("fal-mock-store-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(file))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn row(text: &'static str) -> Value {
        Value::Bytes(Vec::new(), Bytes::from_static(text.as_bytes()))
    }

    /// All rows there are.
    fn all(place: &Place) -> Vec<(RowKey, Bytes)> {
        let mut rows = FileStore::open(&place.0).unwrap().read().unwrap();
        let mut all = Vec::new();
        for (tenant, rows) in &mut rows {
            for table in Table::ALL {
                let rows = rows.take(table);
                all.extend(rows.into_iter().map(|(key, row)| ((table, *tenant, key), row)));
            }
        }
        all
    }

    #[test]
    fn a_file_of_one_tenant_is_read_and_is_of_many_from_then_on() {
        let place = Place::new("format");
        let database = Database::create(&place.0).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(FORMAT_KEY, FORMAT_OF_ONE).unwrap();
        let mut jobs = transaction.open_table(definition(Table::Jobs)).unwrap();
        jobs.insert(KEY_MAX, &b"job"[..]).unwrap();
        drop(jobs);
        transaction.commit().unwrap();
        drop(database);
        let key = (Table::Jobs, TenantId::FIRST, KEY_MAX);
        assert_eq!(all(&place), [(key, Bytes::from_static(b"job"))]);
        let database = Database::open(&place.0).unwrap();
        let about = database.begin_read().unwrap().open_table(ABOUT).unwrap();
        assert_eq!(about.get(FORMAT_KEY).unwrap().unwrap().value(), FORMAT);
        drop(about);
        drop(database);

        let database = Database::open(&place.0).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(FORMAT_KEY, FORMAT + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let refused = FileStore::open(&place.0).unwrap_err().to_string();
        assert!(refused.contains("has format 3"), "{refused}");
    }

    #[test]
    fn what_is_void_is_void_for_one_tenant() {
        let place = Place::new("void");
        let mut store = FileStore::open(&place.0).unwrap();
        let second = TenantId::FIRST.next().unwrap();
        let third = second.next().unwrap();
        let mut batch = Batch::default();
        let jobs = |text| Writes {
            rows: vec![
                ((Table::Jobs, 0), Some(row(text))),
                ((Table::Jobs, KEY_MAX), Some(row(text))),
            ],
            ..Writes::default()
        };
        for tenant in [TenantId::FIRST, second, third] {
            batch.add(tenant, jobs("old"));
            let requests = (1..=3).map(|number| ((Table::Journal, number), Some(row("request"))));
            batch.add_requests(tenant, requests.collect(), None);
            batch.add_tenant(tenant, row("tenant"));
        }
        store.apply(&batch).unwrap();
        let before = all_after(store, &place);
        assert_eq!(before.len(), 3 * 6);

        let mut store = FileStore::open(&place.0).unwrap();
        let mut batch = Batch::default();
        batch.add(second, Writes { is_anew: true, ..Writes::default() });
        batch.add(
            second,
            Writes { rows: vec![((Table::Jobs, 5), Some(row("new")))], ..Writes::default() },
        );
        batch.add_requests(second, Vec::new(), Some(3));
        batch.end_tenant(third, Vec::new());
        store.apply(&batch).unwrap();
        let after = all_after(store, &place);
        let of = |rows: &[(RowKey, Bytes)], tenant| {
            let rows = rows.iter().filter(|((_, of, _), _)| *of == tenant);
            rows.map(|((table, _, key), _)| (*table, *key)).collect::<Vec<_>>()
        };
        assert_eq!(of(&after, TenantId::FIRST), of(&before, TenantId::FIRST));
        assert_eq!(
            of(&after, second),
            [(Table::Jobs, 5), (Table::Journal, 3), (Table::Tenants, 0)]
        );
        assert_eq!(of(&after, third), []);
    }

    fn all_after(store: FileStore, place: &Place) -> Vec<(RowKey, Bytes)> {
        drop(store);
        all(place)
    }
}
