//! Connections at rest: a bounded set that is given the time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Values waiting under their keys, the last one in being the first one out.
///
/// Holds no clock and drops nothing itself: what leaves is returned, so that the caller can drop it
/// outside its lock.
#[derive(Debug)]
pub(crate) struct IdleSet<K, V> {
    parked: HashMap<K, VecDeque<(Instant, V)>>,
    len: usize,
    limits: Limits,
    sweep_at: Option<Instant>,
}

/// How many values may rest, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) per_key_max: usize,
    pub(crate) total_max: usize,
    pub(crate) idle_max: Duration,
}

impl<K: Clone + Eq + Hash, V> IdleSet<K, V> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { parked: HashMap::new(), len: 0, limits, sweep_at: None }
    }

    /// Takes the value of `key` that came last, and everything of it that has rested too long.
    pub(crate) fn take(&mut self, now: Instant, key: &K) -> (Option<V>, VecDeque<(Instant, V)>) {
        let Some(queue) = self.parked.get_mut(key) else {
            return (None, VecDeque::new());
        };
        match queue.back() {
            // The youngest is the back, so when it is too old all are.
            Some((since, _)) if is_expired(self.limits.idle_max, now, *since) => {
                self.len -= queue.len();
                (None, std::mem::take(queue))
            }
            Some(_) => {
                self.len -= 1;
                (queue.pop_back().map(|(_, value)| value), VecDeque::new())
            }
            None => (None, VecDeque::new()),
        }
    }

    /// Lets a value rest; returns what there is no room or no time left for.
    pub(crate) fn park(&mut self, now: Instant, key: &K, value: V) -> Vec<V> {
        let mut leaving = Vec::new();
        if self.len >= self.limits.total_max || self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now, &mut leaving);
        }
        if self.sweep_at.is_none() {
            self.sweep_at = now.checked_add(self.limits.idle_max);
        }
        let is_full = self.len >= self.limits.total_max;
        let queue = match self.parked.get_mut(key) {
            Some(queue) => queue,
            None if is_full || self.limits.per_key_max == 0 => {
                leaving.push(value);
                return leaving;
            }
            None => self.parked.entry(key.clone()).or_default(),
        };
        if is_full || queue.len() >= self.limits.per_key_max {
            // The oldest is the likeliest to be closed by its peer.
            let Some((_, oldest)) = queue.pop_front() else {
                leaving.push(value);
                return leaving;
            };
            leaving.push(oldest);
            self.len -= 1;
        }
        queue.push_back((now, value));
        self.len += 1;
        leaving
    }

    /// Removes what has rested too long under any key, and keys without values.
    fn sweep(&mut self, now: Instant, leaving: &mut Vec<V>) {
        let idle_max = self.limits.idle_max;
        for queue in self.parked.values_mut() {
            while queue.front().is_some_and(|(since, _)| is_expired(idle_max, now, *since)) {
                leaving.extend(queue.pop_front().map(|(_, value)| value));
                self.len -= 1;
            }
        }
        self.parked.retain(|_, queue| !queue.is_empty());
        self.sweep_at = None;
    }
}

fn is_expired(idle_max: Duration, now: Instant, since: Instant) -> bool {
    now.saturating_duration_since(since) >= idle_max
}

#[cfg(test)]
mod tests;
