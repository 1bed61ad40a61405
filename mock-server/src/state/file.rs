//! The store in one file: redb, with a table for each kind of row.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, TransactionError,
};

use super::{Batch, FORMAT, StateError, Store, Why, render};
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
    fn read(&mut self) -> Result<Rows, StateError> {
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
        Some(version) => return Err(Why::Version(version)),
        None if !is_new => return Err(Why::Damaged("a database of another program".to_owned())),
        None => {}
    }
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    Ok(database)
}

fn read(database: &Database) -> Result<Rows, Why> {
    let mut rows = Rows::default();
    let transaction = database.begin_read()?;
    for table in Table::ALL {
        let opened = match transaction.open_table(definition(table)) {
            Ok(opened) => opened,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for row in opened.iter()? {
            let (key, value) = row?;
            rows.add(table, key.value(), Bytes::copy_from_slice(value.value()));
        }
    }
    Ok(rows)
}

fn apply(database: &Database, batch: &Batch) -> Result<(), Why> {
    let transaction = database.begin_write()?;
    if batch.is_anew {
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Journal) {
            transaction.delete_table(definition(table))?;
        }
    }
    let mut rows = batch.rows.iter().peekable();
    while let Some(((table, _), _)) = rows.peek() {
        let table = *table;
        let mut opened = transaction.open_table(definition(table))?;
        while let Some(((_, key), value)) = rows.next_if(|((next, _), _)| *next == table) {
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
    if let Some(first) = batch.first_request {
        let mut opened = transaction.open_table(definition(Table::Journal))?;
        loop {
            let oldest = opened.first()?.map(|(key, _)| key.value());
            match oldest.filter(|key| *key < u128::from(first)) {
                Some(key) => drop(opened.remove(key)?),
                None => break,
            }
        }
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

/// Pages that the store keeps in memory. All rows are in the model, so only what is written again is of use there.
const CACHE_BYTES: usize = 16 << 20;
