//! What guards the ways in and out: certificates, and what is refused.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::Recording;
use crate::tls::Tls;

/// Certificates, and what is refused.
#[derive(Debug)]
pub(crate) struct Gate {
    tls: Tls,
    passthrough: bool,
    recording: Option<Arc<Recording>>,
    refused: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    total: u64,
    /// The first [`REFUSED_MAX`] targets.
    counts: BTreeMap<Box<str>, u64>,
}

/// A host that a client wanted to reach through the mock, and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Host and port as the client named them, such as `example.com:443`.
    pub target: String,
    /// How often.
    pub count: u64,
}

impl Gate {
    /// # Errors
    /// When the authority in `ca_dir` can neither be read nor made.
    pub(crate) fn new(ca_dir: Option<&Path>, passthrough: bool) -> io::Result<Self> {
        let tls = match ca_dir {
            Some(dir) => Tls::kept_in(dir)?,
            None => Tls::in_memory(),
        };
        Ok(Self { tls, passthrough, recording: None, refused: Mutex::default() })
    }

    /// Sends what is for fal to the real service from now on.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.recording = Some(Arc::new(recording));
    }

    /// The recording that is being made.
    pub(crate) const fn recording(&self) -> Option<&Arc<Recording>> {
        self.recording.as_ref()
    }

    pub(crate) const fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whether hosts that are not fal's can be reached.
    pub(crate) const fn passthrough(&self) -> bool {
        self.passthrough
    }

    pub(super) fn note_refused(&self, target: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.total += 1;
        if let Some(count) = refused.counts.get_mut(target) {
            *count += 1;
        } else if refused.counts.len() < REFUSED_MAX {
            refused.counts.insert(target.into(), 1);
        }
    }

    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    pub(crate) fn refused(&self) -> Vec<Refused> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = refused.counts.iter();
        entries
            .map(|(target, count)| Refused { target: target.to_string(), count: *count })
            .collect()
    }
}

/// Targets that are remembered by name.
const REFUSED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_remembered_up_to_a_limit() {
        let gate = Gate::new(None, false).unwrap();
        for round in 0..2 {
            for number in 0..=REFUSED_MAX {
                gate.note_refused(&format!("{number}.test:443"));
            }
            assert_eq!(gate.refused().len(), REFUSED_MAX, "round {round}");
        }
        assert_eq!(gate.refused_total(), 2 * (REFUSED_MAX as u64 + 1));
        assert!(gate.refused().iter().all(|refused| refused.count == 2));
    }
}
