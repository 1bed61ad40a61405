//! Machine: ask the platform API one thing.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Answer)` |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, failure, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |
//!
//! All that can be asked may be asked again: writes put a state, and nothing here is paid for.

use std::sync::Arc;
use std::time::Instant;

use super::Question;
use crate::answer::Answer;
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, InputError};
use crate::machine::{AttemptFailed, Ids, Out};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Solo, solo_methods};
use crate::wire::{Expect, Response};

/// Asks one question. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Ask {
    solo: Solo<Asked>,
}

#[derive(Debug)]
struct Asked;

impl Ask {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the question makes no address.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        question: Question,
        deadline: Option<Instant>,
    ) -> Result<Self, InputError> {
        let uri = question.uri(&settings.hosts)?;
        let bytes_max = question.bytes_max();
        let (method, headers, body) = question.into_parts();
        let request = json_request(settings, method, uri, headers, body)
            .with_expect(Expect::Whole { bytes_max });
        let call = Call::new(settings, Purpose::Platform, request, seed, deadline);
        Ok(Self { solo: Solo::begin(now, Asked, call, deadline, Ids::default()) })
    }

    solo_methods!(AttemptFailed, Answer);
}

impl Kind for Asked {
    type Event = AttemptFailed;
    type Done = Answer;

    fn read(
        &mut self,
        response: Response,
        _: &mut Out<AttemptFailed, Answer>,
    ) -> Result<Answer, Error> {
        Ok(Answer::new(response))
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::NothingSubmitted
    }
}
