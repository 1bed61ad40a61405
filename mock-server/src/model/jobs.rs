//! The table of jobs: who is there, who is oldest, what they cost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::id::{IdMap, RequestId};
use super::job::{Job, Outcome, State};
use super::keep::{End, JobLog};

/// All jobs. Finished ones are kept in the order in which they expire, one list for each retention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    map: IdMap<RequestId, Box<Job>>,
    unfinished: BTreeMap<u64, RequestId>,
    finished: [VecDeque<Finished>; 2],
    bytes: usize,
    /// What has changed since it was written down, if anybody writes it down.
    pub(super) log: Option<Box<JobLog>>,
}

#[derive(Clone, Copy, Debug)]
struct Finished {
    /// Not the age of the job but the moment of its end, on the same count.
    age: u64,
    until: Instant,
    id: RequestId,
}

impl Jobs {
    pub(crate) fn get(&self, id: RequestId) -> Option<&Job> {
        self.map.get(&id).map(|job| &**job)
    }

    /// A job to change. Follow with [`Self::recount`] if its cost may change.
    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Job> {
        self.map.get_mut(&id).map(|job| &mut **job)
    }

    pub(crate) fn insert(&mut self, id: RequestId, job: Job) {
        self.bytes += job.bytes();
        if let Some(log) = &mut self.log {
            log.added(job.age, id);
        }
        if !job.is_done() {
            self.unfinished.insert(job.age, id);
        }
        self.map.insert(id, Box::new(job));
    }

    /// Corrects the sum of bytes after a change of one job.
    pub(crate) fn recount(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// Notes that a job of this age is finished, and until when it can be read.
    pub(crate) fn finish(&mut self, id: RequestId, job_age: u64, end: End) {
        if let Some(log) = &mut self.log {
            log.ended(job_age, id, end);
        }
        let End { until, is_large, age } = end;
        // A retention beyond what the clock can say never ends: the job stays until it is evicted,
        // by way of the list of unfinished ones, which have no end either.
        let Some(until) = until else {
            self.unfinished.insert(job_age, id);
            return;
        };
        if !self.unfinished.is_empty() {
            self.unfinished.remove(&job_age);
        }
        self.finished[usize::from(is_large)].push_back(Finished { age, until, id });
    }

    /// Forgets a job whose time is over, and says which; `None` if there is none.
    pub(crate) fn expire_one(&mut self, now: Instant) -> Option<RequestId> {
        let is_over = |list: &VecDeque<Finished>| list.front().is_some_and(|one| one.until <= now);
        let large = self.finished.iter().position(is_over)?;
        self.remove_finished(large)
    }

    /// When the next finished job expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.finished.iter().filter_map(|list| list.front()).map(|one| one.until).min()
    }

    /// The age of the oldest finished job.
    pub(crate) fn oldest_finished(&self) -> Option<u64> {
        self.finished.iter().filter_map(|list| list.front()).map(|one| one.age).min()
    }

    pub(crate) fn remove_oldest_finished(&mut self) -> Option<RequestId> {
        let fronts =
            [0, 1].map(|large| self.finished[large].front().map_or(u64::MAX, |one| one.age));
        self.remove_finished(usize::from(fronts[1] < fronts[0]))
    }

    /// The oldest job that is not finished.
    pub(crate) fn oldest_unfinished(&self) -> Option<RequestId> {
        self.unfinished.first_key_value().map(|(_, id)| *id)
    }

    /// Takes out a job that is in the list of unfinished ones.
    pub(crate) fn remove_unfinished(&mut self, id: RequestId) -> Option<Job> {
        let job = self.map.remove(&id)?;
        self.bytes -= job.bytes();
        self.unfinished.remove(&job.age);
        if let Some(log) = &mut self.log {
            log.gone(job.age, id);
        }
        Some(*job)
    }

    fn remove_finished(&mut self, large: usize) -> Option<RequestId> {
        let one = self.finished[large].pop_front()?;
        let job = self.map.remove(&one.id).expect("every finished job is in the table");
        self.bytes -= job.bytes();
        if let Some(log) = &mut self.log {
            log.gone(job.age, one.id);
        }
        Some(one.id)
    }

    /// A job has changed in a way that is written down.
    pub(super) fn moved(&mut self, id: RequestId) {
        if let (Some(log), Some(job)) = (&mut self.log, self.map.get(&id)) {
            log.moved(job.age, id);
        }
    }

    /// Begins to note what changes; all that is there counts as new.
    pub(super) fn keep_anew(&mut self) {
        let mut log = JobLog::default();
        self.map.iter().for_each(|(id, job)| log.added(job.age, *id));
        for (one, is_large) in [(0, false), (1, true)]
            .iter()
            .flat_map(|(at, large)| self.finished[*at].iter().map(move |one| (one, *large)))
        {
            if let Some(job) = self.map.get(&one.id) {
                let end = End { until: Some(one.until), is_large, age: one.age };
                log.ended(job.age, one.id, end);
            }
        }
        self.log = Some(Box::new(log));
    }

    /// How long a finished job is kept. Looks at all of them.
    pub(super) fn end_of(&self, id: RequestId) -> Option<End> {
        [false, true].into_iter().find_map(|is_large| {
            let one = self.finished[usize::from(is_large)].iter().find(|one| one.id == id)?;
            Some(End { until: Some(one.until), is_large, age: one.age })
        })
    }

    /// Forgets a job, finished or not, that was in no line and had no runner.
    pub(super) fn forget(&mut self, id: RequestId) {
        for large in 0..2 {
            if let Some(at) = self.finished[large].iter().position(|one| one.id == id)
                && let Some(one) = self.finished[large].remove(at)
            {
                // As the oldest it goes the way of all.
                self.finished[large].push_front(one);
                self.remove_finished(large);
                return;
            }
        }
        self.remove_unfinished(id);
    }

    /// Finished jobs whose outcome was put off.
    pub(crate) fn unread(&self) -> Vec<RequestId> {
        let is_unread =
            |job: &Job| matches!(job.state, State::Done { outcome: Outcome::Unread, .. });
        self.by_age().into_iter().filter(|(_, job)| is_unread(job)).map(|(id, _)| id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every job, the oldest first.
    pub(crate) fn by_age(&self) -> Vec<(RequestId, &Job)> {
        let mut all: Vec<(RequestId, &Job)> =
            self.map.iter().map(|(id, job)| (*id, &**job)).collect();
        all.sort_unstable_by_key(|(_, job)| job.age);
        all
    }
}
