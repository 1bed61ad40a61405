//! The queue: submit a job, follow it, take its result, cancel it.
//!
//! | Machine | Exchanges | Result |
//! |---|---|---|
//! | [`Submit`] | POST | [`Handle`] |
//! | [`Check`] | GET status, once | [`Status`] |
//! | [`Watch`] | status stream, else status polls | [`Completed`] |
//! | [`Fetch`] | GET result | [`Answer`](crate::Answer) |
//! | [`Cancel`] | PUT cancel | [`CancelOutcome`] |
//! | [`Subscribe`] | all of these under one deadline | [`Finished`] |

mod cancel;
mod check;
mod fetch;
mod handle;
mod ledger;
mod status;
mod submit;
mod subscribe;
mod watch;

pub use cancel::{Cancel, CancelOutcome};
pub use check::{Check, CheckConfig};
pub use fetch::{Fetch, FetchConfig};
pub use handle::Handle;
pub use status::{Completed, LogLine, State, Status};
pub use submit::{Submit, SubmitConfig};
pub use subscribe::{Finished, OnDeadline, Subscribe, SubscribeConfig};
pub use watch::{Watch, WatchConfig};

use crate::machine::AttemptFailed;

/// What happens to a job while somebody waits for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The service accepted the job. Always the first, before any waiting: store the handle.
    Submitted(Handle),
    /// The job waits. Told whenever the position changes, and again after the service requeued it.
    Queued {
        /// Requests ahead of this one, from 0; `None` if the service did not tell.
        position: Option<u64>,
    },
    /// A runner has begun. Told again when it begins again after a requeue.
    Started,
    /// A line of the model's log; each once, in order.
    Log(LogLine),
    /// The service named a status that this version does not know. The job is watched further.
    UnknownStatus(Box<str>),
    /// The job has ended, well or not; its result is fetched next.
    Completed(Completed),
    /// The result is not there yet, although it was asked for; it is asked for again.
    NotReady,
    /// An exchange failed and is repeated.
    AttemptFailed(AttemptFailed),
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}
