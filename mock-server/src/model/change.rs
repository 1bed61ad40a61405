//! What changes, written down for those who look on.
//!
//! Only while somebody does: else nothing is kept, and nothing is worked out.

use std::time::SystemTime;

use super::about::About;
use super::detail::JobRow;
use super::exchange::Door;
use super::id::RequestId;
use super::storage::FileView;
use super::webhook::DeliveryView;
use super::{Model, files::FileKey};
use crate::scenario::Effect;

/// Something that has changed, as it is now.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A job is there, or has moved.
    Job(Box<JobRow>),
    /// A job is forgotten.
    JobGone(RequestId),
    /// A delivery is there, an attempt began or ended.
    Delivery(Box<DeliveryView>),
    /// A delivery is forgotten, or has got another number.
    DeliveryGone(u64),
    /// A file is there, or there is more or less of it.
    File(Box<FileView>),
    /// A file is forgotten; its [`FileView::id`].
    FileGone(String),
    /// A fault of the scenario has happened.
    Fault(Box<Fired>),
    /// More than [`CHANGES_MAX`] things have changed: what there is now must be asked for.
    Missed,
}

/// One time that a fault happened.
#[derive(Clone, Debug)]
pub(crate) struct Fired {
    /// What the fault is called, and its word in the vocabulary.
    pub(crate) name: String,
    pub(crate) fault: &'static str,
    /// Counts its times, from 1.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    pub(crate) whom: String,
    pub(crate) request_id: Option<RequestId>,
}

/// What has changed since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    is_watched: bool,
    is_missed: bool,
    list: Vec<Change>,
}

impl Changes {
    fn add(&mut self, change: Change) {
        if self.list.len() >= CHANGES_MAX {
            self.is_missed = true;
            self.list.clear();
        }
        if !self.is_missed {
            self.list.push(change);
        }
    }
}

impl Model {
    /// Whether changes are written down.
    pub(crate) const fn is_watched(&self) -> bool {
        self.changes.is_watched
    }

    /// Begins or ends to write changes down. What was not taken is forgotten.
    pub(crate) fn watch(&mut self, is_watched: bool) {
        self.changes = Changes { is_watched, ..Changes::default() };
        self.files.watch(is_watched);
    }

    /// What has changed, in order, but files last. Addresses of files lead through `door`.
    pub(crate) fn take_changes(&mut self, door: &Door<'_>) -> Vec<Change> {
        for key in self.files.take_changed(CHANGES_MAX) {
            let change = match key {
                None => Change::Missed,
                Some(key) => match self.file(key, door) {
                    Some(view) => Change::File(Box::new(view)),
                    None => Change::FileGone(key.to_string()),
                },
            };
            self.changes.add(change);
        }
        if std::mem::take(&mut self.changes.is_missed) {
            self.changes.list.clear();
            return vec![Change::Missed];
        }
        std::mem::take(&mut self.changes.list)
    }

    /// A job is there, or has moved.
    pub(super) fn note_job(&mut self, id: RequestId) {
        self.jobs.moved(id);
        if self.changes.is_watched
            && let Some(row) = self.job_row(id)
        {
            self.changes.add(Change::Job(Box::new(row)));
        }
    }

    /// A job is forgotten.
    pub(super) fn note_job_gone(&mut self, id: RequestId) {
        if self.changes.is_watched {
            self.changes.add(Change::JobGone(id));
        }
    }

    /// Something has happened to a delivery.
    pub(super) fn note_delivery(&mut self, number: u64) {
        self.deliveries.moved(number);
        if self.changes.is_watched
            && let Some(view) = self.delivery(number)
        {
            self.changes.add(Change::Delivery(Box::new(view)));
        }
    }

    /// A delivery is forgotten, or has got another number.
    pub(super) fn note_delivery_gone(&mut self, number: u64) {
        self.deliveries.moved(number);
        if self.changes.is_watched {
            self.changes.add(Change::DeliveryGone(number));
        }
    }

    /// A fault has happened for the time of that number.
    pub(super) fn note_fault(&mut self, effect: &Effect, number: u64, about: &About) {
        if self.changes.is_watched {
            let fired = Fired {
                name: effect.fault.name.to_string(),
                fault: effect.fault.kind.name,
                number,
                at: self.wall(self.now),
                whom: about.whom(),
                request_id: about.request_id,
            };
            self.changes.add(Change::Fault(Box::new(fired)));
        }
    }

    fn file(&self, key: FileKey, door: &Door<'_>) -> Option<FileView> {
        self.files.find(key).and_then(|file| self.file_view(key, file, door))
    }
}

/// Changes that are kept until they are asked for, which is after every input.
pub(crate) const CHANGES_MAX: usize = 20_000;
