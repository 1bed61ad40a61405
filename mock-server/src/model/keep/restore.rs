//! A service made of the rows of one before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::rand::SplitMix64;
use http::StatusCode;

use super::super::answer::Answer;
use super::super::config::Config;
use super::super::content::{Blob, Spooled};
use super::super::failure::Failure;
use super::super::files::{Content, FileKey, NewFile, Session};
use super::super::id::RequestId;
use super::super::job::{Attempt, Job, Outcome, Priority, State};
use super::super::ledger::CallWay;
use super::super::plan::{Pace, Plan, backend_of};
use super::super::signer::Signer;
use super::super::webhook::{DeliveryResult, DeliveryState, Hook};
use super::super::work::Effort;
use super::super::{Due, Model, app_of};
use super::code::{Field, read};
use super::log::SavedFile;
use super::rows::{DeliveryRow, FileRow, Holds, JobRow, Marks, Stand, StandRow, WorkRow};
use super::{ACCOUNT, AGES_PER_START, End, FileLog, IN_ROW, JobLog, Keeping, MARKS, Table};

/// The rows of each table.
#[derive(Debug, Default)]
pub(crate) struct Rows(BTreeMap<Table, BTreeMap<u128, Bytes>>);

impl Rows {
    pub(crate) fn add(&mut self, table: Table, key: u128, row: Bytes) {
        self.0.entry(table).or_default().insert(key, row);
    }

    /// What is known of the service as a whole.
    pub(crate) fn marks(&self) -> Result<Marks, BadRow> {
        let row = self.0.get(&Table::Marks).and_then(|rows| rows.get(&MARKS));
        let bad = BadRow { table: Table::Marks, key: MARKS };
        row.and_then(|row| read(row)).ok_or(bad)
    }

    /// Takes out one row.
    pub(crate) fn take_one(&mut self, table: Table, key: u128) -> Option<Bytes> {
        self.0.get_mut(&table)?.remove(&key)
    }

    /// Takes out a table.
    pub(crate) fn take(&mut self, table: Table) -> BTreeMap<u128, Bytes> {
        self.0.remove(&table).unwrap_or_default()
    }
}

/// A row that says nothing, or names another one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) table: Table,
    pub(crate) key: u128,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {:x} of {:?} cannot be read", self.key, self.table)
    }
}

impl Keeping {
    /// Of a service that was never kept before, or was started so often.
    pub(crate) fn new(starts: u32) -> Box<Self> {
        Box::new(Self {
            starts,
            last_blob: 0,
            freed: Vec::new(),
            is_anew: false,
            about: None,
            account_changed: false,
            said: None,
        })
    }
}

/// What is read on the way.
struct Restoring<'a> {
    model: Model,
    stop: Instant,
    blobs: BTreeMap<u64, Blob>,
    log: FileLog,
    open: &'a mut dyn FnMut(&Bytes) -> Option<Spooled>,
}

impl Model {
    /// Goes on with what rows say. `now` is the first instant; `epoch` is an instant, at or before it, and what the
    /// wall showed then: no time in the rows is before it. `open` finds bodies that the shell keeps.
    ///
    /// Finished jobs stay as they are. Others wait once more: first those that waited, in their order, then those that
    /// ran, as after a lost runner. A delivery that was under way counts as one without an answer.
    pub(crate) fn restore(
        config: Config,
        now: Instant,
        epoch: (Instant, SystemTime),
        mut rows: Rows,
        open: &mut dyn FnMut(&Bytes) -> Option<Spooled>,
    ) -> Result<Self, BadRow> {
        let marks = rows.marks()?;
        let mut model = Self::new(config, now, epoch.1);
        model.epoch = epoch;
        let starts = marks.starts.saturating_add(1);
        let mut rng = SplitMix64::new(model.config.seed);
        for _ in 0..=starts {
            model.job_ids = SplitMix64::new(rng.next_u64());
            model.other_ids = SplitMix64::new(rng.next_u64());
        }
        let tokens = marks.tokens.saturating_add(AGES_PER_START);
        model.storage.set_token_marks(tokens, marks.tokens_over);
        let seed = model.config.signing_seed();
        model.deliveries.signer = Signer::rotated(seed, model.config.tenant, marks.rotations);
        let table = rows.take(Table::Marks);
        if let Some(row) = table.get(&ACCOUNT) {
            let bad = BadRow { table: Table::Marks, key: ACCOUNT };
            model.storage.account = read(row).ok_or(bad)?;
        }
        model.age = marks.age;
        let stop = epoch.0 + marks.wall.duration_since(epoch.1).unwrap_or_default();
        let (blobs, log) = (BTreeMap::new(), FileLog::default());
        let mut restoring = Restoring { model, stop, blobs, log, open };
        restoring.read_blobs(&mut rows)?;
        restoring.read_files(&mut rows)?;
        let unfinished = restoring.read_jobs(&mut rows)?;
        let in_flight = restoring.read_deliveries(&mut rows)?;
        let Restoring { mut model, stop, log, .. } = restoring;

        model.age = model.age.saturating_add(AGES_PER_START);
        let mut keeping = Keeping::new(starts);
        keeping.last_blob = log.last_blob;
        model.keeping = Some(keeping);
        model.jobs.log = Some(Box::new(JobLog::default()));
        model.files.log = Some(Box::new(log));
        model.deliveries.log = Some(BTreeMap::new());
        for id in unfinished {
            model.put_back(id, stop);
        }
        for number in in_flight {
            model.delivered(number, DeliveryResult::Failed(STOPPED.into()));
        }
        model.settle(now);
        Ok(model)
    }

