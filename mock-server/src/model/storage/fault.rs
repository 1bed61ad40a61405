//! What a test plans to go wrong with uploads.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::failure::Failure;

/// A call that an upload consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadStep {
    /// An upload is started at the REST host, in one piece or in parts.
    Initiate,
    /// A token is fetched.
    Token,
    /// A signed upload in one piece.
    Put,
    /// An upload in one piece with a token.
    Direct,
    /// An upload in parts is started with a token.
    Create,
    /// A part with this number, or any part.
    Part(Option<u32>),
    /// An upload in parts is completed.
    Complete,
}

impl UploadStep {
    fn covers(self, step: Self) -> bool {
        self == step || (self == Self::Part(None) && matches!(step, Self::Part(_)))
    }
}

/// What happens to a step instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadFailure {
    /// It is refused, and nothing is stored.
    Refuse(Failure),
    /// The connection is closed without an answer, and nothing is stored.
    Cut,
    /// The connection is closed without an answer, but everything is stored.
    LoseAnswer,
    /// The answer comes after this time.
    Late(Duration),
}

/// What is planned, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(VecDeque<Fault>);

#[derive(Clone, Debug)]
struct Fault {
    step: UploadStep,
    left: u32,
    failure: UploadFailure,
}

impl Faults {
    pub(super) fn plan(&mut self, step: UploadStep, times: u32, failure: UploadFailure) {
        if times > 0 {
            self.0.push_back(Fault { step, left: times, failure });
        }
    }

    /// What happens to a step that is about to be done.
    pub(super) fn next(&mut self, step: UploadStep) -> Option<UploadFailure> {
        let at = self.0.iter().position(|fault| fault.step.covers(step))?;
        let fault = self.0.get_mut(at)?;
        fault.left -= 1;
        match fault.left {
            0 => self.0.remove(at).map(|fault| fault.failure),
            _ => Some(fault.failure.clone()),
        }
    }
}
