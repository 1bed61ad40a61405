//! Machine: read a job's status once.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Status)`, unless it is none |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method};

use super::{Event, Handle, Status};
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::machine::{Ids, Out, Output, earliest, is_due};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Failure, Response};

/// How to read a status. The default asks for no log lines and waits without a deadline.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckConfig {
    /// Asks for the log lines so far.
    pub logs: bool,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// Reads one status. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Check {
    handle: Handle,
    call: Call,
    deadline: Option<Instant>,
    ids: Ids,
    out: Out<Event, Status>,
    over: bool,
}

impl Check {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the handle gives no usable address.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: CheckConfig,
    ) -> Result<Self, InputError> {
        let uri = handle.status_uri(&settings.hosts, config.logs)?;
        let request = json_request(settings, Method::GET, uri, HeaderMap::new(), None);
        let call = Call::new(settings, Purpose::Status, request, seed, config.deadline);
        let (ids, out) = (Ids::default(), Out::new());
        let mut check = Self { handle, call, deadline: config.deadline, ids, out, over: false };
        check.call.start(now, &mut check.ids, &mut check.out);
        Ok(check)
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        let settled = self.call.handle_response(now, &mut self.ids, id, response, &mut self.out);
        self.settle(settled);
    }

    /// An exchange ended without an answer.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        let settled = self.call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
        self.settle(settled);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.over && is_due(self.deadline, now) {
            let stopped = self.call.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            return self.finish(Err(ErrorKind::Deadline { aftermath: Aftermath::Left }.into()));
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(settled);
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Status> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        if self.over { "Over" } else { self.call.state_name() }
    }

    fn until(&self) -> Option<Instant> {
        if self.over { None } else { earliest(self.call.until(), self.deadline) }
    }

    fn settle(&mut self, settled: Option<Settled>) {
        if let Some(settled) = settled {
            self.finish(settled.and_then(|response| {
                Status::parse(response.body()).map_err(|error| ErrorKind::Protocol(error).into())
            }));
        }
    }

    fn finish(&mut self, result: Result<Status, Error>) {
        self.over = true;
        let bind = |error: Error| error.with_handle(Some(self.handle.clone()));
        self.out.push_back(Output::Done(result.map_err(bind)));
    }
}