    /// A job that waited or ran when the service stopped waits again.
    fn put_back(&mut self, id: RequestId, stop: Instant) {
        let Some(job) = self.jobs.get(id) else { return };
        let State::Running { since, .. } = job.state else {
            return self.enqueue(id, Duration::ZERO);
        };
        app_of(&mut self.apps, job.endpoint.clone().app()).running += 1;
        if !self.requeue(id, false, Duration::ZERO) {
            let why = "The runner went away, and no attempt is left";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            self.fail(id, Arc::new(Failure::request_error(status, "runner_disconnected", why)));
        }
        // It ran until the service stopped, not until it is there again.
        if let Some(run) = self.jobs.get_mut(id).and_then(|job| job.past.last_mut()) {
            run.until = stop.max(since);
        }
    }

    /// Takes back what could not be written down and was told to nobody.
    pub(crate) fn forget(&mut self, now: Instant, accepted: super::Accepted) {
        self.advance(now);
        match accepted {
            super::Accepted::Job(id) => {
                let Some(job) = self.jobs.get(id) else { return };
                let endpoint = job.endpoint.clone();
                let is_running = matches!(job.state, State::Running { .. });
                let is_done = job.is_done();
                if is_running {
                    app_of(&mut self.apps, endpoint.app()).running -= 1;
                }
                self.leave_line(id);
                self.jobs.forget(id);
                self.note_job_gone(id);
                if !is_done {
                    self.line_moved(endpoint.app());
                    self.start_ready(endpoint.app());
                    self.drop_idle(endpoint.app());
                }
            }
            super::Accepted::File(key) => self.files.remove(key),
            super::Accepted::Part(key, number) => {
                self.files.change(key, |file| {
                    if let Content::Parts(session) = &mut file.content {
                        session.parts.remove(&number);
                    }
                });
                self.files.part_changed(key, number);
            }
        }
        self.settle(now);
    }
}

