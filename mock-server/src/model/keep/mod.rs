//! What a shell has to write down so that the service can go on after its process has ended.
//!
//! The model does not write. While somebody keeps it, it notes which jobs, files and deliveries have changed, and
//! [`Model::take_writes`] says it as rows of tables; [`restore`](Model::restore) makes a service of such rows. What
//! follows from configuration and input has no row: answers are worked out again, and what was made is made again.
//! While nobody keeps it, nothing is noted.

pub(crate) mod code;
mod letters;
mod log;
mod media;
mod restore;
mod rows;

use std::collections::HashSet;
use std::time::SystemTime;

use bytes::Bytes;

use super::Model;
use super::content::{Blob, Spooled};
use super::failure::Failure;
use super::files::{Content, FileKey};
use super::id::RequestId;
use super::job::{Attempt, Job, Outcome, Priority, State};
use log::{FileTouch, JobTouch, Same};
use rows::{DoneRow, FileRow, Holds, JobRow, Stand, StandRow};

pub(crate) use log::{End, FileLog, JobLog};
pub(crate) use restore::{BadRow, Rows};
pub(crate) use rows::{LineRow, Marks, WorkRow};

/// What a row is about. Each tenant has rows of its own; their keys are less than 2⁹⁶.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// The service as a whole.
    Marks,
    /// Jobs as they were accepted, by age.
    Jobs,
    /// Where they stand, by age.
    Stands,
    /// Files by age.
    Files,
    /// Parts of uploads that are not complete: age of the file, then number.
    Parts,
    /// Bodies of files and parts.
    Blobs,
    /// Deliveries by number.
    Deliveries,
    /// Their bodies.
    Letters,
    /// Requests by number.
    Journal,
    /// What back ends have made of jobs and said about them, by age of the job.
    Works,
    /// The tenant itself: what it is called and began with.
    Tenants,
}

impl Table {
    pub(crate) const ALL: [Self; 11] = [
        Self::Marks,
        Self::Jobs,
        Self::Stands,
        Self::Files,
        Self::Parts,
        Self::Blobs,
        Self::Deliveries,
        Self::Letters,
        Self::Journal,
        Self::Works,
        Self::Tenants,
    ];

    /// Whether its rows are of one service, and void when another one takes its place.
    pub(crate) fn is_of_service(self) -> bool {
        !matches!(self, Self::Journal | Self::Tenants)
    }
}

/// What a row says.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Fields, and then a body, which is shared and not copied.
    Bytes(Vec<u8>, Bytes),
    /// A body that the shell keeps, to be said in the shell's words.
    Spooled(Spooled),
}

/// A row, or that it is gone.
pub(crate) type Write = ((Table, u128), Option<Value>);

/// Something that is told to its owner as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    Job(RequestId),
    File(FileKey),
    Part(FileKey, u32),
}

/// What has changed.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// All rows of the service that there are are void.
    pub(crate) is_anew: bool,
    pub(crate) rows: Vec<Write>,
    /// Bodies that no row will name any more; their places must stay until then.
    pub(crate) freed: Vec<Spooled>,
    pub(crate) accepted: Vec<Accepted>,
    /// Jobs of which something was said or may have been.
    pub(crate) moved: Vec<RequestId>,
    /// The job that was asked about.
    pub(crate) about: Option<RequestId>,
}

impl Writes {
    fn put(&mut self, table: Table, key: u128, fields: Vec<u8>) {
        self.rows.push(((table, key), Some(Value::Bytes(fields, Bytes::new()))));
    }

    fn put_body(&mut self, table: Table, key: u128, fields: Vec<u8>, body: Bytes) {
        self.rows.push(((table, key), Some(Value::Bytes(fields, body))));
    }

    fn drop(&mut self, table: Table, key: u128) {
        self.rows.push(((table, key), None));
    }
}

/// That somebody keeps the service.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    starts: u32,
    /// The number of the last body that was written down.
    last_blob: u64,
    /// Bodies of the service before this one, until their rows are void.
    freed: Vec<Spooled>,
    is_anew: bool,
    about: Option<RequestId>,
    /// The settings of the account have changed.
    account_changed: bool,
    /// What was last said of it as a whole.
    said: Option<Marks>,
}

