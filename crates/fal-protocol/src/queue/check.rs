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
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::machine::{Ids, Out};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Solo, solo_methods};
use crate::wire::Response;

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
    solo: Solo<Once>,
}

#[derive(Debug)]
struct Once {
    handle: Handle,
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
        Ok(Self { solo: Solo::begin(now, Once { handle }, call, config.deadline, Ids::default()) })
    }

    solo_methods!(Event, Status);
}

impl Kind for Once {
    type Event = Event;
    type Done = Status;

    fn read(&mut self, response: Response, _: &mut Out<Event, Status>) -> Result<Status, Error> {
        Status::parse(response.body()).map_err(|error| ErrorKind::Protocol(error).into())
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::Left
    }

    fn handle(&self) -> Option<&Handle> {
        Some(&self.handle)
    }
}
