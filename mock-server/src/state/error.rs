//! What can be wrong with a state, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{FORMAT, spool_path};
use crate::model::keep::BadRow;

/// Why a state cannot be used, or cannot be written.
#[derive(Debug)]
pub(crate) struct StateError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    /// The file cannot be opened, read or written.
    Io(io::Error),
    /// Another process has it open.
    Locked,
    /// It is of another version of the mock.
    Version(u64),
    /// It is of an older version of the store.
    OldStore(u8),
    /// It is no state, or is damaged.
    Damaged(String),
    /// It belongs to another seed.
    Seed(u64),
}

impl StateError {
    pub(crate) fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    pub(crate) fn bad_row(path: &Path, row: BadRow) -> Self {
        Self::new(path, Why::Damaged(row.to_string()))
    }

    /// Whether there is no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.why, Why::Io(error) if crate::http::is_full(error))
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(_) if self.is_full() => {
                write!(f, "the disk of the state {path} (--state) is full: make room there")
            }
            Why::Io(error) => write!(
                f,
                "the state {path} (--state) cannot be used: {error}: give a file that can be written"
            ),
            Why::Locked => write!(
                f,
                "the state {path} is in use by another process: stop that one, or give another file (--state)"
            ),
            Why::Version(version) => write!(
                f,
                "the state {path} has format {version}, and this fal-mock reads {FORMAT}: use the version that wrote \
                 it, or move the file away to start anew"
            ),
            Why::OldStore(version) => write!(
                f,
                "the state {path} is a store of version {version}, which this fal-mock does not read: use the version \
                 that wrote it, or move the file away to start anew"
            ),
            Why::Damaged(what) => write!(
                f,
                "the state {path} is damaged, or is none of fal-mock's ({what}): put a copy in its place, or move it \
                 and {} away to start anew",
                spool_path(&self.path).display()
            ),
            Why::Seed(seed) => write!(
                f,
                "the state {path} was begun with --seed {seed}, from which its ids and addresses follow: start with \
                 that seed, or give another file (--state)"
            ),
        }
    }
}

impl std::error::Error for StateError {}