impl Keeping {
    /// Notes that somebody asks about a job: what is said of it must not be taken back.
    pub(super) const fn asked_about(&mut self, id: RequestId) {
        self.about = Some(id);
    }
}

impl Model {
    /// Begins to note changes. Everything that is there counts as changed.
    pub(crate) fn keep_anew(&mut self, keeping: Option<Box<Keeping>>) {
        let Some(mut keeping) = keeping else { return };
        keeping.is_anew = true;
        keeping.account_changed = true;
        keeping.said = None;
        self.jobs.keep_anew();
        self.files.keep_anew(keeping.last_blob);
        self.deliveries.keep_anew();
        self.keeping = Some(keeping);
    }

    /// Notes changes no more. Returns what [`keep_anew`](Self::keep_anew) wants of the service that follows.
    pub(crate) fn unkeep(&mut self) -> Option<Box<Keeping>> {
        self.jobs.log = None;
        self.deliveries.log = None;
        let files = self.files.log.take();
        let mut keeping = self.keeping.take()?;
        if let Some(log) = files {
            keeping.last_blob = log.last_blob;
            keeping.freed.extend(log.into_spooled());
        }
        Some(keeping)
    }

    /// The service is over: the bodies that rows name, whose places must stay until the rows are void.
    pub(crate) fn into_named(mut self) -> Vec<Spooled> {
        self.unkeep().map(|keeping| keeping.freed).unwrap_or_default()
    }

    /// What has changed since it was last asked; `None` if nobody keeps it.
    /// `real` is the time outside, `is_virtual` whether that of the service stands still by itself.
    pub(crate) fn take_writes(&mut self, real: SystemTime, is_virtual: bool) -> Option<Writes> {
        let keeping = self.keeping.as_mut()?;
        let mut writes = Writes {
            is_anew: std::mem::take(&mut keeping.is_anew),
            about: keeping.about.take(),
            freed: std::mem::take(&mut keeping.freed),
            ..Writes::default()
        };
        if std::mem::take(&mut keeping.account_changed) {
            let account = code::write(&self.storage.account);
            writes.put(Table::Marks, ACCOUNT, account);
        }
        if self.jobs.log.as_ref().is_some_and(|log| !log.is_empty()) {
            let touched = self.jobs.log.as_mut().map(|log| log.take()).unwrap_or_default();
            for (age, touch) in touched {
                self.job_writes(age, touch, &mut writes);
            }
        }
        if self.files.log.as_ref().is_some_and(|log| !log.is_empty()) {
            let touched = self.files.log.as_mut().map(|log| log.take()).unwrap_or_default();
            for (age, touch) in touched {
                self.file_writes(age, &touch, &mut writes);
            }
        }
        self.delivery_rows(&mut writes);
        self.mark_row(real, is_virtual, &mut writes);
        if writes.is_anew {
            writes.accepted.clear();
        }
        Some(writes)
    }

    /// The row of the service as a whole, if it says something new that matters.
    fn mark_row(&mut self, real: SystemTime, is_virtual: bool, writes: &mut Writes) {
        let Some(keeping) = &self.keeping else { return };
        let (tokens, tokens_over) = self.storage.token_marks();
        let marks = Marks {
            starts: keeping.starts,
            seed: self.config.seed,
            origin: self.epoch.1,
            wall: self.wall(self.now),
            real,
            age: self.age,
            tokens,
            tokens_over,
            rotations: self.deliveries.signer.rotations(),
        };
        // Time that passes by itself is no news, nor are numbers that a new start leaves a gap behind.
        let is_news = keeping.said.is_none_or(|said| {
            (is_virtual && said.wall != marks.wall)
                || said.tokens_over != marks.tokens_over
                || said.rotations != marks.rotations
        });
        if is_news || !writes.rows.is_empty() {
            writes.put(Table::Marks, MARKS, code::write(&marks));
            if let Some(keeping) = &mut self.keeping {
                keeping.said = Some(marks);
            }
        }
    }

