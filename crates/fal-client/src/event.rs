use std::time::Duration;

use fal_protocol::machine::AttemptFailed;
use fal_protocol::queue::{self, Completed, Handle, LogLine};
use fal_protocol::schema::Finding;
use fal_protocol::upload::{self, Route};

/// What happens during a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The input passes its check, but something in it is probably not what is wanted, such as a field that the
    /// model does not have. Told before anything is sent, of calls that are `checked`.
    InputWarning(Finding),
    /// A file of the input is going out.
    Uploading {
        /// The file's name.
        name: String,
        /// Bytes so far.
        sent: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A file of the input is where models can read it.
    Uploaded {
        /// The file's name.
        name: String,
        /// Its address, which is now in the input.
        url: String,
    },
    /// A part of a large file has arrived.
    PartUploaded {
        /// The file's name.
        name: String,
        /// Which part, from 1. They arrive in any order.
        number: u32,
        /// How many have arrived.
        done: u32,
        /// How many there are.
        parts: u32,
    },
    /// A part of a large file failed and is sent again; the others go on.
    PartRetrying {
        /// The file's name.
        name: String,
        /// Which part, from 1.
        number: u32,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long it rests before the next.
        rest: Duration,
        /// Why, for people.
        cause: Box<str>,
    },
    /// One way of uploading has failed for good, and the next begins.
    RouteFailed {
        /// The file's name.
        name: String,
        /// The way that failed.
        route: Route,
        /// The next.
        next: Route,
        /// Why it failed, for people.
        cause: Box<str>,
    },
    /// The service accepted the job. Store the handle: it is all that is needed to come back later.
    Submitted(Handle),
    /// The job waits; told whenever the position changes.
    Queued {
        /// Requests ahead of this one, from 0; `None` if the service did not tell.
        position: Option<u64>,
    },
    /// A runner has begun.
    Started,
    /// A line of the model's log; each once, in order.
    Log(LogLine),
    /// The service named a status that this version does not know. The job is followed further.
    UnknownStatus(Box<str>),
    /// The job has ended, well or not; its result is fetched next.
    Completed(Completed),
    /// The result is not there yet; it is asked for again.
    NotReady,
    /// An exchange failed and is repeated.
    Retrying {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long the client rests before the next.
        rest: Duration,
        /// Why, for people.
        cause: Box<str>,
    },
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        let cause = failed.cause.to_string().into();
        Self::Retrying { attempt: failed.attempt, rest: failed.rest, cause }
    }
}

impl From<queue::Event> for Event {
    fn from(event: queue::Event) -> Self {
        match event {
            queue::Event::Submitted(handle) => Self::Submitted(handle),
            queue::Event::Queued { position } => Self::Queued { position },
            queue::Event::Started => Self::Started,
            queue::Event::Log(line) => Self::Log(line),
            queue::Event::UnknownStatus(text) => Self::UnknownStatus(text),
            queue::Event::Completed(completed) => Self::Completed(completed),
            queue::Event::NotReady => Self::NotReady,
            queue::Event::AttemptFailed(failed) => failed.into(),
            other => Self::UnknownStatus(format!("{other:?}").into()),
        }
    }
}

impl Event {
    pub(crate) fn of_upload(name: &str, event: upload::Event) -> Option<Self> {
        match event {
            upload::Event::Sent { bytes, total } => {
                Some(Self::Uploading { name: name.to_owned(), sent: bytes, total })
            }
            upload::Event::PartDone { number, done, parts } => {
                Some(Self::PartUploaded { name: name.to_owned(), number, done, parts })
            }
            upload::Event::PartFailed { number, failed } => Some(Self::PartRetrying {
                name: name.to_owned(),
                number,
                attempt: failed.attempt,
                rest: failed.rest,
                cause: failed.cause.to_string().into(),
            }),
            upload::Event::RouteFailed { route, next, cause } => {
                let cause = cause.to_string().into();
                Some(Self::RouteFailed { name: name.to_owned(), route, next, cause })
            }
            upload::Event::AttemptFailed(failed) => Some(failed.into()),
            _ => None,
        }
    }
}
