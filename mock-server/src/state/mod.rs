//! The state of a mock on disk: what outlives its process.
//!
//! [`Store`] is all that is wanted of a place: to read every row, and to apply a batch of changes whole or not at all.
//! [`file`] is the one there is. Without one nothing here is used.

mod batch;
mod error;
mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::keep::code::{Field, read, row};
use crate::model::keep::{ELSEWHERE, Rows, Value};
use crate::model::{Spooled, TenantId};

#[cfg(test)]
pub(crate) use batch::RowKey;

pub(crate) use batch::Batch;
pub(crate) use error::{StateError, Why};
pub(crate) use file::FileStore;

/// A place where rows outlive the process.
pub(crate) trait Store: Send {
    /// Reads every row.
    fn read(&mut self) -> Result<BTreeMap<TenantId, Rows>, StateError>;

    /// Applies a batch; once this returns, it is safe. After an error nothing of it is there, and the same or another
    /// batch may be tried.
    fn apply(&mut self, batch: &Batch) -> Result<(), StateError>;
}

/// How a value is written: two stretches that follow each other.
pub(crate) fn render(value: &Value) -> (Vec<u8>, &[u8]) {
    match value {
        Value::Bytes(head, body) => (head.clone(), body),
        Value::Spooled(body) => (spooled_row(body), &[]),
    }
}

/// Where a body is in the spool.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) len: u64,
    pub(crate) digest: u128,
    /// First blocks, and how many there are from each.
    pub(crate) runs: Vec<(u64, u64)>,
}

row!(Place { len, digest, runs });

fn spooled_row(body: &Spooled) -> Vec<u8> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for block in crate::http::blocks_of(body) {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == block => *count += 1,
            _ => runs.push((block, 1)),
        }
    }
    let mut out = vec![ELSEWHERE];
    Place { len: body.len(), digest: body.digest(), runs }.put(&mut out);
    out
}

/// Reads the row of a body in the spool.
pub(crate) fn read_place(row: &[u8]) -> Option<Place> {
    read(row.strip_prefix(&[ELSEWHERE])?)
}

/// Where long uploads are kept beside a file of states.
pub(crate) fn spool_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".files");
    name.into()
}

/// The form of rows. Other ones are refused.
pub(crate) const FORMAT: u64 = 2;