    /// Notes that the settings of the account have changed.
    pub(super) fn account_changed(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.account_changed = true;
        }
    }

    fn span(&self, run: &Attempt) -> (SystemTime, SystemTime) {
        (self.wall(run.since), self.wall(run.until))
    }

    fn job_writes(&self, age: u64, touch: JobTouch, writes: &mut Writes) {
        let key = u128::from(age);
        writes.moved.push(touch.id);
        let Some(job) = self.jobs.get(touch.id).filter(|job| job.age == age && !touch.is_gone)
        else {
            writes.drop(Table::Jobs, key);
            writes.drop(Table::Stands, key);
            writes.drop(Table::Works, key);
            return;
        };
        if touch.is_new {
            writes.accepted.push(Accepted::Job(touch.id));
            writes.put_body(Table::Jobs, key, self.accepted_row(touch.id, job), job.input.clone());
        }
        writes.put(Table::Stands, key, self.stand_row(touch, job));
        if let (Some(effort), State::Done { outcome, .. }) = (&job.effort, &job.state) {
            let (row, output) = effort.row(outcome, |at| self.wall(at));
            writes.put_body(Table::Works, key, code::write(&row), output);
        }
    }

    fn accepted_row(&self, id: RequestId, job: &Job) -> Vec<u8> {
        code::write(&JobRow {
            id,
            endpoint: job.endpoint.as_str().into(),
            headers: job.headers.clone(),
            sent: self.wall(job.sent),
            is_low: job.priority == Priority::Low,
            start_by: job.start_by.map(|at| self.wall(at)),
            hook: job.hook.as_ref().map(|hook| (hook.url.clone(), hook.door.clone())),
            keep: job.keep.as_deref().cloned(),
            queue_time: job.plan.pace.queue_time,
            run_time: job.plan.pace.run_time,
            lost_after: job.plan.lost_after,
            rule: job.plan.rule.as_ref().map(|rule| (*rule.name).into()),
        })
    }

    fn stand_row(&self, touch: JobTouch, job: &Job) -> Vec<u8> {
        let stand = match &job.state {
            State::Queued { ticket, .. } => Stand::Queued { ticket: *ticket },
            State::Running { since, .. } => Stand::Running { since: self.wall(*since) },
            State::Done { run, outcome } => {
                let end = touch.end.or_else(|| self.jobs.end_of(touch.id));
                Stand::Done(Box::new(DoneRow {
                    run: run.as_ref().map(|run| self.span(run)),
                    failure: match outcome {
                        Outcome::Failed(failure) => Some(Failure::clone(failure)),
                        Outcome::Made(_) | Outcome::Unread => None,
                    },
                    ended: job.ended.map(|ended| self.wall(ended)),
                    until: end.and_then(|end| end.until).map(|until| self.wall(until)),
                    is_large: end.is_some_and(|end| end.is_large),
                    age: end.map_or(job.age, |end| end.age),
                }))
            }
        };
        code::write(&StandRow {
            past: job.past.iter().map(|run| self.span(run)).collect(),
            cancel_asked: job.cancel_asked,
            doom: job.doom.as_deref().cloned(),
            stand,
        })
    }

    fn file_writes(&mut self, age: u64, touch: &FileTouch, writes: &mut Writes) {
        let key = u128::from(age);
        let Some(log) = self.files.log.as_mut() else { return };
        let (mut saved, mut last) = (log.saved.remove(&age).unwrap_or_default(), log.last_blob);
        let was_known = !saved.is_empty();
        let file = self.files.find(touch.key).filter(|file| file.age() == age);
        let row = file.map(|file| {
            let holds = match &file.content {
                Content::Awaited { content_type } => {
                    Holds::Awaited { content_type: content_type.clone() }
                }
                Content::Parts(session) => Holds::Parts {
                    id: session.id,
                    access: session.access,
                    content_type: session.content_type.clone(),
                },
                Content::Uploaded { content_type, etag, .. } => Holds::Uploaded {
                    content_type: content_type.clone(),
                    etag: etag.clone(),
                    blobs: Vec::new(),
                },
                Content::Made { media, .. } => Holds::Made(Box::new((**media).clone())),
                Content::Gone => Holds::Gone,
            };
            FileRow {
                key: touch.key.bits(),
                host: file.host,
                rest: file.rest.clone(),
                keep: file.keep.as_deref().cloned(),
                until: file.until.map(|until| self.wall(until)),
                holds,
            }
        });
        let content = file.map(|file| &file.content);
        let blobs = save(age, touch, content, &mut saved, &mut last, writes);
        match row {
            None => writes.drop(Table::Files, key),
            Some(mut row) => {
                if let Holds::Uploaded { blobs: numbers, .. } = &mut row.holds {
                    *numbers = blobs;
                }
                let is_brought = !matches!(row.holds, Holds::Made(_) | Holds::Gone);
                if is_brought && !was_known && touch.parts.is_empty() {
                    writes.accepted.push(Accepted::File(touch.key));
                }
                writes.put(Table::Files, key, code::write(&row));
            }
        }
        if let Some(log) = self.files.log.as_mut() {
            log.last_blob = last;
            if !saved.is_empty() {
                log.saved.insert(age, saved);
            }
        }
    }
}

