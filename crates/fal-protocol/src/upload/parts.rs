//! What is under way while parts go out: several calls, each repeated on its own.

use std::ops::Range;
use std::time::Instant;

use super::{Event, Uploaded};
use crate::call::{Call, Settled};
use crate::error::Error;
use crate::machine::{AttemptFailed, Ids, Out, Output, earliest};
use crate::wire::{Body, ExchangeId, Failure, Response};

/// The calls that are under way.
#[derive(Debug)]
pub(super) struct Parts {
    active: Vec<Active>,
    /// Lower numbers have been sent at least once, or had arrived before.
    next: u32,
    /// When the token was last asked for; one is not renewed again at once.
    renewed: Option<Instant>,
}

#[derive(Debug)]
struct Active {
    what: What,
    call: Call,
    /// Bytes of the part that have gone out.
    sent: u64,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Another token of the CDN.
    Renewal,
    /// Where this part is to go.
    Opening(u32),
    /// This part itself.
    Putting(u32),
}

impl What {
    const fn number(self) -> Option<u32> {
        match self {
            Self::Renewal => None,
            Self::Opening(number) | Self::Putting(number) => Some(number),
        }
    }
}

impl Parts {
    pub(super) const fn new() -> Self {
        Self { active: Vec::new(), next: 1, renewed: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How many exchanges there can be now.
    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    pub(super) const fn next(&self) -> u32 {
        self.next
    }

    pub(super) const fn renewed(&self) -> Option<Instant> {
        self.renewed
    }

    /// Nothing new begins with a token that is about to end.
    pub(super) fn is_renewing(&self) -> bool {
        self.active.iter().any(|active| active.what == What::Renewal)
    }

    /// A call has begun.
    pub(super) fn push(&mut self, now: Instant, what: What, call: Call) {
        match what {
            What::Renewal => self.renewed = Some(now),
            What::Opening(number) | What::Putting(number) => self.next = self.next.max(number + 1),
        }
        self.active.push(Active { what, call, sent: 0 });
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.active.iter().fold(None, |until, active| earliest(until, active.call.until()))
    }

    /// Ends all of it; gives the exchanges to abort.
    pub(super) fn stop(&mut self) -> impl Iterator<Item = ExchangeId> {
        self.active.drain(..).filter_map(|mut active| active.call.stop())
    }

    /// Puts the limit of one exchange off; says how many bytes of all parts under way have gone out.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        id: ExchangeId,
        bytes: u64,
    ) -> Option<u64> {
        let active = self.active.iter_mut().find(|active| active.call.is_asking(id))?;
        active.call.touch(now);
        if !matches!(active.what, What::Putting(_)) {
            return None;
        }
        active.sent = bytes;
        Some(self.active.iter().fold(0, |sum, active| sum.saturating_add(active.sent)))
    }

    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        id: ExchangeId,
        response: Response,
        out: &mut Out<Event, Uploaded>,
    ) -> Option<(What, Settled)> {
        self.tell(id, out, |call, said| call.handle_response(now, ids, id, response, said))
    }

    pub(super) fn handle_failure(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        id: ExchangeId,
        failure: Failure,
        out: &mut Out<Event, Uploaded>,
    ) -> Option<(What, Settled)> {
        self.tell(id, out, |call, said| call.handle_failure(now, ids, id, failure, said))
    }

    /// Tells every call the time. The first that gives up ends it, and what was about to be sent stays here.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        out: &mut Out<Event, Uploaded>,
    ) -> Result<(), Error> {
        let begun = out.len();
        for at in 0..self.active.len() {
            let active = &mut self.active[at];
            let mut said = Out::new();
            let settled = active.call.handle_timeout(now, ids, &mut said);
            active.pass_on(said, out);
            if let Some(Err(error)) = settled {
                self.take_back(begun, out);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the calls whose requests are still in the queue, from this place on.
    fn take_back(&mut self, begun: usize, out: &mut Out<Event, Uploaded>) {
        for output in out.split_off(begun) {
            match output {
                Output::Send { id, .. } => {
                    let mut unsent = self.active.iter_mut().filter(|a| a.call.is_asking(id));
                    unsent.next().and_then(|active| active.call.stop());
                }
                output => out.push_back(output),
            }
        }
    }

    /// Tells the call that asks this; it leaves when it has settled.
    fn tell(
        &mut self,
        id: ExchangeId,
        out: &mut Out<Event, Uploaded>,
        input: impl FnOnce(&mut Call, &mut Out<AttemptFailed, Uploaded>) -> Option<Settled>,
    ) -> Option<(What, Settled)> {
        let at = self.active.iter().position(|active| active.call.is_asking(id))?;
        let active = &mut self.active[at];
        let mut said = Out::new();
        let settled = input(&mut active.call, &mut said);
        active.pass_on(said, out);
        let settled = settled?;
        Some((self.active.remove(at).what, settled))
    }
}

impl Active {
    /// Passes on what the call wants, with the number of the part. What is sent again begins anew.
    fn pass_on(&mut self, said: Out<AttemptFailed, Uploaded>, out: &mut Out<Event, Uploaded>) {
        for output in said {
            out.push_back(match output {
                Output::Event(failed) => {
                    self.sent = 0;
                    Output::Event(match self.what.number() {
                        Some(number) => Event::PartFailed { number, failed },
                        None => Event::AttemptFailed(failed),
                    })
                }
                Output::Send { id, request } => {
                    self.sent = 0;
                    Output::Send { id, request }
                }
                // A call wants nothing else, and these are the same for every event.
                Output::Message { id, message } => Output::Message { id, message },
                Output::Abort { id } => Output::Abort { id },
                Output::Wait { until } => Output::Wait { until },
                Output::Done(result) => Output::Done(result),
            });
        }
    }
}

/// A range of a body, counted from its start. What lies outside is left out.
pub(super) fn slice(body: &Body, range: Range<u64>) -> Body {
    match body {
        Body::Empty => Body::Empty,
        Body::Bytes(bytes) => {
            let at =
                |offset: u64| usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
            Body::Bytes(bytes.slice(at(range.start)..at(range.end).max(at(range.start))))
        }
        Body::Source { range: whole } => {
            let at = |offset: u64| whole.start.saturating_add(offset).min(whole.end);
            Body::Source { range: at(range.start)..at(range.end) }
        }
    }
}
