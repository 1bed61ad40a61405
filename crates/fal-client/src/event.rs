use std::time::Duration;

use fal_protocol::machine::AttemptFailed;
use fal_protocol::queue::{self, Completed, Handle, LogLine};
use fal_protocol::upload;

/// What happens during a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
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
            upload::Event::AttemptFailed(failed) => Some(failed.into()),
            _ => None,
        }
    }
}
