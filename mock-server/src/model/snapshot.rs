//! A copy of the service, to go back to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::change::Changes;
use super::job::State;
use super::work::Works;
use super::{Model, Output, app_of, front};

impl Model {
    /// The service as it is now, with nothing open: calls, streams and sessions that wait are none of the copy's.
    /// Bytes are shared, not copied. A delivery that is under way counts as one without an answer.
    pub fn snapshot(&self) -> Self {
        let mut copy = Self {
            config: self.config.clone(),
            now: self.now,
            epoch: self.epoch,
            job_ids: self.job_ids.clone(),
            other_ids: self.other_ids.clone(),
            age: self.age,
            endpoints: self.endpoints.clone(),
            jobs: self.jobs.clone(),
            files: self.files.clone(),
            storage: self.storage.clone(),
            apps: self.apps.clone(),
            due: self.due.clone(),
            open: BTreeMap::new(),
            fail_next: self.fail_next.clone(),
            break_next: self.break_next.clone(),
            refuse_next: self.refuse_next.clone(),
            fail_messages: self.fail_messages.clone(),
            sessions_open: 0,
            inner: front::Inner::default(),
            deliveries: self.deliveries.clone(),
            works: Works::default(),
            counters: self.counters.clone(),
            ledger: self.ledger.clone(),
            changes: Changes::default(),
            play: self.play.clone(),
            warm: self.warm.clone(),
            lost_after: None,
            flights: BTreeMap::new(),
            passed: 0,
            keeping: None,
            out: VecDeque::new(),
        };
        // What was open held runners and watched jobs.
        let mut running: Vec<_> = Vec::new();
        for (id, job) in self.jobs.by_age() {
            if matches!(job.state, State::Running { .. }) {
                running.push(job.endpoint.clone());
            }
            if let Some(job) = copy.jobs.get_mut(id) {
                job.streams.clear();
            }
        }
        for app in copy.apps.values_mut() {
            app.running = 0;
            app.watchers.clear();
        }
        for endpoint in running {
            app_of(&mut copy.apps, endpoint.app()).running += 1;
        }
        // Nobody works for the copy: what a back end was doing begins anew.
        for (id, job) in self.jobs.by_age() {
            if matches!(job.state, State::Running { .. }) && job.plan.backend.is_some() {
                copy.jobs.get_mut(id).and_then(|job| job.effort.as_mut()?.number.take());
                copy.requeue(id, false, Duration::ZERO);
            }
        }
        let names: Vec<Box<str>> = copy.apps.keys().cloned().collect();
        for name in names {
            copy.start_ready(&name);
        }
        // Nobody has seen these; those who look at the copy ask for themselves.
        copy.out.retain(|output| matches!(output, Output::Work { .. }));
        copy.passed = copy.out.len();
        copy.watch(false);
        copy.unkeep();
        copy
    }
}
