//! The table of jobs: who is there, who is oldest, what they cost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::id::{IdMap, RequestId};
use super::job::{Job, Outcome, State};

/// All jobs. Finished ones are kept in the order in which they expire, one list for each retention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    map: IdMap<RequestId, Box<Job>>,
    unfinished: BTreeMap<u64, RequestId>,
    finished: [VecDeque<Finished>; 2],
    bytes: usize,
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
        if !job.is_done() {
            self.unfinished.insert(job.age, id);
        }
        self.map.insert(id, Box::new(job));
    }

    /// Corrects the sum of bytes after a change of one job.
    pub(crate) fn recount(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// Notes that a job is finished and can be read until then.
    pub(crate) fn finish(&mut self, id: RequestId, age: u64, until: Option<Instant>, large: bool) {
        // A retention beyond what the clock can say never ends: the job stays until it is evicted,
        // by way of the list of unfinished ones, which have no end either.
        let Some(job) = self.map.get(&id) else { return };
        let Some(until) = until else {
            self.unfinished.insert(job.age, id);
            return;
        };
        if !self.unfinished.is_empty() {
            self.unfinished.remove(&job.age);
        }
        self.finished[usize::from(large)].push_back(Finished { age, until, id });
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
        Some(*job)
    }

    fn remove_finished(&mut self, large: usize) -> Option<RequestId> {
        let one = self.finished[large].pop_front()?;
        let job = self.map.remove(&one.id).expect("every finished job is in the table");
        self.bytes -= job.bytes();
        Some(one.id)
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
