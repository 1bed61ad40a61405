//! What all machines of a single logical call have in common: everything but what the answer means.

use std::time::{Duration, Instant};

use crate::call::{Call, Settled};
use crate::error::{Aftermath, Error, ErrorKind};
use crate::machine::{AttemptFailed, Ids, Out, Output, after, earliest, is_due};
use crate::queue::Handle;
use crate::wire::{ExchangeId, Failure, Response};

/// What makes one of these machines differ from another.
pub(crate) trait Kind {
    type Event: From<AttemptFailed>;
    type Done;

    /// What an answer means before the retry policy sees it; `None` leaves it to that.
    fn intercept(&mut self, _response: &Response) -> Option<Reading<Self::Event, Self::Done>> {
        None
    }

    /// What a 2xx answer means. Events that belong before the result go to `out`.
    fn read(
        &mut self,
        response: Response,
        out: &mut Out<Self::Event, Self::Done>,
    ) -> Result<Self::Done, Error>;

    /// What is known of the job when the deadline passes now.
    fn aftermath(&self, call: &Call) -> Aftermath;

    /// The job that every error is bound to.
    fn handle(&self) -> Option<&Handle> {
        None
    }
}

/// An answer that means something whatever its status is.
pub(crate) enum Reading<E, T> {
    Done(Result<T, Error>),
    /// Tell this, and ask again after a while.
    Pause(E, Duration),
    /// Ask this instead.
    Instead(Box<Call>),
}

/// A machine of one call.
#[derive(Debug)]
pub(crate) struct Solo<K: Kind> {
    kind: K,
    call: Call,
    deadline: Option<Instant>,
    /// Set while it pauses before it asks again.
    pause: Option<Option<Instant>>,
    ids: Ids,
    out: Out<K::Event, K::Done>,
    over: bool,
}

impl<K: Kind> Solo<K> {
    pub(crate) fn begin(
        now: Instant,
        kind: K,
        call: Call,
        deadline: Option<Instant>,
        ids: Ids,
    ) -> Self {
        let mut solo =
            Self { kind, call, deadline, pause: None, ids, out: Out::new(), over: false };
        if solo.call.is_too_late(now) {
            // Nobody waits for this any more, so nobody is to pay for it.
            let aftermath = Aftermath::NothingSubmitted;
            solo.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        } else {
            solo.call.start(now, &mut solo.ids, &mut solo.out);
        }
        solo
    }

    pub(crate) fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        if !self.call.is_asking(id) {
            return;
        }
        match self.kind.intercept(&response) {
            Some(Reading::Done(result)) => {
                self.call.stop();
                self.finish(result);
            }
            Some(Reading::Pause(event, rest)) => {
                self.call.stop();
                self.out.push_back(Output::Event(event));
                self.pause = Some(after(now, rest));
            }
            Some(Reading::Instead(call)) => {
                self.call = *call;
                self.call.start(now, &mut self.ids, &mut self.out);
            }
            None => {
                let settled =
                    self.call.handle_response(now, &mut self.ids, id, response, &mut self.out);
                self.settle(settled);
            }
        }
    }

    pub(crate) fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        let settled = self.call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
        self.settle(settled);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.over && is_due(self.deadline, now) {
            let aftermath = self.aftermath();
            let stopped = self.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        if self.pause.is_some_and(|until| is_due(until, now)) {
            self.pause = None;
            return self.call.restart(now, &mut self.ids, &mut self.out);
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(settled);
    }

    pub(crate) fn poll_output(&mut self) -> Output<K::Event, K::Done> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    pub(crate) fn until(&self) -> Option<Instant> {
        let next = self.pause.unwrap_or_else(|| self.call.until());
        if self.over { None } else { earliest(next, self.deadline) }
    }

    /// What is known of the job if everything stops now.
    pub(crate) fn aftermath(&self) -> Aftermath {
        self.kind.aftermath(&self.call)
    }

    /// The counter, for the machine that goes on from here.
    pub(crate) const fn ids(&self) -> Ids {
        self.ids
    }

    pub(crate) const fn in_flight(&self) -> Option<ExchangeId> {
        self.call.in_flight()
    }

    /// Waits for the answer to what is open, and sends nothing more that costs money.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.call.expire(now);
    }

    /// Ends all local work; returns the exchange to abort.
    pub(crate) fn stop(&mut self) -> Option<ExchangeId> {
        self.pause = None;
        self.call.stop()
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.pause {
            _ if self.over => "Over",
            Some(_) => "Pausing",
            None => self.call.state_name(),
        }
    }

    fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            None => {}
            Some(Err(error)) => self.finish(Err(error)),
            Some(Ok(response)) => {
                let result = self.kind.read(response, &mut self.out);
                self.finish(result);
            }
        }
    }

    fn finish(&mut self, result: Result<K::Done, Error>) {
        self.over = true;
        let bind = |error: Error| error.with_handle(self.kind.handle().cloned());
        self.out.push_back(Output::Done(result.map_err(bind)));
    }
}

/// The inputs and the output of a machine with a field `solo`.
macro_rules! solo_methods {
    ($event:ty, $done:ty) => {
        /// An answer arrived.
        pub fn handle_response(
            &mut self,
            now: std::time::Instant,
            id: $crate::wire::ExchangeId,
            response: $crate::wire::Response,
        ) {
            self.solo.handle_response(now, id, response);
        }

        /// An exchange ended without an answer.
        pub fn handle_failure(
            &mut self,
            now: std::time::Instant,
            id: $crate::wire::ExchangeId,
            failure: $crate::wire::Failure,
        ) {
            self.solo.handle_failure(now, id, failure);
        }

        /// An instant that the machine waited for has come.
        pub fn handle_timeout(&mut self, now: std::time::Instant) {
            self.solo.handle_timeout(now);
        }

        /// The next thing to do. Drain until [`Output::Wait`](crate::Output::Wait) or
        /// [`Output::Done`](crate::Output::Done).
        pub fn poll_output(&mut self) -> $crate::Output<$event, $done> {
            self.solo.poll_output()
        }

        #[cfg(test)]
        pub(crate) const fn state_name(&self) -> &'static str {
            self.solo.state_name()
        }
    };
}

pub(crate) use solo_methods;