/// Writes down the bodies of a file that are new, and takes back those that are over. Returns the numbers of those
/// of a whole file.
fn save(
    age: u64,
    touch: &FileTouch,
    content: Option<&Content>,
    saved: &mut log::SavedFile,
    last: &mut u64,
    writes: &mut Writes,
) -> Vec<u64> {
    let part_key = |number: u32| u128::from(age) << 32 | u128::from(number);
    let mut put = |blob: &Blob, writes: &mut Writes| {
        *last += 1;
        let value = match blob {
            Blob::Memory { bytes, .. } => Value::Bytes(vec![IN_ROW], bytes.clone()),
            Blob::Spooled(body) => Value::Spooled(body.clone()),
        };
        writes.rows.push(((Table::Blobs, u128::from(*last)), Some(value)));
        *last
    };
    let mut over: Vec<(u64, Blob)> = Vec::new();
    let mut numbers = Vec::new();
    if let Some(Content::Parts(session)) = content {
        for number in &touch.parts {
            let blob = session.parts.get(number);
            let before = saved.parts.get(number).map(|(_, blob)| Same::of(blob));
            if blob.map(Same::of) == before {
                continue;
            }
            over.extend(saved.parts.remove(number));
            match blob {
                Some(blob) => {
                    let blob_number = put(blob, writes);
                    writes.accepted.push(Accepted::Part(touch.key, *number));
                    writes.put(Table::Parts, part_key(*number), code::write(&blob_number));
                    saved.parts.insert(*number, (blob_number, blob.clone()));
                }
                None => writes.drop(Table::Parts, part_key(*number)),
            }
        }
        over.append(&mut saved.whole);
    } else {
        let known = saved.numbers();
        let mut whole = Vec::new();
        if let Some(Content::Uploaded { blobs, .. }) = content {
            for blob in blobs {
                let number = known.get(&Same::of(blob)).copied();
                let number = number.unwrap_or_else(|| put(blob, writes));
                whole.push((number, blob.clone()));
                numbers.push(number);
            }
        }
        for number in saved.parts.keys() {
            writes.drop(Table::Parts, part_key(*number));
        }
        let before = std::mem::take(saved);
        saved.whole = whole;
        let used: HashSet<u64> = numbers.iter().copied().collect();
        over.extend(before.into_blobs().filter(|(number, _)| !used.contains(number)));
    }
    for (number, blob) in over {
        writes.drop(Table::Blobs, u128::from(number));
        writes.freed.extend(log::spooled(blob));
    }
    numbers
}

/// Key of the row of the service as a whole.
pub(crate) const MARKS: u128 = 0;

/// Key of the settings of the account.
const ACCOUNT: u128 = 1;

/// Key of the number of the last request.
pub(crate) const REQUESTS: u128 = 2;

/// How the row of a body in memory begins; it follows.
pub(crate) const IN_ROW: u8 = 0;

/// How the row of a body begins that the shell keeps.
pub(crate) const ELSEWHERE: u8 = 1;

/// Ages of a later start are above all of an earlier one by so much, and so are the numbers of tokens: what was
/// counted and never written down is not counted again.
const AGES_PER_START: u64 = 1 << 32;
