//! Faults at work: which request they happen to, and which of them happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fal_protocol::rand::SplitMix64;

use super::fault::Fault;
use super::when::Facts;
use crate::model::JobState;

/// Faults at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    fault: Arc<Fault>,
    /// Requests that its conditions fitted.
    fitted: u64,
    /// Requests that it was chosen for.
    chosen: u64,
    /// How often it happened.
    fired: u64,
    /// The last times.
    firings: VecDeque<Firing>,
}

/// One time that a fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) at: Instant,
    /// Whom it happened to: an exchange, a job, a delivery.
    pub(crate) whom: Box<str>,
}

/// A fault that shall happen now.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) fault: Arc<Fault>,
    /// Follows from the seed: for what is left to chance.
    pub(crate) draw: u64,
    index: usize,
}

/// What can be told of a fault.
#[derive(Debug)]
pub(crate) struct Account<'a> {
    pub(crate) fault: &'a Fault,
    pub(crate) fitted: u64,
    pub(crate) fired: u64,
    pub(crate) firings: &'a VecDeque<Firing>,
}

impl Faults {
    pub(crate) fn new(seed: u64, faults: impl IntoIterator<Item = Arc<Fault>>) -> Self {
        let entry =
            |fault| Entry { fault, fitted: 0, chosen: 0, fired: 0, firings: VecDeque::new() };
        Self { seed, entries: faults.into_iter().map(entry).collect() }
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The fault that happens to a request: the first that is due. Every fault that fits counts the request,
    /// whichever of them is chosen.
    ///
    /// Call [`fired`](Self::fired) once it happens; a stream can end before.
    pub(crate) fn decide(&mut self, facts: &Facts<'_>) -> Option<Effect> {
        let mut found = None;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let fault = &entry.fault;
            if !fault.on.has(facts.operation) || !fault.is_while(facts) || !fault.when.fits(facts) {
                continue;
            }
            entry.fitted += 1;
            // A number of its own for each request, so that requests of other kinds do not change it.
            let mut rng = SplitMix64::new(
                self.seed
                    ^ (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    ^ entry.fitted.wrapping_mul(0xD1B5_4A32_D192_ED03),
            );
            let (chance, draw) = (rng.unit(), rng.next_u64());
            if found.is_none() && entry.is_due(chance) {
                entry.chosen += 1;
                found = Some(Effect { fault: Arc::clone(&entry.fault), draw, index });
            }
        }
        found
    }

    /// Writes down that a fault happened, and returns for which time.
    pub(crate) fn fired(&mut self, now: Instant, effect: &Effect, whom: &str) -> u64 {
        let Some(entry) = self.entries.get_mut(effect.index) else { return 0 };
        entry.fired += 1;
        if entry.firings.len() == FIRINGS_MAX {
            entry.firings.pop_front();
        }
        entry.firings.push_back(Firing { at: now, whom: whom.into() });
        entry.fired
    }

    /// Every fault and what it did, in their order.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.entries.iter().map(|entry| Account {
            fault: &entry.fault,
            fitted: entry.fitted,
            fired: entry.fired,
            firings: &entry.firings,
        })
    }
}

impl Fault {
    fn is_while(&self, facts: &Facts<'_>) -> bool {
        match (self.trigger.state, facts.state) {
            (None, _) => true,
            (Some(JobState::Succeeded), Some(state)) => {
                matches!(state, JobState::Succeeded | JobState::Failed)
            }
            (wanted, state) => wanted == state,
        }
    }
}

impl Entry {
    fn is_due(&self, chance: f64) -> bool {
        let trigger = &self.fault.trigger;
        (trigger.nth.is_empty() || trigger.nth.iter().any(|nth| nth.get() == self.fitted))
            && trigger.every.is_none_or(|every| self.fitted % every == 0)
            && trigger.times.is_none_or(|times| self.chosen < times.get())
            && trigger.probability.is_none_or(|probability| chance < probability)
    }
}

/// Times that are remembered of each fault; all are counted.
pub(crate) const FIRINGS_MAX: usize = 100;
