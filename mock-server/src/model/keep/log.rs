//! What has changed since it was last written down. Only there while somebody keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::super::content::{Blob, Spooled};
use super::super::files::FileKey;
use super::super::id::RequestId;

/// Jobs that have changed, by age.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobLog(BTreeMap<u64, JobTouch>);

/// What has happened to a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobTouch {
    pub(super) id: RequestId,
    pub(super) is_new: bool,
    pub(super) is_gone: bool,
    pub(super) end: Option<End>,
}

/// How long a finished job is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) until: Option<Instant>,
    pub(crate) is_large: bool,
    /// When it ended, on the count of ages.
    pub(crate) age: u64,
}

impl JobLog {
    pub(crate) fn added(&mut self, age: u64, id: RequestId) {
        self.touch(age, id).is_new = true;
    }

    pub(crate) fn moved(&mut self, age: u64, id: RequestId) {
        self.touch(age, id);
    }

    pub(crate) fn ended(&mut self, age: u64, id: RequestId, end: End) {
        self.touch(age, id).end = Some(end);
    }

    pub(crate) fn gone(&mut self, age: u64, id: RequestId) {
        let touch = self.touch(age, id);
        touch.is_gone = true;
        // What nobody has written down need not be taken back.
        if touch.is_new {
            self.0.remove(&age);
        }
    }

    pub(super) fn take(&mut self) -> BTreeMap<u64, JobTouch> {
        std::mem::take(&mut self.0)
    }

    fn touch(&mut self, age: u64, id: RequestId) -> &mut JobTouch {
        self.0.entry(age).or_insert(JobTouch { id, is_new: false, is_gone: false, end: None })
    }
}

/// Files that have changed, by age, and what is written down of their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileLog {
    touched: BTreeMap<u64, FileTouch>,
    pub(super) saved: BTreeMap<u64, SavedFile>,
    /// The number of the last body that was written down.
    pub(super) last_blob: u64,
}

/// What has happened to a file.
#[derive(Clone, Debug)]
pub(super) struct FileTouch {
    pub(super) key: FileKey,
    pub(super) parts: BTreeSet<u32>,
}

impl FileLog {
    /// Bodies are numbered on from there.
    pub(crate) fn after(last_blob: u64) -> Self {
        Self { last_blob, ..Self::default() }
    }

    pub(crate) fn touched(&mut self, age: u64, key: FileKey) {
        self.touched.entry(age).or_insert_with(|| FileTouch { key, parts: BTreeSet::new() });
    }

    pub(crate) fn part_touched(&mut self, age: u64, key: FileKey, number: u32) {
        let touch = self.touched.entry(age);
        touch.or_insert_with(|| FileTouch { key, parts: BTreeSet::new() }).parts.insert(number);
    }

    pub(super) fn take(&mut self) -> BTreeMap<u64, FileTouch> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// The bodies on the disk that are written down.
    pub(super) fn into_spooled(self) -> impl Iterator<Item = Spooled> {
        let all = self.saved.into_values().flat_map(SavedFile::into_blobs);
        all.filter_map(|(_, blob)| spooled(blob))
    }
}

impl JobLog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bodies of a file that are written down, with their numbers. Holding them keeps their places on the disk from
/// being used again while a row still names them.
#[derive(Clone, Debug, Default)]
pub(super) struct SavedFile {
    pub(super) whole: Vec<(u64, Blob)>,
    pub(super) parts: BTreeMap<u32, (u64, Blob)>,
}

impl SavedFile {
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.parts.is_empty()
    }

    /// The numbers of its bodies by what they are.
    pub(super) fn numbers(&self) -> HashMap<Same, u64> {
        let all = self.whole.iter().chain(self.parts.values());
        all.map(|(number, blob)| (Same::of(blob), *number)).collect()
    }

    /// Every body.
    pub(super) fn into_blobs(self) -> impl Iterator<Item = (u64, Blob)> {
        self.whole.into_iter().chain(self.parts.into_values())
    }
}

/// Tells whether two bodies are one and the same, as long as both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Same(usize, u64);

impl Same {
    pub(super) fn of(blob: &Blob) -> Self {
        let place = match blob {
            Blob::Memory { bytes, .. } => bytes.as_ptr().addr(),
            Blob::Spooled(body) => Arc::as_ptr(body.keeper()).cast::<()>().addr(),
        };
        Self(place, blob.len())
    }
}

/// The handle of a body on the disk.
pub(super) fn spooled(blob: Blob) -> Option<Spooled> {
    match blob {
        Blob::Spooled(body) => Some(body),
        Blob::Memory { .. } => None,
    }
}