impl Restoring<'_> {
    fn instant(&self, wall: SystemTime) -> Option<Instant> {
        let (start, origin) = self.model.epoch;
        start.checked_add(wall.duration_since(origin).unwrap_or_default())
    }

    /// The same for times that were, and so can be.
    fn past(&self, wall: SystemTime) -> Instant {
        self.instant(wall).unwrap_or(self.model.now)
    }

    fn run(&self, (since, until): (SystemTime, SystemTime)) -> Attempt {
        Attempt { since: self.past(since), until: self.past(until) }
    }

    fn read_blobs(&mut self, rows: &mut Rows) -> Result<(), BadRow> {
        for (key, row) in rows.take(Table::Blobs) {
            let blob = match row.first() {
                Some(&IN_ROW) => Some(Blob::memory(row.slice(1..))),
                Some(_) => (self.open)(&row).map(Blob::Spooled),
                None => None,
            };
            let bad = BadRow { table: Table::Blobs, key };
            let number = u64::try_from(key).map_err(|_| bad)?;
            self.blobs.insert(number, blob.ok_or(bad)?);
            self.log.last_blob = self.log.last_blob.max(number);
        }
        Ok(())
    }

    fn read_files(&mut self, rows: &mut Rows) -> Result<(), BadRow> {
        let mut parts: BTreeMap<u64, BTreeMap<u32, (u64, Blob)>> = BTreeMap::new();
        for (key, row) in rows.take(Table::Parts) {
            let bad = BadRow { table: Table::Parts, key };
            let (age, number) = (u64::try_from(key >> 32).map_err(|_| bad)?, key as u32);
            let blob_number: u64 = read(&row).ok_or(bad)?;
            let blob = self.blobs.get(&blob_number).ok_or(bad)?.clone();
            parts.entry(age).or_default().insert(number, (blob_number, blob));
        }
        for (key, row) in rows.take(Table::Files) {
            let bad = BadRow { table: Table::Files, key };
            let age = u64::try_from(key).map_err(|_| bad)?;
            let row: FileRow = read(&row).ok_or(bad)?;
            let mut saved = SavedFile::default();
            let content = match row.holds {
                Holds::Awaited { content_type } => Content::Awaited { content_type },
                Holds::Gone => Content::Gone,
                Holds::Made(media) => Content::Made { media, bytes: None },
                Holds::Parts { id, access, content_type } => {
                    saved.parts = parts.remove(&age).unwrap_or_default();
                    let all = saved.parts.iter();
                    let parts = all.map(|(number, (_, blob))| (*number, blob.clone())).collect();
                    Content::Parts(Box::new(Session { id, access, content_type, parts }))
                }
                Holds::Uploaded { content_type, etag, blobs } => {
                    for number in blobs {
                        let blob = self.blobs.get(&number).ok_or(bad)?.clone();
                        saved.whole.push((number, blob));
                    }
                    let blobs = saved.whole.iter().map(|(_, blob)| blob.clone()).collect();
                    Content::Uploaded { content_type, etag, blobs }
                }
            };
            if !saved.is_empty() {
                self.log.saved.insert(age, saved);
            }
            let keep = row.keep.map(Box::new);
            let until = row.until.and_then(|until| self.instant(until));
            let file = NewFile { host: row.host, rest: &row.rest, keep, until };
            self.model.files.add(age, FileKey::new(row.key), file, content);
            self.model.age = self.model.age.max(age);
        }
        self.blobs.clear();
        Ok(())
    }

    /// How a job goes, by the rule of its name where there is one still.
    fn plan(&self, job: &JobRow) -> Plan {
        let (queue_time, run_time) = (job.queue_time, job.run_time);
        let rule = job.rule.as_ref().and_then(|name| {
            let scenario = self.model.config.scenario.as_ref()?;
            scenario.rules.iter().find(|rule| *rule.name == **name).cloned()
        });
        let logs = rule.as_ref().and_then(|rule| rule.timeline.logs(run_time));
        let pace = Pace { queue_time, run_time };
        let backend = self
            .model
            .play
            .as_ref()
            .and_then(|play| backend_of(play, rule.as_deref(), &job.endpoint));
        Plan { rule, pace, logs, lost_after: job.lost_after, backend }
    }

    /// Returns those that are to wait again, in order.
    fn read_jobs(&mut self, rows: &mut Rows) -> Result<Vec<RequestId>, BadRow> {
        let mut stands = rows.take(Table::Stands);
        let mut works = rows.take(Table::Works);
        let mut waiting: Vec<(bool, u64, u64, RequestId)> = Vec::new();
        let mut finished: Vec<(End, u64, RequestId)> = Vec::new();
        for (key, row) in rows.take(Table::Jobs) {
            let bad = BadRow { table: Table::Jobs, key };
            let age = u64::try_from(key).map_err(|_| bad)?;
            let mut rest = &row[..];
            let job = JobRow::take(&mut rest).ok_or(bad)?;
            let input = row.slice_ref(rest);
            let stand = stands.remove(&key).and_then(|row| read(&row));
            let stand: StandRow = stand.ok_or(BadRow { table: Table::Stands, key })?;
            let endpoint = EndpointId::parse(&job.endpoint).map_err(|_| bad)?;
            let (id, sent) = (job.id, self.past(job.sent));
            let ledger = &mut self.model.ledger;
            let number = ledger.called(sent, CallWay::Submit, &endpoint, id, &input);
            let (effort, worked) = match works.remove(&key) {
                Some(row) => {
                    let mut rest = &row[..];
                    let work = WorkRow::take(&mut rest);
                    let work = work.ok_or(BadRow { table: Table::Works, key })?;
                    let output = row.slice_ref(rest);
                    let (effort, worked) = Effort::restored(work, output, |wall| self.past(wall));
                    (Some(Box::new(effort)), worked)
                }
                None => (None, None),
            };
            let (mut ended, state) = (None, stand.stand);
            let state = match state {
                Stand::Queued { ticket } => {
                    waiting.push((false, ticket, age, id));
                    State::Queued { since: self.model.now, ticket: u64::MAX }
                }
                Stand::Running { since } => {
                    waiting.push((true, age, age, id));
                    let answer = Arc::new(Answer::empty());
                    State::Running { since: self.past(since), answer }
                }
                Stand::Done(done) => {
                    let until = done.until.and_then(|until| self.instant(until));
                    let end = End { until, is_large: done.is_large, age: done.age };
                    finished.push((end, age, id));
                    self.model.age = self.model.age.max(done.age);
                    ended = done.ended.map(|ended| self.past(ended));
                    let outcome = match done.failure {
                        Some(failure) => {
                            self.model.ledger.ended(number, &endpoint, None);
                            Outcome::Failed(Arc::new(failure))
                        }
                        None => match worked {
                            Some(worked) => {
                                let ledger = &mut self.model.ledger;
                                ledger.ended(number, &endpoint, Some(worked.units()));
                                Outcome::Made(Arc::new(Answer::Worked(Box::new(worked))))
                            }
                            None => Outcome::Unread,
                        },
                    };
                    State::Done { run: done.run.map(|run| self.run(run)), outcome }
                }
            };
            let plan = self.plan(&job);
            let hook = job.hook.map(|(url, door)| Box::new(Hook { url, door }));
            let job = Job {
                endpoint,
                input,
                headers: job.headers,
                age,
                sent,
                priority: if job.is_low { Priority::Low } else { Priority::Normal },
                start_by: job.start_by.and_then(|at| self.instant(at)),
                doom: stand.doom.map(Arc::new),
                epoch: 0,
                cancel_asked: stand.cancel_asked,
                past: stand.past.into_iter().map(|run| self.run(run)).collect(),
                ended,
                state,
                streams: Vec::new(),
                hook,
                keep: job.keep.map(Box::new),
                ledger: number,
                plan,
                is_starting: false,
                effort,
            };
            self.model.jobs.insert(id, job);
            self.model.age = self.model.age.max(age);
        }
        // Lists are in the order in which jobs expire; what never expires comes in any.
        finished.sort_unstable_by_key(|(end, ..)| (end.until, end.age));
        for (end, job_age, id) in finished {
            self.model.jobs.finish(id, job_age, end);
        }
        waiting.sort_unstable();
        Ok(waiting.into_iter().map(|(.., id)| id).collect())
    }

    /// Returns those that were in flight.
    fn read_deliveries(&mut self, rows: &mut Rows) -> Result<Vec<u64>, BadRow> {
        let mut letters = rows.take(Table::Letters);
        let mut in_flight = Vec::new();
        for (key, row) in rows.take(Table::Deliveries) {
            let bad = BadRow { table: Table::Deliveries, key };
            let number = u64::try_from(key).map_err(|_| bad)?;
            let row: DeliveryRow = read(&row).ok_or(bad)?;
            let body = letters.remove(&key).ok_or(BadRow { table: Table::Letters, key })?;
            let instant = |wall| self.instant(wall);
            let delivery = self.model.delivery_of(row, body, instant).ok_or(bad)?;
            match delivery.state {
                DeliveryState::InFlight => in_flight.push(number),
                DeliveryState::Resting => {
                    let at = delivery.next.unwrap_or(self.model.now);
                    self.model.plan(at, Due::Delivery(number, delivery.epoch));
                }
                _ => {}
            }
            let deliveries = &mut self.model.deliveries;
            deliveries.bytes += delivery.body.len();
            deliveries.all.insert(number, delivery);
            deliveries.last = deliveries.last.max(number);
        }
        Ok(in_flight)
    }
}

/// How a delivery ended that was under way when the service stopped.
const STOPPED: &str = "fal-mock stopped before there was an answer";
